package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// Lint signs both certificates with a throw-away key, reads the finished bytes back and applies every rule to
// them, so that what would leave is judged, not what was meant. It reports all faults at once, as
// [fault.BadInput]; nothing that fails here may be signed.
func (t Template) Lint() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a throw-away key: %w", err)
	}
	f := fault.New(fault.BadInput, "", "correct the role, mapping or token that the values come from")
	der, err := SignX509(t.X509, t.TLSKey, key)
	if err != nil {
		return fault.New(fault.BadInput, "the X.509 certificate can't be made", "check the key and the validity asked for").Because(err)
	}
	collect(f, "x509", LintX509(der))
	if t.SSH != nil {
		cert := *t.SSH
		if err := SignSSH(&cert, key); err != nil {
			return fault.New(fault.BadInput, "the SSH certificate can't be made", "check the key asked for").Because(err)
		}
		collect(f, "ssh", LintSSH(cert.Marshal()))
		collect(f, "pair", t.lintPair())
	}
	if len(f.Fields) == 0 {
		return nil
	}
	f.Message = "the certificate would be wrong: " + f.Fields[0].Reason
	return f
}

func collect(f *fault.Fault, path string, err error) {
	if err == nil {
		return
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			f.With(path, e.Error())
		}
		return
	}
	f.With(path, err.Error())
}

// lintPair holds both certificates against each other.
func (t Template) lintPair() error {
	tls, err := ssh.NewPublicKey(t.TLSKey)
	if err != nil {
		return errors.New("the TLS key is of the wrong kind")
	}
	if string(tls.Marshal()) == string(t.SSH.Key.Marshal()) {
		return errors.New("the SSH key and the TLS key are the same; make two")
	}
	if int64(t.SSH.ValidBefore) != t.X509.NotAfter.Unix() || int64(t.SSH.ValidAfter) != t.X509.NotBefore.Unix() {
		return errors.New("the two certificates are valid at different times")
	}
	return nil
}

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
func sshPrincipalsLegal(c *ssh.Certificate) error {
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
		return errors.New("a principal stands twice")
	}
	return nil
}

// sshHostPrincipals: a host certificate is for the agent's id and its names, nothing else.
func sshHostPrincipals(c *ssh.Certificate) error {
	if c.CertType != ssh.HostCert {
		return nil
	}
	h, err := identity.ParseHost([]byte(c.Extensions[names.SSHIdentity]))
	if err != nil {
		return nil // sshIdentity reports it
	}
	if !slices.Equal(c.ValidPrincipals, append([]string{h.ID}, h.Names...)) {
		return errors.New("the host certificate's principals are not the agent's id and names")
	}
	return nil
}

func sshValidity(c *ssh.Certificate) error {
	if c.ValidAfter > 1<<40 || c.ValidBefore > 1<<40 {
		return errors.New("the SSH certificate has no end")
	}
	limit := MaxUserLife
	if c.CertType == ssh.HostCert {
		limit = MaxHostLife
	}
	return validity(time.Unix(int64(c.ValidAfter), 0), time.Unix(int64(c.ValidBefore), 0), limit)
}

func validity(from, until time.Time, limit time.Duration) error {
	if from.Unix() <= 0 || !until.After(from) {
		return errors.New("the certificate ends before it begins")
	}
	if life := until.Sub(from); life > limit+Backdate+time.Second {
		return fmt.Errorf("the certificate would live for %s; %s are allowed", life-Backdate, limit)
	}
	return nil
}

func sshOptions(c *ssh.Certificate) error {
	for name, value := range c.CriticalOptions {
		if name != sourceAddress || c.CertType != ssh.UserCert {
			return fmt.Errorf("the critical option %q is not known", name)
		}
		if _, err := parseSources(value); err != nil {
			return fmt.Errorf("the source address is malformed: %w", err)
		}
	}
	return nil
}

func sshExtensions(c *ssh.Certificate) error {
	allowed := []string{names.SSHIdentity}
	if c.CertType == ssh.UserCert {
		allowed = append(allowed, "permit-pty", "permit-agent-forwarding", "permit-port-forwarding")
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

func certificateID(host bool, claims []byte) (string, error) {
	if host {
		h, err := identity.ParseHost(claims)
		return h.Certificate, err
	}
	u, err := identity.ParseUser(claims)
	return u.Certificate, err
}

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
	uri := ""
	if isHost(c) {
		h, e := identity.ParseHost(claims)
		uri, err = h.URI(), e
	} else {
		u, e := identity.ParseUser(claims)
		uri, err = u.URI(), e
	}
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
		return errors.New("the X.509 certificate holds a critical extension that is not known")
	}
	return nil
}
