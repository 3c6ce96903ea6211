package issue_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

const keyOther = "ASIAOTHEROTHEROTHER1"

// bounded is machines whose token nodes admits three agents, two of one role, and a second role.
func bounded(t *testing.T) *machines {
	t.Helper()
	m := newMachines(t)
	m.sts[keyOther] = resource.IAMIdentity{Partition: "aws", Account: account, Role: "other-node", RoleID: "AROAOTHERNODE123", Session: "x"}
	m.change(func(t *resource.Token) {
		t.Spec.MaxNodes, t.Spec.MaxNodesPerIdentity = 3, 2
		t.Spec.Allow = append(t.Spec.Allow, resource.IAMMatch{Account: account, Role: "other-node"})
	})
	return m
}

// change changes the token nodes.
func (m *machines) change(change func(*resource.Token)) {
	nodes := m.store.tokens["nodes"]
	change(&nodes)
	m.store.tokens["nodes"] = nodes
}

func named(n int) func(*proof.HostRequest) { return claiming(fmt.Sprintf("node/node-%d", n)) }

// TestSec_S62_ATokenAdmitsSoManyAgentsAndNoMore: of all roles, and of each.
func TestSec_S62_ATokenAdmitsSoManyAgentsAndNoMore(t *testing.T) {
	m := bounded(t)
	first := &machine{}
	m.join(t, first, keyNode, named(1))
	m.join(t, &machine{}, keyNode, named(2))
	m.refused(t, &machine{}, keyNode, fault.Denied, "join token nodes allows 2 agents of one AWS role at once, and the role demo-node has no place left", named(3))
	m.join(t, &machine{}, keyOther, named(3))
	m.refused(t, &machine{}, keyOther, fault.Denied, "join token nodes allows 3 agents at once, and no place is left", named(4))
	if len(m.store.targets) != 3 {
		t.Errorf("names %v", m.store.targets)
	}
	// Who is there stays, also when the bound is lowered; who comes back after its certificate ended needs a place.
	m.change(func(t *resource.Token) { t.Spec.MaxNodes, t.Spec.MaxNodesPerIdentity = 1, 0 })
	m.store.places = map[string]map[string]time.Time{"nodes#": {"agt_other": m.Now.Add(time.Hour)}}
	m.join(t, first, keyNode, named(1))
	m.store.places = map[string]map[string]time.Time{"nodes#": {"agt_other": m.Now.Add(time.Hour)}}
	m.Now = m.Now.Add(25 * time.Hour)
	m.Publish()
	m.refused(t, first, keyNode, fault.Denied, "allows 1 agent at once", named(1))
}

// Nobody can change a token that has a secret, and deleting it takes down the agents that it has.
func TestWhereASecretHasNoPlaceLeftAnotherTokenIsAdvised(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 2
	m.join(t, &machine{}, "", bySecret)
	_, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, "", func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{"node/web-2"} }))
	wantFault(t, err, fault.Denied, "join token secret allows 1 agent at once")
	for _, says := range []string{"create another token", "stile rm token/secret would take down", "remove nodes that are gone with stile rm node/NAME, which frees a place"} {
		if hint := fault.From(err).Hint; !strings.Contains(hint, says) {
			t.Errorf("the hint doesn't say %q: %s", says, hint)
		}
	}
}

// Places follow from the token; what an agent asks for has no part in it.
func TestSec_S62_WhichPlacesAnAgentNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*resource.Token)
		want   []string
	}{
		"none is said":             {func(t *resource.Token) { t.Spec.MaxNodes, t.Spec.MaxNodesPerIdentity = 0, 0 }, []string{"nodes#"}},
		"fewer of one role":        {func(*resource.Token) {}, []string{"nodes#", "nodes##AROANODENODE1234"}},
		"as many of one role":      {func(t *resource.Token) { t.Spec.MaxNodesPerIdentity = 3 }, []string{"nodes#"}},
		"a token that was re-made": {func(t *resource.Token) { t.UID, t.Spec.MaxNodesPerIdentity = "u2", 0 }, []string{"nodes#u2"}},
	} {
		m := bounded(t)
		m.change(c.change)
		m.join(t, &machine{}, keyNode, func(r *proof.HostRequest) { r.Join.TTLSeconds = 1 })
		if d := cmp.Diff(c.want, slices.Sorted(maps.Keys(m.store.places))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		for of, places := range m.store.places {
			for agent, until := range places {
				if until.Before(m.Now.Add(24 * time.Hour)) {
					t.Errorf("%s: %s has its place of %s until %s", name, agent, of, until)
				}
			}
		}
	}
	m := bounded(t)
	m.join(t, &machine{}, keyFleet, func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = resource.FleetToken, nil })
	if len(m.store.places) != 0 {
		t.Errorf("a proxy takes %v", m.store.places)
	}
}

// TestSec_S62_ATokenThatWasMadeAgainRenewsNobodyOfTheOldOne, also when the revocation is no longer kept.
func TestSec_S62_ATokenThatWasMadeAgainRenewsNobodyOfTheOldOne(t *testing.T) {
	m := newMachines(t)
	m.change(func(t *resource.Token) { t.UID = "u1" })
	mc := &machine{}
	m.join(t, mc, keyNode, nil)
	m.join(t, mc, keyNode, nil)
	m.change(func(t *resource.Token) { t.UID = "u2" })
	for range 2 {
		old := *mc
		m.hinted(t, &old, keyNode, []string{"stile rm node/node-1", "empty the agent's state directory"}, nil)
		m.refused(t, &old, keyNode, fault.Denied, "was deleted, and created again", nil)
		m.Now = m.Now.Add(48 * time.Hour)
		m.Publish()
	}
	m.join(t, &machine{}, keyNode, named(9))
}

// An agent whose credential has expired shows the secret of the token that was made again, and stays the agent that it was:
// the secret admits it.
func TestANewSecretBringsAnExpiredAgentBack(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 2
	mc := &machine{}
	was := m.join(t, mc, "", bySecret)
	again := m.store.tokens["secret"]
	again.UID = "u2"
	m.store.tokens["secret"] = again
	m.Bar(identity.Ref{Target: "token", Value: "secret"})
	inForce := *mc
	m.refused(t, &inForce, "", fault.Unauthenticated, "revoked", bySecret)
	m.Now = m.Now.Add(25 * time.Hour)
	m.Revoke(document.Revocations{}) // what is issued now is issued after it
	if now := m.join(t, mc, "", bySecret); now.ID != was.ID {
		t.Errorf("%s after %s", now.ID, was.ID)
	}
	if now := m.join(t, mc, "", func(r *proof.HostRequest) { bySecret(r); r.Secret = "" }); now.ID != was.ID {
		t.Errorf("%s after %s", now.ID, was.ID)
	}
}

// TestSec_S62_DeletingATokenEndsWhatCameInByIt, wherever it is judged.
func TestSec_S62_DeletingATokenEndsWhatCameInByIt(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	mc := &machine{}
	m.join(t, mc, keyNode, nil)
	m.join(t, &machine{}, "", bySecret)
	m.Bar(identity.Ref{Target: "token", Value: "nodes"})
	view, err := m.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, a := range m.store.agents {
		err := view.State.Standing(a.Host, document.Use{Now: m.Now})
		if ends := a.Host.Token == "nodes"; ends != fault.Is(err, fault.Unauthenticated) || !ends && err != nil {
			t.Errorf("%s of token %s: %v", id, a.Host.Token, err)
		}
	}
	m.refused(t, mc, keyNode, fault.Unauthenticated, "token nodes was deleted since", nil)
}
