package issue_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// told is all that somebody outside is told by a refusal.
func told(t *testing.T, err error) string {
	t.Helper()
	f := fault.From(err)
	if f == nil {
		t.Fatal("it was not refused")
	}
	b, err := json.Marshal([]any{f.Code, f.Message, f.Hint, f.Fields, f.DecisionID, f.RetryAfter})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Secrets in the tests below: the first is good for one join; the others were, once.
var (
	goodSecret = secret()
	usedSecret = resource.SecretPrefix + "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	lateSecret = resource.SecretPrefix + "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	noSecret   = resource.SecretPrefix + "ZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// populated is machines with an agent of each token, and secrets in every state.
func populated(t *testing.T) *machines {
	t.Helper()
	m := newMachines(t)
	bySecrets := m.store.tokens["secret"]
	bySecrets.Spec.Uses = 5
	m.store.tokens["secret"] = bySecrets
	m.store.secrets[resource.HashSecret(goodSecret)] = 2
	m.store.secrets[resource.HashSecret(usedSecret)] = 0
	m.store.secrets[resource.HashSecret(lateSecret)] = 1
	m.store.lapses[resource.HashSecret(lateSecret)] = m.Now
	m.join(t, &machine{}, keyNode, nil)
	m.join(t, &machine{}, "", bySecret)
	return m
}

// wrong are joins that ask about what there is: each names a token, and claims a target.
var wrong = map[string]struct{ token, target, secret string }{
	"the token is there, the name is taken":  {"secret", "node/web-1", noSecret},
	"the name is free":                       {"secret", "node/web-2", noSecret},
	"the name is outside of the token's":     {"secret", "node/db-1", noSecret},
	"the kind is outside of the token's":     {"secret", "db/web-1", noSecret},
	"the name can't be one":                  {"secret", "node/WEB", noSecret},
	"there is no such token":                 {"nobody", "node/web-2", noSecret},
	"no such token, the name is taken":       {"nobody", "node/web-1", noSecret},
	"a token of another method":              {"nodes", "node/node-2", noSecret},
	"another method's, the name is taken":    {"nodes", "node/node-1", noSecret},
	"the proxies' token":                     {resource.FleetToken, "node/node-2", noSecret},
	"the secret has expired":                 {"secret", "node/web-2", lateSecret},
	"the secret is used up":                  {"secret", "node/web-2", usedSecret},
	"used up, the name is taken":             {"secret", "node/web-1", usedSecret},
	"the secret is another token's":          {"nodes", "node/node-2", goodSecret},
	"the secret is of a token that is there": {"nobody", "node/web-2", goodSecret},
}

// TestSec_S61_AWrongSecretGetsOneAnswer: same answer, same lookups, and nothing is written.
func TestSec_S61_AWrongSecretGetsOneAnswer(t *testing.T) {
	m := populated(t)
	var one string
	for name, w := range wrong {
		r := m.ask(t, &machine{}, "", func(r *proof.HostRequest) {
			r.Join.Token, r.Join.Targets, r.Secret = w.token, []string{w.target}, w.secret
		})
		before := m.store.contents()
		m.store.calls = nil
		_, err := m.hosts.Issue(t.Context(), r)
		if got := told(t, err); one != "" && got != one {
			t.Errorf("%s: told %s, others %s", name, got, one)
		} else {
			one = got
		}
		if d := cmp.Diff([]string{"HashedSecret"}, m.store.calls); d != "" {
			t.Errorf("%s: asked the tables otherwise than others: %s", name, d)
		}
		if after := m.store.contents(); after != before {
			t.Errorf("%s: the tables went from %s to %s", name, before, after)
		}
	}
	for name, w := range wrong { // nor does it help to prove some keys
		r := newKeyed(t).ask(t, m, "", func(r *proof.HostRequest) {
			r.Join.Token, r.Join.Targets, r.Secret = w.token, []string{w.target}, w.secret
		})
		before := m.store.contents()
		m.store.calls = nil
		_, err := m.hosts.Issue(t.Context(), r)
		if d := cmp.Diff([]string{"HashedSecret", "Joined"}, m.store.calls); told(t, err) != one || d != "" || m.store.contents() != before {
			t.Errorf("%s, with keys: told %s, %s", name, told(t, err), d)
		}
	}
	r := m.ask(t, &machine{}, "", func(r *proof.HostRequest) { bySecret(r); r.Secret = "no secret" })
	if _, err := m.hosts.Issue(t.Context(), r); told(t, err) != one {
		t.Errorf("what is no secret: %s, others %s", told(t, err), one)
	}
	// Whoever has shown the right one is told what is wrong.
	for target, says := range map[string]string{"node/db-1": "does not grant node/db-1", "node/web-1": "another agent already holds node/web-1"} {
		code := map[string]fault.Code{"node/db-1": fault.Denied, "node/web-1": fault.Quarantined}[target]
		m.refused(t, &machine{}, "", code, says, func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{target} })
	}
	m.join(t, &machine{}, "", func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{"node/web-2"} })
}

// TestSec_S61_ASecretThatAnotherUsesUpAtTheSameTimeIsAWrongOne, since the loser is told nothing else either.
func TestSec_S61_ASecretThatAnotherUsesUpAtTheSameTimeIsAWrongOne(t *testing.T) {
	m := populated(t)
	wrongly := m.ask(t, &machine{}, "", func(r *proof.HostRequest) { bySecret(r); r.Secret = noSecret })
	_, want := m.hosts.Issue(t.Context(), wrongly)
	late := m.ask(t, &machine{}, "", func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{"node/web-2"} })
	m.store.fail, m.store.failure = "Admit", issue.ErrSecret
	before := m.store.contents()
	_, err := m.hosts.Issue(t.Context(), late)
	if told(t, err) != told(t, want) || m.store.contents() != before {
		t.Errorf("told %s, others %s", told(t, err), told(t, want))
	}
}

// TestSec_S61_AnAWSIdentityThatIsNobodyHereGetsOneAnswer: every AWS account in the world can prove who it is. What is not
// even confirmed leaves nothing; what is, leaves an event that says what differs, as the answer does not.
func TestSec_S61_AnAWSIdentityThatIsNobodyHereGetsOneAnswer(t *testing.T) {
	const keyStranger, keyUnknown = "ASIASTRANGERSTRANG1", "ASIAUNKNOWNUNKNOWN1"
	for key, events := range map[string]int{keyUnknown: 0, keyStranger: 1} {
		m := populated(t)
		m.sts[keyStranger] = resource.IAMIdentity{Partition: "aws", Account: "999999999999", Role: "demo-node", RoleID: "AROASTRANGER1234", Session: "x"}
		var one string
		for name, w := range wrong {
			r := m.ask(t, &machine{}, key, func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = w.token, []string{w.target} })
			kept := len(m.store.events)
			_, err := m.hosts.Issue(t.Context(), r)
			f := *fault.From(err)
			if (f.DecisionID != "") != (events > 0) {
				t.Errorf("%s: decision %q", name, f.DecisionID)
			}
			f.DecisionID = ""
			if got := told(t, &f); one != "" && got != one {
				t.Errorf("%s: told %s, others %s", name, got, one)
			} else {
				one = got
			}
			if len(m.store.events) != kept+events {
				t.Errorf("%s: %d events", name, len(m.store.events)-kept)
			}
			m.store.events = m.store.events[:kept]
		}
		if len(m.store.held) != 0 || len(m.store.agents) != 2 {
			t.Errorf("in quarantine %v, agents %v", m.store.held, m.store.agents)
		}
	}
}

func TestSec_S61_AnIdentityOfAnAccountThatIsNamedIsToldWhatDiffers(t *testing.T) {
	m := populated(t)
	other := m.sts[keyNode]
	other.Account, other.Role = "222222222222", "other"
	m.sts[keyNode] = other
	m.refused(t, &machine{}, keyNode, fault.Denied, "no such join token", nil)
	nodes := m.store.tokens["nodes"]
	nodes.Spec.Allow = append(nodes.Spec.Allow, resource.IAMMatch{Account: other.Account, Role: "demo-node"})
	m.store.tokens["nodes"] = nodes
	m.refused(t, &machine{}, keyNode, fault.Denied, "does not allow the role other of account 222222222222", nil)
	// The same number in another partition is another account.
	other.Partition = "aws-cn"
	m.sts[keyNode] = other
	m.refused(t, &machine{}, keyNode, fault.Denied, "no such join token", nil)
}

// TestSec_S61_ALoginThatProvesNothingLooksNothingUp, whichever users, mappings and roles there are.
func TestSec_S61_ALoginThatProvesNothingLooksNothingUp(t *testing.T) {
	var one string
	for name, there := range map[string]func(*people){
		"as it is":           func(*people) {},
		"without a mapping":  func(p *people) { p.store.mappings = nil },
		"two mappings match": func(p *people) { p.store.mappings = append(p.store.mappings, p.store.mappings[0]) },
		"a mapping that is unreadable": func(p *people) {
			p.store.mappings[0].Unreadable = true
		},
		"a user's record":  func(p *people) { p.store.users["alice"] = resource.User{Spec: resource.UserSpec{Mapping: "engineers"}} },
		"a role is absent": func(p *people) { p.store.mappings[0].Spec.Roles = []string{"ghost"} },
	} {
		p := newPeople(t)
		there(p)
		r := p.login(t, keyAlice)
		delete(p.sts, keyAlice) // AWS doesn't confirm it
		_, err := p.users.Issue(t.Context(), r)
		if got := told(t, err); one != "" && got != one {
			t.Errorf("%s: told %s, others %s", name, got, one)
		} else {
			one = got
		}
		if len(p.store.calls) != 0 {
			t.Errorf("%s: asked for %v", name, p.store.calls)
		}
	}
}

// A forged previous credential reaches no table either.
func TestSec_S61_AForgedCredentialLooksNothingUp(t *testing.T) {
	m := populated(t)
	before := m.store.contents()
	for _, token := range []string{"secret", "nobody", "nodes"} {
		forged := &machine{}
		forged.tls, forged.cert = newMachines(t).Host(identity.Host{Kind: identity.KindAgent, ID: agentID, Token: token}, m.Now.Add(time.Hour))
		m.store.calls = nil
		m.refused(t, forged, "", fault.Unauthenticated, "the previous credential is not accepted", func(r *proof.HostRequest) { r.Join.Token = token })
		if len(m.store.calls) != 0 || m.store.contents() != before {
			t.Errorf("%s: asked for %v", token, m.store.calls)
		}
	}
	if e := m.store.last(); e.Type == audit.AgentJoinRefused {
		t.Errorf("event %+v", e)
	}
}
