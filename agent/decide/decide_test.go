package decide_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

var web = identity.Target{Kind: "node", Name: "web-1"}

// bench is a decider of an agent that serves node/web-1 and db/web-1.
type bench struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	holder  *document.Holder
	clock   time.Time // zero is the real one
	*decide.Decider
}

func newBench(t *testing.T, roles ...resource.Role) *bench {
	t.Helper()
	b := &bench{t: t, cluster: tunneltest.New(t, roles...)}
	b.holder = b.cluster.Holder()
	host, _ := b.cluster.Host(map[string]string{"env": "dev"}, web, identity.Target{Kind: "db", Name: "web-1"})
	b.Decider = decide.New(decide.Config{Documents: b.holder, Host: func() identity.Host { return host }, Clock: b.now})
	return b
}

func (b *bench) now() time.Time {
	if b.clock.IsZero() {
		return time.Now()
	}
	return b.clock
}

// user holds a certificate of the documents that stand.
func (b *bench) user(roles ...string) identity.User {
	return identity.User{
		Cluster: b.cluster.ID, Certificate: identity.NewID("crt", rand.Reader, time.Now()), Name: "ada", UID: "usr_1", Mapping: "engineers",
		Roles: roles, Traits: map[string][]string{"logins": {"ada"}}, Versions: b.cluster.Versions(), IssuedAt: time.Now(),
	}
}

func (b *bench) publish() {
	b.t.Helper()
	if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) admit(u identity.User) error {
	_, err := b.Admit(b.t.Context(), u, web, policy.Login("ada"))
	return err
}

func TestARoleThatAllowsAdmits(t *testing.T) {
	b := newBench(t)
	d, err := b.Admit(t.Context(), b.user("access"), web, policy.Login("ada"))
	if err != nil || !d.Allowed {
		t.Fatalf("%+v, %v", d, err)
	}
	for name, refused := range map[string]func() error{
		"another login": func() error {
			_, err := b.Admit(t.Context(), b.user("access"), web, policy.Login("root"))
			return err
		},
		"a database of the same name": func() error {
			_, err := b.Admit(t.Context(), b.user("access"), identity.Target{Kind: "db", Name: "web-1"}, policy.Use{"database": "d", "user": "u"})
			return err
		},
		"no use at all": func() error { _, err := b.Admit(t.Context(), b.user("access"), web, nil); return err },
		"no role":       func() error { return b.admit(b.user()) },
	} {
		f := fault.From(refused())
		if f.Code != fault.Denied || !strings.HasPrefix(f.DecisionID, "dec_") || f.Hint == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestARevocationIsFollowed(t *testing.T) {
	b := newBench(t)
	u := b.user("access")
	b.cluster.SetRoles()
	b.cluster.Bar(identity.Ref{Target: "mapping", Value: "engineers"})
	b.publish()
	if err := b.admit(u); !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("admitted: %v", err)
	}
	if _, err := b.Again(u, web, policy.Login("ada"), ""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("goes on: %v", err)
	}
	if err := b.admit(b.user("access")); err != nil {
		t.Errorf("a certificate from after it: %v", err)
	}
}

func TestALockIsFollowedOnWhateverItNames(t *testing.T) {
	for target, value := range map[string]string{"user": "ada", "role": "access", "login": "ada", "target": "node/web-1", "mapping": "engineers"} {
		t.Run(target, func(t *testing.T) {
			b := newBench(t)
			b.cluster.Lock(document.Lock{ID: "lck_1", Target: target, Value: value})
			b.publish()
			if err := b.admit(b.user("access")); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "locked") {
				t.Errorf("admitted: %v", err)
			}
			if _, err := b.Again(b.user("access"), web, policy.Login("ada"), ""); !fault.Is(err, fault.Denied) {
				t.Errorf("goes on: %v", err)
			}
		})
	}
	b := newBench(t)
	b.cluster.Lock(document.Lock{ID: "lck_1", Target: "session", Value: "ses_1"}, document.Lock{ID: "lck_2", Target: "target", Value: "db/web-1"})
	b.publish()
	if _, err := b.Again(b.user("access"), web, policy.Login("ada"), "ses_1"); !fault.Is(err, fault.Denied) {
		t.Errorf("a locked session goes on: %v", err)
	}
	if _, err := b.Again(b.user("access"), web, policy.Login("ada"), "ses_2"); err != nil {
		t.Errorf("a lock on another session, and on a database of the node's name: %v", err)
	}
}

// A lock on one of our users is none on a database's user of the same name.
func TestWhatASessionUsesIsNoUserOfOurs(t *testing.T) {
	b := newBench(t)
	b.cluster.Lock(document.Lock{ID: "lck_1", Target: "user", Value: "reader"})
	b.publish()
	_, err := b.Admit(t.Context(), b.user("access"), identity.Target{Kind: "db", Name: "web-1"}, policy.Use{"database": "d", "user": "reader"})
	if !fault.Is(err, fault.Denied) || strings.Contains(err.Error(), "locked") {
		t.Error(err)
	}
}

func TestAClockThatIsBehindTheDocumentsBringsNoLockToLife(t *testing.T) {
	b := newBench(t)
	over := time.Now().Add(-time.Hour)
	b.cluster.Lock(document.Lock{ID: "lck_1", Target: "user", Value: "ada", Expires: &over})
	b.publish()
	b.clock = time.Now().Add(-48 * time.Hour)
	if err := b.admit(b.user("access")); err != nil {
		t.Errorf("a lock that is over by the documents' own time: %v", err)
	}
	if floor := b.holder.ClockFloor(); b.Now().Before(floor) {
		t.Errorf("it is %s here, and the documents are of %s", b.Now(), floor)
	}
}

func TestARoleMarkedFreshIsNotJudgedByOldDocuments(t *testing.T) {
	quick := resource.Role{Metadata: resource.Metadata{Name: "quick"}, Spec: resource.RoleSpec{Options: resource.RoleOptions{Fresh: true}}}
	b := newBench(t, quick)
	b.clock = time.Now().Add(10 * time.Minute)
	if err := b.admit(b.user("access")); err != nil {
		t.Errorf("ten minutes are not too long for others: %v", err)
	}
	if err := b.admit(b.user("access", "quick")); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "nothing has been heard") {
		t.Errorf("fresh is ignored: %v", err)
	}
	if _, err := b.Again(b.user("access", "quick"), web, policy.Login("ada"), ""); err != nil {
		t.Errorf("a silent feed ends what runs: %v", err)
	}
}

func TestARoleReachesNoTargetOutsideItsScope(t *testing.T) {
	role := func(name, scope string) resource.Role {
		return resource.Role{Metadata: resource.Metadata{Name: name, Scope: scope}, Spec: resource.RoleSpec{
			Allow: resource.RoleBlock{Logins: []string{"ada"}, NodeLabels: resource.Labels{"*": {"*"}}},
		}}
	}
	b := newBench(t, role("payments", "/payments"), role("billing", "/billing"))
	host, _ := b.cluster.Host(nil, web)
	host.Scope = "/payments/prod"
	b.Decider = decide.New(decide.Config{Documents: b.holder, Host: func() identity.Host { return host }, Clock: b.now})
	if err := b.admit(b.user("payments")); err != nil {
		t.Errorf("below the role's scope: %v", err)
	}
	if err := b.admit(b.user("billing")); !fault.Is(err, fault.Denied) {
		t.Errorf("beside the role's scope: %v", err)
	}
}

func TestANewPolicyDecidesAgain(t *testing.T) {
	deny := resource.Role{Metadata: resource.Metadata{Name: "guard"}}
	b := newBench(t, deny)
	u := b.user("access", "guard")
	if err := b.admit(u); err != nil {
		t.Fatal(err)
	}
	deny.Spec.Deny.NodeLabels = resource.Labels{"env": {"dev"}}
	b.cluster.SetRoles(deny)
	b.publish()
	if _, err := b.Again(u, web, policy.Login("ada"), ""); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "guard") {
		t.Errorf("goes on: %v", err)
	}
}

func TestWhoIsFasterThanTheFeedWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cluster.SetRoles()
		b.cluster.Lock()
		u := b.user("access") // of documents that are not here yet
		done := make(chan error)
		go func() { _, err := b.Admit(context.Background(), u, web, policy.Login("ada")); done <- err }()
		synctest.Wait()
		b.publish()
		if err := <-done; err != nil {
			t.Errorf("after they came: %v", err)
		}
		b.cluster.SetRoles()
		late := b.user("access")
		began := time.Now()
		_, err := b.Admit(context.Background(), late, web, policy.Login("ada"))
		if !fault.Is(err, fault.Unavailable) || time.Since(began) < time.Second || time.Since(began) > 10*time.Second {
			t.Errorf("without them: %v after %s", err, time.Since(began))
		}
	})
}

func TestADenialHoldsItsTrace(t *testing.T) {
	b := newBench(t)
	_, err := b.Admit(t.Context(), b.user("access"), web, policy.Login("root"))
	d, ok := err.(interface{ Details() map[string]string })
	if !ok || !strings.Contains(d.Details()["trace"], `"role":"access"`) {
		t.Errorf("%#v", err)
	}
}

// TestSec_S67_ADenialTellsNothingOfATargetThatTheUserMayNotSee: its labels and scope are in the event's trace, and not in
// what the user reads, unless the user may use the target in another way.
func TestSec_S67_ADenialTellsNothingOfATargetThatTheUserMayNotSee(t *testing.T) {
	node := func(labels resource.Labels) resource.RoleSpec {
		return resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ada"}, NodeLabels: labels}}
	}
	all := resource.Labels{"*": {"*"}}
	guard := resource.RoleSpec{Deny: resource.RoleBlock{NodeLabels: resource.Labels{"env": {"quiet-value"}}}}
	role := func(name, scope string, spec resource.RoleSpec) resource.Role {
		return resource.Role{Metadata: resource.Metadata{Name: name, Scope: scope}, Spec: spec}
	}
	b := newBench(t, role("other-label", "", node(resource.Labels{"env": {"dev"}})), role("other-scope", "/billing", node(all)),
		role("guard", "", guard), role("everything", "", node(all)))
	host, _ := b.cluster.Host(nil, web)
	host.Scope, host.Labels = "/quiet-scope", map[string]string{"env": "quiet-value"}
	b.Decider = decide.New(decide.Config{Documents: b.holder, Host: func() identity.Host { return host }, Clock: b.now})
	for _, roles := range [][]string{{"other-label"}, {"other-scope"}, {"everything", "guard"}} {
		u := b.user(roles...)
		_, err := b.Admit(t.Context(), u, web, policy.Login("ada"))
		f := fault.From(err)
		if !fault.Is(err, fault.Denied) || strings.Contains(f.Message+f.Hint, "quiet") || !strings.Contains(f.Message, "login ada on node") {
			t.Errorf("%v: %v", roles, f)
		}
		if d, ok := err.(interface{ Details() map[string]string }); !ok || !strings.Contains(d.Details()["trace"], "quiet-") {
			t.Errorf("%v: the event doesn't say why: %v", roles, err)
		}
		if _, err := b.Again(u, web, policy.Login("ada"), ""); err == nil || strings.Contains(err.Error(), "quiet") {
			t.Errorf("%v, again: %v", roles, err)
		}
	}
	_, err := b.Admit(t.Context(), b.user("everything", "other-label"), web, policy.Login("root"))
	if f := fault.From(err); f.Code != fault.Denied || !strings.Contains(f.Message, "it allows ada") {
		t.Errorf("who may use it otherwise is not told why not so: %v", f)
	}
}
