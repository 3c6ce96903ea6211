package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/identity"
)

// LintX509 applies the rules for X.509 certificates to finished bytes in DER. Errors are joined.
func LintX509(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the X.509 certificate can't be read back: %w", err)
	}
	var faults []error
	for _, rule := range x509Rules {
		if err := rule(cert); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

var x509Rules = []func(*x509.Certificate) error{
	x509KeyKind, x509NoCA, x509KeyUsage, x509Extended, x509Serial, x509Validity, x509Names, x509Identity, x509Critical,
}

func x509KeyKind(c *x509.Certificate) error {
	if _, err := p256(c.PublicKey); err != nil {
		return errors.New("the TLS key is of the wrong kind; only ECDSA on P-256 is signed")
	}
	return nil
}

func x509NoCA(c *x509.Certificate) error {
	if c.IsCA || !c.BasicConstraintsValid {
		return errors.New("the X.509 certificate could sign others")
	}
	return nil
}

func x509KeyUsage(c *x509.Certificate) error {
	if c.KeyUsage != x509.KeyUsageDigitalSignature {
		return errors.New("the X.509 certificate's key usage is not digital signature alone")
	}
	return nil
}

func isHost(c *x509.Certificate) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

func x509Extended(c *x509.Certificate) error {
	want := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if isHost(c) {
		want = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if !slices.Equal(c.ExtKeyUsage, want) || len(c.UnknownExtKeyUsage) > 0 {
		return errors.New("the X.509 certificate's extended key usage is neither a user's nor a host's")
	}
	return nil
}

func x509Serial(c *x509.Certificate) error {
	if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 128 || c.SerialNumber.BitLen() < 64 {
		return errors.New("the serial number is not 128 random bits")
	}
	return nil
}

func x509Validity(c *x509.Certificate) error {
	limit := MaxUserLife
	if isHost(c) {
		limit = MaxHostLife
	}
	return validity(c.NotBefore, c.NotAfter, limit)
}

func x509Names(c *x509.Certificate) error {
	if len(c.URIs) != 1 || len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) > 0 {
		return errors.New("the X.509 certificate must have exactly one name, a URI")
	}
	return nil
}

func x509Identity(c *x509.Certificate) error {
	claims, err := identityExtension(c)
	if err != nil {
		return err
	}
	uri, err := claimedURI(isHost(c), claims)
	if err != nil {
		return err
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != uri {
		return errors.New("the X.509 certificate's name is not the identity's")
	}
	return nil
}

func x509Critical(c *x509.Certificate) error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return errors.New("the X.509 certificate has a critical extension that is not known")
	}
	return nil
}

func claimedURI(host bool, claims []byte) (string, error) {
	if host {
		h, err := identity.ParseHost(claims)
		return h.URI(), err
	}
	u, err := identity.ParseUser(claims)
	return u.URI(), err
}
