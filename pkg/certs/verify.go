package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

const sourceAddress = "source-address"

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
		return identity.User{}, nil, refused("the certificate holds no user's identity", err)
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
		return identity.Host{}, refused("the certificate holds no agent's or proxy's identity", err)
	}
	if h.Kind != kind {
		return identity.Host{}, refused(fmt.Sprintf("the certificate is for %s %s, not for an %s", h.Kind, h.ID, kind), nil)
	}
	if err := same(cert, h.URI(), h.Cluster, ca.Cluster); err != nil {
		return identity.Host{}, err
	}
	return h, nil
}

// verifyX509 checks what all X.509 certificates have in common and gives the identity's bytes.
func verifyX509(chain [][]byte, ca identity.Authority, now time.Time) (*x509.Certificate, []byte, error) {
	if len(chain) != 1 {
		return nil, nil, refused(fmt.Sprintf("%d certificates were presented; exactly one is taken", len(chain)), nil)
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
		return nil, nil, refused("the certificate is for another use", nil)
	case len(cert.UnhandledCriticalExtensions) > 0:
		return nil, nil, refused("the certificate holds a critical extension that is not known here", nil)
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
	return nil, refused("the certificate holds no identity", nil)
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

// VerifySSHUser verifies the SSH certificate that a user's client proved to hold, for one login and the
// address that it comes from.
func VerifySSHUser(cert *ssh.Certificate, ca identity.Authority, use SSHUse) (identity.User, error) {
	if err := verifySSH(cert, ca, ssh.UserCert, use.Login, use.Now); err != nil {
		return identity.User{}, err
	}
	if err := sourceAllowed(cert, use.Source); err != nil {
		return identity.User{}, err
	}
	u, err := identity.ParseUser([]byte(cert.Extensions[names.SSHIdentity]))
	if err != nil {
		return identity.User{}, refused("the certificate holds no user's identity", err)
	}
	if u.SourceAddress != cert.CriticalOptions[sourceAddress] {
		return identity.User{}, refused("the certificate's source address and identity disagree", nil)
	}
	return u, agree(cert, u.Cluster, ca.Cluster, u.Certificate)
}

// SSHUse is what a user's SSH certificate is presented for.
type SSHUse struct {
	Login  string     // compared whole with the principals
	Source netip.Addr // the client's address; a certificate that is pinned needs it
	Now    time.Time
}

// VerifySSHHost verifies a node's SSH host certificate for one principal: an agent id or a node name.
func VerifySSHHost(cert *ssh.Certificate, ca identity.Authority, principal string, now time.Time) (identity.Host, error) {
	if err := verifySSH(cert, ca, ssh.HostCert, principal, now); err != nil {
		return identity.Host{}, err
	}
	if len(cert.CriticalOptions) > 0 {
		return identity.Host{}, refused("the certificate holds a critical option that is not known here", nil)
	}
	h, err := identity.ParseHost([]byte(cert.Extensions[names.SSHIdentity]))
	if err != nil {
		return identity.Host{}, refused("the certificate holds no agent's identity", err)
	}
	if principal != h.ID && !slices.Contains(h.Names, principal) || h.Kind != identity.KindAgent {
		return identity.Host{}, refused("the certificate's principals and identity disagree", nil)
	}
	return h, agree(cert, h.Cluster, ca.Cluster, h.Certificate)
}

// verifySSH checks what all SSH certificates have in common.
func verifySSH(cert *ssh.Certificate, ca identity.Authority, kind uint32, principal string, now time.Time) error {
	if cert == nil || cert.Key == nil || cert.SignatureKey == nil || cert.Signature == nil {
		return refused("no certificate was presented", nil)
	}
	if cert.CertType != kind {
		return refused("the certificate is of the wrong type", nil)
	}
	if !vouches(ca.Keys, cert.SignatureKey) {
		return refused("the certificate is not from this cluster's authority", nil)
	}
	if cert.Key.Type() != ssh.KeyAlgoECDSA256 || cert.Signature.Format != ssh.KeyAlgoECDSA256 {
		return refused("the certificate's key is of the wrong kind", nil)
	}
	// To x/crypto, as to OpenSSH before 10.3, an empty list means any principal.
	if len(cert.ValidPrincipals) == 0 {
		return refused("the certificate names nobody", nil)
	}
	if principal == "" || !slices.Contains(cert.ValidPrincipals, principal) {
		return fault.Newf(fault.Denied, "use one of: "+strings.Join(cert.ValidPrincipals, ", "), "the certificate is not for %q", principal)
	}
	if cert.ValidAfter > cert.ValidBefore || cert.ValidBefore > 1<<40 {
		return refused("the certificate's validity is malformed", nil)
	}
	if err := inTime(time.Unix(int64(cert.ValidAfter), 0), time.Unix(int64(cert.ValidBefore), 0), now); err != nil {
		return err
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: func() time.Time { return now }}
	if err := checker.CheckCert(principal, cert); err != nil {
		return refused("the certificate is not valid", err)
	}
	return nil
}

// vouches compares byte for byte with plain keys. A signature key that is itself a certificate, which embeds
// such a key, is none (CVE-2025-49825).
func vouches(keys []crypto.PublicKey, signer ssh.PublicKey) bool {
	if signer.Type() != ssh.KeyAlgoECDSA256 {
		return false
	}
	for _, k := range keys {
		plain, err := ssh.NewPublicKey(k)
		if err == nil && bytes.Equal(plain.Marshal(), signer.Marshal()) {
			return true
		}
	}
	return false
}

// sourceAllowed checks the address itself, whatever callback the certificate came through (CVE-2026-46595).
func sourceAllowed(cert *ssh.Certificate, from netip.Addr) error {
	list, pinned := cert.CriticalOptions[sourceAddress]
	if !pinned {
		return nil
	}
	networks, err := parseSources(list)
	if err != nil {
		return refused("the certificate's source address is malformed", err)
	}
	from = from.Unmap()
	if from.Zone() == "" && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return nil
	}
	return fault.New(fault.Denied, "the certificate is pinned to another address", "connect from the address that you logged in from, or log in again")
}

func parseSources(list string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for s := range strings.SplitSeq(list, ",") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a network", s)
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is an IPv4 network in IPv6 clothing", s)
		}
		networks = append(networks, p)
	}
	return networks, nil
}

func agree(cert *ssh.Certificate, cluster, want, id string) error {
	switch {
	case cluster != want:
		return refused("the certificate is another cluster's", nil)
	case cert.KeyId != id:
		return refused("the certificate's id and identity disagree", nil)
	}
	return nil
}

// inTime holds for SSH and X.509 alike: the end is exclusive.
func inTime(from, until, now time.Time) error {
	switch {
	case now.Before(from):
		return fault.Newf(fault.Unauthenticated, "set the clock of this machine", "the certificate is valid only from %s", from.UTC().Format(time.RFC3339))
	case !now.Before(until):
		return fault.Newf(fault.Expired, "log in again with: stile login", "the certificate expired at %s", until.UTC().Format(time.RFC3339))
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

func parseKey(spki []byte) (*ecdsa.PublicKey, error) {
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
