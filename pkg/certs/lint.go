package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// Lint signs both certificates with a throw-away key, reads the finished bytes back and applies every rule to
// them, so that it judges what would leave, not what was meant. It reports all faults at once, as
// [fault.BadInput]; nothing that fails here can be signed.
func (t Template) Lint() (Linted, error) {
	t = t.clone() // what is signed later is what was judged, whatever the caller does to its copy
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Linted{}, fmt.Errorf("making a throw-away key: %w", err)
	}
	f := fault.New(fault.BadInput, "", "correct the role, mapping or token that the values come from")
	der, err := signX509(t.X509, t.TLSKey, key)
	if err != nil {
		return Linted{}, fault.New(fault.BadInput, "the X.509 certificate can't be made", "check the requested key and validity").Because(err)
	}
	collect(f, "x509", LintX509(der))
	if t.SSH != nil {
		cert := *t.SSH
		if err := signSSH(&cert, key); err != nil {
			return Linted{}, fault.New(fault.BadInput, "the SSH certificate can't be made", "check the requested key").Because(err)
		}
		collect(f, "ssh", LintSSH(cert.Marshal()))
		collect(f, "pair", t.lintPair())
	}
	if len(f.Fields) == 0 {
		return Linted{t}, nil
	}
	f.Message = "the certificate would be wrong: " + f.Fields[0].Reason
	return Linted{}, f
}

func collect(f *fault.Fault, path string, err error) {
	if err == nil {
		return
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			f.Fields = append(f.Fields, fault.Field{Path: path, Reason: e.Error()})
		}
		return
	}
	f.Fields = append(f.Fields, fault.Field{Path: path, Reason: err.Error()})
}

// lintPair compares both certificates with each other.
func (t Template) lintPair() error {
	tls, err := ssh.NewPublicKey(t.TLSKey)
	if err != nil {
		return errors.New("the TLS key is of the wrong kind")
	}
	if string(tls.Marshal()) == string(t.SSH.Key.Marshal()) {
		return errors.New("the SSH key and the TLS key are the same; make two")
	}
	if t.SSH.ValidBefore != seconds(t.X509.NotAfter) || t.SSH.ValidAfter != seconds(t.X509.NotBefore) {
		return errors.New("the two certificates are valid at different times")
	}
	return nil
}

// validity is a rule for both.
func validity(from, until time.Time, limit time.Duration) error {
	if from.Unix() <= 0 || !until.After(from) {
		return errors.New("the certificate ends before it begins")
	}
	if life := until.Sub(from); life > limit+Backdate+time.Second {
		return fmt.Errorf("the certificate would live for %s; %s are allowed", life-Backdate, limit)
	}
	return nil
}

func certificateID(host bool, claims []byte) (string, error) {
	if host {
		h, err := identity.ParseHost(claims)
		return h.Certificate, err
	}
	u, err := identity.ParseUser(claims)
	return u.Certificate, err
}
