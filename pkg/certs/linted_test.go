package certs_test

import (
	"crypto"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// counted is an authority that notes how often it is asked to sign.
type counted struct {
	crypto.Signer
	calls int
}

func (c *counted) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	c.calls++
	return c.Signer.Sign(r, digest, o)
}

// refusesToSign wants nothing to come of what passed no lint, and no authority to be asked.
func refusesToSign(t *testing.T, l certs.Linted) {
	t.Helper()
	ca := &counted{Signer: newKey(t)}
	if b, err := l.SignSSH(ca); err == nil || len(b) > 0 {
		t.Errorf("an SSH certificate of %d bytes was signed", len(b))
	}
	if b, err := l.SignX509(ca); err == nil || len(b) > 0 {
		t.Errorf("an X.509 certificate of %d bytes was signed", len(b))
	}
	if ca.calls != 0 {
		t.Errorf("the authority was asked %d times", ca.calls)
	}
}

// Only a template's lint makes a value that signs; a value that anyone can write down signs nothing.
func TestWhatWasNotLintedIsNotSigned(t *testing.T) {
	refusesToSign(t, certs.Linted{})
	if _, err := (certs.Linted{}).Digest(alice()); err == nil || !(certs.Linted{}).Until().IsZero() {
		t.Error("what was not linted says what it says")
	}
	failed, err := userTemplate(t, func(r *certs.UserRequest) { r.Logins = []string{"deploy,root"} }).Lint()
	if err == nil {
		t.Fatal("nothing was found")
	}
	refusesToSign(t, failed)
	if failed.SSH() {
		t.Error("a pair that failed says that it has an SSH certificate")
	}
}

func TestWhatWasLintedIsSignedAsItStands(t *testing.T) {
	ca, who := newKey(t), alice()
	who.SourceAddress, who.Critical = "192.0.2.7", []string{"source_address"} // whoever doesn't know it refuses the certificate
	l := lint(t, userTemplate(t, func(r *certs.UserRequest) { r.Identity = who }))
	if !l.SSH() || !l.Until().Equal(now.Add(time.Hour)) {
		t.Errorf("an SSH certificate: %t, until %s", l.SSH(), l.Until())
	}
	der, err := l.SignX509(ca)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := certs.VerifyX509User([][]byte{der}, authority(ca), now)
	if d := cmp.Diff(who, got); err != nil || d != "" {
		t.Error(err, d)
	}
	wire, err := l.SignSSH(ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	use := certs.SSHUse{Login: "ubuntu", Source: netip.MustParseAddr("192.0.2.7"), Now: now}
	if got, err = certs.VerifySSHUser(key.(*ssh.Certificate), authority(ca), use); err != nil || !cmp.Equal(who, got) {
		t.Errorf("%+v %v", got, err)
	}
}

// Between lint and signature nobody changes what was linted, whatever part of the template they keep hold of.
func TestWhatChangesAfterTheLintIsNotSigned(t *testing.T) {
	ca, who := newKey(t), alice()
	template := userTemplate(t, func(r *certs.UserRequest) { r.Identity = who })
	l := lint(t, template)
	digest, err := l.Digest(who)
	if err != nil {
		t.Fatal(err)
	}
	template.SSH.ValidPrincipals[0] = "root"
	template.SSH.Extensions["permit-agent-forwarding"] = ""
	template.SSH.ValidBefore++
	template.X509.NotAfter = template.X509.NotAfter.Add(time.Hour)
	template.X509.URIs[0].Path = "/user/mallory"
	template.X509.ExtraExtensions[0].Value[0] ^= 1
	template.X509.SerialNumber.SetInt64(1)
	*template.TLSKey = newKey(t).PublicKey
	if after, err := l.Digest(who); err != nil || after != digest {
		t.Errorf("the digest changed: %v", err)
	}
	der, err := l.SignX509(ca)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := certs.VerifyX509User([][]byte{der}, authority(ca), now); err != nil || !cmp.Equal(who, got) {
		t.Errorf("%+v %v", got, err)
	}
	if err := certs.LintX509(der); err != nil {
		t.Error(err)
	}
	wire, err := l.SignSSH(ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	cert := key.(*ssh.Certificate)
	if _, forwards := cert.Extensions["permit-agent-forwarding"]; forwards || slices.Contains(cert.ValidPrincipals, "root") || !l.Until().Equal(time.Unix(int64(cert.ValidBefore), 0)) {
		t.Errorf("signed is %v until %d with %v", cert.ValidPrincipals, cert.ValidBefore, cert.Extensions)
	}
}

func TestAPairWithoutAnSSHCertificateSignsNone(t *testing.T) {
	for name, template := range map[string]certs.Template{
		"a proxy":              hostTemplate(t, proxy()),
		"a user without login": userTemplate(t, func(r *certs.UserRequest) { r.SSHKey, r.Logins = nil, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			l, ca := lint(t, template), &counted{Signer: newKey(t)}
			if b, err := l.SignSSH(ca); err == nil || len(b) > 0 || ca.calls != 0 || l.SSH() {
				t.Errorf("%d bytes after %d signatures: %v", len(b), ca.calls, err)
			}
			if b, err := l.SignX509(ca); err != nil || len(b) == 0 || ca.calls != 1 {
				t.Errorf("%d bytes after %d signatures: %v", len(b), ca.calls, err)
			}
		})
	}
}

// The digest is written down before anything is signed: it tells apart whatever the certificates say.
func TestTheDigestIsOverAllThatTheCertificatesSay(t *testing.T) {
	who, sshKey, tlsKey := alice(), newKey(t), newKey(t)
	digest := func(change func(*certs.UserRequest)) string {
		t.Helper()
		r := certs.UserRequest{}
		l := lint(t, userTemplate(t, func(good *certs.UserRequest) {
			good.Identity, good.SSHKey, good.TLSKey = who, &sshKey.PublicKey, &tlsKey.PublicKey
			if change != nil {
				change(good)
			}
			r = *good
		}))
		d, err := l.Digest(r.Identity)
		if err != nil || len(d) != 64 {
			t.Fatalf("%q %v", d, err)
		}
		return d
	}
	first := digest(nil)
	if again := digest(nil); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	seen := map[string]string{first: "as it was"}
	for name, change := range map[string]func(*certs.UserRequest){
		"another identity":   func(r *certs.UserRequest) { r.Identity.Roles = []string{"editor"} },
		"another login":      func(r *certs.UserRequest) { r.Logins = []string{"ubuntu", "root"} },
		"no login":           func(r *certs.UserRequest) { r.SSHKey, r.Logins = nil, nil },
		"another SSH key":    func(r *certs.UserRequest) { r.SSHKey = &newKey(t).PublicKey },
		"another TLS key":    func(r *certs.UserRequest) { r.TLSKey = &newKey(t).PublicKey },
		"another end":        func(r *certs.UserRequest) { r.Until = r.Until.Add(time.Second) },
		"another beginning":  func(r *certs.UserRequest) { r.From = r.From.Add(-time.Second) },
		"both keys swapped":  func(r *certs.UserRequest) { r.SSHKey, r.TLSKey = r.TLSKey, r.SSHKey },
		"the other way said": func(r *certs.UserRequest) { r.Logins = []string{"alice", "ubuntu"} },
	} {
		d := digest(change)
		if was, there := seen[d]; there {
			t.Errorf("%s has the digest of %s", name, was)
		}
		seen[d] = name
	}
}

func TestAHostsPrincipalsAreItsIDAndItsNodesWithTheClustersName(t *testing.T) {
	host := agent()
	host.Targets = append(host.Targets, identity.Target{Kind: "node", Name: "a.b"})
	template := hostTemplate(t, host)
	lint(t, template)
	if d := cmp.Diff([]string{host.ID, "node-1", "node-1.stile", "a.b", "a.b.stile"}, template.SSH.ValidPrincipals); d != "" {
		t.Error(d)
	}
	// What serves no node is reached by no name in SSH: nothing but its id is left.
	host.Targets = []identity.Target{{Kind: "db", Name: "orders"}}
	template = hostTemplate(t, host)
	lint(t, template)
	if d := cmp.Diff([]string{host.ID}, template.SSH.ValidPrincipals); d != "" {
		t.Error(d)
	}
}

// The full name of a node with a long name in a cluster with a long one is longer than a login may be.
func TestANodeIsVerifiedByItsFullNameHoweverLong(t *testing.T) {
	ca, host := newKey(t), agent()
	long := "a23456789-123456789-123456789-123456789-123456789-123456789-123"
	host.Targets, host.ClusterName = []identity.Target{{Kind: "node", Name: long}}, long
	template := hostTemplate(t, host)
	lint(t, template)
	signed := signSSH(t, template, ca)
	for _, name := range []string{long, long + "." + long, host.ID} {
		if got, err := certs.VerifySSHHost(signed, authority(ca), name, now); err != nil || got.ID != host.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := certs.VerifySSHHost(signed, authority(ca), long+".stile", now); !fault.Is(err, fault.Denied) {
		t.Errorf("by another cluster's name: %v", err)
	}
}

func TestTheSourceAddressStandsInTheX509IdentityAndIsComparedWhole(t *testing.T) {
	ca, who := newKey(t), alice()
	who.SourceAddress = "192.0.2.7,2001:db8::/64"
	got, _, err := certs.VerifyX509User(signX509(t, userTemplate(t, func(r *certs.UserRequest) { r.Identity = who }), ca), authority(ca), now)
	if err != nil || got.SourceAddress != who.SourceAddress {
		t.Fatalf("%q %v", got.SourceAddress, err)
	}
	for from, ok := range map[string]bool{
		"192.0.2.7": true, "::ffff:192.0.2.7": true, "2001:db8::1": true,
		"192.0.2.8": false, "192.0.2.70": false, "2001:db8:0:1::1": false, "::1": false, "2001:db8::1%eth0": false,
	} {
		err := certs.SourceAllowed(got.SourceAddress, netip.MustParseAddr(from))
		if ok && err != nil || !ok && !fault.Is(err, fault.Denied) {
			t.Errorf("from %s: %v", from, err)
		}
	}
	if err := certs.SourceAllowed(got.SourceAddress, netip.Addr{}); !fault.Is(err, fault.Denied) {
		t.Errorf("from nowhere: %v", err)
	}
	for _, from := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.8")} {
		if err := certs.SourceAllowed("", from); err != nil {
			t.Errorf("pinned to nothing, from %s: %v", from, err)
		}
		for _, list := range []string{"192.0.2.7,", " ", "192.0.2.7-9", "somewhere"} {
			if err := certs.SourceAllowed(list, from); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("pinned to %q, from %s: %v", list, from, err)
			}
		}
	}
}
