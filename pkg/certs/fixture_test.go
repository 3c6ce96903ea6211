package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/identity"
)

const cluster = "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11"

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func authority(keys ...*ecdsa.PrivateKey) identity.Authority {
	a := identity.Authority{Cluster: cluster}
	for _, k := range keys {
		a.Keys = append(a.Keys, crypto.PublicKey(&k.PublicKey))
	}
	return a
}

func alice() identity.User {
	return identity.User{
		Form: identity.Form{V: 1}, Cluster: cluster, Certificate: identity.NewID("crt", rand.Reader, now), Name: "alice@example.com", UID: "usr_0123abcd",
		Roles: []string{"access", "backend"}, Traits: map[string][]string{"logins": {"ubuntu", "alice"}},
		Versions: identity.Versions{Policy: identity.Version{Epoch: 1, Counter: 7}}, IssuedAt: now,
	}
}

func agent() identity.Host {
	return identity.Host{
		Form: identity.Form{V: 1}, Cluster: cluster, Certificate: identity.NewID("crt", rand.Reader, now), Kind: identity.KindAgent,
		ID: identity.NewID("agt", rand.Reader, now), ClusterName: "stile", Scope: "/",
		Targets: []identity.Target{{Kind: "node", Name: "node-1"}, {Kind: "db", Name: "orders"}},
		Labels:  map[string]string{"env": "dev"}, Method: "iam", Token: "demo", IssuedAt: now,
	}
}

func proxy() identity.Host {
	return identity.Host{
		Form: identity.Form{V: 1}, Cluster: cluster, Certificate: identity.NewID("crt", rand.Reader, now), Kind: identity.KindProxy,
		ID: identity.NewID("prx", rand.Reader, now), ClusterName: "stile", Scope: "/", Method: "iam", Token: "fleet", IssuedAt: now,
	}
}

// userTemplate is a good template for alice; change spoils the request first.
func userTemplate(t testing.TB, change func(*certs.UserRequest)) certs.Template {
	t.Helper()
	r := certs.UserRequest{
		Identity: alice(), SSHKey: &newKey(t).PublicKey, TLSKey: &newKey(t).PublicKey,
		Logins: []string{"ubuntu", "alice"}, From: now, Until: now.Add(time.Hour), Entropy: rand.Reader,
	}
	if change != nil {
		change(&r)
	}
	template, err := certs.UserTemplate(r)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func hostTemplate(t testing.TB, h identity.Host) certs.Template {
	t.Helper()
	r := certs.HostRequest{Identity: h, SSHKey: &newKey(t).PublicKey, TLSKey: &newKey(t).PublicKey, From: now, Until: now.Add(24 * time.Hour), Entropy: rand.Reader}
	if h.Kind == identity.KindProxy {
		r.SSHKey = nil
	}
	template, err := certs.HostTemplate(r)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// signX509 signs whatever the template says, without a lint.
func signX509(t testing.TB, template certs.Template, ca crypto.Signer) [][]byte {
	t.Helper()
	der, err := certstest.SignX509(template.X509, template.TLSKey, ca)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der}
}

// signSSH signs whatever the template says, without a lint, and gives it back as a peer would parse it.
func signSSH(t testing.TB, template certs.Template, ca crypto.Signer) *ssh.Certificate {
	t.Helper()
	if err := certstest.SignSSH(template.SSH, ca); err != nil {
		t.Fatal(err)
	}
	return reparse(t, template.SSH)
}

// lint wants a template to be good.
func lint(t testing.TB, template certs.Template) certs.Linted {
	t.Helper()
	l, err := template.Lint()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func reparse(t testing.TB, cert *ssh.Certificate) *ssh.Certificate {
	t.Helper()
	key, err := ssh.ParsePublicKey(cert.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ssh.Certificate)
}
