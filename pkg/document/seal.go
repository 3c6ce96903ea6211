package document

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stile-dev/stile/pkg/resource"
)

// The largest documents, in bytes of body. For policy: ten thousand roles of 400 bytes, and some room.
const (
	MaxTrust       = 64 << 10
	MaxPolicy      = 8 << 20
	MaxRevocations = 64 << 10
)

// Limit returns the largest body of a document of the kind, in bytes; 0 for an unknown kind.
func (k Kind) Limit() int {
	switch k {
	case KindTrust:
		return MaxTrust
	case KindPolicy:
		return MaxPolicy
	case KindRevocations:
		return MaxRevocations
	}
	return 0
}

// KeyID names a public key: base64url without padding of SHA-256 over its SubjectPublicKeyInfo in DER.
// It is "" for a key that has none.
func KeyID(pub crypto.PublicKey) string {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	return idOf(spki)
}

// IsKeyID reports whether s has the form of a [KeyID].
func IsKeyID(s string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(sum) == sha256.Size && base64.RawURLEncoding.EncodeToString(sum) == s
}

func idOf(spki []byte) string {
	sum := sha256.Sum256(spki)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Digest returns what is signed for a document: SHA-256 over "stile-<kind>-v1\n" and the body as stored.
func Digest(kind Kind, body []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte("stile-" + string(kind) + "-v1\n"))
	h.Write(body)
	return [32]byte(h.Sum(nil))
}

// Seal writes body, a [Trust], [Policy] or [Revocations], as JSON and signs it. The signer gets the digest
// and answers with ECDSA in DER, as a KMS key does.
func Seal(kind Kind, body any, signer crypto.Signer) (Signed, error) {
	body, err := fits(kind, body)
	if err != nil {
		return Signed{}, err
	}
	b, err := json.Marshal(body)
	if err != nil {
		return Signed{}, fmt.Errorf("writing the %s document: %w", kind, err)
	}
	if len(b) > kind.Limit() {
		return Signed{}, fmt.Errorf("sealing the %s document: %w: it has %d bytes, %d are allowed", kind, ErrTooLarge, len(b), kind.Limit())
	}
	signature, err := sign(kind, b, signer)
	if err != nil {
		return Signed{}, err
	}
	return Signed{Kind: kind, Body: b, KeyID: KeyID(signer.Public()), Signature: signature}, nil
}

// SealLink adds to a trust document the signature of the root before it, for those who don't know the new root yet.
func SealLink(s Signed, earlier crypto.Signer) (Signed, error) {
	if s.Kind != KindTrust {
		return Signed{}, fmt.Errorf("linking a %s document: only trust documents have a root", s.Kind)
	}
	signature, err := sign(s.Kind, s.Body, earlier)
	if err != nil {
		return Signed{}, err
	}
	s.Link = &Link{KeyID: KeyID(earlier.Public()), Signature: signature}
	return s, nil
}

// fits holds kind and body together, and has the body say in which form it is written.
func fits(kind Kind, body any) (any, error) {
	switch b := body.(type) {
	case Trust:
		if b.V = formVersion; kind == KindTrust {
			return b, nil
		}
	case Policy:
		b.V, b.Critical = formVersion, nil
		if b.Record == resource.RecordStrict { // who can't record must let nobody in
			b.Critical = []string{"record"}
		}
		if kind == KindPolicy {
			return b, nil
		}
	case Revocations:
		// Who doesn't know a list would let in whom it names.
		if b.V, b.Critical = formVersion, []string{"users", "agents"}; kind == KindRevocations {
			return b, nil
		}
	}
	return nil, fmt.Errorf("sealing a %s document: its body is of another kind", kind)
}

func sign(kind Kind, body []byte, signer crypto.Signer) ([]byte, error) {
	pub, err := p256(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("signing the %s document: %w", kind, err)
	}
	digest := Digest(kind, body)
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing the %s document: %w", kind, err)
	}
	if !ecdsa.VerifyASN1(pub, digest[:], signature) {
		return nil, fmt.Errorf("signing the %s document: the signer's signature doesn't verify with its own key", kind)
	}
	return signature, nil
}

var errCurve = errors.New("the key is not ECDSA on P-256")

func p256(pub crypto.PublicKey) (*ecdsa.PublicKey, error) {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, errCurve
	}
	return k, nil
}
