package certs

import (
	"bytes"
	"crypto"
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

// VerifySSHUser verifies the SSH certificate whose key a user's client proved to have, for one login and the
// address that it comes from.
func VerifySSHUser(cert *ssh.Certificate, ca identity.Authority, use SSHUse) (identity.User, error) {
	u, err := IdentifySSHUser(cert, ca, use.Now)
	if err != nil {
		return identity.User{}, err
	}
	if err := namesPrincipal(cert, use.Login); err != nil {
		return identity.User{}, err
	}
	if err := sourceAllowed(cert, use.Source); err != nil {
		return identity.User{}, err
	}
	return u, nil
}

// IdentifySSHUser returns whose certificate this is, by authority, validity and shape alone. The result is good for nothing
// until VerifySSHUser has seen what it is used for.
func IdentifySSHUser(cert *ssh.Certificate, ca identity.Authority, now time.Time) (identity.User, error) {
	if err := verifySSH(cert, ca, ssh.UserCert, now); err != nil {
		return identity.User{}, err
	}
	u, err := identity.ParseUser([]byte(cert.Extensions[names.SSHIdentity]))
	if err != nil {
		return identity.User{}, refused("the certificate has no user's identity", err)
	}
	if u.SourceAddress != cert.CriticalOptions[sourceAddress] {
		return identity.User{}, refused("the certificate's source address and identity disagree", nil)
	}
	if err := agree(cert, u.Cluster, ca.Cluster, u.Certificate); err != nil {
		return identity.User{}, err
	}
	return u, nil
}

// SSHUse is what a user's SSH certificate is presented for.
type SSHUse struct {
	Login  string     // compared whole with the principals
	Source netip.Addr // the client's address; a certificate that is pinned needs it
	Now    time.Time
}

// VerifySSHHost verifies a node's SSH host certificate for one principal: an agent id, or a node's name alone or with the
// cluster's.
func VerifySSHHost(cert *ssh.Certificate, ca identity.Authority, principal string, now time.Time) (identity.Host, error) {
	if err := verifySSH(cert, ca, ssh.HostCert, now); err != nil {
		return identity.Host{}, err
	}
	if err := namesPrincipal(cert, principal); err != nil {
		return identity.Host{}, err
	}
	if len(cert.CriticalOptions) > 0 {
		return identity.Host{}, refused("the certificate has a critical option that is not known here", nil)
	}
	h, err := identity.ParseHost([]byte(cert.Extensions[names.SSHIdentity]))
	if err != nil {
		return identity.Host{}, refused("the certificate has no agent's identity", err)
	}
	if !slices.Contains(h.Principals(), principal) || h.Kind != identity.KindAgent {
		return identity.Host{}, refused("the certificate's principals and identity disagree", nil)
	}
	return h, agree(cert, h.Cluster, ca.Cluster, h.Certificate)
}

// verifySSH checks what all SSH certificates have in common.
func verifySSH(cert *ssh.Certificate, ca identity.Authority, kind uint32, now time.Time) error {
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
		return refused("the certificate names no principal", nil)
	}
	from, until, ok := times(cert)
	if !ok {
		return refused("the certificate's validity is malformed", nil)
	}
	if err := inTime(from, until, now); err != nil {
		return err
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: func() time.Time { return now }}
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return refused("the certificate is not valid", err)
	}
	return nil
}

// namesPrincipal compares a principal whole with those of the certificate.
func namesPrincipal(cert *ssh.Certificate, principal string) error {
	if principal == "" || !slices.Contains(cert.ValidPrincipals, principal) {
		return fault.Newf(fault.Denied, "use one of: "+strings.Join(cert.ValidPrincipals, ", "), "the certificate is not for %q", principal)
	}
	return nil
}

// times reads the validity; ok is false for a certificate whose end is missing or beyond reason.
func times(cert *ssh.Certificate) (from, until time.Time, ok bool) {
	if cert.ValidAfter > cert.ValidBefore || cert.ValidBefore > 1<<40 {
		return from, until, false
	}
	return time.Unix(int64(cert.ValidAfter), 0), time.Unix(int64(cert.ValidBefore), 0), true
}

// vouches compares byte for byte with plain keys. A signature key that is itself a certificate, which embeds
// such a key, doesn't count (CVE-2025-49825).
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
	if list == "" {
		return refused("the certificate's source address is malformed", nil)
	}
	return SourceAllowed(list, from)
}

// SourceAllowed reports whether an address is in the list of networks that a certificate is pinned to; "" is no pin.
func SourceAllowed(list string, from netip.Addr) error {
	if list == "" {
		return nil
	}
	networks, err := ParseSourceAddress(list)
	if err != nil {
		return refused("the certificate's source address is malformed", err)
	}
	from = from.Unmap()
	// No network contains an address with a zone (CVE-2024-45341), nor the zero address.
	if slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return nil
	}
	return fault.New(fault.Denied, "the certificate is pinned to another address", "connect from the address that you logged in from, or log in again")
}

// ParseSourceAddress reads a source-address option: networks or addresses, comma-separated. An address
// stands for itself alone; IPv6 zones are refused.
func ParseSourceAddress(list string) ([]netip.Prefix, error) {
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
			return nil, fmt.Errorf("%q is an IPv4 network written as IPv6", s)
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
