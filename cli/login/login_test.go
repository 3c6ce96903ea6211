package login_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stile-dev/stile/cli/login"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/pkg/wire"
)

// api answers a login from a cluster in memory; bend makes the answer wrong in one place.
type api struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	bend    func(*wire.UserCredential)
	asked   wire.LoginIAMRequest
	keys    string
}

func (a *api) Now() time.Time { return time.Now() }

func (a *api) LoginChallenge(_ context.Context, keys string) (wire.Challenge, error) {
	a.keys = keys
	return wire.Challenge{Challenge: "YQ.bWFj", Cluster: a.cluster.ID, ExpiresAt: time.Now().Add(time.Minute)}, nil
}

func (a *api) LoginIAM(_ context.Context, r wire.LoginIAMRequest) (wire.UserCredential, error) {
	a.asked = r
	out := issue(a.t, a.cluster, r.SSHKey, r.TLSKey)
	if a.bend != nil {
		a.bend(&out)
	}
	return out, nil
}

// issue makes the answer for two keys, as the control plane would.
func issue(t *testing.T, c *tunneltest.Cluster, sshKey, tlsKey []byte) wire.UserCredential {
	t.Helper()
	now := time.Now()
	id := identity.User{
		Cluster: c.ID, Certificate: identity.NewID("crt", rand.Reader, now), Name: "ada", UID: "usr_0123456789abcdef",
		Roles: []string{"access"}, Versions: c.Versions(), IssuedAt: now.UTC(), SourceAddress: "192.0.2.7", // as a role with pin_source_ip has it
	}
	sshPub, errSSH := certs.ParseKey(sshKey)
	tlsPub, errTLS := certs.ParseKey(tlsKey)
	tmpl, err := certs.UserTemplate(certs.UserRequest{
		Identity: id, SSHKey: sshPub, TLSKey: tlsPub, Logins: []string{"ada", "ubuntu"}, From: now, Until: now.Add(time.Hour), Entropy: rand.Reader,
	})
	if errSSH != nil || errTLS != nil || err != nil {
		t.Fatal(errSSH, errTLS, err)
	}
	der, err := certstest.SignX509(tmpl.X509, tmpl.TLSKey, c.Keys[names.KeyUserX509])
	if err == nil {
		err = certstest.SignSSH(tmpl.SSH, c.Keys[names.KeyUserSSH])
	}
	if err != nil {
		t.Fatal(err)
	}
	return wire.UserCredential{
		Cluster: c.ID, User: id.Name, Roles: id.Roles, Logins: []string{"ada", "ubuntu"}, CertificateID: id.Certificate,
		SSHCertificate: tmpl.SSH.Marshal(), TLSCertificate: der, ExpiresAt: now.Add(time.Hour), Trust: []wire.SignedDocument{trust(c)}, Proxies: []string{"p:443"},
	}
}

func trust(c *tunneltest.Cluster) wire.SignedDocument {
	s := c.Documents()[0]
	return wire.SignedDocument{Kind: string(s.Kind), Body: s.Body, KeyID: s.KeyID, Signature: s.Signature}
}

func attempt(t *testing.T, home string, a *api) (*profile.Profile, error) {
	t.Helper()
	p, err := profile.Open(home, "https://api.example.com/prod")
	if err != nil {
		t.Fatal(err)
	}
	_, err = login.IAM(t.Context(), login.Config{
		API: a, Profile: p, TTL: time.Minute, Now: time.Now,
		AWS: aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLEEXAMPLE", "secret", "token")},
	})
	return p, err
}

func TestALoginIsKeptWithEverythingThatItNeeds(t *testing.T) {
	a := &api{t: t, cluster: tunneltest.New(t)}
	p, err := attempt(t, t.TempDir(), a)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := p.Current(time.Now())
	if err != nil || cred.User != "ada" || !cred.Allows("ubuntu") {
		t.Errorf("got %+v, %v", cred, err)
	}
	trust, err := p.Trusted()
	if err != nil || trust.Cluster != a.cluster.ID {
		t.Errorf("got %v, %v", trust.Cluster, err)
	}
	if proxies := p.Proxies(); len(proxies) != 1 {
		t.Errorf("got %v, %v", proxies, err)
	}
	if a.asked.TTLSeconds != 60 || a.keys != certs.KeysHash(a.asked.SSHKey, a.asked.TLSKey) || a.asked.STS.Authorization == "" {
		t.Errorf("asked with %+v", a.asked)
	}
	if cred.Keys.SSH.Equal(cred.Keys.TLS) {
		t.Error("both keys are the same")
	}
}

func TestAWrongAnswerIsRefusedAndLeavesNoTrace(t *testing.T) {
	other := tunneltest.New(t)
	for name, bend := range map[string]func(*testing.T, *api, *wire.UserCredential){
		"certificates over other keys": func(t *testing.T, a *api, u *wire.UserCredential) {
			*u = issue(t, a.cluster, tunneltest.SPKI(t, tunneltest.Key(t)), tunneltest.SPKI(t, tunneltest.Key(t)))
		},
		"the tls certificate of another login": func(t *testing.T, a *api, u *wire.UserCredential) {
			u.TLSCertificate = issue(t, a.cluster, a.asked.SSHKey, a.asked.TLSKey).TLSCertificate
		},
		"certificates of another cluster's authority": func(t *testing.T, a *api, u *wire.UserCredential) {
			x := issue(t, other, a.asked.SSHKey, a.asked.TLSKey)
			u.SSHCertificate, u.TLSCertificate = x.SSHCertificate, x.TLSCertificate
		},
		"another user's name around them": func(_ *testing.T, _ *api, u *wire.UserCredential) { u.User = "bob" },
		"logins that are not in it":       func(_ *testing.T, _ *api, u *wire.UserCredential) { u.Logins = append(u.Logins, "root") },
		"no login":                        func(_ *testing.T, _ *api, u *wire.UserCredential) { u.Logins = nil },
		"no trust document":               func(_ *testing.T, _ *api, u *wire.UserCredential) { u.Trust = nil },
		"an unsigned trust document":      func(_ *testing.T, _ *api, u *wire.UserCredential) { u.Trust[0].Signature = nil },
		"an altered trust document":       func(_ *testing.T, _ *api, u *wire.UserCredential) { u.Trust[0].Body[20] ^= 1 },
		"a bare key for a certificate":    func(_ *testing.T, _ *api, u *wire.UserCredential) { u.SSHCertificate = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			a := &api{t: t, cluster: tunneltest.New(t)}
			a.bend = func(u *wire.UserCredential) { bend(t, a, u) }
			_, err := attempt(t, home, a)
			if f := fault.From(err); f == nil || f.Code != fault.Unauthenticated || f.Hint == "" {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(home); !os.IsNotExist(err) {
				t.Errorf("%s was written", home)
			}
		})
	}
}

func TestAnotherClusterAtTheSameAddressIsRefusedAfterTheFirstLogin(t *testing.T) {
	home := t.TempDir()
	first := &api{t: t, cluster: tunneltest.New(t)}
	p, err := attempt(t, home, first)
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	second := &api{t: t, cluster: tunneltest.New(t)}
	if _, err := attempt(t, home, second); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("got %v", err)
	}
	if after, err := p.Load(); err != nil || after.CertificateID != before.CertificateID {
		t.Errorf("the login before is gone: %v", err)
	}
	if err := p.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := attempt(t, home, second); err != nil {
		t.Errorf("after forgetting: %v", err)
	}
	if trust, err := p.Trusted(); err != nil || trust.KeysFor(names.KeyRoot)[0].ID != document.KeyID(second.cluster.Keys[names.KeyRoot].Public()) {
		t.Errorf("the second cluster's root is not the one held: %v", err)
	}
}

func TestMissingAWSCredentialsAndRegionAreSaid(t *testing.T) {
	p, err := profile.Open(t.TempDir(), "https://api.example.com/prod")
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]aws.Config{
		"no region":      {Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLEEXAMPLE", "secret", "")},
		"no credentials": {Region: "eu-central-1"},
	} {
		a := &api{t: t, cluster: tunneltest.New(t)}
		_, err := login.IAM(t.Context(), login.Config{API: a, Profile: p, AWS: cfg, Now: time.Now})
		if f := fault.From(err); f.Hint == "" || f.Code == fault.Internal || a.asked.Challenge != "" {
			t.Errorf("%s: got %v, hint %q", name, err, f.Hint)
		}
	}
}
