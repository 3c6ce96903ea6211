package publication_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/publication"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// place keeps head, documents and inputs in memory. The call named by fail fails once: before it has written,
// or after.
type place struct {
	settings    resource.SettingsSpec
	mu          sync.Mutex
	head        document.Head
	heads       []document.Head // every head there was
	objects     map[string]document.Signed
	chains      map[identity.Version][]document.Signed
	revocations document.Signed
	owner       string
	until       time.Time
	input       int64
	roles       []resource.Role
	locks       []document.Lock
	orders      []revoked.Order
	given       int64         // how many orders
	written     map[int64]int // how often an order is found to be still being written; -1: always
	lists       map[string]document.Stored
	bases       int
	events      []audit.Event
	asked       []string // requests to KMS
	claimed     []string // those that were claimed

	fail      string
	failure   error // nil: errDown
	persisted bool
	meanwhile func() // runs once, after the roles were read
	next      func() // then takes its place
}

var errDown = errors.New("it is down")

func (p *place) faulty(call string, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != call {
		return do()
	}
	p.fail = ""
	if p.persisted {
		_ = do()
	}
	return cmp.Or(p.failure, errDown)
}

func (p *place) Read(context.Context) (h document.Head, err error) {
	err = p.faulty("Read", func() error { h = p.head; return nil })
	return h, err
}

func (p *place) Trust(_ context.Context, h document.Head) (c []document.Signed, err error) {
	err = p.faulty("Trust", func() error { c = append(c, p.chains[h.Trust]...); return nil })
	return c, err
}

func (p *place) Policy(_ context.Context, h document.Head) (d document.Signed, err error) {
	err = p.faulty("Policy", func() error { d = p.objects[h.PolicySHA256]; return nil })
	return d, err
}

func (p *place) Revocations(context.Context) (d document.Signed, err error) {
	err = p.faulty("Revocations", func() error { d = p.revocations; return nil })
	return d, err
}

func (p *place) Stored(_ context.Context, list string) (l document.Stored, err error) {
	err = p.faulty("Stored", func() error { l = p.lists[list]; return nil })
	return l, err
}

func (p *place) PutList(_ context.Context, s revoked.Set) (sha string, err error) {
	err = p.faulty("PutList", func() error { p.bases++; sha = hex.EncodeToString(s.Sum().SHA256); return nil })
	return sha, err
}

func (p *place) Lease(_ context.Context, owner string, now, until time.Time) error {
	return p.faulty("Lease", func() error {
		if p.owner != "" && p.owner != owner && p.until.After(now) {
			return document.ErrHeld
		}
		p.owner, p.until = owner, until
		return nil
	})
}

func (p *place) Release(_ context.Context, owner string) error {
	return p.faulty("Release", func() error {
		if p.owner == owner {
			p.owner = ""
		}
		return nil
	})
}

func (p *place) PutPolicy(_ context.Context, d document.Signed) (sha string, err error) {
	b, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	sha = hex.EncodeToString(sum[:])
	return sha, p.faulty("PutPolicy", func() error { p.objects[sha] = d; return nil })
}

func (p *place) Advance(_ context.Context, from, to document.Head, r document.Signed, lists map[string]document.Stored) error {
	return p.faulty("Advance", func() error {
		if p.head.Policy != from.Policy || p.head.Revocations != from.Revocations {
			return document.ErrMoved
		}
		p.head.CopyOf = ""
		p.head.Policy, p.head.PolicySHA256, p.head.Input, p.head.Revocations, p.head.Orders, p.revocations = to.Policy, to.PolicySHA256, to.Input, to.Revocations, to.Orders, r
		maps.Copy(p.lists, lists)
		p.heads = append(p.heads, p.head)
		return nil
	})
}

func (p *place) PutTrust(_ context.Context, v identity.Version, chain []document.Signed) error {
	return p.faulty("PutTrust", func() error {
		if _, taken := p.chains[v]; taken {
			return document.ErrTaken
		}
		p.chains[v] = chain
		return nil
	})
}

func (p *place) AdvanceTrust(_ context.Context, from, to document.Head) error {
	return p.faulty("AdvanceTrust", func() error {
		if p.head.Trust != from.Trust {
			return document.ErrMoved
		}
		p.head.Trust, p.head.CopyOf = to.Trust, ""
		return nil
	})
}

func (p *place) Counters(context.Context) (n document.Counters, err error) {
	err = p.faulty("Counters", func() error {
		n = document.Counters{Input: p.input, Orders: p.given}
		return nil
	})
	return n, err
}

func (p *place) Roles(context.Context) (r []resource.Role, err error) {
	err = p.faulty("Roles", func() error { r = append(r, p.roles...); return nil })
	if run := p.meanwhile; run != nil {
		p.meanwhile = nil
		run()
		p.meanwhile = p.next
	}
	return r, err
}

func (p *place) Settings(context.Context) (s resource.SettingsSpec, err error) {
	err = p.faulty("Settings", func() error { s = p.settings; return nil })
	return s, err
}

func (p *place) Locks(context.Context) (locks []document.Lock, err error) {
	err = p.faulty("Locks", func() error { locks = slices.Clone(p.locks); return nil })
	return locks, err
}

func (p *place) Orders(_ context.Context, after, upto int64) (run revoked.Run, err error) {
	err = p.faulty("Orders", func() error {
		there := map[int64]bool{}
		for _, o := range p.orders {
			switch there[o.Seq] = true; {
			case o.Seq <= after || o.Seq > upto:
			case p.written[o.Seq] != 0:
				if run.Pending = append(run.Pending, o.Seq); p.written[o.Seq] > 0 {
					p.written[o.Seq]--
				}
			default:
				run.Orders = append(run.Orders, o)
			}
		}
		for seq := after + 1; seq <= upto; seq++ {
			if !there[seq] {
				run.Gone = append(run.Gone, seq)
			}
		}
		return nil
	})
	return run, err
}

func (p *place) AllOrders(context.Context) (all []revoked.Order, err error) {
	err = p.faulty("AllOrders", func() error {
		all = slices.DeleteFunc(slices.Clone(p.orders), func(o revoked.Order) bool { return p.written[o.Seq] != 0 })
		return nil
	})
	return all, err
}

func (p *place) Record(_ context.Context, e audit.Event) error {
	return p.faulty("Record", func() error { p.events = append(p.events, e); return e.Validate() })
}

// Claim keeps the requests as they are.
func (p *place) Claim(ctx context.Context, _ string, requests, doubtful []string) error {
	return p.faulty("Claim", func() error {
		p.claimed = append(p.claimed, append(requests, doubtful...)...)
		return ctx.Err()
	})
}

// counting is a key whose requests are numbered.
type counting struct {
	crypto.Signer

	place *place
	own   []string
}

func (p *place) counter(key crypto.Signer) *counting { return &counting{Signer: key, place: p} }

func (s *site) counting(purpose string) *counting { return s.counter(s.Keys[purpose]) }

func (c *counting) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	c.place.mu.Lock()
	defer c.place.mu.Unlock()
	id := fmt.Sprintf("request-%d", len(c.place.asked))
	c.place.asked, c.own = append(c.place.asked, id), append(c.own, id)
	return c.Signer.Sign(random, digest, opts)
}

func (c *counting) Requests() []string { return c.own }

func (*counting) Doubtful() []string { return nil }

// change is what functions/admin does.
func (p *place) change(roles ...resource.Role) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roles = roles
	p.input++
}

type site struct {
	*clustertest.Cluster
	*place
	publisher *publication.Publisher
	rotator   *publication.Rotator
	deploy    func(epoch uint64)
}

func newSite(t *testing.T) *site {
	s := &site{Cluster: clustertest.New(t), place: &place{objects: map[string]document.Signed{}, chains: map[identity.Version][]document.Signed{}, lists: map[string]document.Stored{}, written: map[int64]int{}}}
	key := func(purpose string) func(context.Context) (publication.Signer, error) {
		return func(context.Context) (publication.Signer, error) { return s.counting(purpose), nil }
	}
	public := map[string]func(context.Context) (crypto.PublicKey, error){}
	for _, purpose := range clustertest.Purposes {
		public[purpose] = func(context.Context) (crypto.PublicKey, error) { return s.Keys[purpose].Public(), nil }
	}
	s.publisher = publication.NewPublisher(publication.Config{
		Cluster: s.ID, Inputs: s.place, Place: s.place, Key: key(names.KeyPolicy), Now: s.tick,
		Wait: func(context.Context, time.Duration) error { return nil },
	})
	s.deploy = func(epoch uint64) {
		s.rotator = publication.NewRotator(publication.RotatorConfig{
			Cluster: s.ID, Name: "stile", Epoch: epoch, Vault: s.place, Ledger: s.place, Root: key(names.KeyRoot), Public: public, Now: s.tick,
		})
	}
	s.deploy(1)
	return s
}

// tick is a clock that each look moves by a second, so that leases run out while others wait.
func (s *site) tick() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Now = s.Now.Add(time.Second)
	return s.Now
}

func (s *site) rotate(t *testing.T) document.Head {
	t.Helper()
	h, err := s.rotator.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (s *site) publish(t *testing.T) document.Head {
	t.Helper()
	h, err := s.publisher.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// accept has an agent's holder take what stands.
func (s *site) accept(t *testing.T, h *document.Holder) document.State {
	t.Helper()
	revocations := s.revocations
	revocations.Lists = map[string]revoked.Records{}
	for list, stored := range s.lists {
		revocations.Lists[list] = revoked.Records{Whole: true, Entries: stored.Set.Bytes()}
	}
	if err := h.Accept(append(s.chains[s.head.Trust], s.objects[s.head.PolicySHA256], revocations)...); err != nil {
		t.Fatal(err)
	}
	return h.State()
}

func role(name string) resource.Role {
	return resource.Role{Metadata: resource.Metadata{Name: name, Scope: "/", Revision: 3}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}, NodeLabels: map[string][]string{"env": {"dev"}}}}}
}

func TestWhatIsPublishedIsWhatAgentsAccept(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	h := s.publish(t)
	agent := document.NewHolder(s.ID, document.KeyID(s.Keys[names.KeyRoot].Public()))
	state := s.accept(t, agent)
	if h.Input != 1 || state.Policy.Input != 1 || len(state.Policy.Roles) != len(resource.Presets())+1 {
		t.Errorf("head %+v, policy of input %d with %d roles", h, state.Policy.Input, len(state.Policy.Roles))
	}
	if err := state.Standing(identity.User{Name: "ada", Versions: h.Versions()}, document.Use{Now: s.Now, Fresh: true}); err != nil {
		t.Error(err)
	}
	s.change()
	s.publish(t)
	if state = s.accept(t, agent); len(state.Policy.Roles) != len(resource.Presets()) {
		t.Errorf("%d roles after the deletion", len(state.Policy.Roles))
	}
}

// A program that can't record must not take a cluster in which everything is recorded for one in which it may let people in.
func TestTheClustersWayToRecordIsPublishedAndStrictIsCritical(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	agent := document.NewHolder(s.ID, "")
	for _, c := range []struct {
		setting, want string
		critical      []string
	}{
		{"", resource.RecordBestEffort, nil}, {resource.RecordStrict, resource.RecordStrict, []string{"record"}}, {resource.RecordOff, resource.RecordOff, nil}, {"", resource.RecordBestEffort, nil},
	} {
		s.settings.Record = c.setting
		s.change()
		s.publish(t)
		if state := s.accept(t, agent); state.Record() != c.want || !slices.Equal(state.Policy.Critical, c.critical) {
			t.Errorf("%q: %s, critical %v", c.setting, state.Record(), state.Policy.Critical)
		}
	}
	if (document.State{Policy: document.Policy{Record: "later"}}).Record() != resource.RecordStrict {
		t.Error("a way that isn't known records nothing")
	}
}

func TestARunWithoutAChangeOnlyRenewsTheStamp(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	first := s.publish(t)
	second := s.publish(t)
	want := first
	want.Revocations.Counter++
	if d := gocmp.Diff(want, second); d != "" {
		t.Error(d)
	}
	if len(s.objects) != 1 || len(s.events) != 2 {
		t.Errorf("%d policies, %d events", len(s.objects), len(s.events))
	}
}

func TestAnInputThatChangesWhileItSignsIsTakenIn(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	s.meanwhile = func() { s.change(role("dev"), role("late")) }
	h := s.publish(t)
	state := s.accept(t, document.NewHolder(s.ID, ""))
	if h.Input != 2 || len(state.Policy.Roles) != len(resource.Presets())+2 {
		t.Errorf("input %d, %d roles", h.Input, len(state.Policy.Roles))
	}
	if len(s.heads) != 1 {
		t.Errorf("the head moved %d times: what was half read must not be seen", len(s.heads))
	}
}

func TestAFailureAnywhereLeavesAHeadThatAgentsAccept(t *testing.T) {
	for _, call := range []string{"Read", "Trust", "Policy", "Revocations", "Stored", "Lease", "Release", "PutPolicy", "Advance", "Counters", "Roles", "Locks", "Orders", "Record"} {
		for _, persisted := range []bool{false, true} {
			s := newSite(t)
			s.rotate(t)
			s.change(role("dev"))
			s.publish(t)
			agent := document.NewHolder(s.ID, "")
			s.accept(t, agent)
			s.change(role("dev"), role("more"))
			s.revoke("eve")
			s.fail, s.persisted = call, persisted
			_, err := s.publisher.Publish(t.Context())
			if err != nil && !errors.Is(err, errDown) {
				t.Errorf("%s: %v", call, err)
			}
			s.accept(t, agent)
			h := s.publish(t)
			if state := s.accept(t, agent); h.Input != 3 || len(state.Policy.Roles) != len(resource.Presets())+2 || !barred(state, 1) || barred(state, h.Revocations.Counter) {
				t.Errorf("%s (%v): input %d, %d roles, %+v after the next run", call, persisted, h.Input, len(state.Policy.Roles), state.Revocations.Users)
			}
		}
	}
}

// A policy that can't be made stays behind; who is revoked is revoked.
func TestRevocationsWaitForNoPolicy(t *testing.T) {
	large := make([]resource.Role, 160)
	for i := range large {
		large[i] = role(fmt.Sprintf("large-%d", i))
		large[i].Spec.Allow.NodeLabels["env"] = slices.Repeat([]string{strings.Repeat("x", 250)}, 240)
	}
	for name, c := range map[string]struct {
		fault func(*site)
		mend  func(*site)
		says  func(error) bool
	}{
		"more roles than a document holds": {
			func(s *site) { s.change(append(large, role("dev"))...) }, func(s *site) { s.change(role("dev"), role("more")) },
			func(err error) bool { return fault.Is(err, fault.TooLarge) && errors.Is(err, document.ErrTooLarge) },
		},
		"a bucket that takes nothing": {
			func(s *site) { s.change(role("dev"), role("more")); s.fail = "PutPolicy" }, func(*site) {},
			func(err error) bool { return errors.Is(err, errDown) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rotate(t)
			s.change(role("dev"))
			was := s.publish(t)
			agent := document.NewHolder(s.ID, "")
			s.accept(t, agent)
			c.fault(s)
			s.revoke("eve")
			s.locks = []document.Lock{{ID: "lck_2", Target: "user", Value: "mallory"}}
			h, err := s.publisher.Publish(t.Context())
			if !c.says(err) {
				t.Errorf("%v", err)
			}
			state := s.accept(t, agent)
			if !barred(state, was.Revocations.Counter) || len(state.Revocations.Locks) != 1 {
				t.Errorf("not in force: %+v, %+v", state.Revocations.Users, state.Revocations.Locks)
			}
			if h.Policy != was.Policy || h.Input != was.Input || len(state.Policy.Roles) != len(resource.Presets())+1 || len(s.objects) != 1 {
				t.Errorf("%+v after %+v, %d roles", h, was, len(state.Policy.Roles))
			}
			c.mend(s)
			h = s.publish(t)
			state = s.accept(t, agent)
			if len(state.Policy.Roles) != len(resource.Presets())+2 || !barred(state, was.Revocations.Counter) || barred(state, h.Revocations.Counter) {
				t.Errorf("mended: %d roles, %+v under %+v", len(state.Policy.Roles), state.Revocations.Users, h.Policy)
			}
		})
	}
}

// What is in force can be lost or be another's: it is made again.
func TestAPolicyThatCannotBeReadIsMadeAgain(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	was := s.publish(t)
	clear(s.objects)
	if h := s.publish(t); !was.Policy.Less(h.Policy) {
		t.Errorf("%+v after %+v", h, was)
	}
	s.accept(t, document.NewHolder(s.ID, ""))
}

func TestRunsAtOnceMoveTheHeadOnlyUpward(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s.change(role("dev"))
			if _, err := s.publisher.Publish(t.Context()); err != nil && fault.From(err).Code != fault.Unavailable {
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	h := s.publish(t)
	if h.Input != 8 {
		t.Errorf("input %d at the end", h.Input)
	}
	for i := 1; i < len(s.heads); i++ {
		if !s.heads[i-1].Revocations.Less(s.heads[i].Revocations) || s.heads[i].Policy.Less(s.heads[i-1].Policy) || s.heads[i].Input < s.heads[i-1].Input {
			t.Errorf("%+v after %+v", s.heads[i], s.heads[i-1])
		}
	}
	s.accept(t, document.NewHolder(s.ID, ""))
}

func TestPublishingNeedsItsKeyInTheTrustDocument(t *testing.T) {
	s := newSite(t)
	if _, err := s.publisher.Publish(t.Context()); fault.From(err).Code != fault.Unavailable {
		t.Errorf("without a trust document: %v", err)
	}
	s.rotate(t)
	s.Keys[names.KeyPolicy] = clustertest.Key(t)
	if _, err := s.publisher.Publish(t.Context()); err == nil || len(s.heads) != 0 {
		t.Errorf("with another key: %v", err)
	}
}

func TestRotatingWithoutAChangeDoesNothing(t *testing.T) {
	s := newSite(t)
	first := s.rotate(t)
	if again := s.rotate(t); again != first || len(s.chains) != 1 || len(s.events) != 1 {
		t.Errorf("%+v after %+v, %d chains, %d events", again, first, len(s.chains), len(s.events))
	}
}

// replace rotates to a new key for a purpose, and returns what an agent that follows then trusts, and the former key.
func (s *site) replace(t *testing.T, purpose string) (trust document.Trust, former string) {
	t.Helper()
	s.rotate(t)
	agent := document.NewHolder(s.ID, document.KeyID(s.Keys[names.KeyRoot].Public()))
	if err := agent.Accept(s.chains[s.head.Trust]...); err != nil {
		t.Fatal(err)
	}
	former = document.KeyID(s.Keys[purpose].Public())
	s.Keys[purpose] = clustertest.Key(t)
	h := s.rotate(t)
	if err := agent.Accept(s.chains[h.Trust]...); err != nil {
		t.Fatal(err)
	}
	if len(s.chains[h.Trust]) != 2 {
		t.Errorf("chain of %d", len(s.chains[h.Trust]))
	}
	return agent.Trust(), former
}

func TestAReplacedKeyOfAgentsRetiresAndWhatItSignedStaysGood(t *testing.T) {
	for _, purpose := range []string{names.KeyHostSSH, names.KeyHostX509} {
		trust, former := newSite(t).replace(t, purpose)
		if len(trust.CA(purpose).Keys) != 2 {
			t.Errorf("%s has %d authorities", purpose, len(trust.CA(purpose).Keys))
		}
		if got := trust.KeysFor(purpose, document.StateRetiring); len(got) != 1 || got[0].ID != former {
			t.Errorf("%s retiring: %+v", purpose, got)
		}
	}
}

// A key that somebody else could use is replaced, and what it signed must be worth nothing from then on.
func TestSec_S73_AReplacedKeyOfPeopleOrDocumentsIsTrustedNoMore(t *testing.T) {
	for _, purpose := range []string{names.KeyUserSSH, names.KeyUserX509, names.KeyPolicy} {
		s := newSite(t)
		trust, former := s.replace(t, purpose)
		if got := trust.KeysFor(purpose); len(got) != 1 || got[0].ID == former || got[0].State != document.StateActive {
			t.Errorf("%s: %+v, and the key before was %s", purpose, got, former)
		}
		if again := s.rotate(t); again != s.head || len(s.chains) != 2 {
			t.Errorf("%s: rotating once more made version %v and %d chains", purpose, again.Trust, len(s.chains))
		}
	}
}

// What agents hold stays in force until the other key has signed, and nothing of the key before is taken from then on.
func TestSec_S73_AReplacedPolicyKeySignsNothingThatAgentsTake(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	s.publish(t)
	agent := document.NewHolder(s.ID, document.KeyID(s.Keys[names.KeyRoot].Public()))
	before := s.accept(t, agent)
	former := s.Keys[names.KeyPolicy]
	s.Keys[names.KeyPolicy] = clustertest.Key(t)
	h := s.rotate(t)
	if err := agent.Accept(s.chains[h.Trust]...); err != nil {
		t.Fatal(err)
	}
	if got := agent.State(); got.Policy.Version != before.Policy.Version || got.Revocations.Version != before.Revocations.Version {
		t.Errorf("it has policy %v and revocations %v, and had %v", got.Policy.Version, got.Revocations.Version, before.Versions())
	}
	for kind, body := range map[document.Kind]any{
		document.KindPolicy:      document.Policy{Cluster: s.ID, Version: identity.Version{Epoch: 1, Counter: 1 << 40}, IssuedAt: s.Now},
		document.KindRevocations: document.Revocations{Cluster: s.ID, Version: identity.Version{Epoch: 1, Counter: 1 << 40}, IssuedAt: s.Now},
	} {
		forged, err := document.Seal(kind, body, former)
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.Accept(forged); !errors.Is(err, document.ErrRetired) {
			t.Errorf("%s of the key before: %v", kind, err)
		}
	}
	next := s.publish(t)
	if state := s.accept(t, agent); state.Policy.Version != next.Policy || !before.Policy.Version.Less(next.Policy) || len(state.Policy.Roles) != len(before.Policy.Roles) {
		t.Errorf("the next publication left %v with %d roles, head %v", state.Policy.Version, len(state.Policy.Roles), next.Policy)
	}
}

// Agents that renewed a day after the replacement have nothing of the key before, and nobody watches it for ever.
func TestSec_S73_AReplacedKeyOfAgentsIsTrustedUntilWhatItSignedHasExpired(t *testing.T) {
	for _, purpose := range []string{names.KeyHostSSH, names.KeyHostX509} {
		s := newSite(t)
		_, former := s.replace(t, purpose)
		replaced := s.Now
		s.Keys[names.KeyUserSSH] = clustertest.Key(t) // another document in the row
		s.rotate(t)
		named := func() bool {
			trust, err := document.OpenTrust(s.chains[s.head.Trust], "")
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(trust.Keys, func(k document.Key) bool { return k.ID == former })
		}
		s.Now = replaced.Add(certs.MaxHostLife + 59*time.Minute)
		if h := s.rotate(t); !named() || h.Trust.Counter != 3 {
			t.Errorf("%s: the key has left version %v", purpose, h.Trust)
		}
		s.Now = replaced.Add(certs.MaxHostLife + time.Hour)
		if h := s.rotate(t); named() || h.Trust.Counter != 4 {
			t.Errorf("%s: the key is in version %v", purpose, h.Trust)
		}
		if h := s.rotate(t); h.Trust.Counter != 4 {
			t.Errorf("%s: rotating once more made version %v", purpose, h.Trust)
		}
	}
}

// A key that was given back has signed since, and is retiring from the second replacement on.
func TestSec_S73_AKeyOfAgentsThatWasActiveAgainRetiresAnew(t *testing.T) {
	s := newSite(t)
	before := s.Keys[names.KeyHostSSH]
	_, former := s.replace(t, names.KeyHostSSH)
	s.Keys[names.KeyHostSSH] = before
	s.rotate(t)
	s.Now = s.Now.Add(certs.MaxHostLife + 2*time.Hour)
	s.Keys[names.KeyHostSSH] = clustertest.Key(t)
	h := s.rotate(t)
	trust, err := document.OpenTrust(s.chains[h.Trust], "")
	if err != nil || !slices.ContainsFunc(trust.Keys, func(k document.Key) bool { return k.ID == former }) {
		t.Errorf("the key has left version %v with the certificates that it signed a moment ago: %v", h.Trust, err)
	}
}

// A deployment that is rolled back gives back the key before, which has to sign again.
func TestARolledBackKeyIsActiveAgain(t *testing.T) {
	for _, purpose := range []string{names.KeyUserSSH, names.KeyHostX509, names.KeyPolicy} {
		s := newSite(t)
		before := s.Keys[purpose]
		s.replace(t, purpose)
		s.Keys[purpose] = before
		h := s.rotate(t)
		trust, err := document.OpenTrust(s.chains[h.Trust], "")
		if err != nil {
			t.Fatal(err)
		}
		if got := trust.KeysFor(purpose, document.StateActive); len(got) != 1 || got[0].ID != document.KeyID(before.Public()) {
			t.Errorf("%s active: %+v", purpose, got)
		}
	}
}

// A rollback brings the former keys back: the document that says so is a newer one, and what was signed for agents in between
// stays good.
func TestKeysThatARollbackBringsBackArePublishedForward(t *testing.T) {
	s := newSite(t)
	first := s.rotate(t)
	agent := document.NewHolder(s.ID, document.KeyID(s.Keys[names.KeyRoot].Public()))
	former, between := s.Keys[names.KeyHostSSH], clustertest.Key(t)
	s.Keys[names.KeyHostSSH] = between
	second := s.rotate(t)
	s.Keys[names.KeyHostSSH] = former
	third := s.rotate(t)
	if first.Trust.Counter >= second.Trust.Counter || second.Trust.Counter >= third.Trust.Counter || first.Trust.Epoch != third.Trust.Epoch {
		t.Errorf("%v, %v, %v", first.Trust, second.Trust, third.Trust)
	}
	for _, h := range []document.Head{first, second, third} {
		if err := agent.Accept(s.chains[h.Trust]...); err != nil {
			t.Fatal(err)
		}
	}
	for state, want := range map[string]string{document.StateActive: document.KeyID(former.Public()), document.StateRetiring: document.KeyID(between.Public())} {
		if got := agent.Trust().KeysFor(names.KeyHostSSH, state); len(got) != 1 || got[0].ID != want {
			t.Errorf("%s: %+v, want %s", state, got, want)
		}
	}
}

func TestAnotherRootIsNotSlippedIn(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.Keys[names.KeyRoot] = clustertest.Key(t)
	if _, err := s.rotator.Rotate(t.Context()); fault.From(err).Code != fault.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestARotationThatDiedHalfwayIsDoneByTheNext(t *testing.T) {
	for _, call := range []string{"Read", "PutTrust", "AdvanceTrust", "Record"} {
		for _, persisted := range []bool{false, true} {
			s := newSite(t)
			s.fail, s.persisted = call, persisted
			if _, err := s.rotator.Rotate(t.Context()); !errors.Is(err, errDown) {
				t.Errorf("%s: %v", call, err)
			}
			h := s.rotate(t)
			if err := document.NewHolder(s.ID, "").Accept(s.chains[h.Trust]...); err != nil {
				t.Errorf("%s (%v): %v", call, persisted, err)
			}
		}
	}
}
