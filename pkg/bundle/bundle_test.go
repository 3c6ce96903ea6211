package bundle_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
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

func v(counter uint64) identity.Version { return identity.Version{Epoch: 1, Counter: counter} }

// keyring is what rotate keeps: private keys and the states that the next trust document will name.
type keyring struct {
	t    testing.TB
	keys []bundle.Key
	priv map[string]*ecdsa.PrivateKey
}

func newKeyring(t testing.TB) *keyring { return &keyring{t: t, priv: map[string]*ecdsa.PrivateKey{}} }

// add makes a key and gives its private half.
func (k *keyring) add(purpose, state string) *ecdsa.PrivateKey {
	k.t.Helper()
	p := newKey(k.t)
	key, err := bundle.NewKey(purpose, state, &p.PublicKey)
	if err != nil {
		k.t.Fatal(err)
	}
	k.keys = append(k.keys, key)
	k.priv[key.ID] = p
	return p
}

// set changes a key's state; "" takes it out.
func (k *keyring) set(p *ecdsa.PrivateKey, state string) {
	var kept []bundle.Key
	for _, key := range k.keys {
		if key.ID == bundle.KeyID(&p.PublicKey) {
			if key.State = state; state == "" {
				continue
			}
		}
		kept = append(kept, key)
	}
	k.keys = kept
}

func (k *keyring) trust(counter uint64, root *ecdsa.PrivateKey) bundle.Signed {
	k.t.Helper()
	return seal(k.t, bundle.KindTrust, bundle.Trust{Cluster: cluster, Name: "stile", Version: v(counter), IssuedAt: now, Keys: k.keys}, root)
}

func seal(t testing.TB, kind bundle.Kind, body any, key crypto.Signer) bundle.Signed {
	t.Helper()
	s, err := bundle.Seal(kind, body, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sealRaw signs bytes as they are.
func sealRaw(t testing.TB, kind bundle.Kind, body string, key *ecdsa.PrivateKey) bundle.Signed {
	t.Helper()
	digest := bundle.Digest(kind, []byte(body))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return bundle.Signed{Kind: kind, Body: []byte(body), KeyID: bundle.KeyID(&key.PublicKey), Signature: sig}
}

func policy(counter uint64) bundle.Policy {
	return bundle.Policy{Form: bundle.Form{V: 1}, Cluster: cluster, Version: v(counter), IssuedAt: now, Input: 4, Roles: access.Presets(), MaxPolicyAge: access.Duration(24 * time.Hour)}
}

func revocations(counter uint64, at time.Time) bundle.Revocations {
	return bundle.Revocations{Cluster: cluster, Version: v(counter), IssuedAt: at}
}

// world is a cluster with one key for each of two purposes and a holder that has the first trust document.
type world struct {
	ring         *keyring
	root, policy *ecdsa.PrivateKey
	first        bundle.Signed
	holder       *bundle.Holder
}

func newWorld(t testing.TB) world {
	t.Helper()
	w := world{ring: newKeyring(t)}
	w.root, w.policy = w.ring.add(names.KeyRoot, bundle.StateActive), w.ring.add(names.KeyPolicy, bundle.StateActive)
	w.first = w.ring.trust(1, w.root)
	w.holder = bundle.NewHolder(cluster, bundle.KeyID(&w.root.PublicKey))
	accept(t, w.holder, w.first)
	return w
}

func accept(t testing.TB, h *bundle.Holder, documents ...bundle.Signed) {
	t.Helper()
	if err := h.Accept(documents...); err != nil {
		t.Fatal(err)
	}
}

func refuse(t testing.TB, h *bundle.Holder, want error, documents ...bundle.Signed) {
	t.Helper()
	before := h.Versions()
	if err := h.Accept(documents...); !errors.Is(err, want) {
		t.Errorf("Accept gave %v, want %v", err, want)
	}
	if d := cmp.Diff(before, h.Versions()); d != "" {
		t.Error("a refused document changed what is in force:", d)
	}
}

// Of two proxies one is slower: what it pushes is refused as ever, but it is nobody's attack.
func TestADocumentThatWasOvertakenIsToldFromAnOldOne(t *testing.T) {
	w := newWorld(t)
	current := policy(5)
	accept(t, w.holder, seal(t, bundle.KindPolicy, current, w.policy), seal(t, bundle.KindRevocations, revocations(9, now), w.policy))
	at := func(counter uint64, issued time.Time) bundle.Signed {
		return seal(t, bundle.KindRevocations, revocations(counter, issued), w.policy)
	}
	unsigned := at(8, now)
	unsigned.Signature = nil
	other := at(9, now.Add(-time.Second)) // a second one of the version that is held
	for name, c := range map[string]struct {
		documents []bundle.Signed
		overtaken bool
	}{
		"some seconds older":              {[]bundle.Signed{at(8, now.Add(-9*time.Second))}, true},
		"two of them":                     {[]bundle.Signed{at(7, now.Add(-2*time.Second)), at(8, now.Add(-time.Second))}, true},
		"older than a push may take":      {[]bundle.Signed{at(8, now.Add(-10*time.Second))}, false},
		"a lower version of a later time": {[]bundle.Signed{at(8, now.Add(time.Second))}, false},
		"another of one version":          {[]bundle.Signed{other}, false},
		"beside one that is unsigned":     {[]bundle.Signed{at(8, now.Add(-time.Second)), unsigned}, false},
	} {
		err := w.holder.Accept(c.documents...)
		if err == nil || bundle.Overtaken(err) != c.overtaken || name != "beside one that is unsigned" && !errors.Is(err, bundle.ErrOlder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.holder.Versions(); got.Revocations != v(9) {
		t.Errorf("%+v", got)
	}
}

func TestDigestCarriesTheKind(t *testing.T) {
	if got, want := bundle.Digest(bundle.KindPolicy, []byte("{}")), sha256.Sum256([]byte("stile-policy-v1\n{}")); got != want {
		t.Errorf("%x", got)
	}
}

func TestPolicyAndRevocationsAreTakenUpward(t *testing.T) {
	w := newWorld(t)
	five := seal(t, bundle.KindPolicy, policy(5), w.policy)
	accept(t, w.holder, five, seal(t, bundle.KindRevocations, revocations(9, now), w.policy))
	if d := cmp.Diff(policy(5), w.holder.Policy()); d != "" {
		t.Error(d)
	}
	if got := w.holder.Versions(); got.Policy != v(5) || got.Revocations != v(9) || got.Trust != v(1) {
		t.Errorf("%+v", got)
	}
	accept(t, w.holder, five) // again: held already
	refuse(t, w.holder, bundle.ErrOlder, seal(t, bundle.KindPolicy, policy(4), w.policy))
	refuse(t, w.holder, bundle.ErrOlder, seal(t, bundle.KindRevocations, revocations(8, now), w.policy))
	other := policy(5)
	other.Input = 99
	refuse(t, w.holder, bundle.ErrOlder, seal(t, bundle.KindPolicy, other, w.policy)) // another of the same version
	next := policy(1)
	next.Version = identity.Version{Epoch: 2, Counter: 1}
	accept(t, w.holder, seal(t, bundle.KindPolicy, next, w.policy)) // a new epoch begins again
	if got := w.holder.Documents(); len(got) != 3 {
		t.Errorf("%d documents are held", len(got))
	}
}

func TestARefusedDocumentDoesNotHoldBackTheLocksBehindIt(t *testing.T) {
	w := newWorld(t)
	accept(t, w.holder, seal(t, bundle.KindPolicy, policy(5), w.policy))
	locks := revocations(1, now)
	locks.Locks = []bundle.Lock{{ID: "lck_1", Target: "user", Value: "alice"}}
	err := w.holder.Accept(w.ring.trust(2, newKey(t)), seal(t, bundle.KindPolicy, policy(4), w.policy), seal(t, bundle.KindRevocations, locks, w.policy))
	if !errors.Is(err, bundle.ErrOlder) || !errors.Is(err, bundle.ErrRetired) {
		t.Errorf("%v", err)
	}
	if err := w.holder.State().Standing(identity.User{Name: "alice"}, bundle.Use{Now: now}); !fault.Is(err, fault.Denied) {
		t.Errorf("the lock was held back: %v", err)
	}
}

func TestDocumentsAreRefusedForEachReason(t *testing.T) {
	w := newWorld(t)
	good := seal(t, bundle.KindPolicy, policy(5), w.policy)
	other := policy(5)
	other.Cluster = "other"
	change := func(f func(*bundle.Signed)) bundle.Signed {
		s := good
		s.Body, s.Signature = append([]byte(nil), good.Body...), append([]byte(nil), good.Signature...)
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		document bundle.Signed
		want     error
	}{
		"unsigned":                      {change(func(s *bundle.Signed) { s.Signature = nil }), bundle.ErrUnsigned},
		"without a key id":              {change(func(s *bundle.Signed) { s.KeyID = "" }), bundle.ErrUnsigned},
		"altered by a bit":              {change(func(s *bundle.Signed) { s.Body[len(s.Body)/2] ^= 1 }), bundle.ErrSignature},
		"altered by a space":            {change(func(s *bundle.Signed) { s.Body = append(s.Body, ' ') }), bundle.ErrSignature},
		"with another's signature":      {change(func(s *bundle.Signed) { s.Signature[len(s.Signature)-1] ^= 1 }), bundle.ErrSignature},
		"called another kind":           {change(func(s *bundle.Signed) { s.Kind = bundle.KindRevocations }), bundle.ErrSignature},
		"called an unknown kind":        {change(func(s *bundle.Signed) { s.Kind = "keys" }), bundle.ErrMalformed},
		"signed by a stranger":          {seal(t, bundle.KindPolicy, policy(5), newKey(t)), bundle.ErrRetired},
		"signed by root":                {seal(t, bundle.KindPolicy, policy(5), w.root), bundle.ErrPurpose},
		"another cluster's":             {seal(t, bundle.KindPolicy, other, w.policy), bundle.ErrCluster},
		"trailing data":                 {sealRaw(t, bundle.KindPolicy, string(good.Body)+"{}", w.policy), bundle.ErrMalformed},
		"another form":                  {sealRaw(t, bundle.KindPolicy, strings.Replace(string(good.Body), `"v":1`, `"v":2`, 1), w.policy), bundle.ErrMalformed},
		"no form":                       {sealRaw(t, bundle.KindPolicy, strings.Replace(string(good.Body), `"v":1,`, ``, 1), w.policy), bundle.ErrMalformed},
		"a field in another case":       {sealRaw(t, bundle.KindPolicy, `{"Cluster":"`+cluster+`",`+string(good.Body[1:]), w.policy), bundle.ErrMalformed},
		"a doubled field":               {sealRaw(t, bundle.KindPolicy, `{"cluster":"`+cluster+`",`+string(good.Body[1:]), w.policy), bundle.ErrMalformed},
		"not JSON":                      {sealRaw(t, bundle.KindPolicy, "policy", w.policy), bundle.ErrMalformed},
		"empty":                         {sealRaw(t, bundle.KindPolicy, "", w.policy), bundle.ErrMalformed},
		"revocations that are too much": {sealRaw(t, bundle.KindRevocations, strings.Repeat(" ", bundle.MaxRevocations+1), w.policy), bundle.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) { refuse(t, w.holder, c.want, c.document) })
	}
}

// A body that can't be parsed gives ErrMalformed only when its signature is good: without one the parser is not reached.
func TestPolicyIsVerifiedBeforeItIsParsed(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{"not JSON", strings.Repeat("[", 1<<20), `{"roles":` + strings.Repeat("[", 1<<19)} {
		for _, kind := range []bundle.Kind{bundle.KindPolicy, bundle.KindRevocations} {
			if len(body) > kind.Limit() {
				continue
			}
			signed := sealRaw(t, kind, body, w.policy)
			refuse(t, w.holder, bundle.ErrMalformed, signed)
			signed.Signature = sealRaw(t, kind, "{}", w.policy).Signature
			if err := w.holder.Accept(signed); !errors.Is(err, bundle.ErrSignature) || errors.Is(err, bundle.ErrMalformed) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestOnePinSeesTwoRootRotationsThrough(t *testing.T) {
	r := newKeyring(t)
	a, p := r.add(names.KeyRoot, bundle.StateActive), r.add(names.KeyPolicy, bundle.StateActive)
	chain := []bundle.Signed{r.trust(1, a)}
	rotate := func(counter uint64, from *ecdsa.PrivateKey) *ecdsa.PrivateKey {
		to := r.add(names.KeyRoot, bundle.StateNext)
		chain = append(chain, r.trust(counter, from))
		r.set(from, bundle.StateRetiring)
		r.set(to, bundle.StateActive)
		chain = append(chain, r.trust(counter+1, to))
		r.set(from, "")
		chain = append(chain, r.trust(counter+2, to))
		return to
	}
	b := rotate(2, a)
	c := rotate(5, b)
	pinA, pinB, pinC := bundle.KeyID(&a.PublicKey), bundle.KeyID(&b.PublicKey), bundle.KeyID(&c.PublicKey)

	for _, pin := range []string{pinA, pinB, pinC, ""} {
		got, err := bundle.OpenTrust(chain, pin)
		if err != nil {
			t.Fatalf("pin %s: %v", pin, err)
		}
		if got.Version != v(7) {
			t.Errorf("pin %s: version %v", pin, got.Version)
		}
	}
	// One who began later is sent the whole chain too.
	late := bundle.NewHolder(cluster, pinB)
	accept(t, late, chain[:5]...)
	accept(t, late, chain...)
	if late.Trust().Version != v(7) || len(late.Chain()) >= len(chain) {
		t.Errorf("one who began at the second root: version %v of %d", late.Trust().Version, len(late.Chain()))
	}
	// One who slept through both, and one who slept through the second, catch up with what they hold.
	for awake := 1; awake <= len(chain); awake++ {
		h := bundle.NewHolder(cluster, pinA)
		accept(t, h, chain[:awake]...)
		accept(t, h, chain...)
		if h.Trust().Version != v(7) || len(h.Chain()) != len(chain) {
			t.Errorf("after sleeping from %d: version %v of %d", awake, h.Trust().Version, len(h.Chain()))
		}
	}
	h := bundle.NewHolder(cluster, pinA)
	accept(t, h, chain...)
	refuse(t, h, bundle.ErrRetired, r.trust(8, a)) // a retired root signs no more
	refuse(t, h, bundle.ErrRetired, r.trust(8, b))
	refuse(t, h, bundle.ErrRetired, r.trust(8, newKey(t)))
	refuse(t, h, bundle.ErrPurpose, r.trust(8, p))
	refuse(t, h, bundle.ErrOlder, r.trust(6, c))

	gap := bundle.NewHolder(cluster, pinA)
	accept(t, gap, chain[0])
	refuse(t, gap, bundle.ErrRetired, chain[4:]...) // without the links in between
	if _, err := bundle.OpenTrust(chain, bundle.KeyID(&p.PublicKey)); !errors.Is(err, bundle.ErrPin) {
		t.Errorf("pinned to a policy key: %v", err)
	}
	if _, err := bundle.OpenTrust(nil, pinA); err == nil {
		t.Error("trusted nothing at all")
	}
}

func TestALinkCarriesOverToARootThatNobodyKnewOf(t *testing.T) {
	r := newKeyring(t)
	a := r.add(names.KeyRoot, bundle.StateActive)
	first := r.trust(1, a)
	r.set(a, bundle.StateRetiring)
	b := r.add(names.KeyRoot, bundle.StateActive)
	second := r.trust(2, b)
	h := bundle.NewHolder(cluster, bundle.KeyID(&a.PublicKey))
	accept(t, h, first)
	refuse(t, h, bundle.ErrRetired, second)
	forged, err := bundle.SealLink(second, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, h, bundle.ErrRetired, forged)
	forged.Link.KeyID = bundle.KeyID(&a.PublicKey)
	refuse(t, h, bundle.ErrSignature, forged)
	linked, err := bundle.SealLink(second, a)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, h, linked)
	if _, err := bundle.OpenTrust([]bundle.Signed{linked}, bundle.KeyID(&a.PublicKey)); err != nil {
		t.Errorf("starting from the link: %v", err)
	}
	if _, err := bundle.SealLink(seal(t, bundle.KindPolicy, policy(1), b), a); err == nil {
		t.Error("linked a policy document")
	}
}

func TestATrustDocumentThatMakesItsOwnRootIsRefusedByThePin(t *testing.T) {
	w := newWorld(t)
	evil := newKeyring(t)
	mallory := evil.add(names.KeyRoot, bundle.StateActive)
	pin := bundle.KeyID(&w.root.PublicKey)
	refuse(t, bundle.NewHolder(cluster, pin), bundle.ErrPin, evil.trust(9, mallory))
	refuse(t, w.holder, bundle.ErrRetired, evil.trust(9, mallory))
	claimed := evil.trust(9, mallory)
	claimed.KeyID = pin
	refuse(t, bundle.NewHolder(cluster, pin), bundle.ErrRetired, claimed)
	named := evil.keys
	named[0].ID = pin // a key under another's name
	refuse(t, bundle.NewHolder(cluster, pin), bundle.ErrMalformed, func() bundle.Signed {
		s := evil.trust(9, mallory)
		s.KeyID = pin
		return s
	}())
	refuse(t, bundle.NewHolder("another", pin), bundle.ErrCluster, w.first)
}

func TestARootThatIsRetiringCannotMakeItselfActiveAgain(t *testing.T) {
	w := newWorld(t)
	next := w.ring.add(names.KeyRoot, bundle.StateNext)
	accept(t, w.holder, w.ring.trust(2, w.root))
	w.ring.set(w.root, bundle.StateRetiring)
	w.ring.set(next, bundle.StateActive)
	accept(t, w.holder, w.ring.trust(3, next))
	w.ring.set(w.root, bundle.StateActive)
	back := w.ring.trust(4, w.root)
	refuse(t, w.holder, bundle.ErrRetired, back)
	linked, err := bundle.SealLink(back, w.root)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, w.holder, bundle.ErrRetired, linked)
}

func TestTheRootOfOneClusterSignsForNoOther(t *testing.T) {
	w := newWorld(t)
	refuse(t, w.holder, bundle.ErrCluster, seal(t, bundle.KindTrust,
		bundle.Trust{Cluster: "another", Name: "stile", Version: v(2), IssuedAt: now, Keys: w.ring.keys}, w.root))
}

func TestTrustDocumentsWithFaultyKeysAreRefused(t *testing.T) {
	w := newWorld(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.NewKey(names.KeyPolicy, bundle.StateActive, &p384.PublicKey); err == nil {
		t.Error("described a key on P-384")
	}
	for name, keys := range map[string][]bundle.Key{
		"one key for two purposes": append(w.ring.keys, bundle.Key{Purpose: names.KeyUserSSH, ID: w.ring.keys[0].ID, State: bundle.StateActive, Public: w.ring.keys[0].Public}),
		"an unknown state":         append(w.ring.keys, bundle.Key{Purpose: names.KeyUserSSH, ID: "x", State: "retired", Public: w.ring.keys[0].Public}),
		"a key that is none":       append(w.ring.keys, bundle.Key{Purpose: names.KeyUserSSH, ID: "x", State: bundle.StateActive, Public: []byte("x")}),
	} {
		t.Run(name, func(t *testing.T) {
			s := seal(t, bundle.KindTrust, bundle.Trust{Cluster: cluster, Name: "stile", Version: v(2), IssuedAt: now, Keys: keys}, w.root)
			refuse(t, w.holder, bundle.ErrMalformed, s)
		})
	}
}

func TestATrustDocumentSaysWhatTheClusterIsCalled(t *testing.T) {
	w := newWorld(t)
	if got := w.holder.Trust().Name; got != "stile" {
		t.Errorf("called %q", got)
	}
	for _, name := range []string{"", "Stile", "a b", "stile.", "-a", strings.Repeat("a", 64)} {
		s := seal(t, bundle.KindTrust, bundle.Trust{Cluster: cluster, Name: name, Version: v(2), IssuedAt: now, Keys: w.ring.keys}, w.root)
		refuse(t, w.holder, bundle.ErrMalformed, s)
	}
}

func TestPolicyKeysRotateWithoutAGap(t *testing.T) {
	w := newWorld(t)
	next := w.ring.add(names.KeyPolicy, bundle.StateNext)
	accept(t, w.holder, w.ring.trust(2, w.root), seal(t, bundle.KindPolicy, policy(1), w.policy), seal(t, bundle.KindPolicy, policy(2), next))
	w.ring.set(w.policy, bundle.StateRetiring)
	w.ring.set(next, bundle.StateActive)
	accept(t, w.holder, w.ring.trust(3, w.root), seal(t, bundle.KindPolicy, policy(3), w.policy))
	w.ring.set(w.policy, "")
	accept(t, w.holder, w.ring.trust(4, w.root))
	refuse(t, w.holder, bundle.ErrRetired, seal(t, bundle.KindPolicy, policy(4), w.policy))
	if got := w.holder.Trust().KeysFor(names.KeyPolicy, bundle.StateActive); len(got) != 1 || got[0].ID != bundle.KeyID(&next.PublicKey) {
		t.Errorf("%v", got)
	}
}

func TestCertificateAuthoritiesOfAPurposeAreGivenAloneAndWithTheirCluster(t *testing.T) {
	w := newWorld(t)
	one, two := w.ring.add(names.KeyUserSSH, bundle.StateActive), w.ring.add(names.KeyUserSSH, bundle.StateNext)
	w.ring.add(names.KeyUserX509, bundle.StateActive)
	accept(t, w.holder, w.ring.trust(2, w.root))
	got := w.holder.Trust().CA(names.KeyUserSSH)
	if got.Cluster != cluster || len(got.Keys) != 2 || !one.PublicKey.Equal(got.Keys[0]) || !two.PublicKey.Equal(got.Keys[1]) {
		t.Errorf("%+v", got)
	}
}

func TestSealRefusesWhatDoesNotFit(t *testing.T) {
	key := newKey(t)
	for name, f := range map[string]func() error{
		"a body of another kind": func() error { _, err := bundle.Seal(bundle.KindTrust, policy(1), key); return err },
		"a pointer":              func() error { p := policy(1); _, err := bundle.Seal(bundle.KindPolicy, &p, key); return err },
		"too many revocations": func() error {
			r := revocations(1, now)
			for i := range 2000 {
				r.Locks = append(r.Locks, bundle.Lock{ID: fmt.Sprint(i), Target: "user", Value: strings.Repeat("x", 40)})
			}
			_, err := bundle.Seal(bundle.KindRevocations, r, key)
			return err
		},
		"a signer that lies": func() error { _, err := bundle.Seal(bundle.KindPolicy, policy(1), liar{key, newKey(t)}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

// liar shows one key and signs with another.
type liar struct {
	*ecdsa.PrivateKey
	shown *ecdsa.PrivateKey
}

func (l liar) Public() crypto.PublicKey { return &l.shown.PublicKey }

func TestSignedSurvivesJSON(t *testing.T) {
	w := newWorld(t)
	b, err := json.Marshal(w.first)
	if err != nil {
		t.Fatal(err)
	}
	var s bundle.Signed
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	accept(t, bundle.NewHolder("", bundle.KeyID(&w.root.PublicKey)), s)
}

func TestTheNewestStampIsAFloorForTheClock(t *testing.T) {
	w := newWorld(t)
	expires := now.Add(time.Hour)
	r := revocations(1, now.Add(2*time.Hour))
	r.Locks = []bundle.Lock{{ID: "lck_1", Target: "user", Value: "alice", Expires: &expires}}
	accept(t, w.holder, seal(t, bundle.KindPolicy, policy(1), w.policy), seal(t, bundle.KindRevocations, r, w.policy))
	if got := w.holder.ClockFloor(); !got.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("floor %s", got)
	}
	if got := w.holder.State().Now(now); !got.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("a clock that is behind gives %s", got)
	}
	if got := w.holder.State().Now(now.Add(3 * time.Hour)); !got.Equal(now.Add(3 * time.Hour)) {
		t.Errorf("a clock that is ahead gives %s", got)
	}
}

// The service whose document it is stands in the signed bytes and in the key's purpose: neither alone moves it.
func TestSec_S35_ADocumentOfOneKindIsNoneOfAnother(t *testing.T) {
	w := newWorld(t)
	body := fmt.Sprintf(`{"v":1,"cluster":%q,"version":{"epoch":1,"counter":3},"issued_at":"2026-11-20T12:00:00Z"}`, cluster)
	for _, signedAs := range []bundle.Kind{bundle.KindPolicy, bundle.KindRevocations, bundle.KindTrust} {
		for _, shownAs := range []bundle.Kind{bundle.KindPolicy, bundle.KindRevocations} {
			s := sealRaw(t, signedAs, body, w.policy)
			s.Kind = shownAs
			err := bundle.NewHolder(cluster, "").Accept(w.first, s)
			if (err == nil) != (signedAs == shownAs) {
				t.Errorf("signed as %s, shown as %s: %v", signedAs, shownAs, err)
			}
		}
	}
	trust := w.holder.Trust()
	if _, err := trust.OpenPolicy(sealRaw(t, bundle.KindRevocations, body, w.policy)); !errors.Is(err, bundle.ErrMalformed) {
		t.Errorf("revocations opened as policy: %v", err)
	}
	if _, err := trust.OpenRevocations(sealRaw(t, bundle.KindPolicy, body, w.policy)); !errors.Is(err, bundle.ErrMalformed) {
		t.Errorf("policy opened as revocations: %v", err)
	}
	for _, purpose := range []string{names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		key := w.ring.add(purpose, bundle.StateActive)
		counter := w.holder.Trust().Version.Counter + 1
		accept(t, w.holder, w.ring.trust(counter, w.root))
		refuse(t, w.holder, bundle.ErrPurpose, seal(t, bundle.KindPolicy, policy(9), key))
		refuse(t, w.holder, bundle.ErrPurpose, w.ring.trust(counter+1, key))
	}
}

// FuzzDocument: nothing that no key of the cluster signed is ever taken, and what one signed, in whatever form, is either
// refused or judged from without harm.
func FuzzDocument(f *testing.F) {
	w := newWorld(f)
	trust, err := bundle.OpenTrust([]bundle.Signed{w.first}, "")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []bundle.Signed{w.first, seal(f, bundle.KindPolicy, policy(1), w.policy), seal(f, bundle.KindRevocations, revocations(1, now), w.policy)} {
		f.Add(string(s.Kind), s.Body, s.Signature)
	}
	f.Add("policy", []byte(`{"v":1,"cluster":"`+cluster+`","roles":[{"critical":["x"]},{}],"critical":["roles"]}`), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add("trust", []byte(`{"v":1,"keys":[{"id":"a"},{"id":"a"}]}`), []byte(nil))
	f.Add("revocations", []byte(`{"v":1,"v":2}`), []byte{})
	f.Fuzz(func(t *testing.T, kind string, body, signature []byte) {
		sent := bundle.Signed{Kind: bundle.Kind(kind), Body: body, KeyID: bundle.KeyID(&w.policy.PublicKey), Signature: signature}
		digest := bundle.Digest(sent.Kind, body)
		genuine := ecdsa.VerifyASN1(&w.policy.PublicKey, digest[:], signature)
		_, asPolicy := trust.OpenPolicy(sent)
		_, asRevocations := trust.OpenRevocations(sent)
		if (asPolicy == nil || asRevocations == nil) && !genuine {
			t.Fatalf("taken without a signature: %q", body)
		}
		rooted := sent
		rooted.KeyID = bundle.KeyID(&w.root.PublicKey)
		if got, err := bundle.OpenTrust([]bundle.Signed{rooted}, rooted.KeyID); err == nil && !cmp.Equal(got, trust) {
			t.Fatalf("a trust document of the root's that it didn't sign: %q", body)
		}
		signed := sealRaw(t, sent.Kind, string(body), w.policy)
		p, _ := trust.OpenPolicy(signed)
		r, _ := trust.OpenRevocations(signed)
		state := bundle.State{Trust: trust, Policy: p, Revocations: r}
		_ = state.Standing(identity.User{Name: "alice"}, bundle.Use{Now: now})
		state.Roles().May(state.Subject(identity.User{Name: "alice", Roles: []string{"access"}}, now), "role", "read", "/")
	})
}
