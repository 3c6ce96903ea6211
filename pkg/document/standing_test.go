package document_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	rules "github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// judging is a world whose documents may judge whatever is issued with policy 5.
func judging(t testing.TB) world {
	t.Helper()
	w := newWorld(t)
	accept(t, w.holder, seal(t, document.KindPolicy, policy(5), w.policy), seal(t, document.KindRevocations, revocations(5, now), w.policy))
	return w
}

// before revokes what was issued to somebody or something before a version.
type before struct {
	target, value string
	version       identity.Version
}

// revoke publishes revocations that hold these alone.
func (w world) revoke(t testing.TB, locks []document.Lock, all ...before) {
	t.Helper()
	r := revocations(w.holder.Revocations().Version.Counter+1, now)
	r.Locks = locks
	sets := map[string]revoked.Set{}
	for _, b := range all {
		o := revoked.Order{Ref: identity.Ref{Target: b.target, Value: b.value}, Until: now.Add(time.Hour)}
		sets[o.List()], _ = sets[o.List()].Settle(o.List(), []revoked.Order{o}, b.version, now)
	}
	r.Users, r.Agents = sets[revoked.Users].Sum(), sets[revoked.Agents].Sum()
	s := seal(t, document.KindRevocations, r, w.policy)
	s.Lists = map[string]revoked.Records{}
	for list, set := range sets {
		s.Lists[list] = revoked.Records{Whole: true, Entries: set.Bytes()}
	}
	for _, list := range []string{revoked.Users, revoked.Agents} {
		if _, there := sets[list]; !there {
			s.Lists[list] = revoked.Records{Whole: true}
		}
	}
	accept(t, w.holder, s)
}

func issuedWith(trust, policy, revocations uint64) identity.User {
	return identity.User{Name: "alice", Versions: identity.Versions{Trust: v(trust), Policy: v(policy), Revocations: v(revocations)}}
}

// wantFault wants a fault with a hint; says is a part of its message.
func wantFault(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Code != code || !strings.Contains(f.Message, says) || f.Hint == "" || f.RetryAfter == 0 {
		t.Errorf("%v, want %s saying %q", err, code, says)
	}
}

func TestDocumentsJudgeWhatIsNotNewerThanThey(t *testing.T) {
	w := newWorld(t)
	standing := func(at time.Time, who identity.User, fresh bool) error {
		return w.holder.State().Standing(who, document.Use{Now: at, Fresh: fresh})
	}
	behind := func(err error, part string) {
		t.Helper()
		wantFault(t, err, fault.Unavailable, part)
		if !errors.Is(err, document.ErrBehind) {
			t.Errorf("%v is not said to be behind", err)
		}
	}
	silent := func(err error) {
		t.Helper()
		// It has no RetryAfter: two seconds, as for what is on its way, would contradict the hint.
		if f := fault.From(err); f == nil || f.Code != fault.Unavailable || !strings.Contains(f.Message, "nothing has been heard") ||
			!strings.HasPrefix(f.Hint, "try again within a minute; ") || f.RetryAfter != 0 {
			t.Errorf("%v: %+v", err, f)
		}
		if errors.Is(err, document.ErrBehind) {
			t.Errorf("%v is said to be behind: nobody sends newer documents", err)
		}
	}
	issued := issuedWith(1, 5, 9)
	behind(standing(now, issued, false), "not all arrived")
	accept(t, w.holder, seal(t, document.KindPolicy, policy(4), w.policy))
	behind(standing(now, issued, false), "not all arrived")
	accept(t, w.holder, seal(t, document.KindRevocations, revocations(9, now), w.policy))
	behind(standing(now, issued, false), "policy document here is 1.4; 1.5 is needed")
	accept(t, w.holder, seal(t, document.KindPolicy, policy(5), w.policy))
	if err := standing(now, issued, false); err != nil {
		t.Error(err)
	}
	behind(standing(now, issuedWith(2, 0, 0), false), "trust document")
	behind(standing(now, issuedWith(1, 5, 10), false), "revocations document")
	host := identity.Host{ID: "agt_1", Versions: identity.Versions{Policy: v(6)}}
	behind(w.holder.State().Standing(host, document.Use{Now: now}), "policy document here is 1.5; 1.6 is needed")

	if err := standing(now.Add(24*time.Hour), issued, false); err != nil {
		t.Error(err)
	}
	silent(standing(now.Add(24*time.Hour+time.Second), issued, false))
	if err := standing(now.Add(5*time.Minute), issued, true); err != nil {
		t.Error(err)
	}
	silent(standing(now.Add(5*time.Minute+time.Second), issued, true))
	if err := standing(now.Add(5*time.Minute+time.Second), issued, false); err != nil {
		t.Error(err)
	}

	ahead := revocations(10, now.Add(time.Minute))
	ahead.Policy = v(6)
	accept(t, w.holder, seal(t, document.KindRevocations, ahead, w.policy))
	behind(standing(now, issued, false), "policy document here is 1.5; 1.6 is needed") // a newer one is known of and kept back
}

func TestAShorterPolicyAgeHoldsForFreshRolesToo(t *testing.T) {
	w := newWorld(t)
	p := policy(5)
	p.MaxPolicyAge = resource.Duration(time.Minute)
	accept(t, w.holder, seal(t, document.KindPolicy, p, w.policy), seal(t, document.KindRevocations, revocations(1, now), w.policy))
	for _, fresh := range []bool{false, true} {
		use := document.Use{Now: now.Add(time.Minute + time.Second), Fresh: fresh}
		if err := w.holder.State().Standing(issuedWith(1, 5, 1), use); !fault.Is(err, fault.Unavailable) {
			t.Errorf("fresh %t: %v", fresh, err)
		}
		use.Now = now.Add(time.Minute)
		if err := w.holder.State().Standing(issuedWith(1, 5, 1), use); err != nil {
			t.Errorf("fresh %t: %v", fresh, err)
		}
	}
}

func TestALockBarsWhomOrWhatItNames(t *testing.T) {
	w := judging(t)
	alice := identity.User{
		Name: "alice", UID: "usr_1", Mapping: "engineers", Certificate: "crt_1", Roles: []string{"access"}, Versions: identity.Versions{Policy: v(5)},
		Grants: []identity.Grant{{Request: "req_1", Roles: []string{"dba"}, Until: now.Add(time.Hour)}},
	}
	host := identity.Host{
		ID: "agt_1", Certificate: "crt_2", Token: "nodes", Targets: []identity.Target{{Kind: "node", Name: "node-1"}}, Versions: identity.Versions{Policy: v(5)},
	}
	past, future := now.Add(-time.Second), now.Add(time.Second)
	for _, c := range []struct {
		target, value string
		expires       *time.Time
		user, host    bool
	}{
		{"user", "alice", nil, true, false},
		{"user", "alice", &future, true, false},
		{"user", "alice", &past, false, false},
		{"user", "alice", &now, false, false},
		{"user", "usr_1", nil, false, false},
		{"uid", "usr_1", nil, true, false},
		{"mapping", "engineers", nil, true, false},
		{"role", "access", nil, true, false},
		{"certificate", "crt_1", nil, true, false},
		{"certificate", "crt_2", nil, false, true},
		{"login", "root", nil, true, true}, // both are about to use it
		{"login", "ubuntu", nil, false, false},
		{"target", "node/node-1", nil, true, true},
		{"target", "db/node-1", nil, false, false},
		{"target", "node-1", nil, false, false},
		{"session", "ses_1", nil, true, true},
		{"agent", "agt_1", nil, false, true},
		{"token", "nodes", nil, false, true},
		{"user", "bob", nil, false, false},
		{"request", "req_1", nil, false, false}, // ends the grant, not the user
		{"role", "dba", nil, false, false},      // comes by the grant
	} {
		w.revoke(t, []document.Lock{{ID: "lck_1", Target: c.target, Value: c.value, Reason: "an audit", Expires: c.expires}})
		use := document.Use{Now: now, Also: []identity.Ref{{Target: "login", Value: "root"}, {Target: "target", Value: "node/node-1"}, {Target: "session", Value: "ses_1"}}}
		for who, barred := range map[document.Subject]bool{subjectOf(alice): c.user, subjectOf(host): c.host} {
			err := w.holder.State().Standing(who, use)
			if !barred && err != nil {
				t.Errorf("lock on %s %s: %v", c.target, c.value, err)
			}
			if !barred {
				continue
			}
			wantFault(t, err, fault.Denied, "locked: "+c.target+" "+c.value+": an audit")
			if f := fault.From(err); f != nil && !strings.Contains(f.Hint, "lck_1") {
				t.Errorf("the hint %q doesn't name the lock", f.Hint)
			}
		}
		use.Also = nil
		if use := c.target == "login" || c.target == "target" || c.target == "session"; use && w.holder.State().Standing(alice, document.Use{Now: now}) != nil {
			t.Errorf("a lock on %s %s bars who does not use it", c.target, c.value)
		}
	}
}

// What a newer release may add to a document is passed over, unless the document says that it must not be: then keys and
// locks of it count, and nobody is let in by it.
func TestADocumentWithSomethingCriticalThatIsNotKnownLetsNobodyIn(t *testing.T) {
	bodies := func(t *testing.T, w world, kind document.Kind) (string, *ecdsa.PrivateKey) {
		t.Helper()
		switch kind {
		case document.KindTrust:
			return string(w.ring.trust(2, w.root).Body), w.root
		case document.KindPolicy:
			return string(seal(t, kind, policy(6), w.policy).Body), w.policy
		case document.KindRevocations:
		}
		r := revocations(6, now)
		r.Locks = []document.Lock{{ID: "lck_1", Target: "user", Value: "eve"}}
		return strings.Replace(string(seal(t, kind, r, w.policy).Body), `"critical":["users","agents"],`, "", 1), w.policy
	}
	for _, kind := range []document.Kind{document.KindTrust, document.KindPolicy, document.KindRevocations} {
		for name, c := range map[string]struct {
			critical string
			passes   bool
		}{
			"an unknown field":             {`"later":{"a":1},`, true},
			"an unknown critical field":    {`"later":{"a":1},"critical":["later"],`, false},
			"a known critical field":       {`"critical":["version.epoch"],`, true},
			"one below a known one":        {`"critical":["version","version.era"],`, false},
			"a critical field that is not": {`"critical":["absent"],`, false},
			"one that has no name":         {`"critical":[""],`, false},
		} {
			t.Run(string(kind)+" with "+name, func(t *testing.T) {
				w := judging(t)
				body, key := bodies(t, w, kind)
				accept(t, w.holder, sealRaw(t, kind, "{"+c.critical+body[1:], key))
				err := w.holder.State().Standing(issuedWith(1, 5, 1), document.Use{Now: now})
				switch f := fault.From(err); {
				case c.passes && err != nil:
					t.Error(err)
				case !c.passes && (f == nil || f.Code != fault.Unavailable || !strings.Contains(f.Message, string(kind)+" document") || f.Hint == ""):
					t.Error(err)
				case !c.passes && errors.Is(err, document.ErrBehind):
					t.Error("newer documents are said to lift it")
				}
				// What it bars is barred all the same.
				eve := identity.User{Name: "eve", Versions: identity.Versions{Policy: v(5)}}
				if err := w.holder.State().Standing(eve, document.Use{Now: now}); kind == document.KindRevocations && !fault.Is(err, fault.Denied) {
					t.Errorf("the lock of the same document does not count: %v", err)
				}
			})
		}
	}
}

// subjectOf makes a subject that can be the key of a map.
func subjectOf(s document.Subject) *subject { return &subject{s} }

type subject struct{ document.Subject }

func TestAClockThatIsBehindLiftsNoLock(t *testing.T) {
	w := judging(t)
	until := now.Add(time.Second)
	w.revoke(t, []document.Lock{{ID: "lck_1", Target: "user", Value: "alice", Expires: &until}})
	for _, c := range []struct {
		at     time.Time
		locked bool
	}{{now.Add(-time.Hour), true}, {now, true}, {until.Add(-1), true}, {until, false}} {
		if err := w.holder.State().Standing(issuedWith(1, 5, 1), document.Use{Now: c.at}); fault.Is(err, fault.Denied) != c.locked {
			t.Errorf("at %s: %v", c.at, err)
		}
	}
}

func TestARevocationEndsWhatWasIssuedBefore(t *testing.T) {
	w := judging(t)
	alice := identity.User{Name: "alice", UID: "usr_1", Mapping: "engineers", Record: "/team", Certificate: "crt_1", Versions: identity.Versions{Revocations: v(5)}}
	host := identity.Host{ID: "agt_1", Certificate: "crt_2", Token: "nodes", Versions: identity.Versions{Revocations: v(5)}}
	for _, c := range []struct {
		target, value string
		version       identity.Version
		user, host    bool
	}{
		{"uid", "usr_1", v(6), true, false},
		{"uid", "usr_1", v(5), false, false},
		{"uid", "usr_2", v(6), false, false},
		{"user", "alice", v(6), true, false},
		{"mapping", "engineers", v(6), true, false},
		{"record", "engineers/alice", v(6), true, false},
		{"record", "others/alice", v(6), false, false}, // somebody else, whom another mapping calls so
		{"record", "engineers/bob", v(6), false, false},
		{"records", "/team", v(6), true, false},
		{"records", "/", v(6), false, false},
		{"certificate", "crt_1", v(6), true, false},
		{"agent", "agt_1", v(6), false, true},
		{"agent", "agt_1", v(5), false, false},
		{"token", "nodes", v(6), false, true},
		{"token", "others", v(6), false, false},
		{"uid", "usr_1", identity.Version{Epoch: 2}, true, false},
	} {
		w.revoke(t, nil, before{c.target, c.value, c.version})
		for who, revoked := range map[document.Subject]bool{subjectOf(alice): c.user, subjectOf(host): c.host} {
			err := w.holder.State().Standing(who, document.Use{Now: now})
			if !revoked && err != nil {
				t.Errorf("revoked before %v by %s %s: %v", c.version, c.target, c.value, err)
			}
			if !revoked {
				continue
			}
			wantFault(t, err, fault.Unauthenticated, "the certificate was revoked: "+c.target+" "+c.value)
			if f := fault.From(err); f != nil && f.Hint != who.Again(identity.Ref{Target: c.target, Value: c.value}) {
				t.Errorf("the hint is %q, want how to get another certificate", f.Hint)
			}
		}
		// What somebody uses is named by locks alone: it has no certificate that a revocation could end.
		also := []identity.Ref{{Target: c.target, Value: c.value}}
		if err := w.holder.State().Standing(identity.User{Name: "bob"}, document.Use{Now: now, Also: also}); err != nil {
			t.Errorf("revoked by what is used: %v", err)
		}
	}
}

// Who is locked is told so, whatever else is the case: it is the answer that a person can act on.
func TestTheFirstAnswerIsTheLockThenTheRevocationThenTheDocuments(t *testing.T) {
	w := judging(t)
	who := issuedWith(1, 9, 1) // newer than the documents here
	wantFault(t, w.holder.State().Standing(who, document.Use{Now: now}), fault.Unavailable, "1.9 is needed")
	gone := before{"user", "alice", v(10)}
	w.revoke(t, nil, gone)
	wantFault(t, w.holder.State().Standing(who, document.Use{Now: now}), fault.Unauthenticated, "revoked")
	w.revoke(t, []document.Lock{{ID: "lck_1", Target: "user", Value: "alice"}}, gone)
	wantFault(t, w.holder.State().Standing(who, document.Use{Now: now}), fault.Denied, "locked")
}

func TestWhatNamesARequestEndsThatGrantAlone(t *testing.T) {
	w := judging(t)
	grants := []identity.Grant{
		{Request: "req_1", Roles: []string{"dba", "oncall"}, Until: now.Add(time.Hour)},
		{Request: "req_2", Roles: []string{"root"}, Resources: []identity.Target{{Kind: "node", Name: "node-1"}}, Until: now.Add(time.Minute)},
		{Request: "req_3", Roles: []string{"root"}, Until: now},
	}
	alice := identity.User{Name: "alice", UID: "usr_1", Roles: []string{"access"}, Traits: map[string][]string{"logins": {"a"}}, Grants: grants, Versions: identity.Versions{Revocations: v(5)}}
	past := now.Add(-1)
	lock := func(target, value string) []document.Lock {
		return []document.Lock{{ID: "lck_1", Target: target, Value: value}}
	}
	for name, c := range map[string]struct {
		locks  []document.Lock
		before []before
		at     time.Time
		want   []string
	}{
		"nothing":                              {nil, nil, now, []string{"req_1", "req_2"}},
		"the shorter one is over":              {nil, nil, now.Add(time.Minute), []string{"req_1"}},
		"all are over":                         {nil, nil, now.Add(time.Hour), nil},
		"a clock that is behind the documents": {nil, nil, now.Add(-time.Hour), []string{"req_1", "req_2"}},
		"a lock on a request":                  {lock("request", "req_1"), nil, now, []string{"req_2"}},
		"a lock on another request":            {lock("request", "req_9"), nil, now, []string{"req_1", "req_2"}},
		"a lock on a role of a grant":          {lock("role", "oncall"), nil, now, []string{"req_2"}},
		"a lock on a request that is over":     {[]document.Lock{{ID: "lck_1", Target: "request", Value: "req_1", Expires: &past}}, nil, now, []string{"req_1", "req_2"}},
		"a lock on a resource of a grant":      {lock("target", "node/node-1"), nil, now, []string{"req_1", "req_2"}},
		"a revocation of a request":            {nil, []before{{"request", "req_2", v(6)}}, now, []string{"req_1"}},
		"a revocation from before":             {nil, []before{{"request", "req_2", v(5)}}, now, []string{"req_1", "req_2"}},
		"both":                                 {lock("request", "req_1"), []before{{"request", "req_2", v(6)}}, now, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w.revoke(t, c.locks, c.before...)
			state := w.holder.State()
			var got []string
			for _, g := range state.Grants(alice, c.at) {
				got = append(got, g.Request)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if err := state.Standing(alice, document.Use{Now: c.at}); err != nil {
				t.Errorf("the user is barred: %v", err)
			}
			want := rules.Subject{Roles: alice.Roles, Traits: alice.Traits, Grants: state.Grants(alice, c.at), Now: state.Now(c.at)}
			if d := cmp.Diff(want, state.Subject(alice, c.at)); d != "" {
				t.Error(d)
			}
			if len(alice.Grants) != 3 || alice.Grants[0].Request != "req_1" || alice.Grants[2].Request != "req_3" {
				t.Errorf("the user's own grants were changed: %+v", alice.Grants)
			}
		})
	}
	w.revoke(t, lock("role", "access"))
	wantFault(t, w.holder.State().Standing(alice, document.Use{Now: now}), fault.Denied, "role access")
}

func TestTheRolesInForceAreThoseOfTheNewestPolicy(t *testing.T) {
	w := judging(t)
	n := rules.Target{Kind: "node", Name: "n", Labels: map[string]string{"env": "dev"}}
	sub := rules.Subject{Roles: []string{"dev"}, Now: now}
	if w.holder.State().Roles().Decide(sub, n, rules.Login("a")).Allowed {
		t.Error("a role counts that is not published")
	}
	p := policy(6)
	p.Roles = append(resource.Presets(), resource.Role{Metadata: resource.Metadata{Name: "dev"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"a"}, NodeLabels: resource.Labels{"env": {"dev"}}}}})
	before := w.holder.State()
	accept(t, w.holder, seal(t, document.KindPolicy, p, w.policy))
	if !w.holder.State().Roles().Decide(sub, n, rules.Login("a")).Allowed || before.Roles().Decide(sub, n, rules.Login("a")).Allowed {
		t.Error("the roles are not those of the state's policy")
	}
	// A state that came together otherwise than by a holder has its roles all the same.
	if !(document.State{Policy: p}).Roles().Decide(sub, n, rules.Login("a")).Allowed || (document.State{}).Roles() == nil {
		t.Error("a state without a holder has no roles")
	}
}

func TestArrivedIsSaidWhenNewerDocumentsAreInForce(t *testing.T) {
	w := newWorld(t)
	has := func(arrived <-chan struct{}) bool {
		select {
		case <-arrived:
			return true
		default:
			return false
		}
	}
	five := seal(t, document.KindPolicy, policy(5), w.policy)
	first := w.holder.Arrived()
	if has(first) {
		t.Error("something arrived before anything did")
	}
	accept(t, w.holder, five)
	if second := w.holder.Arrived(); !has(first) || has(second) {
		t.Error("a newer document did not arrive, or the next did too")
	}
	still := w.holder.Arrived()
	accept(t, w.holder, five)                                                                        // held already
	refuse(t, w.holder, document.ErrOlder, seal(t, document.KindPolicy, policy(4), w.policy))        // older
	refuse(t, w.holder, document.ErrRetired, seal(t, document.KindPolicy, policy(6), newKey(t)))     // a stranger's
	refuse(t, w.holder, document.ErrMalformed, sealRaw(t, document.KindRevocations, "no", w.policy)) // not a document
	if has(still) {
		t.Error("documents arrived that are not in force")
	}
	accept(t, w.holder, seal(t, document.KindRevocations, revocations(1, now), w.policy))
	if !has(still) {
		t.Error("revocations did not arrive")
	}
	still = w.holder.Arrived()
	accept(t, w.holder, w.ring.trust(2, w.root))
	if !has(still) {
		t.Error("a trust document did not arrive")
	}
}

// asking counts how often Await asks somebody.
func asking(who document.Subject, asked *int) func(document.State) error {
	return func(s document.State) error {
		*asked++
		return s.Standing(who, document.Use{Now: now})
	}
}

func TestSomebodyFasterThanTheFeedIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judging(t)
		asked := 0
		type answer struct {
			state document.State
			err   error
		}
		over := make(chan answer, 1)
		go func() {
			s, err := document.Await(t.Context(), w.holder, asking(issuedWith(1, 7, 1), &asked))
			over <- answer{s, err}
		}()
		waits := func(after string, times int) {
			t.Helper()
			synctest.Wait()
			select {
			case a := <-over:
				t.Fatalf("%s: it did not wait: %v", after, a.err)
			default:
			}
			if asked != times {
				t.Fatalf("%s: asked %d times", after, asked)
			}
		}
		waits("at first", 1)
		accept(t, w.holder, seal(t, document.KindPolicy, policy(6), w.policy))
		waits("newer documents that are still behind", 2)
		_ = w.holder.Accept(seal(t, document.KindPolicy, policy(3), w.policy))
		waits("older documents", 2)
		accept(t, w.holder, seal(t, document.KindPolicy, policy(7), w.policy))
		a := <-over
		if a.err != nil || asked != 3 || a.state.Policy.Version != v(7) {
			t.Errorf("%v after %d, by policy %v", a.err, asked, a.state.Policy.Version)
		}
	})
}

func TestOnlyDocumentsThatAreBehindAreAwaited(t *testing.T) {
	w := judging(t)
	w.revoke(t, []document.Lock{{ID: "lck_1", Target: "user", Value: "eve"}}, before{"user", "mallory", v(6)})
	stands := w.holder.State()
	late := stands
	late.Revocations.IssuedAt = now.Add(-25 * time.Hour)
	late.Policy.IssuedAt, late.Trust.IssuedAt = late.Revocations.IssuedAt, late.Revocations.IssuedAt
	at5 := identity.Versions{Policy: v(5), Revocations: v(5)}
	for name, c := range map[string]struct {
		state document.State
		who   document.Subject
		code  fault.Code
	}{
		"who stands":                 {stands, issuedWith(1, 5, 1), ""},
		"who is locked":              {stands, identity.User{Name: "eve", Versions: at5}, fault.Denied},
		"who is revoked":             {stands, identity.User{Name: "mallory", Versions: at5}, fault.Unauthenticated},
		"who finds documents silent": {late, issuedWith(1, 5, 1), fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, began := 0, time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s, err := document.Await(ctx, feed{c.state}, asking(c.who, &asked))
				if (c.code == "") != (err == nil) || c.code != "" && !fault.Is(err, c.code) || asked != 1 || time.Since(began) > 0 {
					t.Errorf("%v after %d and %s", err, asked, time.Since(began))
				}
				if s.Policy.Version != v(5) {
					t.Errorf("the state that answered is of policy %v", s.Policy.Version)
				}
			})
		})
	}
}

// feed is documents that stay as they are.
type feed struct{ state document.State }

func (f feed) State() document.State  { return f.state }
func (feed) Arrived() <-chan struct{} { return nil }

func TestAwaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judging(t)
		asked := 0
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		s, err := document.Await(ctx, w.holder, asking(issuedWith(1, 7, 1), &asked))
		wantFault(t, err, fault.Unavailable, "1.7 is needed")
		if !errors.Is(err, document.ErrBehind) || asked != 1 || time.Since(began) != 3*time.Second || s.Policy.Version != v(5) {
			t.Errorf("%v after %s and %d, by policy %v", err, time.Since(began), asked, s.Policy.Version)
		}
	})
}

// Documents that arrive between the look at them and the wait are not missed.
func TestDocumentsThatArriveWhileItAsksAreNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := judging(t)
		asked := 0
		_, err := document.Await(t.Context(), w.holder, func(s document.State) error {
			if asked++; asked == 1 {
				accept(t, w.holder, seal(t, document.KindPolicy, policy(7), w.policy))
			}
			return s.Standing(issuedWith(1, 7, 1), document.Use{Now: now})
		})
		if err != nil || asked != 2 {
			t.Errorf("%v after %d", err, asked)
		}
	})
}
