package joiner_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/pkg/wire"
)

// authority is an API that signs what is asked with a test cluster's keys.
type authority struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	id      string

	mu      sync.Mutex
	joins   []wire.JoinTokenRequest
	refusal error
	change  func(*wire.HostCredential)
}

func (a *authority) JoinChallenge(_ context.Context, keys string) (wire.Challenge, error) {
	return wire.Challenge{Challenge: "challenge for " + keys, Cluster: a.cluster.ID}, nil
}

func (a *authority) JoinIAM(context.Context, wire.JoinIAMRequest) (wire.HostCredential, error) {
	return wire.HostCredential{}, errors.New("not asked for here")
}

func (a *authority) JoinToken(_ context.Context, r wire.JoinTokenRequest) (wire.HostCredential, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.joins = append(a.joins, r)
	if a.refusal != nil {
		return wire.HostCredential{}, a.refusal
	}
	return a.credential(r.Join), nil
}

// asked returns the requests so far.
func (a *authority) asked() []wire.JoinTokenRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.joins)
}

func (a *authority) credential(r wire.JoinRequest) wire.HostCredential {
	a.t.Helper()
	key := func(spki []byte) *ecdsa.PublicKey {
		k, err := certs.ParseKey(spki)
		if err != nil {
			a.t.Error(err)
		}
		return k
	}
	var targets []identity.Target
	for _, s := range r.Targets {
		target, err := identity.ParseTarget(s)
		if err != nil {
			a.t.Error(err)
		}
		targets = append(targets, target)
	}
	now := time.Now()
	host := identity.Host{
		Cluster: a.cluster.ID, Certificate: identity.NewID("crt", rand.Reader, now), Kind: identity.KindAgent, ID: a.id,
		ClusterName: tunneltest.Name, Targets: targets, Scope: "/", Method: "token", Token: r.Token, Versions: a.cluster.Versions(), IssuedAt: now.UTC(),
	}
	t, err := certs.HostTemplate(certs.HostRequest{
		Identity: host, SSHKey: key(r.SSHKey), TLSKey: key(r.TLSKey), From: now, Until: now.Add(24 * time.Hour), Entropy: rand.Reader,
	})
	if err != nil {
		a.t.Error(err)
	}
	der, err := certstest.SignX509(t.X509, t.TLSKey, a.cluster.Keys[names.KeyHostX509])
	if err != nil {
		a.t.Error(err)
	}
	if err := certstest.SignSSH(t.SSH, a.cluster.Keys[names.KeyHostSSH]); err != nil {
		a.t.Error(err)
	}
	w := wire.HostCredential{
		Cluster: a.cluster.ID, ID: a.id, Targets: r.Targets, CertificateID: host.Certificate, TLSCertificate: der, SSHCertificate: t.SSH.Marshal(),
		ExpiresAt: t.X509.NotAfter, Proxies: []string{"proxy:443"},
	}
	for _, s := range a.cluster.Documents() {
		if s.Kind == document.KindTrust {
			w.Trust = append(w.Trust, wire.SignedDocument{Kind: string(s.Kind), Body: s.Body, KeyID: s.KeyID, Signature: s.Signature})
		}
	}
	if a.change != nil {
		a.change(&w)
	}
	return w
}

// memory is a store of one credential.
type memory struct {
	held  bool
	saved wire.HostCredential
}

func (m *memory) Load() (wire.HostCredential, bool, error) { return m.saved, m.held, nil }
func (m *memory) Save(w wire.HostCredential) error         { m.saved, m.held = w, true; return nil }

func newAuthority(t *testing.T) *authority {
	return &authority{t: t, cluster: tunneltest.New(t), id: identity.NewID("agt", rand.Reader, time.Now())}
}

// renewer returns a renewer of an agent that joins a by a token's secret.
func renewer(t *testing.T, a *authority, keys joiner.Keys, documents joiner.Documents, store joiner.Store) *joiner.Renewer {
	t.Helper()
	r, err := joiner.NewRenewer(joiner.Config{
		API: a, Keys: keys, Documents: documents, Store: store,
		Claim: joiner.Claim{
			Kind: identity.KindAgent, Method: resource.MethodToken, Token: "nodes", Targets: []identity.Target{{Kind: "node", Name: "web-1"}, {Kind: "db", Name: "orders"}},
			Secret: func() (string, error) { return "the secret", nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newKeys(t *testing.T) joiner.Keys {
	return joiner.Keys{SSH: tunneltest.Key(t), TLS: tunneltest.Key(t)}
}

func TestARenewerJoinsOnceAndRenewsAtTwoThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		r := renewer(t, a, newKeys(t), document.NewHolder("", ""), nil)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); r.Run(ctx) }()
		pass(time.Second)
		first := r.Current()
		if first == nil || first.Host.ID != a.id || !r.Live() || first.SSH == nil {
			t.Fatalf("after the join: %+v", first)
		}
		pass(13 * time.Hour)
		if len(a.asked()) != 1 {
			t.Errorf("%d joins before half of its life was over", len(a.asked()))
		}
		pass(6 * time.Hour)
		if len(a.asked()) != 2 || r.Current() == first {
			t.Fatalf("%d joins at two thirds and a tenth", len(a.asked()))
		}
		if a.asked()[0].Secret != "the secret" || len(a.asked()[0].Join.Prior.Certificate) != 0 {
			t.Errorf("the join said %+v", a.asked()[0])
		}
		renewal := a.asked()[1]
		for _, said := range a.asked() {
			if d := cmp.Diff([]string{"node/web-1", "db/orders"}, said.Join.Targets); d != "" {
				t.Error(d)
			}
		}
		if !first.Host.Serves(identity.Target{Kind: "db", Name: "orders"}) || first.Host.Serves(identity.Target{Kind: "node", Name: "orders"}) {
			t.Errorf("the certificate is for %v", first.Host.Targets)
		}
		if renewal.Secret != "" {
			t.Error("a renewal used the secret up")
		}
		cert, err := x509.ParseCertificate(renewal.Join.Prior.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		digest := certs.RenewDigest(renewal.Join.Challenge, certs.KeysHash(renewal.Join.SSHKey, renewal.Join.TLSKey))
		if !ecdsa.VerifyASN1(cert.PublicKey.(*ecdsa.PublicKey), digest[:], renewal.Join.Prior.Signature) {
			t.Error("the renewal does not prove the credential held so far")
		}
		cancel()
		<-over
	})
}

// TestSec_S66_EveryJoinProvesBothKeys, the same ones as long as no answer has come.
func TestSec_S66_EveryJoinProvesBothKeys(t *testing.T) {
	a, keys := newAuthority(t), newKeys(t)
	r := renewer(t, a, keys, document.NewHolder("", ""), nil)
	a.refusal = errors.New("the answer is lost")
	if err := r.Renew(t.Context()); !errors.Is(err, a.refusal) {
		t.Fatal(err)
	}
	a.refusal = nil
	for range 2 { // the second is a renewal
		if err := r.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, said := range a.asked() {
		digest := certs.KeysDigest(said.Join.Challenge, certs.KeysHash(said.Join.SSHKey, said.Join.TLSKey))
		if !ecdsa.VerifyASN1(&keys.SSH.PublicKey, digest[:], said.Join.Holds.SSH) || !ecdsa.VerifyASN1(&keys.TLS.PublicKey, digest[:], said.Join.Holds.TLS) {
			t.Errorf("join %d does not prove its keys", i)
		}
	}
	if len(a.asked()) != 3 {
		t.Errorf("%d joins", len(a.asked()))
	}
}

// pass lets time pass in a bubble and everything come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAFailedRenewalLeavesTheCredentialInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		r := renewer(t, a, newKeys(t), document.NewHolder("", ""), nil)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); r.Run(ctx) }()
		pass(time.Second)
		first := r.Current()
		a.mu.Lock()
		a.refusal = fault.New(fault.Unavailable, "throttled", "try again")
		a.mu.Unlock()
		pass(20 * time.Hour)
		if r.Current() != first || !r.Live() || len(a.asked()) < 3 {
			t.Errorf("after failures: %d attempts", len(a.asked()))
		}
		f, next := r.Refusal()
		if in := time.Until(next); f == nil || f.Message != "throttled" || in < 0 || in > 2*time.Minute || !strings.HasPrefix(r.Next(), "renew again") {
			t.Errorf("refused for %v, and next in %s: %s", f, in, r.Next())
		}
		before := len(a.asked())
		pass(time.Until(next) - time.Millisecond)
		if n := len(a.asked()); n != before {
			t.Errorf("it came %d times before it said it would", n-before)
		}
		pass(2 * time.Millisecond)
		if n := len(a.asked()); n == before {
			t.Error("it did not come when it said it would")
		}
		for code, revocable := range map[fault.Code]bool{
			fault.Unauthenticated: true, fault.Denied: true, fault.Unavailable: false, fault.Quarantined: false,
		} {
			a.mu.Lock()
			a.refusal = fault.New(code, string(code), "do something")
			a.mu.Unlock()
			_, next = r.Refusal()
			pass(time.Until(next) + time.Millisecond)
			if f, _ := r.Refusal(); f.Code != code || strings.Contains(r.Next(), "unless it was revoked") != revocable {
				t.Errorf("refused as %s, it says: %s", f.Code, r.Next())
			}
		}
		a.mu.Lock()
		a.refusal = nil
		a.mu.Unlock()
		pass(6 * time.Minute)
		if r.Current() == first {
			t.Error("not renewed once the API was back")
		}
		if f, _ := r.Refusal(); f != nil {
			t.Errorf("refused for %v, and renewed", f)
		}
		cancel()
		<-over
	})
}

func TestAQuarantinedHostAsksRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		a.refusal = fault.New(fault.Quarantined, "another agent holds the name", "ask an administrator")
		r := renewer(t, a, newKeys(t), document.NewHolder("", ""), nil)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); r.Run(ctx) }()
		pass(10 * time.Hour)
		if n := len(a.asked()); n < 60 || n > 400 {
			t.Errorf("%d attempts in ten hours", n)
		}
		if r.Current() != nil || r.Live() {
			t.Error("it has a credential")
		}
		cancel()
		<-over
	})
}

func TestAKeptCredentialIsInForceWithoutTheControlPlane(t *testing.T) {
	a := newAuthority(t)
	keys, store, holder := newKeys(t), &memory{}, document.NewHolder("", "")
	if err := renewer(t, a, keys, holder, store).Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.saved.Trust = nil // documents are kept elsewhere
	again := renewer(t, nil, keys, holder, store)
	if c := again.Current(); c == nil || c.Host.ID != a.id || !again.Live() {
		t.Errorf("after a restart: %+v", c)
	}
	if c := renewer(t, a, newKeys(t), holder, store).Current(); c != nil {
		t.Error("a credential for other keys is in force")
	}
}

func TestAnAnswerThatDoesNotVerifyIsRefused(t *testing.T) {
	for name, change := range map[string]func(a *authority, w *wire.HostCredential){
		"another cluster's certificate": func(a *authority, w *wire.HostCredential) {
			_, c := tunneltest.New(a.t).Agent(nil, "web-1")
			w.TLSCertificate = c.TLS.Certificate[0]
		},
		"another agent's host certificate": func(a *authority, w *wire.HostCredential) {
			_, c := a.cluster.Agent(nil, "web-1")
			w.SSHCertificate = c.SSHCert.Marshal()
		},
		"a forged trust document": func(_ *authority, w *wire.HostCredential) {
			w.Trust[0].Body = append(slices.Clone(w.Trust[0].Body), ' ')
		},
		"no documents": func(_ *authority, w *wire.HostCredential) { w.Trust = nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			a.change = func(w *wire.HostCredential) { change(a, w) }
			r := renewer(t, a, newKeys(t), document.NewHolder("", ""), nil)
			if err := r.Renew(t.Context()); err == nil || r.Current() != nil {
				t.Errorf("taken: %v", err)
			}
		})
	}
}

// request is what an agent with these keys sends.
func request(t *testing.T, keys joiner.Keys) wire.JoinRequest {
	t.Helper()
	ssh, err := x509.MarshalPKIXPublicKey(keys.SSH.Public())
	if err != nil {
		t.Fatal(err)
	}
	tls, err := x509.MarshalPKIXPublicKey(keys.TLS.Public())
	if err != nil {
		t.Fatal(err)
	}
	return wire.JoinRequest{SSHKey: ssh, TLSKey: tls, Token: "nodes", Targets: []string{"node/web-1"}}
}

func TestACredentialIsForBothKeys(t *testing.T) {
	a, keys := newAuthority(t), newKeys(t)
	w, holder := a.credential(request(t, keys)), document.NewHolder("", "")
	if _, err := joiner.Open(w, identity.KindAgent, keys, holder, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	for name, mixed := range map[string]joiner.Keys{
		"another TLS key": {SSH: keys.SSH, TLS: tunneltest.Key(t)}, "another SSH key": {SSH: tunneltest.Key(t), TLS: keys.TLS},
	} {
		if c, err := joiner.Open(w, identity.KindAgent, mixed, holder, time.Now(), false); err == nil {
			t.Errorf("with %s it is the credential of %s", name, c.Host.ID)
		}
	}
}

// Both certificates of a credential are issued together: one from before, though of the same host and keys, may say
// something else.
func TestTheHostCertificateOfAnotherCredentialIsRefused(t *testing.T) {
	a, keys := newAuthority(t), newKeys(t)
	before, w := a.credential(request(t, keys)), a.credential(request(t, keys))
	w.SSHCertificate = before.SSHCertificate
	if c, err := joiner.Open(w, identity.KindAgent, keys, document.NewHolder("", ""), time.Now(), false); err == nil {
		t.Errorf("taken for the credential of %s", c.Host.ID)
	}
}

func TestAPinThatIsNotTheClustersRefusesTheJoin(t *testing.T) {
	a := newAuthority(t)
	root := document.KeyID(a.cluster.Keys[names.KeyRoot].Public())
	if err := renewer(t, a, newKeys(t), document.NewHolder("", root), nil).Renew(t.Context()); err != nil {
		t.Errorf("the right pin: %v", err)
	}
	err := renewer(t, a, newKeys(t), document.NewHolder("", "another"), nil).Renew(t.Context())
	if !errors.Is(err, document.ErrPin) {
		t.Errorf("another pin: %v", err)
	}
}
