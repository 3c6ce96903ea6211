package entry_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/pkg/wire"
)

// issue makes the answer for two keys, as the control plane would.
func issue(t *testing.T, c *tunneltest.Cluster, keys entry.Keys) wire.UserCredential {
	t.Helper()
	now := time.Now()
	id := identity.User{
		Cluster: c.ID, Certificate: identity.NewID("crt", rand.Reader, now), Name: "ada", UID: "usr_0123456789abcdef",
		Roles: []string{"access"}, Versions: c.Versions(), IssuedAt: now.UTC(),
	}
	tmpl, err := certs.UserTemplate(certs.UserRequest{
		Identity: id, SSHKey: &keys.SSH.PublicKey, TLSKey: &keys.TLS.PublicKey, Logins: []string{"ubuntu"},
		From: now, Until: now.Add(time.Hour), Entropy: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	der, err := certstest.SignX509(tmpl.X509, tmpl.TLSKey, c.Keys[names.KeyUserX509])
	if err == nil {
		err = certstest.SignSSH(tmpl.SSH, c.Keys[names.KeyUserSSH])
	}
	if err != nil {
		t.Fatal(err)
	}
	return wire.UserCredential{
		Cluster: c.ID, User: id.Name, Roles: id.Roles, Logins: []string{"ubuntu"}, CertificateID: id.Certificate,
		SSHCertificate: tmpl.SSH.Marshal(), TLSCertificate: der, ExpiresAt: now.Add(time.Hour),
	}
}

func newKeys(t *testing.T) entry.Keys {
	t.Helper()
	keys, err := entry.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestAnAnswerIsCheckedAgainstOurKeysAndTheAuthorities(t *testing.T) {
	c, other := tunneltest.New(t), tunneltest.New(t)
	holder := document.NewHolder(c.ID, "")
	if err := holder.Accept(c.Documents()...); err != nil {
		t.Fatal(err)
	}
	keys, theirs := newKeys(t), newKeys(t)
	for name, bend := range map[string]func(*wire.UserCredential){
		"":                                 func(*wire.UserCredential) {},
		"for other keys":                   func(u *wire.UserCredential) { *u = issue(t, c, theirs) },
		"for another TLS key":              func(u *wire.UserCredential) { *u = issue(t, c, entry.Keys{SSH: keys.SSH, TLS: theirs.TLS}) },
		"for another SSH key":              func(u *wire.UserCredential) { *u = issue(t, c, entry.Keys{SSH: theirs.SSH, TLS: keys.TLS}) },
		"by another authority":             func(u *wire.UserCredential) { *u = issue(t, other, keys) },
		"an SSH certificate by another":    func(u *wire.UserCredential) { u.SSHCertificate = issue(t, other, keys).SSHCertificate },
		"an SSH certificate of another":    func(u *wire.UserCredential) { u.SSHCertificate = issue(t, c, keys).SSHCertificate },
		"another user around it":           func(u *wire.UserCredential) { u.User = "bob" },
		"another cluster around it":        func(u *wire.UserCredential) { u.Cluster = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11" },
		"another certificate's id":         func(u *wire.UserCredential) { u.CertificateID = "crt_01hv0000000000000000000000" },
		"logins that are not in it":        func(u *wire.UserCredential) { u.Logins = []string{"root", "ubuntu"} },
		"no login, and an SSH certificate": func(u *wire.UserCredential) { u.Logins = nil },
		"a login, and no SSH certificate":  func(u *wire.UserCredential) { u.SSHCertificate = nil },
	} {
		answer := issue(t, c, keys)
		bend(&answer)
		err := entry.Check(answer, keys, holder.Trust(), time.Now())
		if name == "" && err != nil {
			t.Errorf("a good answer: %v", err)
		}
		if name != "" && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bare := issue(t, c, keys)
	bare.Logins, bare.SSHCertificate = nil, nil // of somebody without a login
	if err := entry.Check(bare, keys, holder.Trust(), time.Now()); err != nil {
		t.Errorf("without a login: %v", err)
	}
}

func TestKeysAreTwoAndAreNeverPrinted(t *testing.T) {
	keys := newKeys(t)
	if keys.SSH.Equal(keys.TLS) {
		t.Error("both keys are the same")
	}
	if _, err := json.Marshal(keys); err == nil {
		t.Error("keys were encoded")
	}
	secret := keys.SSH.D.String() //nolint:staticcheck // to look for it
	for _, text := range []string{fmt.Sprint(keys), fmt.Sprintf("%+v", keys), fmt.Sprintf("%#v", keys)} {
		if strings.Contains(text, secret) {
			t.Error("a key was printed")
		}
	}
}
