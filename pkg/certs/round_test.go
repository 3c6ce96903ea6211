package certs_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

func TestUserIdentityComesBackOutOfBothCertificates(t *testing.T) {
	ca, who := newKey(t), alice()
	template := userTemplate(t, func(r *certs.UserRequest) { r.Identity = who })
	lint(t, template)
	got, cert, err := certs.VerifyX509User(signX509(t, template, ca), authority(ca), now)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(who, got); d != "" {
		t.Error(d)
	}
	if !cert.NotAfter.Equal(now.Add(time.Hour)) || !cert.NotBefore.Equal(now.Add(-certs.Backdate)) {
		t.Errorf("valid from %s until %s", cert.NotBefore, cert.NotAfter)
	}
	for _, login := range []string{"ubuntu", "alice"} {
		got, err = certs.VerifySSHUser(signSSH(t, template, ca), authority(newKey(t), ca), certs.SSHUse{Login: login, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(who, got); d != "" {
			t.Error(d)
		}
	}
}

func TestHostIdentityComesBackOutOfBothCertificates(t *testing.T) {
	ca, who := newKey(t), agent()
	template := hostTemplate(t, who)
	lint(t, template)
	got, err := certs.VerifyX509Host(signX509(t, template, ca), authority(ca), now, identity.KindAgent)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(who, got); d != "" {
		t.Error(d)
	}
	for _, principal := range []string{who.ID, "node-1", "node-1.stile"} {
		got, err = certs.VerifySSHHost(signSSH(t, template, ca), authority(ca), principal, now)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(who, got); d != "" {
			t.Error(d)
		}
	}
	template = hostTemplate(t, proxy())
	if template.SSH != nil || lint(t, template).SSH() {
		t.Error("a proxy has an SSH certificate")
	}
	if _, err := certs.VerifyX509Host(signX509(t, template, ca), authority(ca), now, identity.KindProxy); err != nil {
		t.Error(err)
	}
}

func TestSerialNumbersComeFromTheGivenEntropy(t *testing.T) {
	template := userTemplate(t, func(r *certs.UserRequest) {
		r.Entropy = bytes.NewReader(bytes.Repeat([]byte{0xab}, 24))
	})
	if got := template.X509.SerialNumber.Text(16); got != strings.Repeat("ab", 16) {
		t.Errorf("X.509 serial %s", got)
	}
	if template.SSH.Serial != 0xabababababababab {
		t.Errorf("SSH serial %x", template.SSH.Serial)
	}
	_, err := certs.UserTemplate(certs.UserRequest{
		Identity: alice(), SSHKey: &newKey(t).PublicKey, TLSKey: &newKey(t).PublicKey,
		From: now, Until: now.Add(time.Hour), Entropy: bytes.NewReader([]byte("short")),
	})
	if err == nil {
		t.Error("made a template without enough entropy")
	}
}

func TestACertificateIsGoodFromThirtySecondsBeforeIssueUntilItsEndExclusive(t *testing.T) {
	ca := newKey(t)
	template := userTemplate(t, nil)
	chain, cert := signX509(t, template, ca), signSSH(t, template, ca)
	for _, c := range []struct {
		at   time.Time
		code fault.Code
	}{
		{now.Add(-31 * time.Second), fault.Unauthenticated},
		{now.Add(-30 * time.Second), ""},
		{now.Add(time.Hour - time.Nanosecond), ""},
		{now.Add(time.Hour), fault.Expired},
	} {
		_, _, err := certs.VerifyX509User(chain, authority(ca), c.at)
		_, also := certs.VerifySSHUser(cert, authority(ca), certs.SSHUse{Login: "ubuntu", Now: c.at})
		for _, err := range []error{err, also} {
			if c.code == "" && err != nil || c.code != "" && !fault.Is(err, c.code) {
				t.Errorf("at %s: %v", c.at, err)
			}
		}
	}
}

func TestSSHKeygenReadsWhatWeSign(t *testing.T) {
	ca := newKey(t)
	who := alice()
	who.SourceAddress = "192.0.2.0/24"
	template := userTemplate(t, func(r *certs.UserRequest) { r.Identity = who })
	list := keygenList(t, signSSH(t, template, ca))
	for _, want := range []string{
		"user certificate", who.Certificate, "ubuntu", "alice", "permit-pty", "source-address 192.0.2.0/24",
		"identity@stile.dev", "ecdsa-sha2-nistp256",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("ssh-keygen -L shows no %q in:\n%s", want, list)
		}
	}
	host := agent()
	list = keygenList(t, signSSH(t, hostTemplate(t, host), ca))
	for _, want := range []string{"host certificate", host.ID, "node-1", "node-1.stile"} {
		if !strings.Contains(list, want) {
			t.Errorf("ssh-keygen -L shows no %q in:\n%s", want, list)
		}
	}
}

func keygenList(t *testing.T, cert *ssh.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cert.pub")
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-L", "-f", path)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen (Debian: openssh-client): %v\n%s", err, out)
	}
	return string(out)
}

func TestStandardLibraryVerifiesTheSignature(t *testing.T) {
	ca := newKey(t)
	cert, err := x509.ParseCertificate(signX509(t, userTemplate(t, nil), ca)[0])
	if err != nil {
		t.Fatal(err)
	}
	parent := &x509.Certificate{PublicKey: &ca.PublicKey, PublicKeyAlgorithm: x509.ECDSA}
	if err := parent.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Error(err)
	}
}

func TestParseKeyTakesP256InItsOneEncoding(t *testing.T) {
	good, err := x509.MarshalPKIXPublicKey(&newKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certs.ParseKey(good); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "truncated": good[:len(good)-1], "trailing": append(bytes.Clone(good), 0)} {
		if _, err := certs.ParseKey(bad); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysHashTellsItsPartsApart(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range [][2]string{{"a", "b"}, {"b", "a"}, {"ab", ""}, {"", "ab"}, {"a", "bc"}, {"ab", "c"}} {
		h := certs.KeysHash([]byte(k[0]), []byte(k[1]))
		if seen[h] || len(h) != 43 {
			t.Errorf("KeysHash(%q) = %s", k, h)
		}
		seen[h] = true
	}
	if certs.RenewDigest("a", "b\nc") == certs.RenewDigest("a", "c") {
		t.Error("RenewDigest confuses its parts")
	}
}

func TestSourceAddressListsAreReadExactly(t *testing.T) {
	for list, ok := range map[string]bool{
		"192.0.2.1": true, "192.0.2.0/24,2001:db8::/32": true, "2001:db8::1": true, "0.0.0.0/0": true,
		"": false, "192.0.2.1,": false, "192.0.2.1 ,192.0.2.2": false, "fe80::1%eth0": false, "192.0.2.0/33": false, "::ffff:192.0.2.0/120": false, "host": false,
	} {
		if _, err := certs.ParseSourceAddress(list); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func BenchmarkUserCertificates(b *testing.B) {
	ca, r := newKey(b), certs.UserRequest{
		Identity: alice(), SSHKey: &newKey(b).PublicKey, TLSKey: &newKey(b).PublicKey,
		Logins: []string{"ubuntu"}, From: now, Until: now.Add(time.Hour), Entropy: rand.Reader,
	}
	for b.Loop() {
		t, err := certs.UserTemplate(r)
		if err != nil {
			b.Fatal(err)
		}
		l := lint(b, t)
		if _, err := l.SignX509(ca); err != nil {
			b.Fatal(err)
		}
		if _, err := l.SignSSH(ca); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifySSHUser(b *testing.B) {
	ca := newKey(b)
	cert, a, use := signSSH(b, userTemplate(b, nil), ca), authority(ca), certs.SSHUse{Login: "ubuntu", Source: netip.MustParseAddr("192.0.2.1"), Now: now}
	for b.Loop() {
		if _, err := certs.VerifySSHUser(cert, a, use); err != nil {
			b.Fatal(err)
		}
	}
}
