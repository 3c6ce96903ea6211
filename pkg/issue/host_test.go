package issue_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
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
	"github.com/stile-dev/stile/pkg/wire"
)

const (
	keyNode  = "ASIANODENODENODENOD1"
	keyFleet = "ASIAFLEETFLEETFLEET1"
)

// machines is a signer for hosts with its surroundings.
type machines struct {
	*clustertest.Cluster
	store *tables
	sts   clustertest.STS
	hosts *issue.Hosts
}

func newMachines(t *testing.T) *machines {
	m := &machines{Cluster: clustertest.New(t), store: newTables(), sts: clustertest.STS{
		keyNode:  {Partition: "aws", Account: account, Role: "demo-node", RoleID: "AROANODENODE1234", Session: "i-0123456789abcdef0"},
		keyFleet: {Partition: "aws", Account: account, Role: "stile-fleet", RoleID: "AROAFLEETFLEET12", Session: "task"},
	}}
	m.store.tokens["nodes"] = resource.Token{Metadata: resource.Metadata{Name: "nodes", Scope: "/demo"}, Spec: resource.TokenSpec{
		Method: resource.MethodIAM, Allow: []resource.IAMMatch{{Account: account, Role: "demo-node"}}, Resources: []string{"node"},
		Names: []string{"node-*"}, Labels: map[string]string{"env": "demo"}, LabelChoice: map[string][]string{"role": {"web", "db"}},
	}}
	m.store.tokens["secret"] = resource.Token{Metadata: resource.Metadata{Name: "secret", Scope: "/"}, Spec: resource.TokenSpec{
		Method: resource.MethodToken, Resources: []string{"node"}, Names: []string{"web-1", "web-2"}, Uses: 1,
	}}
	m.hosts = issue.NewHosts(issue.HostConfig{
		Cluster: m.ID, Fleet: resource.IAMMatch{Account: account, Role: "stile-fleet"}, Documents: m.Cluster, MAC: m.Cluster, STS: m.sts,
		Store: m.store, SSH: m.Authority(names.KeyHostSSH), X509: m.Authority(names.KeyHostX509), Now: m.Clock,
	})
	return m
}

// machine is one host's side.
type machine struct {
	tls  *ecdsa.PrivateKey
	cert []byte
}

// ask makes a well-formed join; with a prior credential it is a renewal. Change may alter what is claimed.
func (m *machines) ask(t *testing.T, mc *machine, key string, change func(*proof.HostRequest)) proof.HostRequest {
	t.Helper()
	fresh := clustertest.Key(t)
	sshKey, tlsKey := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, fresh)
	challenge := m.Challenge(names.PurposeJoin, sshKey, tlsKey)
	keys := certs.KeysHash(sshKey, tlsKey)
	r := proof.HostRequest{RequestID: "req-1", SourceIP: "192.0.2.1", Join: wire.JoinRequest{
		Challenge: challenge, SSHKey: sshKey, TLSKey: tlsKey, Token: "nodes", Targets: []string{"node/node-1"},
	}}
	if key != "" {
		sts := m.STSRequest(key, proof.Binding{Challenge: challenge, Purpose: names.PurposeJoin, Cluster: m.ID, Keys: keys})
		r.STS = &sts
	}
	if mc.cert != nil {
		digest := certs.RenewDigest(challenge, keys)
		sig, err := ecdsa.SignASN1(rand.Reader, mc.tls, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		r.Join.Prior = wire.PriorCredential{Certificate: mc.cert, Signature: sig}
	}
	if change != nil {
		change(&r)
	}
	mc.tls = fresh
	return r
}

// join goes through and keeps the credential.
func (m *machines) join(t *testing.T, mc *machine, key string, change func(*proof.HostRequest)) wire.HostCredential {
	t.Helper()
	cred, err := m.hosts.Issue(t.Context(), m.ask(t, mc, key, change))
	if err != nil {
		t.Fatal(err)
	}
	mc.cert = cred.TLSCertificate
	return cred
}

func (m *machines) refused(t *testing.T, mc *machine, key string, code fault.Code, says string, change func(*proof.HostRequest)) {
	t.Helper()
	before := len(m.store.intents)
	_, err := m.hosts.Issue(t.Context(), m.ask(t, mc, key, change))
	wantFault(t, err, code, says)
	if len(m.store.intents) != before {
		t.Error("an intent was written")
	}
}

func secret() string { return resource.SecretPrefix + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }

func bySecret(r *proof.HostRequest) {
	r.Join.Token, r.Join.Targets, r.Secret = "secret", []string{"node/web-1"}, secret()
}

func TestAnAgentGetsWhatItsTokenGrants(t *testing.T) {
	m := newMachines(t)
	cred := m.join(t, &machine{}, keyNode, func(r *proof.HostRequest) { r.Join.Labels = map[string]string{"role": "web"} })
	view, _ := m.Fresh(t.Context())
	h, err := certs.VerifyX509Host([][]byte{cred.TLSCertificate}, view.State.Trust.CA(names.KeyHostX509), m.Now, identity.KindAgent)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Host{
		Form: identity.Form{V: 1}, Cluster: m.ID, ClusterName: clustertest.Name, Certificate: cred.CertificateID, Kind: identity.KindAgent, ID: cred.ID,
		Targets: []identity.Target{{Kind: "node", Name: "node-1"}}, Scope: "/demo", Labels: map[string]string{"env": "demo", "role": "web"}, Method: "iam", Token: "nodes",
		AWS: "aws:" + account + ":demo-node:AROANODENODE1234", Versions: view.Head.Versions(), IssuedAt: m.Now,
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Error(d)
	}
	key, err := ssh.ParsePublicKey(cred.SSHCertificate)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{cred.ID, "node-1", "node-1.stile"}, key.(*ssh.Certificate).ValidPrincipals); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"node/node-1"}, cred.Targets); d != "" {
		t.Error(d)
	}
	if len(cred.Trust) != 1 {
		t.Error("a document is missing")
	}
	if e := m.store.last(); e.Type != audit.AgentJoin || e.Target != cred.CertificateID {
		t.Errorf("event %+v", e)
	}
}

func TestAProxyJoinsByTheFleetsRoleAndGetsNoName(t *testing.T) {
	m := newMachines(t)
	proxy := func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = "fleet", nil }
	cred := m.join(t, &machine{}, keyFleet, proxy)
	if !identity.ValidID("prx", cred.ID) || len(cred.SSHCertificate) != 0 || len(cred.Targets) != 0 {
		t.Errorf("id %s, targets %v, SSH certificate of %d bytes", cred.ID, cred.Targets, len(cred.SSHCertificate))
	}
	m.refused(t, &machine{}, keyNode, fault.Denied, "does not allow the role demo-node", proxy)
	m.refused(t, &machine{}, keyFleet, fault.Denied, "does not grant the target node/node-9; it grants no target", func(r *proof.HostRequest) { proxy(r); r.Join.Targets = []string{"node/node-9"} })
	m.refused(t, &machine{}, keyFleet, fault.Denied, "does not grant the target db/orders", func(r *proof.HostRequest) { proxy(r); r.Join.Targets = []string{"db/orders", "node/node-9"} })
}

func TestAClaimThatTheTokenDoesNotGrantIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		says   string
		change func(*proof.HostRequest)
	}{
		"another name":             {"does not grant node/db-1; it grants resources: node with names: node-*", func(r *proof.HostRequest) { r.Join.Targets = []string{"node/db-1"} }},
		"another kind":             {"does not grant db/node-1; it grants resources: node", func(r *proof.HostRequest) { r.Join.Targets = []string{"node/node-1", "db/node-1"} }},
		"a full name":              {"no node's name may end with .stile", func(r *proof.HostRequest) { r.Join.Targets = []string{"node/node-1.stile"} }},
		"a pinned label otherwise": {"label env=prod", func(r *proof.HostRequest) { r.Join.Labels = map[string]string{"env": "prod"} }},
		"a label out of choice":    {"label role=boss", func(r *proof.HostRequest) { r.Join.Labels = map[string]string{"role": "boss"} }},
		"an unknown label":         {"label team=x", func(r *proof.HostRequest) { r.Join.Labels = map[string]string{"team": "x"} }},
		"an unknown token":         {`no join token "nobody"`, func(r *proof.HostRequest) { r.Join.Token = "nobody" }},
		"a token of other method":  {"is for method token, not for iam", func(r *proof.HostRequest) { r.Join.Token = "secret" }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachines(t)
			m.refused(t, &machine{}, keyNode, fault.Denied, c.says, c.change)
			if e := m.store.last(); e.Type != audit.AgentJoinRefused || e.Reason == "" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// Nobody can change a token that has a secret.
func TestWhatASecretDoesNotGrantNeedsAnotherToken(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	for name, claim := range map[string]func(*proof.HostRequest){
		"a name":  func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{"node/db-1"} },
		"a label": func(r *proof.HostRequest) { bySecret(r); r.Join.Labels = map[string]string{"team": "x"} },
	} {
		t.Run(name, func(t *testing.T) { m.hinted(t, &machine{}, "", []string{"create another token"}, claim) })
	}
	m.hinted(t, &machine{}, keyNode, []string{"to change the token"}, func(r *proof.HostRequest) { r.Join.Targets = []string{"node/db-1"} })
	m.hinted(t, &machine{}, keyNode, []string{"to the token's label_choice"}, func(r *proof.HostRequest) { r.Join.Labels = map[string]string{"team": "x"} })
	m.hinted(t, &machine{}, keyNode, []string{"task role of the fleet"}, func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = resource.FleetToken, nil })
	m.hinted(t, &machine{}, keyFleet, []string{"proxies serve no target"}, func(r *proof.HostRequest) { r.Join.Token = resource.FleetToken })
}

func TestSec_S21_AnAgentOfTheSameRoleNameInAnotherAccountIsRefused(t *testing.T) {
	m := newMachines(t)
	m.join(t, &machine{}, keyNode, nil)
	who := m.sts[keyNode]
	who.Account = "999999999999"
	m.sts[keyNode] = who
	m.refused(t, &machine{}, keyNode, fault.Denied, "no such join token admits this AWS identity", func(r *proof.HostRequest) { r.Join.Targets = []string{"node/node-2"} })
	if e := m.store.last(); e.Type != audit.AgentJoinRefused || !strings.Contains(e.Reason, "does not allow the role demo-node of account 999999999999") {
		t.Errorf("event %+v", e)
	}
}

func TestSec_S23_AnInstanceIdInTheSessionNameIsNoProofOfAnInstance(t *testing.T) {
	m := newMachines(t)
	nodes := m.store.tokens["nodes"]
	nodes.Spec.Allow[0].Session = "i-0123456789abcdef0"
	m.store.tokens["nodes"] = nodes
	m.refused(t, &machine{}, keyNode, fault.Denied, "does not allow the role", nil)
}

func TestASecondHolderOfANameIsQuarantinedUntilItIsFreed(t *testing.T) {
	m := newMachines(t)
	first := &machine{}
	held := m.join(t, first, keyNode, nil)
	m.refused(t, &machine{}, keyNode, fault.Quarantined, "another agent already holds node/node-1", nil)
	_, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, nil))
	if f := fault.From(err); f.Hint == "" || !slices.Contains([]string{f.Hint}, "ask an administrator to free the name with stile rm node/node-1 if this is the right machine, then join again") {
		t.Errorf("hint %q", f.Hint)
	}
	if e := m.store.last(); e.Type != audit.AgentQuarantined || e.DecisionID == "" || m.store.held[identity.Target{Kind: "node", Name: "node-1"}] == "" {
		t.Errorf("event %+v, held %v", e, m.store.held)
	}
	if again := m.join(t, first, keyNode, nil); again.ID != held.ID {
		t.Errorf("the holder renewed as %s, was %s", again.ID, held.ID)
	}
	delete(m.store.targets, identity.Target{Kind: "node", Name: "node-1"}) // stile rm node/node-1
	delete(m.store.agents, held.ID)
	m.join(t, &machine{}, keyNode, nil)
	m.hinted(t, first, keyNode, []string{"empty the agent's state directory and start it again: it then joins as a new agent"}, nil)
	m.refused(t, first, keyNode, fault.Denied, "removed by an administrator", nil)
}

func TestARenewalRunsUnderTodaysRules(t *testing.T) {
	m := newMachines(t)
	mc := &machine{}
	was := m.join(t, mc, keyNode, nil)
	nodes := m.store.tokens["nodes"]
	nodes.Spec.Labels = map[string]string{"env": "prod"}
	m.store.tokens["nodes"] = nodes
	now := m.join(t, mc, keyNode, nil)
	if now.ID != was.ID || now.Labels["env"] != "prod" {
		t.Errorf("%s with %v after %s", now.ID, now.Labels, was.ID)
	}
	if e := m.store.last(); e.Type != audit.AgentRenew {
		t.Errorf("event %s", e.Type)
	}
	delete(m.store.tokens, "nodes")
	m.refused(t, mc, keyNode, fault.Denied, "no join token", nil)
}

func TestAnAgentThatSleptBeyondItsCertificateComesBackByIAM(t *testing.T) {
	m := newMachines(t)
	mc := &machine{}
	was := m.join(t, mc, keyNode, nil)
	m.Now = m.Now.Add(48 * time.Hour)
	m.Publish()
	if now := m.join(t, mc, keyNode, nil); now.ID != was.ID {
		t.Errorf("%s after %s", now.ID, was.ID)
	}
}

func TestASecretIsGoodForItsUsesAndTheCredentialAfterThat(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	mc := &machine{}
	was := m.join(t, mc, "", bySecret)
	m.refused(t, &machine{}, "", fault.Denied, "secret are not accepted", func(r *proof.HostRequest) { bySecret(r); r.Join.Targets = []string{"node/web-2"} })
	renew := func(r *proof.HostRequest) { bySecret(r); r.Secret = "" }
	if now := m.join(t, mc, "", renew); now.ID != was.ID || m.store.secrets[resource.HashSecret(secret())] != 0 {
		t.Errorf("%s after %s, uses left %v", now.ID, was.ID, m.store.secrets)
	}
	t.Run("but not once it has expired", func(t *testing.T) {
		old := *mc
		m.Now = m.Now.Add(25 * time.Hour)
		m.Publish()
		m.hinted(t, &old, "", []string{"another token (stile create)", "stile rm node/web-1", "empty the agent's state directory"}, renew)
		m.refused(t, &old, "", fault.Expired, "has expired", renew)
		m.Now = m.Now.Add(-25 * time.Hour)
	})
	delete(m.store.tokens, "secret")
	m.refused(t, mc, "", fault.Denied, "no join token", renew)
}

// hinted asserts what the hint of a refusal says.
func (m *machines) hinted(t *testing.T, mc *machine, key string, says []string, change func(*proof.HostRequest)) {
	t.Helper()
	same := *mc
	_, err := m.hosts.Issue(t.Context(), m.ask(t, &same, key, change))
	f := fault.From(err)
	if f == nil {
		t.Fatal("not refused")
	}
	for _, s := range says {
		if !strings.Contains(f.Hint, s) {
			t.Errorf("%s: the hint doesn't say %q: %s", f.Message, s, f.Hint)
		}
	}
}

// The name of an agent that comes by another token is the old agent's until that is removed.
func TestAnAgentThatComesByAnotherTokenIsToldHowToStartAgain(t *testing.T) {
	m := newMachines(t)
	mc := &machine{}
	m.join(t, mc, keyNode, nil)
	m.store.secrets[resource.HashSecret(secret())] = 1
	m.hinted(t, mc, "", []string{"set token to nodes again, or ", "stile rm node/node-1", "another token"}, bySecret)
	m.hinted(t, &machine{tls: mc.tls, cert: []byte("none")}, "", []string{"stile rm node/web-1", "another token"}, bySecret)
}

func TestWrongSecretsAreAllRefusedAlike(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	for _, s := range []string{"stj_", "x", secret() + "A", secret()[4:], resource.SecretPrefix + "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		m.refused(t, &machine{}, "", fault.Denied, "secret are not accepted", func(r *proof.HostRequest) { bySecret(r); r.Secret = s })
	}
	m.refused(t, &machine{}, "", fault.Unauthenticated, "neither a secret nor", func(r *proof.HostRequest) { bySecret(r); r.Secret = "" })
}

func TestSec_S08_APriorCredentialMustBeOurOwnAndProved(t *testing.T) {
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	mc := &machine{}
	m.join(t, mc, "", bySecret)
	renew := func(r *proof.HostRequest) { bySecret(r); r.Secret = "" }
	for name, forge := range map[string]func(*machine){
		"another key": func(f *machine) { f.tls = clustertest.Key(t) },
		"another cluster's": func(f *machine) {
			f.tls, f.cert = clustertest.New(t).Host(identity.Host{Kind: "agent", ID: agentID, Targets: []identity.Target{{Kind: "node", Name: "web-1"}}, Token: "secret"}, m.Now.Add(time.Hour))
		},
		"a user's certificate": func(f *machine) { f.tls, f.cert = m.User("alice", "access") },
		"a proxy's certificate": func(f *machine) {
			f.tls, f.cert = m.Host(identity.Host{Kind: "proxy", ID: proxyID, Token: "secret"}, m.Now.Add(time.Hour))
		},
		"another token's": func(f *machine) {
			f.tls, f.cert = m.Host(identity.Host{Kind: "agent", ID: agentID, Token: "nodes"}, m.Now.Add(time.Hour))
		},
		"no certificate": func(f *machine) { f.cert = []byte("no certificate") },
	} {
		t.Run(name, func(t *testing.T) {
			forged := *mc
			forge(&forged)
			m.refused(t, &forged, "", fault.Unauthenticated, "not accepted", renew)
		})
	}
	t.Run("revoked", func(t *testing.T) {
		// What is issued from now on is not revoked, so the old credential alone can be the reason.
		for id := range m.store.agents {
			m.Bar(identity.Ref{Target: "agent", Value: id})
		}
		revoked := *mc
		m.refused(t, &revoked, "", fault.Unauthenticated, "revoked", renew)
	})
}

const (
	agentID = "agt_01hv0000000000000000000000"
	proxyID = "prx_01hv0000000000000000000000"
)

func TestSec_S24_AJoinIsGoodOnce(t *testing.T) {
	m := newMachines(t)
	r := m.ask(t, &machine{}, keyNode, nil)
	if _, err := m.hosts.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_, err := m.hosts.Issue(t.Context(), r)
	wantFault(t, err, fault.Denied, "used before")
	login := newPeople(t)
	_, err = login.users.Issue(t.Context(), proof.UserRequest{Method: resource.MethodIAM, Challenge: r.Join.Challenge, SSHKey: r.Join.SSHKey, TLSKey: r.Join.TLSKey, Evidence: evidence(t, *r.STS)})
	wantFault(t, err, fault.Denied, "for join, not for login")
}

func TestAHostGetsNothingUnlessItIsWrittenDown(t *testing.T) {
	down := errors.New("table is down")
	for _, call := range []string{"Token", "Admit", "Conclude"} {
		for _, persisted := range []bool{false, true} {
			m := newMachines(t)
			m.store.fail, m.store.failure, m.store.persisted = call, down, persisted
			cred, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, nil))
			if !errors.Is(err, down) || len(cred.TLSCertificate) != 0 {
				t.Errorf("%s: %v, certificate of %d bytes", call, err, len(cred.TLSCertificate))
			}
		}
	}
}

func TestALockedAgentGetsNoCertificate(t *testing.T) {
	m := newMachines(t)
	mc := &machine{}
	cred := m.join(t, mc, keyNode, nil)
	m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "agent", Value: cred.ID}}})
	m.refused(t, mc, keyNode, fault.Denied, "locked", nil)
}

func TestAKeyThatIsNotActiveInTheTrustDocumentSignsNothing(t *testing.T) {
	m := newMachines(t)
	m.Keys[names.KeyHostX509] = clustertest.Key(t)
	_, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, nil))
	wantFault(t, err, fault.Internal, "the host-x509 key of this function is not active")
	if len(m.store.concluded) != 0 {
		t.Error("a signature was concluded")
	}
}
