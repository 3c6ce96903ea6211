package admin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

const agent = "agt_01hv0000000000000000000000"

var errDown = errors.New("down")

// shelf is a store in memory. It takes whatever it is told: what may change is the desk's to say.
type shelf struct {
	resources map[string]resource.Resource
	hashes    map[string]string
	targets   map[string][]identity.Target
	changes   []admin.Change
	recorded  []audit.Event
	kept      []string // what events had no room for
	input     int64
	answer    error           // of committing
	down      map[string]bool // calls that fail
	behind    int64           // by how much publishing misses the newest change
	broken    error           // of publishing
	strict    bool            // whether a change's conditions count
	races     int             // how often something else changes before a commit
	counted   []string        // who came to be paced
	pace      int             // how many may; 0 is all
	given     int64           // orders to revoke
	run       revoked.Run     // of them

	roles func() []resource.Role // that are stored, as they are published
	gone  string                 // a role that isn't stored any more
	busy  int                    // how often a role is still being written
	asked []string               // the roles that were asked for last
	reads int                    // of one resource, or of all of a kind
}

func (s *shelf) fails(call string) error {
	if s.down[call] {
		return errDown
	}
	return nil
}

func (s *shelf) Get(_ context.Context, kind, name string) (resource.Resource, bool, error) {
	s.reads++
	r, found := s.resources[kind+"/"+name]
	return r, found, s.fails("Get")
}

func (s *shelf) List(_ context.Context, kind string) (all []resource.Resource, _ error) {
	s.reads++
	for _, key := range slices.Sorted(maps.Keys(s.resources)) {
		if strings.HasPrefix(key, kind+"/") {
			all = append(all, s.resources[key])
		}
	}
	return all, s.fails("List")
}

func (s *shelf) Roles(ctx context.Context) ([]resource.Role, error) {
	all, err := s.List(ctx, "role")
	return clustertest.Roles(all), err
}

func (s *shelf) Mappings(ctx context.Context) ([]resource.Mapping, error) {
	all, err := s.List(ctx, "iam_mapping")
	return clustertest.Mappings(all), err
}

func (s *shelf) Page(ctx context.Context, kind, after string, limit int) (page []resource.Resource, more bool, err error) {
	all, err := s.List(ctx, kind)
	for _, r := range all {
		if limit > 0 && len(page) == limit {
			return page, true, err
		}
		if r.Metadata.Name > after {
			page = append(page, r)
		}
	}
	return page, false, err
}

func (s *shelf) Counters(context.Context) (document.Counters, error) {
	return document.Counters{Input: s.input, Orders: s.given}, s.fails("Counters")
}

func (s *shelf) Held(_ context.Context, roles []string) (all []resource.Role, err error) {
	if s.asked = roles; s.busy > 0 {
		s.busy--
		return nil, admin.ErrRaced
	}
	for _, name := range roles {
		stored := s.resources["role/"+name]
		role, is := stored.Role()
		published := s.roles()
		i := slices.IndexFunc(published, func(r resource.Role) bool { return r.Metadata.Name == name })
		if !is && i >= 0 {
			role, is = published[i], true
		}
		if is && name != s.gone {
			all = append(all, role)
		}
	}
	return all, s.fails("Held")
}

func (s *shelf) Orders(_ context.Context, after, upto int64) (run revoked.Run, err error) {
	for _, o := range s.run.Orders {
		if o.Seq > after && o.Seq <= upto {
			run.Orders = append(run.Orders, o)
		}
	}
	run.Pending, run.Gone = s.run.Pending, s.run.Gone
	return run, s.fails("Orders")
}

// Count lets everybody through unless the test says how many.
func (s *shelf) Count(_ context.Context, uid string, _ time.Time) error {
	s.counted = append(s.counted, uid)
	if s.pace > 0 && len(s.counted) > s.pace {
		return fault.New(fault.RateLimited, "too many changes came from this user", "wait")
	}
	return nil
}

func (s *shelf) Secret(_ context.Context, token string) (string, error) {
	return s.hashes[token], s.fails("Secret")
}

func (s *shelf) Targets(_ context.Context, agent string) ([]identity.Target, error) {
	return s.targets[agent], s.fails("Targets")
}

func (s *shelf) Commit(_ context.Context, c admin.Change) error {
	if err := c.Event.Validate(); err != nil {
		return err
	}
	if s.answer != nil {
		return s.answer
	}
	if held, found := s.resources[c.Resource.Kind+"/"+c.Resource.Metadata.Name]; s.strict && (found != (c.Was > 0) || held.Metadata.Revision != c.Was) {
		return admin.ErrMoved
	}
	if s.races > 0 {
		s.races--
		s.input++
	}
	if s.strict && c.Counters.Input != s.input {
		return admin.ErrRaced
	}
	s.changes = append(s.changes, c)
	s.input++
	if key := c.Resource.Kind + "/" + c.Resource.Metadata.Name; c.Delete {
		delete(s.resources, key)
	} else {
		s.resources[key] = c.Resource
	}
	return nil
}

func (s *shelf) Keep(_ context.Context, text string) error {
	s.kept = append(s.kept, text)
	return s.fails("Keep")
}

func (s *shelf) Record(_ context.Context, e audit.Event) error {
	s.recorded = append(s.recorded, e)
	return errors.Join(e.Validate(), s.fails("Record"))
}

func (s *shelf) Publish(context.Context) (int64, error) { return s.input - s.behind, s.broken }

// office is a desk with what lies around it.
type office struct {
	*clustertest.Cluster
	*shelf
	desk *admin.Desk
}

// rules is a role that allows verbs on kinds at or below a scope, and nothing else.
func rules(name, scope string, kinds, verbs []string) resource.Role {
	return resource.Role{Metadata: resource.Metadata{Name: name, Scope: scope}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: kinds, Verbs: verbs}}}}}
}

func newOffice(t *testing.T) *office {
	o := &office{
		Cluster: clustertest.New(t, rules("reader", "/", []string{"role"}, []string{"read", "list"}), rules("team", "/team", []string{"*"}, []string{"*"})),
		shelf:   &shelf{resources: map[string]resource.Resource{}, hashes: map[string]string{}, targets: map[string][]identity.Target{}, down: map[string]bool{}},
	}
	o.shelf.roles = func() []resource.Role {
		view, err := o.Fresh(t.Context())
		if err != nil {
			t.Error(err)
		}
		return view.State.Policy.Roles
	}
	o.desk = admin.New(admin.Config{
		Cluster: o.ID, Store: o.shelf, Publisher: o.shelf, Pace: o.shelf, Bodies: o.shelf, Bootstrap: resource.IAMMatch{Account: "111122223333", Role: "PlatformAdmin"},
		Canary: resource.IAMMatch{Account: "111122223333", Role: "stile-canary-eu-central-1", RoleID: "AROACANARY0000000000A"},
	})
	return o
}

// as is a call of somebody with roles.
func (o *office) as(t *testing.T, roles ...string) admin.Caller {
	t.Helper()
	view, err := o.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return admin.Caller{
		User:  identity.User{Cluster: o.ID, Certificate: "crt_01hv0000000000000000000000", Name: "ada", UID: "usr_ada", Roles: roles, Versions: view.Head.Versions(), IssuedAt: o.Now},
		State: view.State, Nonce: "nonce", RequestID: "req-1", SourceIP: "192.0.2.7", Now: o.Now,
	}
}

// of makes a resource at a scope; its revision is 3, as of one that is stored.
func of(kind, name, scope string, spec resource.Spec) resource.Resource {
	return resource.Resource{Kind: kind, Metadata: resource.Metadata{Name: name, Scope: scope, Revision: 3}, Spec: spec}
}

// fresh is the resource as somebody writes it who hasn't read it.
func fresh(r resource.Resource) resource.Resource {
	r.Metadata.Revision = 0
	return r
}

func (o *office) keep(all ...resource.Resource) {
	for _, r := range all {
		o.resources[r.Kind+"/"+r.Metadata.Name] = r
	}
}

func wantFault(t *testing.T, err error, code fault.Code, says string) *fault.Fault {
	t.Helper()
	f := fault.From(err)
	if err == nil || f.Code != code || !strings.Contains(f.Message, says) || f.Hint == "" {
		t.Errorf("got %v (%s), want %s saying %q and a hint", err, f.Code, code, says)
	}
	return f
}

var (
	dev    = of("role", "dev", "/", &resource.RoleSpec{})
	bob    = of("user", "bob", "/", &resource.UserSpec{Mapping: "engineers", Roles: []string{"access"}})
	nodes  = of("token", "nodes", "/", &resource.TokenSpec{Method: resource.MethodIAM, Resources: []string{"node"}, Names: []string{"*"}})
	secret = of("token", "secret", "/", &resource.TokenSpec{Method: resource.MethodToken, Resources: []string{"node"}, Names: []string{"*"}})
	node   = of("node", "web-1", "/", &resource.TargetSpec{Agent: agent})
)

func engineers(roles ...string) resource.Resource {
	return of("iam_mapping", "engineers", "/", &resource.MappingSpec{Match: resource.IAMMatch{Account: "111122223333", Role: "Engineer"}, User: "team", Roles: roles})
}

// verb is one thing to do to a resource at a desk.
func (o *office) verb(ctx context.Context, verb string, c admin.Caller, r resource.Resource) error {
	var err error
	switch verb {
	case "read":
		_, err = o.desk.Get(ctx, c, r.Kind, r.Metadata.Name)
	case "list":
		_, _, err = o.desk.List(ctx, c, r.Kind, "", 0)
	case "create":
		_, err = o.desk.Create(ctx, c, r)
	case "update":
		_, err = o.desk.Update(ctx, c, r)
	case "delete":
		_, err = o.desk.Delete(ctx, c, r.Kind, r.Metadata.Name)
	}
	return err
}

// Every verb asks for itself, at the scope where the resource stands, and a denial says nothing of what is there.
func TestWhoHasNoRuleForAVerbIsDeniedWhetherOrNotTheResourceIsThere(t *testing.T) {
	below := of("role", "below", "/team/a", &resource.RoleSpec{})
	absent := of("role", "absent", "/", &resource.RoleSpec{})
	for _, c := range []struct {
		role string
		r    resource.Resource
		may  []string
	}{
		{"reader", dev, []string{"read", "list"}},
		{"reader", bob, nil},
		{"team", dev, []string{"list"}}, // which has something for it at /team
		{"team", below, []string{"read", "list", "create", "update", "delete"}},
		{"team", absent, []string{"list"}},
		{"ghost", dev, nil},
		{"", dev, nil},
	} {
		for _, verb := range []string{"read", "list", "create", "update", "delete"} {
			o := newOffice(t)
			o.keep(dev, bob, below)
			err := o.verb(t.Context(), verb, o.as(t, c.role), fresh(c.r))
			if slices.Contains(c.may, verb) {
				if err != nil {
					t.Errorf("%q may not %s %s: %v", c.role, verb, c.r.Metadata.Name, err)
				}
				continue
			}
			f := wantFault(t, err, fault.Denied, "may not "+verb+" "+c.r.Kind)
			if len(o.changes) != 0 || len(o.recorded) != 1 {
				t.Fatalf("%q, %s %s: %d changes, %d events", c.role, verb, c.r.Metadata.Name, len(o.changes), len(o.recorded))
			}
			e := o.recorded[0]
			if e.Type != audit.RequestRefused || e.Outcome != audit.Denied || e.Actor != "user/ada" || e.DecisionID == "" || e.DecisionID != f.DecisionID || !strings.HasPrefix(e.Reason, f.Message) || e.SourceIP != "192.0.2.7" || e.RequestID != "req-1" {
				t.Errorf("the event says %+v and the fault %+v", e, f)
			}
		}
	}
}

// A delegate learned from a denial whether a name is taken elsewhere, and of an absent one that it is at /.
func TestSec_S67_ADenialTellsNothingOfWhatIsInAnotherScope(t *testing.T) {
	for _, verb := range []string{"read", "update", "delete"} {
		for _, who := range []string{"team", "ghost", "reader"} {
			said := map[string]bool{}
			for _, scope := range []string{"", "/", "/other"} {
				o := newOffice(t)
				there := of("token", "hidden", scope, nodes.Spec)
				if scope != "" {
					o.keep(there)
				}
				there.Metadata.Scope = "/team"
				f := wantFault(t, o.verb(t.Context(), verb, o.as(t, who), fresh(there)), fault.Denied, "there is none, or it is where")
				said[f.Message+f.Hint] = true
				if len(o.recorded) != 1 || !strings.HasPrefix(o.recorded[0].Reason, f.Message+" (") {
					t.Errorf("recorded %+v", o.recorded)
				}
			}
			if len(said) != 1 {
				t.Errorf("%s, %s: %v", who, verb, said)
			}
		}
	}
}

func TestADenialThatCanNotBeRecordedStaysADenial(t *testing.T) {
	o := newOffice(t)
	o.down["Record"] = true
	_, err := o.desk.Get(t.Context(), o.as(t), "role", "dev")
	if f := wantFault(t, err, fault.Denied, "may not read"); !errors.Is(f, errDown) {
		t.Errorf("the cause is lost: %v", errors.Unwrap(f))
	}
}

func TestAResourceCanNotBeMovedToAScopeThatTheCallerHasNoRuleFor(t *testing.T) {
	o := newOffice(t)
	below := of("role", "below", "/team", &resource.RoleSpec{})
	o.keep(below)
	for _, to := range []string{"/", "/other", "/teammate"} {
		moved := below
		moved.Metadata.Scope = to
		_, err := o.desk.Update(t.Context(), o.as(t, "team"), moved)
		wantFault(t, err, fault.Denied, "may not update")
	}
	o.keep(dev)
	taken := dev
	taken.Metadata.Scope = "/team"
	_, err := o.desk.Update(t.Context(), o.as(t, "team"), taken) // nor taken from one
	wantFault(t, err, fault.Denied, "may not update")
	if len(o.changes) != 0 {
		t.Errorf("%d changes", len(o.changes))
	}
}

// A file that is meant for another scope, where somebody happens to have used the name, moves nothing by accident.
func TestOnlyAWriterWhoSaysTheRevisionMovesAResource(t *testing.T) {
	o := newOffice(t)
	o.keep(of("role", "dev", "/team", &resource.RoleSpec{}))
	to := of("role", "dev", "/team/b", &resource.RoleSpec{})
	_, err := o.desk.Update(t.Context(), o.as(t, "team"), fresh(to))
	f := wantFault(t, err, fault.Conflict, "role dev exists at scope /team, and replacing it would move it to /team/b")
	if !strings.Contains(f.Hint, "stile get role/dev") || len(o.changes) != 0 {
		t.Errorf("hint %q, %d changes", f.Hint, len(o.changes))
	}
	if _, err := o.desk.Update(t.Context(), o.as(t, "team"), fresh(of("role", "dev", "/team", &resource.RoleSpec{}))); err != nil {
		t.Errorf("where it is: %v", err)
	}
	o.keep(of("role", "dev", "/team", &resource.RoleSpec{}))
	if _, err := o.desk.Update(t.Context(), o.as(t, "team"), to); err != nil || o.resources["role/dev"].Metadata.Scope != "/team/b" {
		t.Errorf("by its revision: %v, %+v", err, o.resources["role/dev"].Metadata)
	}
}

func TestAListShowsOnlyWhatItsReaderMayListAndNothingIsNoDenial(t *testing.T) {
	o := newOffice(t)
	o.keep(of("role", "below", "/team/a", &resource.RoleSpec{}), dev)
	all, next, err := o.desk.List(t.Context(), o.as(t, "team"), "role", "", 0)
	if err != nil || next != "" || len(all) != 1 || all[0].Metadata.Name != "below" {
		t.Errorf("%+v, %v", all, err)
	}
	// Page by page as well, and none of the pages is empty.
	o.keep(of("role", "a", "/", &resource.RoleSpec{}), of("role", "b", "/team", &resource.RoleSpec{}))
	for after, want := range map[string]string{"": "b", "b": "below"} {
		if page, next, err := o.desk.List(t.Context(), o.as(t, "team"), "role", after, 1); err != nil || len(page) != 1 || page[0].Metadata.Name != want || next != want {
			t.Errorf("behind %q: %+v, then behind %q: %v", after, page, next, err)
		}
	}
	for _, role := range []string{"editor", "team"} { // who may list some scope's, of which there are none
		all, _, err := o.desk.List(t.Context(), o.as(t, role), "node", "", 0)
		if err != nil || all == nil || len(all) != 0 || len(o.recorded) != 0 {
			t.Errorf("%s: of nothing: %v, %v, %d denials", role, all, err, len(o.recorded))
		}
	}
	if all, _, err := o.desk.List(t.Context(), o.as(t, "editor"), "user", "", 0); err != nil || all == nil || len(all) != 0 {
		t.Errorf("of nothing: %v, %v", all, err)
	}
}

func TestWhatIsBuiltInIsListedFirstAndReadAndNeverChanged(t *testing.T) {
	o := newOffice(t)
	o.keep(dev, of("role", "a", "/", &resource.RoleSpec{}), engineers())
	c := o.as(t, "editor")
	for kind, want := range map[string][]string{
		"role": {"access", "auditor", "editor", "a", "dev"}, "iam_mapping": {resource.BootstrapMapping, resource.CanaryMapping, "engineers"}, "user": {},
	} {
		all, _, err := o.desk.List(t.Context(), c, kind, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, r := range all {
			got = append(got, r.Metadata.Name)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", kind, d)
		}
	}
	for _, r := range []resource.Resource{of("role", "editor", "/", &resource.RoleSpec{}), of("iam_mapping", resource.BootstrapMapping, "/", engineers().Spec), of("iam_mapping", resource.CanaryMapping, "/", engineers().Spec)} {
		if got, err := o.desk.Get(t.Context(), c, r.Kind, r.Metadata.Name); err != nil || got.Spec == nil {
			t.Errorf("%s: %v", r.Metadata.Name, err)
		}
		for _, verb := range []string{"create", "update", "delete"} {
			wantFault(t, o.verb(t.Context(), verb, c, fresh(r)), fault.Denied, "built in")
		}
	}
	// A token of this name would be asked for by agents and never found.
	wantFault(t, o.verb(t.Context(), "create", c, fresh(of("token", resource.FleetToken, "/", nodes.Spec))), fault.Denied, "built in")
	if len(o.changes) != 0 {
		t.Errorf("%d changes", len(o.changes))
	}
}

func TestWhatIsNoKindOrNoNameOrWrittenByAgentsIsRefusedAsSuch(t *testing.T) {
	o := newOffice(t)
	c := o.as(t, "editor")
	for _, kind := range []string{"roles", "Role", "", "secret", "mapping"} {
		for _, verb := range []string{"read", "list", "create", "update", "delete"} {
			wantFault(t, o.verb(t.Context(), verb, c, of(kind, "dev", "/", &resource.RoleSpec{})), fault.NotFound, "no kind")
		}
	}
	o.down["Get"] = true // a name that can't be is looked up nowhere
	for _, verb := range []string{"read", "update", "delete"} {
		wantFault(t, o.verb(t.Context(), verb, c, of("role", "../dev", "/", &resource.RoleSpec{})), fault.NotFound, "there is no role")
	}
	for _, verb := range []string{"create", "update"} {
		wantFault(t, o.verb(t.Context(), verb, c, fresh(node)), fault.BadInput, "nodes can't be written")
	}
}

func TestRevisionsCountUpAndAnOldOneIsRefused(t *testing.T) {
	o := newOffice(t)
	c := o.as(t, "editor")
	for _, step := range []struct {
		revision, want int64
	}{{1, 0}, {0, 1}, {0, 2}, {2, 3}, {2, 0}, {4, 0}, {3, 4}} {
		r := dev
		r.Metadata.Revision = step.revision
		before := len(o.changes)
		write := o.desk.Update
		if before == 0 {
			write = o.desk.Create
		}
		out, err := write(t.Context(), c, r)
		if step.want == 0 {
			wantFault(t, err, fault.Conflict, "dev")
			if len(o.changes) != before {
				t.Errorf("revision %d was taken", step.revision)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		change := o.changes[len(o.changes)-1]
		if out.Resource.Metadata.Revision != step.want || change.Was != step.want-1 || change.Nonce != "nonce" || change.Event.Data["revision"] != fmt.Sprint(step.want) {
			t.Errorf("revision %d: got %d, on condition of %d, %v", step.revision, out.Resource.Metadata.Revision, change.Was, change.Event.Data)
		}
	}
	if _, err := o.desk.Delete(t.Context(), c, "role", "dev"); err != nil {
		t.Fatal(err)
	}
	if last := o.changes[len(o.changes)-1]; !last.Delete || last.Was != 4 || last.Event.Type != audit.ResourceDeleted {
		t.Errorf("deleted by %+v", last)
	}
}

func TestWhatTheStoreSaysOfAChangeIsToldAsAConflictOrAFailure(t *testing.T) {
	for _, c := range []struct {
		verb   string
		answer error
		code   fault.Code
		says   string
	}{
		{"create", admin.ErrMoved, fault.Conflict, "already exists"},
		{"update", admin.ErrMoved, fault.Conflict, "has changed since it was read"},
		{"delete", admin.ErrMoved, fault.Conflict, "has changed since it was read"},
		{"create", admin.ErrReplayed, fault.Conflict, "already been carried out"},
		{"update", fmt.Errorf("writing: %w", admin.ErrReplayed), fault.Conflict, "already been carried out"},
		{"delete", errDown, fault.Internal, ""},
	} {
		o := newOffice(t)
		o.keep(dev)
		o.answer = c.answer
		err := o.verb(t.Context(), c.verb, o.as(t, "editor"), fresh(dev))
		if f := fault.From(err); err == nil || f.Code != c.code || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s after %v: %v", c.verb, c.answer, err)
		}
	}
}

func TestATokensSecretIsShownOnceKeptAsAHashAndBounded(t *testing.T) {
	at := func(now time.Time, d time.Duration) *time.Time { u := now.Add(d); return &u }
	for name, c := range map[string]struct {
		uses    int
		expires time.Duration // 0 says none
		want    int           // uses; 0: refused
		until   time.Duration
	}{
		"by default":           {0, 0, 1, time.Hour},
		"as said":              {5, 48 * time.Hour, 5, 48 * time.Hour},
		"as long as may be":    {1, 7 * 24 * time.Hour, 1, 7 * 24 * time.Hour},
		"longer":               {1, 7*24*time.Hour + time.Second, 0, 0},
		"that is over already": {1, -time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			spec := *secret.Spec.(*resource.TokenSpec)
			spec.Uses = c.uses
			if c.expires != 0 {
				spec.Expires = at(o.Now, c.expires)
			}
			out, err := o.desk.Create(t.Context(), o.as(t, "editor"), fresh(of("token", "secret", "/", &spec)))
			if c.want == 0 {
				if wantFault(t, err, fault.BadInput, ""); len(o.changes) != 0 || out.Secret != "" {
					t.Errorf("%d changes, secret %q", len(o.changes), out.Secret)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(out.Secret, resource.SecretPrefix))
			if err != nil || len(raw) != 32 || !strings.HasPrefix(out.Secret, resource.SecretPrefix) {
				t.Errorf("secret %q", out.Secret)
			}
			want := admin.Secret{SHA256: resource.HashSecret(out.Secret), Uses: c.want, Expires: o.Now.Add(c.until)}
			if d := cmp.Diff(&want, o.changes[0].Secret); d != "" {
				t.Error(d)
			}
			if strings.Contains(fmt.Sprintf("%+v", o.changes[0]), out.Secret) {
				t.Error("the change holds the secret itself")
			}
			if again, err := o.desk.Get(t.Context(), o.as(t, "editor"), "token", "secret"); err != nil || !again.Spec.(*resource.TokenSpec).Expires.Equal(want.Expires) {
				t.Errorf("stored as %+v, %v", again.Spec, err)
			}
		})
	}
}

func TestWithoutEntropyThereIsNoSecret(t *testing.T) {
	o := newOffice(t)
	// What an event's id takes is there, and then no more.
	o.desk = admin.New(admin.Config{Cluster: o.ID, Store: o.shelf, Publisher: o.shelf, Pace: o.shelf, Bodies: o.shelf, Entropy: bytes.NewReader(make([]byte, 10))})
	if out, err := o.desk.Create(t.Context(), o.as(t, "editor"), fresh(secret)); !errors.Is(err, io.EOF) || out.Secret != "" || len(o.changes) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestATokenWithASecretIsNeverChangedAndNoTokenChangesItsMethod(t *testing.T) {
	for _, c := range []struct {
		was, now resource.Resource
		may      bool
	}{{secret, secret, false}, {secret, nodes, false}, {nodes, secret, false}, {nodes, nodes, true}} {
		o := newOffice(t)
		was := of("token", "t", "/", c.was.Spec)
		o.keep(was)
		out, err := o.desk.Update(t.Context(), o.as(t, "editor"), of("token", "t", "/", c.now.Spec))
		if c.may {
			if err != nil || out.Secret != "" || o.changes[0].Secret != nil {
				t.Errorf("%+v, %v", out, err)
			}
			continue
		}
		wantFault(t, err, fault.BadInput, "can't be changed")
	}
}

func TestADeletionTakesWithItWhatHangsOnTheResource(t *testing.T) {
	other, third := identity.Target{Kind: "db", Name: "web-1"}, identity.Target{Kind: "node", Name: "web-2"}
	for name, c := range map[string]struct {
		r      resource.Resource
		want   admin.Change
		revoke string
	}{
		"a token, with its secret":  {secret, admin.Change{ForgetSecret: "hash"}, "token secret"},
		"an agent and what it held": {node, admin.Change{ForgetAgent: agent, ForgetTargets: []identity.Target{other, third}}, "agent " + agent},
		"what a record gave":        {bob, admin.Change{}, "user bob"},
		"what a mapping gave":       {engineers("access"), admin.Change{}, "mapping engineers"},
		"nothing of a role":         {dev, admin.Change{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.keep(c.r)
			o.hashes["secret"] = "hash"
			o.targets[agent] = []identity.Target{other, {Kind: "node", Name: "web-1"}, third}
			if _, err := o.desk.Delete(t.Context(), o.as(t, "editor"), c.r.Kind, c.r.Metadata.Name); err != nil {
				t.Fatal(err)
			}
			got := o.changes[0]
			beside := admin.Change{ForgetSecret: got.ForgetSecret, ForgetAgent: got.ForgetAgent, ForgetTargets: got.ForgetTargets}
			if d := cmp.Diff(c.want, beside); d != "" {
				t.Error(d)
			}
			revoked := ""
			if got.Revoke != nil {
				revoked = got.Revoke.Ref.Target + " " + got.Revoke.Ref.Value
			}
			if revoked != c.revoke || got.Event.Data["revoked"] != c.revoke {
				t.Errorf("revoked %q, the event says %q, want %q", revoked, got.Event.Data["revoked"], c.revoke)
			}
		})
	}
}

func TestWhatHangsOnAResourceAndCanNotBeReadKeepsItFromBeingDeleted(t *testing.T) {
	for call, r := range map[string]resource.Resource{"Secret": secret, "Targets": node, "List": dev} {
		o := newOffice(t)
		o.keep(r)
		o.down[call] = true
		if _, err := o.desk.Delete(t.Context(), o.as(t, "editor"), r.Kind, r.Metadata.Name); !errors.Is(err, errDown) || len(o.changes) != 0 {
			t.Errorf("%s: %v, %d changes", call, err, len(o.changes))
		}
	}
}

func TestARoleThatIsGivenIsNotDeletedAndItsHoldersAreNamed(t *testing.T) {
	o := newOffice(t)
	o.keep(dev, engineers("access", "dev"))
	for i := range 6 {
		o.keep(of("user", fmt.Sprintf("u%d", i), "/", &resource.UserSpec{Mapping: "engineers", Roles: []string{"dev"}}))
	}
	_, err := o.desk.Delete(t.Context(), o.as(t, "editor"), "role", "dev")
	wantFault(t, err, fault.Conflict, "given by iam_mapping/engineers, user/u0, user/u1, user/u2, user/u3 and 2 more")
	if len(o.changes) != 0 {
		t.Error("it is gone")
	}
}
