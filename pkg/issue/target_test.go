package issue_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// several is machines whose token grants nodes and databases of any name.
func several(t *testing.T) *machines {
	t.Helper()
	m := newMachines(t)
	nodes := m.store.tokens["nodes"]
	nodes.Spec.Resources, nodes.Spec.Names = []string{"node", "db"}, []string{"*"}
	m.store.tokens["nodes"] = nodes
	return m
}

// claiming is a change that claims these targets.
func claiming(targets ...string) func(*proof.HostRequest) {
	return func(r *proof.HostRequest) { r.Join.Targets = targets }
}

func TestAnAgentServesTargetsOfSeveralKindsUnderOneCertificate(t *testing.T) {
	m := several(t)
	cred := m.join(t, &machine{}, keyNode, claiming("node/orders", "db/orders", "db/stock.eu"))
	if d := cmp.Diff([]string{"node/orders", "db/orders", "db/stock.eu"}, cred.Targets); d != "" {
		t.Error(d)
	}
	view, err := m.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := certs.VerifyX509Host([][]byte{cred.TLSCertificate}, view.State.Trust.CA(names.KeyHostX509), m.Now, identity.KindAgent)
	if err != nil {
		t.Fatal(err)
	}
	want := []identity.Target{{Kind: "node", Name: "orders"}, {Kind: "db", Name: "orders"}, {Kind: "db", Name: "stock.eu"}}
	if d := cmp.Diff(want, h.Targets); d != "" || h.ClusterName != clustertest.Name {
		t.Error(d, h.ClusterName)
	}
	key, err := ssh.ParsePublicKey(cred.SSHCertificate)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{cred.ID, "orders", "orders.stile"}, key.(*ssh.Certificate).ValidPrincipals); d != "" {
		t.Error("databases have no name in SSH:", d)
	}
	for _, target := range want {
		if m.store.targets[target] != cred.ID {
			t.Errorf("%s is held by %q", target, m.store.targets[target])
		}
	}
	if e := m.store.last(); e.Data["claimed"] != "node/orders db/orders db/stock.eu" {
		t.Errorf("event %+v", e)
	}
}

func TestClaimsThatAreNoneAreRefusedByTheirPlace(t *testing.T) {
	many := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("node/n-%d", i))
		}
		return all
	}
	for name, c := range map[string]struct {
		claims []string
		code   fault.Code
		says   string
		field  string
	}{
		"nothing":                         {nil, fault.BadInput, "claims nothing to serve", "join.targets"},
		"a name alone":                    {[]string{"node/a", "b"}, fault.BadInput, `"b" is not a target`, "join.targets[1]"},
		"a kind alone":                    {[]string{"node/"}, fault.BadInput, "is not a target", "join.targets[0]"},
		"a name with a slash":             {[]string{"node/a/b"}, fault.BadInput, "is not a target", "join.targets[0]"},
		"a name in upper case":            {[]string{"node/A"}, fault.BadInput, "is not a target", "join.targets[0]"},
		"a pattern":                       {[]string{"node/*"}, fault.BadInput, "is not a target", "join.targets[0]"},
		"a list":                          {[]string{"node/a,node/b"}, fault.BadInput, "is not a target", "join.targets[0]"},
		"one twice":                       {[]string{"node/a", "db/a", "node/a"}, fault.BadInput, "claims node/a twice", "join.targets[2]"},
		"a kind that there is not":        {[]string{"desktop/a"}, fault.Denied, "does not grant desktop/a; it grants resources: node, db with names: *", ""},
		"a kind that is not granted":      {[]string{"node/a", "app/a"}, fault.Denied, "does not grant app/a", ""},
		"more than stand in one":          {many(33), fault.TooLarge, "claims 33 targets; 32 are allowed", ""},
		"a full name":                     {[]string{"node/a.stile"}, fault.Denied, "no node's name may end with .stile", ""},
		"a full name of a full name":      {[]string{"node/a", "node/a.b.stile"}, fault.Denied, "no node's name may end with .stile", ""},
		"as many as stand in one":         {many(32), "", "", ""},
		"a name that only looks full":     {[]string{"node/a-stile", "node/stile", "node/stile.a", "node/astile"}, "", "", ""},
		"a database with a full name":     {[]string{"db/a.stile"}, "", "", ""},
		"one name of two kinds":           {[]string{"db/a", "node/a"}, "", "", ""},
		"a name as long as it may be":     {[]string{"node/a23456789-123456789-123456789-123456789-123456789-123456789-123"}, "", "", ""},
		"a name that is longer than that": {[]string{"node/a23456789-123456789-123456789-123456789-123456789-123456789-1234"}, fault.BadInput, "is not a target", "join.targets[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			m := several(t)
			if c.code == "" {
				if cred := m.join(t, &machine{}, keyNode, claiming(c.claims...)); !cmp.Equal(cred.Targets, c.claims) {
					t.Errorf("got %v", cred.Targets)
				}
				return
			}
			_, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, claiming(c.claims...)))
			wantFault(t, err, c.code, c.says)
			fields := fault.From(err).Fields
			if at := slices.IndexFunc(fields, func(f fault.Field) bool { return f.Path == c.field }); (at < 0) == (c.field != "") {
				t.Errorf("fields %v", fields)
			}
			if len(m.store.intents)+len(m.store.targets) != 0 {
				t.Error("something was claimed")
			}
			if e := m.store.last(); e.Type != audit.AgentJoinRefused || e.Outcome != audit.Denied {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// The name is what the trust document says: a token can't choose it, nor a change of configuration.
func TestFullNamesEndWithWhatTheTrustDocumentCallsTheCluster(t *testing.T) {
	m := several(t)
	if cred := m.join(t, &machine{}, keyNode, claiming("node/a.other")); cred.Targets[0] != "node/a.other" {
		t.Errorf("got %v", cred.Targets)
	}
}

func TestWhoComesSecondToOneOfItsTargetsGetsNoneOfThem(t *testing.T) {
	m := several(t)
	first := m.join(t, &machine{}, keyNode, claiming("db/orders"))
	second := m.ask(t, &machine{}, keyNode, claiming("node/orders", "db/stock", "db/orders"))
	_, err := m.hosts.Issue(t.Context(), second)
	wantFault(t, err, fault.Quarantined, "another agent already holds db/orders")
	if f := fault.From(err); f.Hint != "ask an administrator to free the name with stile rm db/orders if this is the right machine, then join again" {
		t.Errorf("hint %q", f.Hint)
	}
	taken := identity.Target{Kind: "db", Name: "orders"}
	if d := cmp.Diff(map[identity.Target]string{taken: first.ID}, m.store.targets); d != "" {
		t.Error(d)
	}
	if len(m.store.held) != 1 || m.store.held[taken] == "" || m.store.held[taken] == first.ID {
		t.Errorf("in quarantine: %v", m.store.held)
	}
	if e := m.store.last(); e.Type != audit.AgentQuarantined || e.DecisionID != fault.From(err).DecisionID || e.Data["claimed"] != "node/orders db/stock db/orders" {
		t.Errorf("event %+v", e)
	}
	if _, err := m.hosts.Issue(t.Context(), second); !fault.Is(err, fault.Denied) {
		t.Errorf("the same evidence again: %v", err)
	}
	// A name that is taken as another kind is free.
	if got := m.join(t, &machine{}, keyNode, claiming("node/orders")); got.ID == first.ID {
		t.Error("the second agent is the first")
	}
}

func TestARenewalMayClaimMoreAndLess(t *testing.T) {
	m := several(t)
	mc := &machine{}
	was := m.join(t, mc, keyNode, claiming("node/a"))
	more := m.join(t, mc, keyNode, claiming("node/a", "db/b"))
	less := m.join(t, mc, keyNode, claiming("db/b"))
	if more.ID != was.ID || less.ID != was.ID || !cmp.Equal(more.Targets, []string{"node/a", "db/b"}) || !cmp.Equal(less.Targets, []string{"db/b"}) {
		t.Errorf("%v, then %v, then %v", was.Targets, more.Targets, less.Targets)
	}
	if d := cmp.Diff(map[identity.Target]string{{Kind: "db", Name: "b"}: was.ID}, m.store.targets); d != "" {
		t.Errorf("what it claims no more is still its own: %s", d)
	}
	nodes := m.store.tokens["nodes"]
	nodes.Spec.Resources = []string{"node"}
	m.store.tokens["nodes"] = nodes
	m.refused(t, mc, keyNode, fault.Denied, "does not grant db/b", claiming("db/b"))
}

// A lock names a token, so that all that came by it is barred; one on a target bars its sessions, not its agent.
func TestALockedTokenAdmitsNobodyAndALockedTargetItsAgent(t *testing.T) {
	m := several(t)
	mc := &machine{}
	m.join(t, mc, keyNode, claiming("node/a"))
	m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "target", Value: "node/a"}}})
	m.join(t, mc, keyNode, claiming("node/a"))
	m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_2", Target: "token", Value: "nodes"}}})
	held := *mc
	m.refused(t, &held, keyNode, fault.Denied, "locked: token nodes", claiming("node/a"))
	m.refused(t, &machine{}, keyNode, fault.Denied, "locked: token nodes", claiming("node/b"))
	until := m.Now.Add(-time.Second)
	m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_2", Target: "token", Value: "nodes", Expires: &until}}})
	m.join(t, mc, keyNode, claiming("node/a"))
}

func TestTheFleetsTokenGrantsNoTarget(t *testing.T) {
	if s := issue.FleetToken(resource.IAMMatch{Account: account, Role: "stile-fleet"}).Spec; s.Grants(identity.Target{Kind: "node", Name: "a"}) {
		t.Error("the fleet's token grants a node")
	}
}
