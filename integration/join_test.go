package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// join makes a join by the book for a node's name, not sent yet, with keys and evidence of its own.
func (p *person) join(t *testing.T, name string, change func(*prover.Request)) (*attempt, wire.JoinIAMRequest) {
	t.Helper()
	a := p.attempt(t, names.PurposeJoin, change)
	return a, wire.JoinIAMRequest{
		Join: wire.JoinRequest{
			Challenge: a.request.Challenge, SSHKey: a.request.SSHKey, TLSKey: a.request.TLSKey,
			Token: "demo-nodes", Targets: []string{"node/" + name}, Labels: map[string]string{},
		},
		STS: a.request.STS,
	}
}

// renews makes a join the renewal of the credential that the attempt led to.
func (a *attempt) renews(t *testing.T, r *wire.JoinIAMRequest, credential wire.HostCredential) {
	t.Helper()
	digest := certs.RenewDigest(r.Join.Challenge, certs.KeysHash(r.Join.SSHKey, r.Join.TLSKey))
	signature, err := ecdsa.SignASN1(rand.Reader, a.tls, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	r.Join.Prior = wire.PriorCredential{Certificate: credential.TLSCertificate, Signature: signature}
}

func TestAJoinGetsWhatItsTokenGrantsAndNothingElse(t *testing.T) {
	p := shared.person(t, "env.node")
	refused := []fault.Code{fault.Unauthenticated, fault.BadInput, fault.Denied, fault.NotFound, fault.Conflict}
	before := shared.snapshot(t, p)
	for name, bend := range map[string]func(*wire.JoinIAMRequest){
		"a name that the token doesn't grant":  func(r *wire.JoinIAMRequest) { r.Join.Targets = []string{"node/database-1"} },
		"nothing to serve":                     func(r *wire.JoinIAMRequest) { r.Join.Targets = nil },
		"a name with a comma":                  func(r *wire.JoinIAMRequest) { r.Join.Targets = []string{"node/node-2,database-1"} },
		"a label that the token doesn't offer": func(r *wire.JoinIAMRequest) { r.Join.Labels = map[string]string{"team": "root"} },
		"another value of a pinned label":      func(r *wire.JoinIAMRequest) { r.Join.Labels = map[string]string{"env": "prod"} },
		"a kind that is not granted":           func(r *wire.JoinIAMRequest) { r.Join.Targets = append(r.Join.Targets, "db/node-refused") },
		"a name that ends as full names do":    func(r *wire.JoinIAMRequest) { r.Join.Targets = []string{"node/node-2.stile"} },
		"an unknown token":                     func(r *wire.JoinIAMRequest) { r.Join.Token = "no-such-token" },
		"the fleet's token":                    func(r *wire.JoinIAMRequest) { r.Join.Token = "fleet"; r.Join.Targets = nil },
		"another key":                          func(r *wire.JoinIAMRequest) { r.Join.TLSKey = spki(t, newKey(t)) },
		"a host that is not STS":               func(r *wire.JoinIAMRequest) { r.STS.Host = "evil.example" },
		"an altered challenge":                 func(r *wire.JoinIAMRequest) { r.Join.Challenge = flip(r.Join.Challenge) },
		"an altered signature":                 func(r *wire.JoinIAMRequest) { r.STS.Authorization = flip(r.STS.Authorization) },
	} {
		t.Run(name, func(t *testing.T) {
			a, r := p.join(t, "node-refused", nil)
			bend(&r)
			_, err := a.api.JoinIAM(t.Context(), r)
			refusedAs(t, err, refused...)
		})
	}
	for name, change := range map[string]func(*prover.Request){
		"signed for another cluster": func(r *prover.Request) { r.Cluster = "00000000-0000-4000-8000-000000000000" },
		"signed for a login":         func(r *prover.Request) { r.Purpose = names.PurposeLogin },
	} {
		t.Run(name, func(t *testing.T) {
			a, r := p.join(t, "node-refused", change)
			_, err := a.api.JoinIAM(t.Context(), r)
			refusedAs(t, err, refused...)
		})
	}
	t.Run("somebody whom the token doesn't name", func(t *testing.T) {
		a, r := shared.person(t, "env.stranger").join(t, "node-refused", nil)
		_, err := a.api.JoinIAM(t.Context(), r)
		refusedAs(t, err, fault.Denied)
	})
	shared.unchanged(t, p, before)
}

func TestAJoinIsGoodOnce(t *testing.T) {
	p := shared.person(t, "env.node")
	a, r := p.join(t, "node-once", nil)
	if _, err := a.api.JoinIAM(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := shared.snapshot(t, p)
	_, err := a.api.JoinIAM(t.Context(), r)
	refusedAs(t, err, fault.Unauthenticated, fault.Conflict, fault.Denied)
	shared.unchanged(t, p, before)
}

func TestASecondHolderOfANameIsQuarantined(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, engineer).login(t)
	shared.agent(t, enrol{name: "node-twice"})
	eventually(t, 30*time.Second, p.online(t, "node-twice", true))
	second := shared.agent(t, enrol{name: "node-twice"})
	second.logs(t, "quarantin")
	if r := p.run(t, nil, "ssh", "node-twice", "--", "true"); r.status != 0 {
		t.Errorf("the first holder lost its name: %s", r.err)
	}
	boss.must(t, "rm", "node/node-twice")
}

// What a renewal claims no more may be claimed by another agent, and is left to it when an older credential is renewed.
func TestARenewalFreesWhatItClaimsNoMore(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, "env.node")
	claims := func(held *attempt, credential wire.HostCredential, targets ...string) (*attempt, wire.HostCredential) {
		t.Helper()
		a, r := p.join(t, "", nil)
		r.Join.Targets = targets
		if held != nil {
			held.renews(t, &r, credential)
		}
		got, err := a.api.JoinIAM(t.Context(), r)
		if err != nil {
			t.Fatalf("claiming %v: %v", targets, err)
		}
		return a, got
	}
	first, both := claims(nil, wire.HostCredential{}, "node/node-kept", "node/node-dropped")
	claims(first, both, "node/node-kept")
	_, other := claims(nil, wire.HostCredential{}, "node/node-dropped")
	if _, again := claims(first, both, "node/node-kept"); again.ID != both.ID || other.ID == both.ID {
		t.Errorf("%s, then %s; the other is %s", both.ID, again.ID, other.ID)
	}
	a, r := p.join(t, "node-dropped", nil)
	_, err := a.api.JoinIAM(t.Context(), r)
	refusedAs(t, err, fault.Quarantined)
	boss.must(t, "rm", "node/node-kept")
	boss.must(t, "rm", "node/node-dropped")
}

func TestSec_S35_ACredentialIsForOneSideAlone(t *testing.T) {
	p := shared.person(t, "env.node")
	a, r := p.join(t, "node-sides", nil)
	host, err := a.api.JoinIAM(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	raw := p.api(t)
	c := &call{method: "GET", path: raw.base.Path + "/v1/status", key: a.tls, certificate: host.TLSCertificate}
	c.sign(t, raw.base.Host)
	if status, problem := raw.do(t, c); status != 401 || problem.Code != "unauthenticated" {
		t.Errorf("an agent's certificate as a user's: got %d %+v", status, problem)
	}
	c = &call{method: "GET", path: raw.base.Path + "/v1/host/status", key: a.tls, certificate: host.TLSCertificate}
	c.sign(t, raw.base.Host)
	if status, problem := raw.do(t, c); status != 200 {
		t.Errorf("an agent's certificate as its own: got %d %+v", status, problem)
	}
}

// TestSec_S61_AWrongSecretGetsOneAnswer: over the whole way, whatever there is.
func TestSec_S61_AWrongSecretGetsOneAnswer(t *testing.T) {
	p := shared.person(t, "env.node")
	raw := p.api(t)
	a, r := p.join(t, "node-asked", nil)
	if _, err := a.api.JoinIAM(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := shared.snapshot(t, p)
	answers := map[string]wire.Problem{}
	for name, ask := range map[string][2]string{
		"a name that is taken":        {"demo-nodes", "node-asked"},
		"a name that is free":         {"demo-nodes", "node-free"},
		"a name that is not granted":  {"demo-nodes", "database-1"},
		"a token that there is not":   {"no-such-token", "node-asked"},
		"the token of the proxies":    {"fleet", "node-asked"},
		"no such token, another name": {"no-such-token", "database-1"},
	} {
		_, r := p.join(t, ask[1], nil)
		r.Join.Token = ask[0]
		body, err := json.Marshal(wire.JoinTokenRequest{Join: r.Join, Secret: resource.SecretPrefix + strings.Repeat("A", 43)})
		if err != nil {
			t.Fatal(err)
		}
		c := &call{method: "POST", path: raw.base.Path + "/v1/join/token", body: body, headers: http.Header{"Content-Type": {"application/json"}}}
		status, problem := raw.do(t, c)
		if status != http.StatusForbidden {
			t.Errorf("%s: %d %+v", name, status, problem)
		}
		problem.RequestID = ""
		answers[name] = problem
	}
	for name, problem := range answers {
		if d := cmp.Diff(answers["a name that is taken"], problem); d != "" {
			t.Errorf("%s is answered otherwise: %s", name, d)
		}
	}
	shared.unchanged(t, p, before)
	shared.person(t, admin).login(t).must(t, "rm", "node/node-asked")
}

// token is a join token of the nodes' role for names that begin with a word.
func token(name, word, extra string) string {
	return "kind: token\nmetadata: {name: " + name + "}\nspec:\n  method: iam\n  allow: [{account: '111122223333', role: demo-node}]\n  resources: [node]\n  names: ['" +
		word + "-*']\n  labels: {env: demo}\n" + extra
}

func TestSec_S62_ATokenAdmitsSoManyAgentsAndNoMore(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, token("few", "few", "  max_nodes: 2\n  max_nodes_per_identity: 1\n"))
	p := shared.person(t, "env.node")
	join := func(name string) error {
		t.Helper()
		a, r := p.join(t, name, nil)
		r.Join.Token = "few"
		_, err := a.api.JoinIAM(t.Context(), r)
		return err
	}
	if err := join("few-1"); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, join("few-2"), fault.Denied)
	if err := join("few-2"); err == nil || !strings.Contains(err.Error(), "allows 1 agent of one AWS role at once") {
		t.Errorf("a second one: %v", err)
	}
	boss.must(t, "rm", "node/few-1")
	if err := join("few-2"); err != nil {
		t.Errorf("after the first was removed: %v", err)
	}
	boss.must(t, "rm", "node/few-2")
	boss.must(t, "rm", "token/few")
}

// TestSec_S62_DeletingATokenEndsItsAgents: their tunnels and their sessions, and for good, although there is a token of the
// same name again.
func TestSec_S62_DeletingATokenEndsItsAgents(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, token("ending", "ending", ""))
	p := shared.person(t, engineer).login(t)
	old := shared.agent(t, enrol{name: "ending-1", token: "ending"})
	eventually(t, 30*time.Second, p.online(t, "ending-1", true))
	session := p.session(t, "ending-1")
	boss.must(t, "rm", "token/ending")
	session.cut(t)
	eventually(t, 30*time.Second, p.online(t, "ending-1", false))
	boss.create(t, token("ending", "ending", ""))
	shared.agent(t, enrol{name: "ending-2", token: "ending"})
	eventually(t, 30*time.Second, p.online(t, "ending-2", true))
	old.logs(t, "revoked")
	if r := p.run(t, nil, "ssh", "ending-1", "--", "true"); r.status == 0 {
		t.Error("an agent of the old token is there again")
	}
	boss.must(t, "rm", "token/ending")
	boss.must(t, "rm", "node/ending-1")
	boss.must(t, "rm", "node/ending-2")
}

// TestSec_S66_AJoinWhoseAnswerWasLostIsRepeatedByTheSameKeys, by a secret that is good for one and by an AWS role.
func TestSec_S66_AJoinWhoseAnswerWasLostIsRepeatedByTheSameKeys(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	out := boss.must(t, "create", "-f", boss.file(t, "kind: token\nmetadata: {name: lost}\nspec: {method: token, resources: [node], names: ['lost-*'], uses: 1}\n"))
	secret := regexp.MustCompile(resource.SecretPrefix + `[A-Za-z0-9_-]{43}`).FindString(out)
	p := shared.person(t, "env.node")
	api, err := client.New(client.Config{URL: p.Env["STILE_API"], HTTP: p.api(t).http})
	if err != nil {
		t.Fatal(err)
	}
	for name, claim := range map[string]joiner.Claim{
		"lost-1":    {Method: resource.MethodToken, Token: "lost", Secret: func() (string, error) { return secret, nil }},
		"node-lost": {Method: resource.MethodIAM, Token: "demo-nodes", AWS: func(context.Context) (aws.Config, error) { return p.AWS(), nil }},
	} {
		claim.Kind, claim.Targets = identity.KindAgent, []identity.Target{{Kind: "node", Name: name}}
		keys := joiner.Keys{SSH: newKey(t), TLS: newKey(t)}
		lost, err := joiner.Join(t.Context(), api, claim, keys, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := joiner.Join(t.Context(), api, claim, keys, nil)
		if err != nil || again.ID != lost.ID || !cmp.Equal(again.Targets, lost.Targets) {
			t.Errorf("%s: %s for %v after %s: %v", name, again.ID, again.Targets, lost.ID, err)
		}
		if _, err := joiner.Join(t.Context(), api, claim, joiner.Keys{SSH: newKey(t), TLS: keys.TLS}, nil); !fault.Is(err, fault.Denied) && !fault.Is(err, fault.Quarantined) {
			t.Errorf("%s by another key: %v", name, err)
		}
		boss.must(t, "rm", "node/"+name)
	}
	boss.must(t, "rm", "token/lost")
}
