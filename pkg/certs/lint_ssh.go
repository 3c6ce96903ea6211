package certs

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// LintSSH applies the rules for SSH certificates to finished bytes in wire format. Errors are joined.
func LintSSH(wire []byte) error {
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return fmt.Errorf("the SSH certificate can't be read back: %w", err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return errors.New("this is a plain key, not an SSH certificate")
	}
	var faults []error
	for _, rule := range sshRules {
		if err := rule(cert); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// sshRules are the rules, one each.
var sshRules = []func(*ssh.Certificate) error{
	sshType, sshKeyKind, sshPrincipalsExist, sshPrincipalsLegal, sshPrincipalsUnique, sshHostPrincipals,
	sshValidity, sshOptions, sshExtensions, sshIdentity,
}

func sshType(c *ssh.Certificate) error {
	if c.CertType != ssh.UserCert && c.CertType != ssh.HostCert {
		return errors.New("the SSH certificate is neither for a user nor for a host")
	}
	return nil
}

func sshKeyKind(c *ssh.Certificate) error {
	if c.Key.Type() != ssh.KeyAlgoECDSA256 {
		return fmt.Errorf("the SSH key is %s; only ECDSA on P-256 is signed", c.Key.Type())
	}
	return nil
}

// sshPrincipalsExist: no principals would mean any (CVE-2024-7594).
func sshPrincipalsExist(c *ssh.Certificate) error {
	if len(c.ValidPrincipals) == 0 {
		return errors.New("the SSH certificate has no principals")
	}
	return nil
}

// sshPrincipalsLegal: verifiers split lists at commas (CVE-2026-35414) and expand wildcards.
// Those of a host are exactly what its identity says, see sshHostPrincipals, and may be as long as full names are.
func sshPrincipalsLegal(c *ssh.Certificate) error {
	if c.CertType == ssh.HostCert {
		return nil
	}
	for _, p := range c.ValidPrincipals {
		if !identity.ValidLogin(p) {
			return fmt.Errorf("%q can't be a principal: 1–64 letters, digits and _ . + $ - are allowed", p)
		}
	}
	return nil
}

func sshPrincipalsUnique(c *ssh.Certificate) error {
	sorted := slices.Sorted(slices.Values(c.ValidPrincipals))
	if len(slices.Compact(sorted)) != len(c.ValidPrincipals) {
		return errors.New("a principal appears twice")
	}
	return nil
}

// sshHostPrincipals: a host certificate is for the agent's id and its nodes, nothing else.
func sshHostPrincipals(c *ssh.Certificate) error {
	if c.CertType != ssh.HostCert {
		return nil
	}
	// sshIdentity reports an identity that can't be read.
	h, err := identity.ParseHost([]byte(c.Extensions[names.SSHIdentity]))
	if err == nil && !slices.Equal(c.ValidPrincipals, h.Principals()) {
		return errors.New("the host certificate's principals are not the agent's id and nodes")
	}
	return nil
}

func sshValidity(c *ssh.Certificate) error {
	from, until, ok := times(c)
	if !ok {
		return errors.New("the SSH certificate has no end, or ends before it begins")
	}
	limit := MaxUserLife
	if c.CertType == ssh.HostCert {
		limit = MaxHostLife
	}
	return validity(from, until, limit)
}

func sshOptions(c *ssh.Certificate) error {
	for name, value := range c.CriticalOptions {
		if name != sourceAddress || c.CertType != ssh.UserCert {
			return fmt.Errorf("the critical option %q is not known", name)
		}
		if _, err := ParseSourceAddress(value); err != nil {
			return fmt.Errorf("the source address is malformed: %w", err)
		}
	}
	return nil
}

func sshExtensions(c *ssh.Certificate) error {
	allowed := []string{names.SSHIdentity}
	if c.CertType == ssh.UserCert {
		allowed = append(allowed, "permit-pty") // nothing is forwarded
	}
	for name := range c.Extensions {
		if !slices.Contains(allowed, name) {
			return fmt.Errorf("the extension %q is not known", name)
		}
	}
	return nil
}

func sshIdentity(c *ssh.Certificate) error {
	id, err := certificateID(c.CertType == ssh.HostCert, []byte(c.Extensions[names.SSHIdentity]))
	if err != nil {
		return err
	}
	if c.KeyId != id {
		return errors.New("the SSH certificate's id is not the identity's")
	}
	return nil
}
