package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// VerifyX509User verifies what a user's TLS client or signed API call presents: exactly one certificate,
// signed by one of the authority's plain keys, for a user of its cluster, valid now. Faults are
// [fault.Unauthenticated] and [fault.Expired].
func VerifyX509User(chain [][]byte, ca identity.Authority, now time.Time) (identity.User, *x509.Certificate, error) {
	cert, claims, err := verifyX509(chain, ca, now)
	if err != nil {
		return identity.User{}, nil, err
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		return identity.User{}, nil, refused("the certificate is not for a user", nil)
	}
	u, err := identity.ParseUser(claims)
	if err != nil {
		return identity.User{}, nil, refused("the certificate has no user's identity", err)
	}
	if err := same(cert, u.URI(), u.Cluster, ca.Cluster); err != nil {
		return identity.User{}, nil, err
	}
	return u, cert, nil
}

// VerifyX509Host is [VerifyX509User] for an agent's or a proxy's certificate: kind is [identity.KindAgent] or
// [identity.KindProxy], and neither passes for the other.
func VerifyX509Host(chain [][]byte, ca identity.Authority, now time.Time, kind string) (identity.Host, error) {
	cert, claims, err := verifyX509(chain, ca, now)
	if err != nil {
		return identity.Host{}, err
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		return identity.Host{}, refused("the certificate is not for an agent or proxy", nil)
	}
	h, err := identity.ParseHost(claims)
	if err != nil {
		return identity.Host{}, refused("the certificate has no agent's or proxy's identity", err)
	}
	if h.Kind != kind {
		return identity.Host{}, refused(fmt.Sprintf("the certificate is for %s %s, which is not a %s", h.Kind, h.ID, kind), nil)
	}
	if err := same(cert, h.URI(), h.Cluster, ca.Cluster); err != nil {
		return identity.Host{}, err
	}
	return h, nil
}

// verifyX509 checks what all X.509 certificates have in common and returns the identity's bytes.
func verifyX509(chain [][]byte, ca identity.Authority, now time.Time) (*x509.Certificate, []byte, error) {
	if len(chain) != 1 {
		return nil, nil, refused(fmt.Sprintf("%d certificates were presented instead of one", len(chain)), nil)
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, nil, refused("the certificate is malformed", err)
	}
	if err := signedByAny(cert, ca.Keys); err != nil {
		return nil, nil, refused("the certificate is not from this cluster's authority", err)
	}
	if _, err := p256(cert.PublicKey); err != nil {
		return nil, nil, refused("the certificate's key is of the wrong kind", err)
	}
	switch {
	case cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature || len(cert.UnknownExtKeyUsage) > 0:
		return nil, nil, refused("the certificate is for another purpose", nil)
	case len(cert.UnhandledCriticalExtensions) > 0:
		return nil, nil, refused("the certificate has a critical extension that is not known here", nil)
	}
	if err := inTime(cert.NotBefore, cert.NotAfter, now); err != nil {
		return nil, nil, err
	}
	claims, err := identityExtension(cert)
	return cert, claims, err
}

// signedByAny tries the authority's keys themselves: no chain is built, so no certificate can stand between
// (CVE-2024-2048), and the issuer's name means nothing.
func signedByAny(cert *x509.Certificate, keys []crypto.PublicKey) error {
	if cert.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return errors.New("it is not signed by ECDSA with SHA-256")
	}
	digest := sha256.Sum256(cert.RawTBSCertificate)
	for _, k := range keys {
		if pub, err := p256(k); err == nil && ecdsa.VerifyASN1(pub, digest[:], cert.Signature) {
			return nil
		}
	}
	return errors.New("no authority's key verifies it")
}

func identityExtension(cert *x509.Certificate) ([]byte, error) {
	for _, e := range cert.Extensions { // the parser refuses a doubled one
		if !e.Id.Equal(identity.OID) {
			continue
		}
		var claims []byte
		if rest, err := asn1.Unmarshal(e.Value, &claims); err != nil || len(rest) > 0 {
			return nil, refused("the certificate's identity is malformed", err)
		}
		return claims, nil
	}
	return nil, refused("the certificate has no identity", nil)
}

// same compares the three places that say whose certificate it is.
func same(cert *x509.Certificate, uri, cluster, want string) error {
	if cluster != want {
		return refused("the certificate is another cluster's", nil)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != uri ||
		len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) > 0 {
		return refused("the certificate's name and identity disagree", nil)
	}
	return nil
}
