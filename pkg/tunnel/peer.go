package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// PeerUser returns which user is on the other side of a finished handshake: the certificate must come from the
// trust document's user-x509 keys and be in force at now. Errors are faults that the user may see.
func PeerUser(s tls.ConnectionState, trust document.Trust, now time.Time) (identity.User, *x509.Certificate, error) {
	if len(s.PeerCertificates) == 0 {
		return identity.User{}, nil, fault.New(fault.Unauthenticated, "no user certificate was shown", "log in with: stile login --iam")
	}
	return certs.VerifyX509User(chain(s), trust.CA(names.KeyUserX509), now)
}

// PeerHost returns which agent or proxy (kind) is on the other side, by the trust document's host-x509 keys.
func PeerHost(s tls.ConnectionState, trust document.Trust, kind string, now time.Time) (identity.Host, error) {
	if len(s.PeerCertificates) == 0 {
		return identity.Host{}, fault.Newf(fault.Unauthenticated, "join the cluster first", "no %s certificate was shown", kind)
	}
	return certs.VerifyX509Host(chain(s), trust.CA(names.KeyHostX509), now, kind)
}
