package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// certified wraps a plain key into a certificate, so that it can stand where a signature key stands.
func certified(t *testing.T, key ssh.PublicKey, by ssh.Signer) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: uint64(now.Add(time.Hour).Unix())}
	if err := c.SignCert(rand.Reader, by); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSec_S01_ASignatureKeyThatIsACertificateIsNoAuthority(t *testing.T) {
	ca, mallory := newKey(t), newKey(t)
	caSigner, err := ssh.NewSignerFromSigner(ca)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ssh.NewSignerFromSigner(mallory)
	if err != nil {
		t.Fatal(err)
	}
	one := certified(t, caSigner.PublicKey(), own) // embeds the authority's key, signed by mallory
	two := certified(t, caSigner.PublicKey(), own)
	two.SignatureKey = one
	if two.Signature, err = own.Sign(rand.Reader, bytesForSigning(*two)); err != nil {
		t.Fatal(err)
	}
	genuine := certified(t, own.PublicKey(), caSigner) // mallory's real certificate of this authority
	for name, key := range map[string]ssh.PublicKey{"one level": one, "two levels": two, "a real certificate of mallory's": genuine, "mallory's plain key": own.PublicKey()} {
		t.Run(name, func(t *testing.T) {
			user, host := userTemplate(t, nil), hostTemplate(t, agent())
			for _, cert := range []*ssh.Certificate{user.SSH, host.SSH} {
				// x/crypto's SignCert refuses such an authority; mallory's own code doesn't.
				signed := *cert
				if err := signed.SignCert(rand.Reader, own); err != nil {
					t.Fatal(err)
				}
				signed.SignatureKey = key
				unsigned := bytesForSigning(signed)
				signed.Signature, err = own.Sign(rand.Reader, unsigned)
				if err != nil {
					t.Fatal(err)
				}
				refuseSSH(t, &signed, authority(ca))
				if again, err := ssh.ParsePublicKey(signed.Marshal()); err == nil {
					refuseSSH(t, again.(*ssh.Certificate), authority(ca))
				}
			}
		})
	}
}

// bytesForSigning is what the signature of a certificate covers: its wire form but for the signature.
func bytesForSigning(c ssh.Certificate) []byte {
	c.Signature = &ssh.Signature{}
	full := c.Marshal()
	return full[:len(full)-len(ssh.Marshal(struct{ S []byte }{ssh.Marshal(c.Signature)}))]
}

// refuseSSH wants both verifications to refuse, and as unauthenticated.
func refuseSSH(t *testing.T, cert *ssh.Certificate, ca identity.Authority) {
	t.Helper()
	if _, err := certs.VerifySSHUser(cert, ca, certs.SSHUse{Login: "ubuntu", Now: now}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("as a user's: %v", err)
	}
	if _, err := certs.VerifySSHHost(cert, ca, "node-1", now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("as a host's: %v", err)
	}
}

func TestSec_S03_SourceAddressIsCheckedByTheVerificationItself(t *testing.T) {
	ca := newKey(t)
	who := alice()
	who.SourceAddress = "192.0.2.7,2001:db8::/64"
	cert := signSSH(t, userTemplate(t, func(r *certs.UserRequest) { r.Identity = who }), ca)
	for from, ok := range map[string]bool{
		"192.0.2.7": true, "::ffff:192.0.2.7": true, "2001:db8::1": true,
		"192.0.2.8": false, "2001:db8:0:1::1": false, "::1": false, "2001:db8::1%eth0": false,
	} {
		_, err := certs.VerifySSHUser(cert, authority(ca), certs.SSHUse{Login: "ubuntu", Source: netip.MustParseAddr(from), Now: now})
		if ok && err != nil || !ok && !fault.Is(err, fault.Denied) {
			t.Errorf("from %s: %v", from, err)
		}
	}
	if _, err := certs.VerifySSHUser(cert, authority(ca), certs.SSHUse{Login: "ubuntu", Now: now}); !fault.Is(err, fault.Denied) {
		t.Errorf("without an address: %v", err)
	}
	for name, spoil := range map[string]func(*certs.Template){
		"the option taken out":  func(x *certs.Template) { x.SSH.CriticalOptions = nil },
		"the option widened":    func(x *certs.Template) { x.SSH.CriticalOptions["source-address"] = "0.0.0.0/0" },
		"the option malformed":  func(x *certs.Template) { x.SSH.CriticalOptions["source-address"] = "192.0.2.7," },
		"the option empty":      func(x *certs.Template) { x.SSH.CriticalOptions["source-address"] = "" },
		"the option in a range": func(x *certs.Template) { x.SSH.CriticalOptions["source-address"] = "192.0.2.7-9" },
	} {
		template := userTemplate(t, func(r *certs.UserRequest) { r.Identity = who })
		spoil(&template)
		if _, err := certs.VerifySSHUser(signSSH(t, template, ca), authority(ca),
			certs.SSHUse{Login: "ubuntu", Source: netip.MustParseAddr("192.0.2.7"), Now: now}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSec_S05_PrincipalsAreComparedWhole(t *testing.T) {
	ca := newKey(t)
	for _, c := range []struct{ principal, login string }{
		{"deploy,root", "root"}, {"deploy,root", "deploy"}, {"*", "root"}, {"ro?t", "root"}, {"Root", "root"}, {"root ", "root"}, {"root\x00x", "root"}, {"root", "roo"}, {"root", ""},
	} {
		cert := signSSH(t, userTemplate(t, func(r *certs.UserRequest) { r.Logins = []string{c.principal} }), ca)
		if _, err := certs.VerifySSHUser(cert, authority(ca), certs.SSHUse{Login: c.login, Now: now}); !fault.Is(err, fault.Denied) {
			t.Errorf("principal %q let in %q: %v", c.principal, c.login, err)
		}
	}
}

func TestSec_S06_NoPrincipalsMeansNobody(t *testing.T) {
	ca := newKey(t)
	cert := signSSH(t, userTemplate(t, func(r *certs.UserRequest) { r.Logins = nil }), ca)
	refuseSSH(t, cert, authority(ca))
	template := hostTemplate(t, agent())
	template.SSH.ValidPrincipals = nil
	refuseSSH(t, signSSH(t, template, ca), authority(ca))
}

func TestSec_S07_UnknownCriticalOptionsAreRefusedAndUnknownExtensionsIgnored(t *testing.T) {
	ca := newKey(t)
	host := hostTemplate(t, agent())
	host.SSH.CriticalOptions = map[string]string{"source-address": "0.0.0.0/0"} // known, for users
	refuseSSH(t, signSSH(t, host, ca), authority(ca))
	for _, option := range []string{"force-command", "verify-required", "x@example.com", "Source-Address", ""} {
		template := userTemplate(t, nil)
		template.SSH.CriticalOptions = map[string]string{option: "x"}
		refuseSSH(t, signSSH(t, template, ca), authority(ca))
		host := hostTemplate(t, agent())
		host.SSH.CriticalOptions = map[string]string{option: "x"}
		refuseSSH(t, signSSH(t, host, ca), authority(ca))
	}
	template := userTemplate(t, nil)
	template.SSH.Extensions["later@stile.dev"] = "whatever"
	if _, err := certs.VerifySSHUser(signSSH(t, template, ca), authority(ca), certs.SSHUse{Login: "ubuntu", Now: now}); err != nil {
		t.Error(err)
	}
}

func TestSec_S17_ForgedX509CertificatesAreRefused(t *testing.T) {
	ca, mallory := newKey(t), newKey(t)
	good := signX509(t, userTemplate(t, nil), ca)
	// A user's key that signs a further certificate: the user is no authority.
	leaf := newKey(t)
	holder := signX509(t, userTemplate(t, func(r *certs.UserRequest) { r.TLSKey = &leaf.PublicKey }), ca)
	below := signX509(t, userTemplate(t, nil), leaf)
	for name, chain := range map[string][][]byte{
		"no certificate":              nil,
		"an empty certificate":        {{}},
		"another authority":           signX509(t, userTemplate(t, nil), mallory),
		"two certificates":            {good[0], good[0]},
		"a leaf below a user's":       {below[0], holder[0]},
		"a leaf alone":                below,
		"trailing bytes":              {append(bytes.Clone(good[0]), 0)},
		"the authority's name forged": forgedIssuer(t, mallory, &ca.PublicKey),
		"a flipped bit":               {flip(good[0])},
	} {
		t.Run(name, func(t *testing.T) {
			if u, _, err := certs.VerifyX509User(chain, authority(ca), now); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("taken as %s: %v", u.Name, err)
			}
		})
	}
	other := authority(ca)
	other.Cluster = "another-cluster"
	if _, _, err := certs.VerifyX509User(good, other, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("another cluster's certificate: %v", err)
	}
	if _, _, err := certs.VerifyX509User(good, authority(), now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without any authority: %v", err)
	}
}

// forgedIssuer names the authority's key identifier and subject, and is signed by another key.
func forgedIssuer(t *testing.T, mallory *ecdsa.PrivateKey, ca *ecdsa.PublicKey) [][]byte {
	t.Helper()
	template := userTemplate(t, nil)
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "stile"}, PublicKey: &mallory.PublicKey, SubjectKeyId: []byte("stile")}
	template.X509.AuthorityKeyId = elliptic256(ca)
	der, err := x509.CreateCertificate(rand.Reader, template.X509, parent, template.TLSKey, mallory)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der}
}

func elliptic256(pub *ecdsa.PublicKey) []byte {
	b, _ := pub.Bytes()
	return b[:20]
}

func flip(der []byte) []byte {
	b := bytes.Clone(der)
	b[len(b)/2] ^= 1
	return b
}

func TestSec_S17_ContentsThatDisagreeAreRefusedThoughTheAuthoritySigned(t *testing.T) {
	ca := newKey(t)
	for name, spoil := range map[string]func(*certs.Template){
		"another subject": func(x *certs.Template) {
			x.X509.URIs = userTemplate(t, func(r *certs.UserRequest) { r.Identity.Name = "bob" }).X509.URIs
		},
		"two subjects":        func(x *certs.Template) { x.X509.URIs = append(x.X509.URIs, x.X509.URIs...) },
		"a DNS name":          func(x *certs.Template) { x.X509.DNSNames = []string{"a"} },
		"an address":          func(x *certs.Template) { x.X509.IPAddresses = append(x.X509.IPAddresses, []byte{1, 2, 3, 4}) },
		"no identity":         func(x *certs.Template) { x.X509.ExtraExtensions = nil },
		"an agent's identity": func(x *certs.Template) { x.X509.ExtraExtensions = hostTemplate(t, agent()).X509.ExtraExtensions },
		"an authority's mark": func(x *certs.Template) { x.X509.IsCA = true },
		"more key usage":      func(x *certs.Template) { x.X509.KeyUsage |= x509.KeyUsageKeyAgreement },
		"an authority's rights": func(x *certs.Template) {
			x.X509.IsCA, x.X509.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		},
		"server's use": func(x *certs.Template) { x.X509.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"any use":      func(x *certs.Template) { x.X509.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		"no use":       func(x *certs.Template) { x.X509.ExtKeyUsage = nil },
		"a critical extension": func(x *certs.Template) {
			x.X509.ExtraExtensions = append(x.X509.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			template := userTemplate(t, nil)
			spoil(&template)
			if u, _, err := certs.VerifyX509User(signX509(t, template, ca), authority(ca), now); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("taken as %s: %v", u.Name, err)
			}
		})
	}
}

// One authority key that signs everything, which it never does: even then no certificate passes for another purpose.
func TestSec_S35_ACertificateForOnePurposeIsRefusedForEveryOther(t *testing.T) {
	ca := newKey(t)
	a := authority(ca)
	chains := map[string][][]byte{
		"user":  signX509(t, userTemplate(t, nil), ca),
		"agent": signX509(t, hostTemplate(t, agent()), ca),
		"proxy": signX509(t, hostTemplate(t, proxy()), ca),
	}
	verify := map[string]func([][]byte) error{
		"user":  func(c [][]byte) error { _, _, err := certs.VerifyX509User(c, a, now); return err },
		"agent": func(c [][]byte) error { _, err := certs.VerifyX509Host(c, a, now, identity.KindAgent); return err },
		"proxy": func(c [][]byte) error { _, err := certs.VerifyX509Host(c, a, now, identity.KindProxy); return err },
	}
	for is, chain := range chains {
		for as, check := range verify {
			if err := check(chain); (err == nil) != (is == as) {
				t.Errorf("a certificate for a %s, used as a %s's: %v", is, as, err)
			}
		}
	}
	user, host := signSSH(t, userTemplate(t, nil), ca), signSSH(t, hostTemplate(t, agent()), ca)
	if _, err := certs.VerifySSHHost(user, a, "ubuntu", now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a user's SSH certificate as a host's: %v", err)
	}
	if _, err := certs.VerifySSHUser(host, a, certs.SSHUse{Login: "node-1", Now: now}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a host's SSH certificate as a user's: %v", err)
	}
}

func TestAnSSHCertificateThatWasAlteredIsRefused(t *testing.T) {
	ca := newKey(t)
	for name, alter := range map[string]func(*ssh.Certificate){
		"principals": func(c *ssh.Certificate) { c.ValidPrincipals = append(slices.Clone(c.ValidPrincipals), "root") },
		"validity":   func(c *ssh.Certificate) { c.ValidBefore += 3600 },
		"key":        func(c *ssh.Certificate) { c.Key = sshKey(t, &newKey(t).PublicKey) },
		"serial":     func(c *ssh.Certificate) { c.Serial++ },
		"key id":     func(c *ssh.Certificate) { c.KeyId = identity.NewID("crt", rand.Reader, now) },
		"signature": func(c *ssh.Certificate) {
			c.Signature = &ssh.Signature{Format: c.Signature.Format, Blob: flip(c.Signature.Blob)}
		},
		"algorithm": func(c *ssh.Certificate) {
			c.Signature = &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: c.Signature.Blob}
		},
		"no key": func(c *ssh.Certificate) { c.SignatureKey = nil },
		"no end": func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity },
	} {
		t.Run(name, func(t *testing.T) {
			cert := signSSH(t, userTemplate(t, nil), ca)
			alter(cert)
			refuseSSH(t, cert, authority(ca))
		})
	}
	if _, err := certs.VerifySSHUser(nil, authority(ca), certs.SSHUse{Login: "root", Now: now}); err == nil {
		t.Error("nothing was taken for a certificate")
	}
}

func TestAnSSHCertificateWhosePartsDisagreeIsRefused(t *testing.T) {
	ca := newKey(t)
	other := authority(ca)
	other.Cluster = "another-cluster"
	refuseSSH(t, signSSH(t, userTemplate(t, nil), ca), other)
	refuseSSH(t, signSSH(t, hostTemplate(t, agent()), ca), other)
	for _, template := range []certs.Template{userTemplate(t, nil), hostTemplate(t, agent())} {
		template.SSH.KeyId = identity.NewID("crt", rand.Reader, now)
		refuseSSH(t, signSSH(t, template, ca), authority(ca))
	}
	// A proxy has no SSH certificate; one that got hold of one is no node.
	claims, err := proxy().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	template := hostTemplate(t, agent())
	template.SSH.Extensions[names.SSHIdentity] = string(claims)
	who, err := identity.ParseHost(claims)
	if err != nil {
		t.Fatal(err)
	}
	template.SSH.KeyId, template.SSH.ValidPrincipals = who.Certificate, []string{who.ID}
	if _, err := certs.VerifySSHHost(signSSH(t, template, ca), authority(ca), who.ID, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a proxy as a node: %v", err)
	}
}

func TestAPrincipalThatTheHostsIdentityDoesNotNameIsRefused(t *testing.T) {
	ca := newKey(t)
	template := hostTemplate(t, agent())
	others := []string{"node-2", "node-2.stile", "node-1.other", "node-1.stile.stile", "node-1.", "NODE-1", "orders", "orders.stile", "stile"}
	template.SSH.ValidPrincipals = append(template.SSH.ValidPrincipals, others...)
	signed := signSSH(t, template, ca)
	for _, other := range others {
		if h, err := certs.VerifySSHHost(signed, authority(ca), other, now); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s is taken for %s: %v", h.ID, other, err)
		}
	}
}

// FuzzIdentity reads certificates whose identity extension is anything at all.
func FuzzIdentity(f *testing.F) {
	ca := newKey(f)
	good, err := alice().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	host, err := agent().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, host, nil, []byte("{}"), []byte(`{"name":"a","name":"b"}`), good[:len(good)-1], append(bytes.Clone(good), ' ', '{')} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		value, err := asn1.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, ExtraExtensions: []pkix.Extension{{Id: identity.OID, Value: value}},
		}
		if u, err := identity.ParseUser(claims); err == nil {
			again, err := u.Marshal()
			if err != nil {
				t.Fatalf("what was read can't be written: %v", err)
			}
			if _, err := identity.ParseUser(again); err != nil {
				t.Fatalf("what was written can't be read: %v", err)
			}
		}
		der, err := certstest.SignX509(template, &ca.PublicKey, ca)
		if err != nil {
			return
		}
		// The URI is missing: whatever the extension says, nobody comes of it.
		if u, _, err := certs.VerifyX509User([][]byte{der}, identity.Authority{Cluster: cluster, Keys: []crypto.PublicKey{&ca.PublicKey}}, now); err == nil {
			t.Errorf("taken as %s", u.Name)
		}
		if err := certs.LintX509(der); err == nil {
			t.Error("passed the lint")
		}
	})
}
