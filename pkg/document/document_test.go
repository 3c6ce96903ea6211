package document_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
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
	keys []document.Key
	priv map[string]*ecdsa.PrivateKey
}

func newKeyring(t testing.TB) *keyring { return &keyring{t: t, priv: map[string]*ecdsa.PrivateKey{}} }

// add makes a key and gives its private half.
func (k *keyring) add(purpose, state string) *ecdsa.PrivateKey {
	k.t.Helper()
	p := newKey(k.t)
	key, err := document.NewKey(purpose, state, &p.PublicKey)
	if err != nil {
		k.t.Fatal(err)
	}
	k.keys = append(k.keys, key)
	k.priv[key.ID] = p
	return p
}

// set changes a key's state; "" takes it out.
func (k *keyring) set(p *ecdsa.PrivateKey, state string) {
	var kept []document.Key
	for _, key := range k.keys {
		if key.ID == document.KeyID(&p.PublicKey) {
			if key.State = state; state == "" {
				continue
			}
		}
		kept = append(kept, key)
	}
	k.keys = kept
}

func (k *keyring) trust(counter uint64, root *ecdsa.PrivateKey) document.Signed {
	k.t.Helper()
	return seal(k.t, document.KindTrust, document.Trust{Cluster: cluster, Name: "stile", Version: v(counter), IssuedAt: now, Keys: k.keys}, root)
}

func seal(t testing.TB, kind document.Kind, body any, key crypto.Signer) document.Signed {
	t.Helper()
	s, err := document.Seal(kind, body, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sealRaw signs bytes as they are.
func sealRaw(t testing.TB, kind document.Kind, body string, key *ecdsa.PrivateKey) document.Signed {
	t.Helper()
	digest := document.Digest(kind, []byte(body))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return document.Signed{Kind: kind, Body: []byte(body), KeyID: document.KeyID(&key.PublicKey), Signature: sig}
}

func policy(counter uint64) document.Policy {
	return document.Policy{Form: document.Form{V: 1}, Cluster: cluster, Version: v(counter), IssuedAt: now, Input: 4, Roles: resource.Presets(), MaxPolicyAge: resource.Duration(24 * time.Hour)}
}

func revocations(counter uint64, at time.Time) document.Revocations {
	return document.Revocations{Cluster: cluster, Version: v(counter), IssuedAt: at}
}

// world is a cluster with one key for each of two purposes and a holder that has the first trust document.
type world struct {
	ring         *keyring
	root, policy *ecdsa.PrivateKey
	first        document.Signed
	holder       *document.Holder
}

func newWorld(t testing.TB) world {
	t.Helper()
	w := world{ring: newKeyring(t)}
	w.root, w.policy = w.ring.add(names.KeyRoot, document.StateActive), w.ring.add(names.KeyPolicy, document.StateActive)
	w.first = w.ring.trust(1, w.root)
	w.holder = document.NewHolder(cluster, document.KeyID(&w.root.PublicKey))
	accept(t, w.holder, w.first)
	return w
}

func accept(t testing.TB, h *document.Holder, documents ...document.Signed) {
	t.Helper()
	if err := h.Accept(documents...); err != nil {
		t.Fatal(err)
	}
}

func refuse(t testing.TB, h *document.Holder, want error, documents ...document.Signed) {
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
	accept(t, w.holder, seal(t, document.KindPolicy, current, w.policy), seal(t, document.KindRevocations, revocations(9, now), w.policy))
	at := func(counter uint64, issued time.Time) document.Signed {
		return seal(t, document.KindRevocations, revocations(counter, issued), w.policy)
	}
	unsigned := at(8, now)
	unsigned.Signature = nil
	other := at(9, now.Add(-time.Second)) // a second one of the version that is held
	for name, c := range map[string]struct {
		documents []document.Signed
		overtaken bool
	}{
		"some seconds older":              {[]document.Signed{at(8, now.Add(-9*time.Second))}, true},
		"two of them":                     {[]document.Signed{at(7, now.Add(-2*time.Second)), at(8, now.Add(-time.Second))}, true},
		"older than a push may take":      {[]document.Signed{at(8, now.Add(-10*time.Second))}, false},
		"a lower version of a later time": {[]document.Signed{at(8, now.Add(time.Second))}, false},
		"another of one version":          {[]document.Signed{other}, false},
		"beside one that is unsigned":     {[]document.Signed{at(8, now.Add(-time.Second)), unsigned}, false},
	} {
		err := w.holder.Accept(c.documents...)
		if err == nil || document.Overtaken(err) != c.overtaken || name != "beside one that is unsigned" && !errors.Is(err, document.ErrOlder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.holder.Versions(); got.Revocations != v(9) {
		t.Errorf("%+v", got)
	}
}

func TestDigestCarriesTheKind(t *testing.T) {
	if got, want := document.Digest(document.KindPolicy, []byte("{}")), sha256.Sum256([]byte("stile-policy-v1\n{}")); got != want {
		t.Errorf("%x", got)
	}
}

func TestPolicyAndRevocationsAreTakenUpward(t *testing.T) {
	w := newWorld(t)
	five := seal(t, document.KindPolicy, policy(5), w.policy)
	accept(t, w.holder, five, seal(t, document.KindRevocations, revocations(9, now), w.policy))
	if d := cmp.Diff(policy(5), w.holder.Policy()); d != "" {
		t.Error(d)
	}
	if got := w.holder.Versions(); got.Policy != v(5) || got.Revocations != v(9) || got.Trust != v(1) {
		t.Errorf("%+v", got)
	}
	accept(t, w.holder, five) // again: held already
	refuse(t, w.holder, document.ErrOlder, seal(t, document.KindPolicy, policy(4), w.policy))
	refuse(t, w.holder, document.ErrOlder, seal(t, document.KindRevocations, revocations(8, now), w.policy))
	other := policy(5)
	other.Input = 99
	refuse(t, w.holder, document.ErrOlder, seal(t, document.KindPolicy, other, w.policy)) // another of the same version
	next := policy(1)
	next.Version = identity.Version{Epoch: 2, Counter: 1}
	begun := seal(t, document.KindTrust, document.Trust{Cluster: cluster, Name: "stile", Version: next.Version, IssuedAt: now, Keys: w.ring.keys}, w.root)
	accept(t, w.holder, begun, seal(t, document.KindPolicy, next, w.policy)) // a new epoch begins again
	if got := w.holder.Documents(); len(got) != 4 {
		t.Errorf("%d documents are held", len(got))
	}
}

// Whoever could use the policy key numbers documents as they please, but an epoch of the root's leaves them all behind.
func TestSec_S90_OnlyTheRootBeginsAnEpoch(t *testing.T) {
	w := newWorld(t)
	in := func(epoch, counter uint64) []document.Signed {
		p, r := policy(0), revocations(0, now)
		p.Version = identity.Version{Epoch: epoch, Counter: counter}
		r.Version = p.Version
		return []document.Signed{seal(t, document.KindPolicy, p, w.policy), seal(t, document.KindRevocations, r, w.policy)}
	}
	for _, forged := range append(in(2, 1), in(math.MaxUint64, 1)...) {
		refuse(t, w.holder, document.ErrEpoch, forged)
	}
	accept(t, w.holder, in(1, math.MaxUint64)...) // as far as the key's holder gets
	stolen := w.policy
	w.ring.set(stolen, "")
	w.policy = w.ring.add(names.KeyPolicy, document.StateActive)
	begun := seal(t, document.KindTrust, document.Trust{Cluster: cluster, Name: "stile", Version: identity.Version{Epoch: 2, Counter: 1}, IssuedAt: now, Keys: w.ring.keys}, w.root)
	accept(t, w.holder, append([]document.Signed{begun}, in(2, 1)...)...)
	if got := w.holder.Versions(); got.Policy.Epoch != 2 || got.Revocations.Epoch != 2 {
		t.Errorf("%+v", got)
	}
}

func TestARefusedDocumentDoesNotHoldBackTheLocksBehindIt(t *testing.T) {
	w := newWorld(t)
	accept(t, w.holder, seal(t, document.KindPolicy, policy(5), w.policy))
	locks := revocations(1, now)
	locks.Locks = []document.Lock{{ID: "lck_1", Target: "user", Value: "alice"}}
	err := w.holder.Accept(w.ring.trust(2, newKey(t)), seal(t, document.KindPolicy, policy(4), w.policy), seal(t, document.KindRevocations, locks, w.policy))
	if !errors.Is(err, document.ErrOlder) || !errors.Is(err, document.ErrRetired) {
		t.Errorf("%v", err)
	}
	if err := w.holder.State().Standing(identity.User{Name: "alice"}, document.Use{Now: now}); !fault.Is(err, fault.Denied) {
		t.Errorf("the lock was held back: %v", err)
	}
}

func TestDocumentsAreRefusedForEachReason(t *testing.T) {
	w := newWorld(t)
	good := seal(t, document.KindPolicy, policy(5), w.policy)
	other := policy(5)
	other.Cluster = "other"
	change := func(f func(*document.Signed)) document.Signed {
		s := good
		s.Body, s.Signature = append([]byte(nil), good.Body...), append([]byte(nil), good.Signature...)
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		document document.Signed
		want     error
	}{
		"unsigned":                      {change(func(s *document.Signed) { s.Signature = nil }), document.ErrUnsigned},
		"without a key id":              {change(func(s *document.Signed) { s.KeyID = "" }), document.ErrUnsigned},
		"altered by a bit":              {change(func(s *document.Signed) { s.Body[len(s.Body)/2] ^= 1 }), document.ErrSignature},
		"altered by a space":            {change(func(s *document.Signed) { s.Body = append(s.Body, ' ') }), document.ErrSignature},
		"with another's signature":      {change(func(s *document.Signed) { s.Signature[len(s.Signature)-1] ^= 1 }), document.ErrSignature},
		"called another kind":           {change(func(s *document.Signed) { s.Kind = document.KindRevocations }), document.ErrSignature},
		"called an unknown kind":        {change(func(s *document.Signed) { s.Kind = "keys" }), document.ErrMalformed},
		"signed by a stranger":          {seal(t, document.KindPolicy, policy(5), newKey(t)), document.ErrRetired},
		"signed by root":                {seal(t, document.KindPolicy, policy(5), w.root), document.ErrPurpose},
		"another cluster's":             {seal(t, document.KindPolicy, other, w.policy), document.ErrCluster},
		"trailing data":                 {sealRaw(t, document.KindPolicy, string(good.Body)+"{}", w.policy), document.ErrMalformed},
		"another form":                  {sealRaw(t, document.KindPolicy, strings.Replace(string(good.Body), `"v":1`, `"v":2`, 1), w.policy), document.ErrMalformed},
		"no form":                       {sealRaw(t, document.KindPolicy, strings.Replace(string(good.Body), `"v":1,`, ``, 1), w.policy), document.ErrMalformed},
		"a field in another case":       {sealRaw(t, document.KindPolicy, `{"Cluster":"`+cluster+`",`+string(good.Body[1:]), w.policy), document.ErrMalformed},
		"a doubled field":               {sealRaw(t, document.KindPolicy, `{"cluster":"`+cluster+`",`+string(good.Body[1:]), w.policy), document.ErrMalformed},
		"not JSON":                      {sealRaw(t, document.KindPolicy, "policy", w.policy), document.ErrMalformed},
		"empty":                         {sealRaw(t, document.KindPolicy, "", w.policy), document.ErrMalformed},
		"revocations that are too much": {sealRaw(t, document.KindRevocations, strings.Repeat(" ", document.MaxRevocations+1), w.policy), document.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) { refuse(t, w.holder, c.want, c.document) })
	}
}

// A body that can't be parsed gives ErrMalformed only when its signature is good: without one the parser is not reached.
func TestPolicyIsVerifiedBeforeItIsParsed(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{"not JSON", strings.Repeat("[", 1<<20), `{"roles":` + strings.Repeat("[", 1<<19)} {
		for _, kind := range []document.Kind{document.KindPolicy, document.KindRevocations} {
			if len(body) > kind.Limit() {
				continue
			}
			signed := sealRaw(t, kind, body, w.policy)
			refuse(t, w.holder, document.ErrMalformed, signed)
			signed.Signature = sealRaw(t, kind, "{}", w.policy).Signature
			if err := w.holder.Accept(signed); !errors.Is(err, document.ErrSignature) || errors.Is(err, document.ErrMalformed) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestOnePinSeesTwoRootRotationsThrough(t *testing.T) {
	r := newKeyring(t)
	a, p := r.add(names.KeyRoot, document.StateActive), r.add(names.KeyPolicy, document.StateActive)
	chain := []document.Signed{r.trust(1, a)}
	rotate := func(counter uint64, from *ecdsa.PrivateKey) *ecdsa.PrivateKey {
		to := r.add(names.KeyRoot, document.StateNext)
		chain = append(chain, r.trust(counter, from))
		r.set(from, document.StateRetiring)
		r.set(to, document.StateActive)
		chain = append(chain, r.trust(counter+1, to))
		r.set(from, "")
		chain = append(chain, r.trust(counter+2, to))
		return to
	}
	b := rotate(2, a)
	c := rotate(5, b)
	pinA, pinB, pinC := document.KeyID(&a.PublicKey), document.KeyID(&b.PublicKey), document.KeyID(&c.PublicKey)

	for _, pin := range []string{pinA, pinB, pinC, ""} {
		got, err := document.OpenTrust(chain, pin)
		if err != nil {
			t.Fatalf("pin %s: %v", pin, err)
		}
		if got.Version != v(7) {
			t.Errorf("pin %s: version %v", pin, got.Version)
		}
	}
	// One who began later is sent the whole chain too.
	late := document.NewHolder(cluster, pinB)
	accept(t, late, chain[:5]...)
	accept(t, late, chain...)
	if late.Trust().Version != v(7) || len(late.Chain()) >= len(chain) {
		t.Errorf("one who began at the second root: version %v of %d", late.Trust().Version, len(late.Chain()))
	}
	// One who slept through both, and one who slept through the second, catch up with what they hold.
	for awake := 1; awake <= len(chain); awake++ {
		h := document.NewHolder(cluster, pinA)
		accept(t, h, chain[:awake]...)
		accept(t, h, chain...)
		if h.Trust().Version != v(7) || len(h.Chain()) != len(chain) {
			t.Errorf("after sleeping from %d: version %v of %d", awake, h.Trust().Version, len(h.Chain()))
		}
	}
	h := document.NewHolder(cluster, pinA)
	accept(t, h, chain...)
	refuse(t, h, document.ErrRetired, r.trust(8, a)) // a retired root signs no more
	refuse(t, h, document.ErrRetired, r.trust(8, b))
	refuse(t, h, document.ErrRetired, r.trust(8, newKey(t)))
	refuse(t, h, document.ErrPurpose, r.trust(8, p))
	refuse(t, h, document.ErrOlder, r.trust(6, c))

	gap := document.NewHolder(cluster, pinA)
	accept(t, gap, chain[0])
	refuse(t, gap, document.ErrRetired, chain[4:]...) // without the links in between
	if _, err := document.OpenTrust(chain, document.KeyID(&p.PublicKey)); !errors.Is(err, document.ErrPin) {
		t.Errorf("pinned to a policy key: %v", err)
	}
	if _, err := document.OpenTrust(nil, pinA); err == nil {
		t.Error("trusted nothing at all")
	}
}

func TestALinkCarriesOverToARootThatNobodyKnewOf(t *testing.T) {
	r := newKeyring(t)
	a := r.add(names.KeyRoot, document.StateActive)
	first := r.trust(1, a)
	r.set(a, document.StateRetiring)
	b := r.add(names.KeyRoot, document.StateActive)
	second := r.trust(2, b)
	h := document.NewHolder(cluster, document.KeyID(&a.PublicKey))
	accept(t, h, first)
	refuse(t, h, document.ErrRetired, second)
	forged, err := document.SealLink(second, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, h, document.ErrRetired, forged)
	forged.Link.KeyID = document.KeyID(&a.PublicKey)
	refuse(t, h, document.ErrSignature, forged)
	linked, err := document.SealLink(second, a)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, h, linked)
	if _, err := document.OpenTrust([]document.Signed{linked}, document.KeyID(&a.PublicKey)); err != nil {
		t.Errorf("starting from the link: %v", err)
	}
	if _, err := document.SealLink(seal(t, document.KindPolicy, policy(1), b), a); err == nil {
		t.Error("linked a policy document")
	}
}

func TestATrustDocumentThatMakesItsOwnRootIsRefusedByThePin(t *testing.T) {
	w := newWorld(t)
	evil := newKeyring(t)
	mallory := evil.add(names.KeyRoot, document.StateActive)
	pin := document.KeyID(&w.root.PublicKey)
	refuse(t, document.NewHolder(cluster, pin), document.ErrPin, evil.trust(9, mallory))
	refuse(t, w.holder, document.ErrRetired, evil.trust(9, mallory))
	claimed := evil.trust(9, mallory)
	claimed.KeyID = pin
	refuse(t, document.NewHolder(cluster, pin), document.ErrRetired, claimed)
	named := evil.keys
	named[0].ID = pin // a key under another's name
	refuse(t, document.NewHolder(cluster, pin), document.ErrMalformed, func() document.Signed {
		s := evil.trust(9, mallory)
		s.KeyID = pin
		return s
	}())
	refuse(t, document.NewHolder("another", pin), document.ErrCluster, w.first)
}

func TestARootThatIsRetiringCannotMakeItselfActiveAgain(t *testing.T) {
	w := newWorld(t)
	next := w.ring.add(names.KeyRoot, document.StateNext)
	accept(t, w.holder, w.ring.trust(2, w.root))
	w.ring.set(w.root, document.StateRetiring)
	w.ring.set(next, document.StateActive)
	accept(t, w.holder, w.ring.trust(3, next))
	w.ring.set(w.root, document.StateActive)
	back := w.ring.trust(4, w.root)
	refuse(t, w.holder, document.ErrRetired, back)
	linked, err := document.SealLink(back, w.root)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, w.holder, document.ErrRetired, linked)
}

func TestTheRootOfOneClusterSignsForNoOther(t *testing.T) {
	w := newWorld(t)
	refuse(t, w.holder, document.ErrCluster, seal(t, document.KindTrust,
		document.Trust{Cluster: "another", Name: "stile", Version: v(2), IssuedAt: now, Keys: w.ring.keys}, w.root))
}

func TestTrustDocumentsWithFaultyKeysAreRefused(t *testing.T) {
	w := newWorld(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := document.NewKey(names.KeyPolicy, document.StateActive, &p384.PublicKey); err == nil {
		t.Error("described a key on P-384")
	}
	for name, keys := range map[string][]document.Key{
		"one key for two purposes": append(w.ring.keys, document.Key{Purpose: names.KeyUserSSH, ID: w.ring.keys[0].ID, State: document.StateActive, Public: w.ring.keys[0].Public}),
		"an unknown state":         append(w.ring.keys, document.Key{Purpose: names.KeyUserSSH, ID: "x", State: "retired", Public: w.ring.keys[0].Public}),
		"a key that is none":       append(w.ring.keys, document.Key{Purpose: names.KeyUserSSH, ID: "x", State: document.StateActive, Public: []byte("x")}),
	} {
		t.Run(name, func(t *testing.T) {
			s := seal(t, document.KindTrust, document.Trust{Cluster: cluster, Name: "stile", Version: v(2), IssuedAt: now, Keys: keys}, w.root)
			refuse(t, w.holder, document.ErrMalformed, s)
		})
	}
}

func TestATrustDocumentSaysWhatTheClusterIsCalled(t *testing.T) {
	w := newWorld(t)
	if got := w.holder.Trust().Name; got != "stile" {
		t.Errorf("called %q", got)
	}
	for _, name := range []string{"", "Stile", "a b", "stile.", "-a", strings.Repeat("a", 64)} {
		s := seal(t, document.KindTrust, document.Trust{Cluster: cluster, Name: name, Version: v(2), IssuedAt: now, Keys: w.ring.keys}, w.root)
		refuse(t, w.holder, document.ErrMalformed, s)
	}
}

func TestPolicyKeysRotateWithoutAGap(t *testing.T) {
	w := newWorld(t)
	next := w.ring.add(names.KeyPolicy, document.StateNext)
	accept(t, w.holder, w.ring.trust(2, w.root), seal(t, document.KindPolicy, policy(1), w.policy), seal(t, document.KindPolicy, policy(2), next))
	w.ring.set(w.policy, document.StateRetiring)
	w.ring.set(next, document.StateActive)
	accept(t, w.holder, w.ring.trust(3, w.root), seal(t, document.KindPolicy, policy(3), w.policy))
	w.ring.set(w.policy, "")
	accept(t, w.holder, w.ring.trust(4, w.root))
	refuse(t, w.holder, document.ErrRetired, seal(t, document.KindPolicy, policy(4), w.policy))
	if got := w.holder.Trust().KeysFor(names.KeyPolicy, document.StateActive); len(got) != 1 || got[0].ID != document.KeyID(&next.PublicKey) {
		t.Errorf("%v", got)
	}
}

func TestCertificateAuthoritiesOfAPurposeAreGivenAloneAndWithTheirCluster(t *testing.T) {
	w := newWorld(t)
	one, two := w.ring.add(names.KeyUserSSH, document.StateActive), w.ring.add(names.KeyUserSSH, document.StateNext)
	w.ring.add(names.KeyUserX509, document.StateActive)
	accept(t, w.holder, w.ring.trust(2, w.root))
	got := w.holder.Trust().CA(names.KeyUserSSH)
	if got.Cluster != cluster || len(got.Keys) != 2 || !one.PublicKey.Equal(got.Keys[0]) || !two.PublicKey.Equal(got.Keys[1]) {
		t.Errorf("%+v", got)
	}
}

func TestSealRefusesWhatDoesNotFit(t *testing.T) {
	key := newKey(t)
	for name, f := range map[string]func() error{
		"a body of another kind": func() error { _, err := document.Seal(document.KindTrust, policy(1), key); return err },
		"a pointer":              func() error { p := policy(1); _, err := document.Seal(document.KindPolicy, &p, key); return err },
		"too many revocations": func() error {
			r := revocations(1, now)
			for i := range 2000 {
				r.Locks = append(r.Locks, document.Lock{ID: fmt.Sprint(i), Target: "user", Value: strings.Repeat("x", 40)})
			}
			_, err := document.Seal(document.KindRevocations, r, key)
			return err
		},
		"a signer that lies": func() error {
			_, err := document.Seal(document.KindPolicy, policy(1), liar{key, newKey(t)})
			return err
		},
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
	var s document.Signed
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	accept(t, document.NewHolder("", document.KeyID(&w.root.PublicKey)), s)
}

func TestTheNewestStampIsAFloorForTheClock(t *testing.T) {
	w := newWorld(t)
	expires := now.Add(time.Hour)
	r := revocations(1, now.Add(2*time.Hour))
	r.Locks = []document.Lock{{ID: "lck_1", Target: "user", Value: "alice", Expires: &expires}}
	accept(t, w.holder, seal(t, document.KindPolicy, policy(1), w.policy), seal(t, document.KindRevocations, r, w.policy))
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
	for _, signedAs := range []document.Kind{document.KindPolicy, document.KindRevocations, document.KindTrust} {
		for _, shownAs := range []document.Kind{document.KindPolicy, document.KindRevocations} {
			s := sealRaw(t, signedAs, body, w.policy)
			s.Kind = shownAs
			err := document.NewHolder(cluster, "").Accept(w.first, s)
			if (err == nil) != (signedAs == shownAs) {
				t.Errorf("signed as %s, shown as %s: %v", signedAs, shownAs, err)
			}
		}
	}
	trust := w.holder.Trust()
	if _, err := trust.OpenPolicy(sealRaw(t, document.KindRevocations, body, w.policy)); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("revocations opened as policy: %v", err)
	}
	if _, err := trust.OpenRevocations(sealRaw(t, document.KindPolicy, body, w.policy)); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("policy opened as revocations: %v", err)
	}
	for _, purpose := range []string{names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		key := w.ring.add(purpose, document.StateActive)
		counter := w.holder.Trust().Version.Counter + 1
		accept(t, w.holder, w.ring.trust(counter, w.root))
		refuse(t, w.holder, document.ErrPurpose, seal(t, document.KindPolicy, policy(9), key))
		refuse(t, w.holder, document.ErrPurpose, w.ring.trust(counter+1, key))
	}
}

// FuzzDocument: nothing that no key of the cluster signed is ever taken, and what one signed, in whatever form, is either
// refused or judged from without harm.
func FuzzDocument(f *testing.F) {
	w := newWorld(f)
	trust, err := document.OpenTrust([]document.Signed{w.first}, "")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []document.Signed{w.first, seal(f, document.KindPolicy, policy(1), w.policy), seal(f, document.KindRevocations, revocations(1, now), w.policy)} {
		f.Add(string(s.Kind), s.Body, s.Signature)
	}
	f.Add("policy", []byte(`{"v":1,"cluster":"`+cluster+`","roles":[{"critical":["x"]},{}],"critical":["roles"]}`), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add("trust", []byte(`{"v":1,"keys":[{"id":"a"},{"id":"a"}]}`), []byte(nil))
	f.Add("revocations", []byte(`{"v":1,"v":2}`), []byte{})
	f.Fuzz(func(t *testing.T, kind string, body, signature []byte) {
		sent := document.Signed{Kind: document.Kind(kind), Body: body, KeyID: document.KeyID(&w.policy.PublicKey), Signature: signature}
		digest := document.Digest(sent.Kind, body)
		genuine := ecdsa.VerifyASN1(&w.policy.PublicKey, digest[:], signature)
		_, asPolicy := trust.OpenPolicy(sent)
		_, asRevocations := trust.OpenRevocations(sent)
		if (asPolicy == nil || asRevocations == nil) && !genuine {
			t.Fatalf("taken without a signature: %q", body)
		}
		rooted := sent
		rooted.KeyID = document.KeyID(&w.root.PublicKey)
		if got, err := document.OpenTrust([]document.Signed{rooted}, rooted.KeyID); err == nil && !cmp.Equal(got, trust) {
			t.Fatalf("a trust document of the root's that it didn't sign: %q", body)
		}
		signed := sealRaw(t, sent.Kind, string(body), w.policy)
		p, _ := trust.OpenPolicy(signed)
		r, _ := trust.OpenRevocations(signed)
		state := document.State{Trust: trust, Policy: p, Revocations: r}
		_ = state.Standing(identity.User{Name: "alice"}, document.Use{Now: now})
		state.Roles().May(state.Subject(identity.User{Name: "alice", Roles: []string{"access"}}, now), "role", "read", "/")
	})
}

func TestWhatAKeyIDLooksLike(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := document.KeyID(&key.PublicKey)
	if !document.IsKeyID(id) {
		t.Errorf("%s is none", id)
	}
	for _, s := range []string{"", "abc", id[1:], id + "A", id + "=", id[:20] + "\n" + id[20:], id[:42] + "+", "sha256:" + id} {
		if document.IsKeyID(s) {
			t.Errorf("%q is one", s)
		}
	}
}
