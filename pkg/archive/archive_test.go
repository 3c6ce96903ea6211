package archive_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// shop is the store, the bucket and the ledger of an archive, in memory.
type shop struct {
	*yard
	granted []string
	broken  error          // of the ledger
	brought map[string]int // by agent, and what
	slow    error          // that it is too much

	measured map[string][]int // by metric
	deaf     string           // key of which S3 says nothing
}

func (s *shop) Create(_ context.Context, e archive.Entry) (archive.Entry, error) {
	if there, ok := s.entries[e.Session]; ok {
		return there, nil
	}
	s.entries[e.Session] = e
	return e, nil
}

func (s *shop) Replace(_ context.Context, _, is archive.Entry) error {
	s.entries[is.Session] = is
	return nil
}

func (s *shop) Hold(_ context.Context, l archive.Lease) error {
	s.leases = append(s.leases, l)
	return nil
}

func (s *shop) Of(_ context.Context, _, from, below string, _ int) ([]archive.Entry, bool, error) {
	return nil, false, between(from, below)
}

func (s *shop) Day(_ context.Context, _ time.Time, from, below string, _ int) ([]archive.Entry, bool, error) {
	return nil, false, between(from, below)
}

// between fails as DynamoDB does.
func between(from, below string) error {
	if from > below {
		return errors.New("The BETWEEN operator requires upper bound to be greater than or equal to lower bound")
	}
	return nil
}

func (s *shop) Grant(_ context.Context, key string, _ int64, _ []byte) (url string, headers map[string]string, err error) {
	s.granted = append(s.granted, key)
	return "https://s3.example/" + key, headers, nil
}

func (s *shop) Get(ctx context.Context, session string) (archive.Entry, error) {
	return s.yard.Get(ctx, session)
}

func (s *shop) Append(ctx context.Context, events ...audit.Event) error {
	if s.broken != nil {
		return s.broken
	}
	return s.yard.Append(ctx, events...)
}

// objects is the shop's bucket: its Get is about keys.
type objects struct{ *shop }

func (o objects) Head(ctx context.Context, key string) (archive.Object, bool, error) {
	if key == o.deaf {
		return archive.Object{}, false, errors.New("AccessDenied")
	}
	return o.shop.Head(ctx, key)
}

func (o objects) Get(_ context.Context, key string, _ int64) ([]byte, error) {
	return []byte(o.shop.objects[key]), nil
}

func (o objects) Read(_ context.Context, prefix, _ string) (out []wire.RecordingObject, next string, err error) {
	for key := range o.shop.objects {
		if strings.HasPrefix(key, prefix) {
			out = append(out, wire.RecordingObject{Name: key})
		}
	}
	return out, next, nil
}

// pace counts what an agent brings.
type pace struct {
	*shop
	what string
}

func (p pace) Take(_ context.Context, agent string, n int, _ time.Time) error {
	if p.brought == nil {
		p.brought = map[string]int{}
	}
	p.brought[agent+" "+p.what] += n
	return p.slow
}

func newShop(t *testing.T) (*archive.Archive, *shop) {
	s := &shop{yard: newYard(t), measured: map[string][]int{}}
	return archive.New(archive.Config{
		Store: s, Objects: objects{s}, Claims: pace{s, "claims"}, Puts: pace{s, "puts"}, Denials: pace{s, "denials"}, Ledger: s, Cluster: "c", Entropy: rand.Reader,
		Measure: func(metric string, n int) { s.measured[metric] = append(s.measured[metric], n) },
	}), s
}

func agent(id string) identity.Host {
	return identity.Host{Kind: identity.KindAgent, ID: id, Scope: "/a", Targets: []identity.Target{{Kind: "node", Name: "node-1"}}}
}

func claim(secret []byte) wire.RecordingClaim {
	return wire.RecordingClaim{Secret: secret, User: "ada", UID: "usr_ada", Login: "root", Target: "node/node-1", Started: now}
}

func TestARecordingIsClaimedByWhoKnowsItsSecret(t *testing.T) {
	a, s := newShop(t)
	session, secret := identity.NewSession(rand.Reader, now)
	sum := sha256.Sum256([]byte("a chunk"))
	ask := wire.UploadRequest{Objects: []wire.UploadObject{{Name: recording.ChunkName(0), Size: 7, Sha256: sum[:]}}}
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); !fault.Is(err, fault.NotFound) {
		t.Errorf("granted before it was claimed: %v", err)
	}
	if r, err := a.Claim(t.Context(), agent("agt_a"), session, claim(secret), now); err != nil || r.State != "open" {
		t.Fatal(r, err)
	}
	if l := s.leases; len(l) != 1 || l[0].Agent != "agt_a" || !l[0].Until.Equal(now.Add(recording.LeaseFor)) {
		t.Errorf("leases %+v", l)
	}
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); err != nil {
		t.Error(err)
	}
	for name, host := range map[string]identity.Host{"another agent": agent("agt_b"), "a proxy": {Kind: identity.KindProxy, ID: "agt_a"}} {
		_, err1 := a.Grant(t.Context(), host, session, ask, now)
		_, err2 := a.Held(t.Context(), host, session, wire.HeldRequest{Names: []string{recording.ChunkName(0)}}, now)
		if err1 == nil || err2 == nil || len(s.granted) != 1 {
			t.Errorf("%s is granted: %v, %v", name, err1, err2)
		}
	}
	if _, err := a.Claim(t.Context(), agent("agt_b"), session, claim(make([]byte, len(secret))), now); !fault.Is(err, fault.Denied) {
		t.Errorf("claimed without the secret: %v", err)
	}
	if _, err := a.Claim(t.Context(), agent("agt_b"), session, claim(secret), now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); !fault.Is(err, fault.NotFound) {
		t.Errorf("the one that was joined again still brings objects under its former id: %v", err)
	}
}

func TestSec_S98_AnAgentBringsOnlySoMuch(t *testing.T) {
	a, s := newShop(t)
	session, secret := identity.NewSession(rand.Reader, now)
	if _, err := a.Claim(t.Context(), agent("agt_a"), session, claim(secret), now); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a chunk"))
	ask := wire.UploadRequest{Objects: []wire.UploadObject{{Name: recording.ChunkName(0), Size: recording.MaxChunk, Sha256: sum[:]}, {Name: recording.ChunkName(1), Size: 1, Sha256: sum[:]}}}
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"agt_a claims": 1, "agt_a puts": recording.MaxChunk/recording.PutUnit + 1}; !maps.Equal(s.brought, want) {
		t.Errorf("counted are %v", s.brought)
	}
	if _, err := a.Grant(t.Context(), agent("agt_b"), session, ask, now); err == nil || s.brought["agt_b puts"] != 0 {
		t.Errorf("one agent pays for another: %v, %v", s.brought, err)
	}
	s.slow = fault.New(fault.RateLimited, "too much", "wait")
	other, secret := identity.NewSession(rand.Reader, now)
	if _, err := a.Claim(t.Context(), agent("agt_a"), other, claim(secret), now); !fault.Is(err, fault.RateLimited) || len(s.leases) != 1 {
		t.Errorf("claimed beyond its pace: %v, %d leases", err, len(s.leases))
	}
	if _, err := a.Held(t.Context(), agent("agt_a"), session, wire.HeldRequest{Names: []string{recording.ChunkName(0), recording.ChunkName(1)}}, now); !fault.Is(err, fault.RateLimited) {
		t.Errorf("S3 is asked beyond its pace: %v", err)
	}
	if want := recording.MaxChunk/recording.PutUnit + 1 + 2; s.brought["agt_a puts"] != want {
		t.Errorf("%d are counted, want %d", s.brought["agt_a puts"], want)
	}
	granted := len(s.granted)
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); !fault.Is(err, fault.RateLimited) || len(s.granted) != granted {
		t.Errorf("granted beyond its pace: %v", err)
	}
}

// What is measured is what an alarm hears: what was granted, and what S3 doesn't have of that. Nothing is no measurement.
func TestWhatIsGrantedAndWhatIsMissingIsMeasured(t *testing.T) {
	a, s := newShop(t)
	session, secret := identity.NewSession(rand.Reader, now)
	prefix := s.prefix(session)
	sum := sha256.Sum256([]byte("a chunk"))
	var ask wire.UploadRequest
	var held wire.HeldRequest
	for n := range 4 {
		ask.Objects = append(ask.Objects, wire.UploadObject{Name: recording.ChunkName(n), Size: 7, Sha256: sum[:]})
		held.Names = append(held.Names, recording.ChunkName(n))
	}
	grants := func() {
		t.Helper()
		if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); err != nil {
			t.Fatal(err)
		}
	}
	asks := func(names ...string) error {
		_, err := a.Held(t.Context(), agent("agt_a"), session, wire.HeldRequest{Names: names}, now)
		return err
	}
	expect := func(name string, granted, missing []int) {
		t.Helper()
		if g, m := s.measured[names.MetricUploadsGranted], s.measured[names.MetricUploadsMissing]; !slices.Equal(g, granted) || !slices.Equal(m, missing) {
			t.Errorf("%s: measured as granted %v and missing %v, want %v and %v", name, g, m, granted, missing)
		}
		clear(s.measured)
	}
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); err == nil || asks(held.Names...) == nil {
		t.Fatal("granted before it was claimed")
	}
	expect("a recording that nobody claimed", nil, nil)
	if _, err := a.Claim(t.Context(), agent("agt_a"), session, claim(secret), now); err != nil {
		t.Fatal(err)
	}
	grants()
	if err := asks(held.Names...); err != nil {
		t.Fatal(err)
	}
	expect("nothing is there", []int{4}, []int{4})

	s.objects[prefix+recording.ChunkName(1)] = "a chunk"
	s.objects[prefix+recording.ChunkName(2)] = "something else, which S3 took all the same"
	if err := asks(held.Names...); err != nil {
		t.Fatal(err)
	}
	expect("two are there", nil, []int{2})
	if err := asks(held.Names[1], held.Names[2]); err != nil {
		t.Fatal(err)
	}
	expect("all are there", nil, nil)

	s.deaf = prefix + recording.ChunkName(2)
	if err := asks(held.Names...); err == nil {
		t.Error("S3 said nothing, and that was an answer")
	}
	expect("S3 says nothing of the third and the fourth", nil, []int{3})

	s.objects[prefix+recording.ManifestName] = "no manifest"
	if err := asks(recording.ManifestName); !fault.Is(err, fault.Conflict) {
		t.Error(err)
	}
	expect("a manifest is there that is none", nil, nil)

	s.slow = fault.New(fault.RateLimited, "too much", "wait")
	if _, err := a.Grant(t.Context(), agent("agt_a"), session, ask, now); err == nil || asks(held.Names[0]) == nil {
		t.Error("granted beyond its pace")
	}
	expect("what is beyond its pace", nil, nil)
}

func TestWhoeverAsksForARecordingIsItsUserOrMayReadAll(t *testing.T) {
	a, s := newShop(t)
	c := clustertest.New(t, resource.Role{
		Metadata: resource.Metadata{Name: "sealed"}, Spec: resource.RoleSpec{Deny: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"recording"}, Verbs: []string{"read"}}}}},
	})
	view, err := c.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	session, secret := identity.NewSession(rand.Reader, now)
	if _, err := a.Claim(t.Context(), agent("agt_a"), session, claim(secret), now); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]struct {
		user, uid string
		roles     []string
		want      bool
	}{
		"its user":                         {"ada", "usr_ada", []string{"access"}, true},
		"its user without a rule":          {"ada", "usr_ada", nil, false},
		"its user, who is denied it":       {"ada", "usr_ada", []string{"access", "sealed"}, false},
		"another of the name":              {"ada", "usr_other", []string{"access"}, false},
		"somebody else":                    {"bob", "usr_bob", []string{"access"}, false},
		"an auditor":                       {"bob", "usr_bob", []string{"auditor"}, true},
		"an auditor who is denied it":      {"bob", "usr_bob", []string{"auditor", "sealed"}, false},
		"somebody of its uid, renamed":     {"lovelace", "usr_ada", []string{"access"}, false},
		"somebody who has an unknown role": {"ada", "usr_ada", []string{"ghost"}, false},
	} {
		p := archive.Person{User: identity.User{Name: k.user, UID: k.uid, Roles: k.roles}, State: view.State, Source: archive.Source{Now: now}}
		before := len(s.events)
		_, err := a.Read(t.Context(), p, session, "")
		if (err == nil) != k.want || err != nil && !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if told := s.events[before:]; len(told) != 1 || (told[0].Type == audit.RecordingRead) != k.want {
			t.Errorf("%s: %+v", name, told)
		}
	}
	s.broken = errors.New("the ledger is away")
	p := archive.Person{User: identity.User{Name: "ada", UID: "usr_ada", Roles: []string{"access"}}, State: view.State, Source: archive.Source{Now: now}}
	if got, err := a.Read(t.Context(), p, session, ""); err == nil || got.Objects != nil {
		t.Errorf("read though nobody can be told: %+v", got)
	}
}

// Who tries to read what they may not leaves an event, and can tell neither by it nor by the answer whether there is such a recording.
func TestATryAtARecordingOfSomebodyElsesIsAnEventWhetherThereIsOneOrNot(t *testing.T) {
	a, s := newShop(t)
	there, secret := identity.NewSession(rand.Reader, now)
	if _, err := a.Claim(t.Context(), agent("agt_a"), there, claim(secret), now); err != nil {
		t.Fatal(err)
	}
	absent, _ := identity.NewSession(rand.Reader, now)
	bob := lister(t, "access")
	bob.User.Name, bob.User.UID, bob.RequestID, bob.SourceIP = "bob", "usr_bob", "r", "192.0.2.1"
	var told []string
	for _, try := range []func(string) error{
		func(id string) error { _, err := a.Read(t.Context(), bob, id, ""); return err },
		func(id string) error { _, err := a.Get(t.Context(), bob, id); return err },
	} {
		for _, id := range []string{there, absent} {
			before := len(s.events)
			f := fault.From(try(id))
			if len(s.events) != before+1 || f == nil || f.Code != fault.NotFound || f.DecisionID == "" {
				t.Fatalf("%d events, %+v", len(s.events)-before, f)
			}
			e := s.events[before]
			if e.Type != audit.RequestRefused || e.Outcome != audit.Denied || e.Actor != "user/bob" || e.Data["uid"] != "usr_bob" || e.SessionID != id || e.Target != id || e.DecisionID != f.DecisionID || e.SourceIP != "192.0.2.1" {
				t.Errorf("%+v", e)
			}
			e.ID, e.DecisionID = "", ""
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, strings.ReplaceAll(string(b)+f.Message+f.Hint, id, ""))
		}
	}
	if slices.Sort(told); len(slices.Compact(told)) != 1 {
		t.Errorf("they differ: %q", told)
	}
	if s.brought["usr_bob denials"] != 4 {
		t.Errorf("counted %v", s.brought)
	}
	list := lister(t)
	if _, _, err := a.List(t.Context(), list, archive.Query{}); fault.From(err).DecisionID == "" || s.events[len(s.events)-1].Target != "all" {
		t.Errorf("a list that is denied: %+v", err)
	}
	for what, wrong := range map[string]func(){"too often": func() { s.slow = errors.New("slow") }, "without the ledger": func() { s.slow, s.broken = nil, errors.New("away") }} {
		wrong()
		before := len(s.events)
		for _, id := range []string{there, absent} {
			if _, err := a.Read(t.Context(), bob, id, ""); !fault.Is(err, fault.NotFound) || fault.From(err).DecisionID != "" || len(s.events) != before {
				t.Errorf("%s: %+v, %d events", what, err, len(s.events)-before)
			}
		}
		s.slow, s.broken = nil, nil
	}
}

// lister is somebody who lists recordings.
func lister(t *testing.T, roles ...string) archive.Person {
	t.Helper()
	c := clustertest.New(t, resource.Role{
		Metadata: resource.Metadata{Name: "scoped", Scope: "/b"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"recording"}, Verbs: []string{"list"}}}}},
	}, resource.Role{
		Metadata: resource.Metadata{Name: "reads"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"recording"}, Verbs: []string{"read"}}}}},
	}, resource.Role{
		Metadata: resource.Metadata{Name: "blind"}, Spec: resource.RoleSpec{Deny: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"recording"}, Verbs: []string{"list"}}}}},
	})
	view, err := c.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return archive.Person{User: identity.User{Name: "ada", UID: "usr_ada", Roles: roles}, State: view.State, Source: archive.Source{Now: now}}
}

func TestWhoMayListNoRecordingIsToldSo(t *testing.T) {
	a, _ := newShop(t)
	for roles, want := range map[string]bool{"access": true, "auditor": true, "scoped": true, "": false, "reads": false, "access,blind": false, "ghost": false} {
		list, _, err := a.List(t.Context(), lister(t, strings.Split(roles, ",")...), archive.Query{})
		if want && (err != nil || list == nil) {
			t.Errorf("%q: %v", roles, err)
		}
		if f := fault.From(err); !want && (f.Code != fault.Denied || !strings.Contains(f.Message, "ada may not list recordings: ") || f.Hint != "ask an administrator for a role whose rules allow list on recording") {
			t.Errorf("%q: %s, %s (%s)", roles, f.Code, f.Message, f.Hint)
		}
	}
}

// A list without a beginning begins later with each page, maybe after the last that was looked at.
func TestAPageBehindTheBeginningOfAListIsTheLast(t *testing.T) {
	a, _ := newShop(t)
	for _, roles := range []string{"access", "auditor"} {
		list, next, err := a.List(t.Context(), lister(t, roles), archive.Query{After: identity.FirstSession(now.Add(-8 * 24 * time.Hour))})
		if err != nil || list == nil || len(list) > 0 || next != "" {
			t.Errorf("%s: %v, %q, %v", roles, list, next, err)
		}
	}
}

func TestAListThatCanHoldNothingIsRefusedWithTheReason(t *testing.T) {
	a, _ := newShop(t)
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		query         archive.Query
		message, hint string // "" for none
	}{
		"nothing":                     {archive.Query{}, "", ""},
		"each kind":                   {archive.Query{Target: "db/orders"}, "", ""},
		"a kind that there isn't":     {archive.Query{Target: "foo/db-1"}, `there is no kind of targets "foo"`, "of one of the kinds node, db, app, kube"},
		"no target":                   {archive.Query{Target: "web-1"}, `"web-1" is not a target`, "write kind/name"},
		"the longest time":            {archive.Query{Since: now.Add(-92*day - 30*time.Second)}, "", ""},
		"days with their clock's end": {archive.Query{Since: now.Add(-93*day - time.Hour), Until: now.Add(-day)}, "", ""},
		"too long":                    {archive.Query{Since: now.Add(-100 * day)}, "the list would be of 100 days, and one is of at most 92", "use --since 92d"},
		"too long, and long ago":      {archive.Query{Since: now.Add(-400 * day), Until: now.Add(-300 * day)}, "the list would be of 100 days", "use --since 92d, or --since and --until"},
		"to come":                     {archive.Query{Since: now.Add(day)}, "the list would begin in the future, at 2026-11-28T12:00:00Z", "name a time with --since that has begun"},
		"all to come":                 {archive.Query{Since: now.Add(day), Until: now.Add(2 * day)}, "the list would begin in the future", "--since"},
		"an end that is to come":      {archive.Query{Until: now.Add(3000 * day)}, "", ""},
		"an end before the beginning": {archive.Query{Since: now.Add(-day), Until: now.Add(-2 * day)}, "the list would end before it begins", "name a time with --until that is after --since"},
		"before there was a clock":    {archive.Query{Since: time.Unix(-1, 0), Until: time.Unix(1, 0)}, "before 1970", "--since"},
		"all before there was one":    {archive.Query{Until: time.Unix(-1, 0)}, "before 1970", "--since"},
	} {
		_, _, err := a.List(t.Context(), lister(t, "auditor"), c.query)
		if c.message == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f := fault.From(err); err == nil || f.Code != fault.BadInput || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Hint, c.hint) || len(f.Fields) == 0 && c.query.Target != "web-1" {
			t.Errorf("%s: %s, %s (%s)", name, f.Code, f.Message, f.Hint)
		}
	}
}
