// Package issue is what a signer does: it takes evidence, never a name, judges it itself, decides under
// today's rules, writes down what it is about to sign, signs, writes down the signature's request id, and
// only then hands the certificates out.
//
// It knows no table, no KMS and no HTTP. Its entry points are [NewUsers] and [NewHosts].
package issue

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// Documents returns the verified documents that are in force now.
type Documents interface {
	Fresh(context.Context) (document.View, error)
}

// MAC verifies that a front of this cluster made a challenge at that time; anything else is a fault.
type MAC interface {
	Verify(ctx context.Context, message, mac []byte, issued time.Time) error
}

// STS asks AWS who signed a request.
type STS interface {
	Caller(context.Context, proof.Request) (resource.IAMIdentity, error)
}

// Signer signs with a certificate authority's key and remembers the ids of its requests to KMS.
type Signer interface {
	crypto.Signer
	Requests() []string // of the signatures that were made
	Doubtful() []string // that failed, though a signature may have been made
}

// Authority returns a signer for one issuance.
type Authority func(context.Context) (Signer, error)

// ErrUsed is a store's error for a challenge whose use is already recorded.
var ErrUsed = errors.New("the challenge was used before")

// Intent is what is written down before anything is signed, in one transaction with the single use.
type Intent struct {
	Certificate string    // crt_…
	Subject     string    // user name, agent or proxy id
	Digest      string    // hex SHA-256 of what the certificates will say
	At          time.Time //
	Used        string    // names the challenge's single use
}

// Conclusion is what is written down after signing.
type Conclusion struct {
	Certificate string
	Signed      []Signed
	Event       audit.Event
}

// Signed is what came of signing with one key.
type Signed struct {
	Purpose  string   // of the key
	Digest   string   // hex SHA-256 of the certificate; "" when there is none
	Requests []string // KMS request ids of signatures
	Doubtful []string // KMS request ids of what may have made a signature and failed
}

// claims is where a signer says which requests to KMS it made.
type claims interface {
	// Claim writes down what came of signing for a certificate that is handed out to nobody.
	Claim(ctx context.Context, certificate string, signed []Signed) error
}

// claimFor is how long a signer that failed tries to say what it signed before.
const claimFor = 5 * time.Second

// unfinished claims what was signed before a failure, which it returns: a signature that nobody claims looks as if somebody else
// had made it. What the failure was, as the end of a call's time, doesn't keep it from that.
func unfinished(ctx context.Context, c claims, certificate string, signed []Signed, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimFor)
	defer cancel()
	return errors.Join(failure, c.Claim(ctx, certificate, signed))
}

// authorities are the keys of a signer, SSH and X.509, with their purposes.
type authorities struct {
	ssh, x509               Authority
	sshPurpose, x509Purpose string
}

// pair is a finished credential.
type pair struct {
	ssh, x509 []byte
	signed    []Signed
}

// sign makes the certificates that were linted. Both keys must be active in the trust document: a certificate by any
// other key would be worthless. When it fails, what was signed until then is in the pair.
func (a authorities) sign(ctx context.Context, l certs.Linted, trust document.Trust) (pair, error) {
	var p pair
	if l.SSH() {
		s, err := active(ctx, a.ssh, trust, a.sshPurpose)
		if err != nil {
			return pair{}, err
		}
		p.ssh, err = l.SignSSH(s)
		p.signed = append(p.signed, signed(a.sshPurpose, p.ssh, s))
		if err != nil {
			return p, err
		}
	}
	s, err := active(ctx, a.x509, trust, a.x509Purpose)
	if err != nil {
		return p, err
	}
	p.x509, err = l.SignX509(s)
	p.signed = append(p.signed, signed(a.x509Purpose, p.x509, s))
	return p, err
}

func signed(purpose string, certificate []byte, s Signer) Signed {
	out := Signed{Purpose: purpose, Requests: s.Requests(), Doubtful: s.Doubtful()}
	if certificate != nil {
		out.Digest = sum(certificate)
	}
	return out
}

func active(ctx context.Context, a Authority, trust document.Trust, purpose string) (Signer, error) {
	s, err := a(ctx)
	if err != nil {
		return nil, err
	}
	id := document.KeyID(s.Public())
	if !slices.ContainsFunc(trust.KeysFor(purpose, document.StateActive), func(k document.Key) bool { return k.ID == id }) {
		return nil, fault.Newf(fault.Internal, "ask an administrator to deploy again, which makes a new trust document",
			"the %s key of this function is not active in the trust document", purpose)
	}
	return s, nil
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// lifetime returns the requested lifetime, from one second to most; 0 asks for the normal one.
func lifetime(seconds int64, normal, most time.Duration) (time.Duration, error) {
	switch {
	case seconds < 0:
		return 0, fault.New(fault.BadInput, "a certificate can't be valid for less than a second", "ask for at least one second").With("ttl_seconds", "negative")
	case seconds == 0:
		return min(normal, most), nil
	case seconds > int64(most/time.Second):
		return 0, fault.Newf(fault.BadInput, "ask for at most "+most.String(), "a certificate of this kind is valid for at most %s", most).
			With("ttl_seconds", "too large")
	}
	return time.Duration(seconds) * time.Second, nil
}

// Documents turns signed documents into the API's form.
func documents(all []document.Signed) []wire.SignedDocument {
	out := make([]wire.SignedDocument, len(all))
	for i, s := range all {
		out[i] = onWire(s)
	}
	return out
}

func onWire(s document.Signed) wire.SignedDocument {
	d := wire.SignedDocument{Kind: string(s.Kind), Body: s.Body, KeyID: s.KeyID, Signature: s.Signature}
	if s.Link != nil {
		d.Link = wire.DocumentLink{KeyID: s.Link.KeyID, Signature: s.Link.Signature}
	}
	return d
}

// runtime is what every signer needs.
type runtime struct {
	now     func() time.Time
	entropy io.Reader
}

func newRuntime(now func() time.Time, entropy io.Reader) runtime {
	if now == nil {
		now = time.Now
	}
	if entropy == nil {
		entropy = rand.Reader
	}
	return runtime{now, entropy}
}

func replayed() error {
	return fault.New(fault.Denied, "this challenge was used before", "start again: each login and join needs its own challenge")
}

// keyPurposes are fixed for each kind of signer.
var (
	userKeys = [2]string{names.KeyUserSSH, names.KeyUserX509}
	hostKeys = [2]string{names.KeyHostSSH, names.KeyHostX509}
)
