package reader

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// witness holds what agents' signatures are verified by.
type witness struct {
	certificates map[string][]byte // DER, by the digest that they really have
	trust        []document.Trust  // oldest first
}

func newWitness(items []table.Item, trust []document.Trust) witness {
	w := witness{certificates: map[string][]byte{}, trust: slices.Clone(trust)}
	slices.SortFunc(w.trust, func(a, b document.Trust) int { return a.IssuedAt.Compare(b.IssuedAt) })
	for _, i := range items {
		if strings.HasPrefix(i.Text(names.PK), names.Certificate+"#") {
			der := i.Bytes("certificate")
			sum := sha256.Sum256(der)
			w.certificates[hex.EncodeToString(sum[:])] = der
		}
	}
	return w
}

// agent judges what an agent is said to have said.
func (w witness) agent(e audit.Event, i table.Item, received time.Time) (Standing, string) {
	signature := i.Bytes("signature")
	if len(signature) == 0 {
		return Unproven, "it is not signed"
	}
	der, there := w.certificates[i.Text("certificate")]
	if !there {
		return Unproven, "the certificate that it names is not in the ledger"
	}
	host, key, err := w.holder(der, received)
	if err != nil {
		return Refused, err.Error()
	}
	if !(audit.Signed{Body: []byte(i.Text("event")), Signature: signature}).Verify(key, host.ID) {
		return Refused, "its signature is not of the agent's key"
	}
	if err := audit.Report(e, host); err != nil {
		return Refused, err.Error()
	}
	return Proven, ""
}

// holder returns whose certificate this was when an event was received, and its key.
func (w witness) holder(der []byte, at time.Time) (identity.Host, *ecdsa.PublicKey, error) {
	host, err := certs.VerifyX509Host([][]byte{der}, w.authority(at), at, identity.KindAgent)
	if err != nil {
		return identity.Host{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return identity.Host{}, nil, err
	}
	return host, leaf.PublicKey.(*ecdsa.PublicKey), nil // VerifyX509Host takes no other keys
}

// authority is whoever might sign hosts' certificates at a time: by the newest trust document of before, or by the oldest.
func (w witness) authority(at time.Time) identity.Authority {
	if len(w.trust) == 0 {
		return identity.Authority{}
	}
	in := w.trust[0]
	for _, t := range w.trust {
		if !t.IssuedAt.After(at) {
			in = t
		}
	}
	return in.CA(names.KeyHostX509)
}
