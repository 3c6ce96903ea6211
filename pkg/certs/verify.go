package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

// inTime is the same for SSH and X.509: the end is exclusive.
func inTime(from, until, now time.Time) error {
	switch {
	case now.Before(from):
		return fault.Newf(fault.Unauthenticated, "set this machine's clock", "the certificate is valid only from %s", from.UTC().Format(time.RFC3339))
	case !now.Before(until):
		return fault.Newf(fault.Expired, "log in again with: stile login --iam", "the certificate expired at %s", until.UTC().Format(time.RFC3339))
	}
	return nil
}

func refused(message string, cause error) error {
	return fault.New(fault.Unauthenticated, message, "log in or join again to get a certificate of this cluster").Because(cause)
}

func p256(pub crypto.PublicKey) (*ecdsa.PublicKey, error) {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("the key is not ECDSA on P-256")
	}
	return k, nil
}

// ParseKey reads a public key that somebody asks a certificate for: SubjectPublicKeyInfo in DER, ECDSA on
// P-256, in its one canonical encoding.
func ParseKey(spki []byte) (*ecdsa.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err == nil {
		pub, err = p256(pub)
	}
	if err == nil {
		var again []byte
		if again, err = x509.MarshalPKIXPublicKey(pub); err == nil && !bytes.Equal(again, spki) {
			err = errors.New("it is not in its canonical encoding")
		}
	}
	if err != nil {
		return nil, fault.New(fault.BadInput, "a public key is malformed", "send SubjectPublicKeyInfo in DER of an ECDSA key on P-256").Because(err)
	}
	return pub.(*ecdsa.PublicKey), nil
}
