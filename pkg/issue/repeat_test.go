package issue_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// keyed is one host that keeps its keys, and nothing else.
type keyed struct{ ssh, tls *ecdsa.PrivateKey }

func newKeyed(t *testing.T) keyed { return keyed{clustertest.Key(t), clustertest.Key(t)} }

// ask makes a join by these keys, with proof of them: by an AWS identity, or by the secret where key is "".
func (k keyed) ask(t *testing.T, m *machines, key string, change func(*proof.HostRequest)) proof.HostRequest {
	t.Helper()
	return m.ask(t, &machine{}, "", func(r *proof.HostRequest) {
		sshKey, tlsKey := clustertest.SPKI(t, k.ssh), clustertest.SPKI(t, k.tls)
		hash := certs.KeysHash(sshKey, tlsKey)
		r.Join.SSHKey, r.Join.TLSKey, r.Join.Challenge = sshKey, tlsKey, m.Challenge(names.PurposeJoin, sshKey, tlsKey)
		digest := certs.KeysDigest(r.Join.Challenge, hash)
		r.Join.Holds = wire.KeyProof{SSH: signed(t, k.ssh, digest), TLS: signed(t, k.tls, digest)}
		if key == "" {
			bySecret(r)
		} else {
			sts := m.STSRequest(key, proof.Binding{Challenge: r.Join.Challenge, Purpose: names.PurposeJoin, Cluster: m.ID, Keys: hash})
			r.STS = &sts
		}
		if change != nil {
			change(r)
		}
	})
}

func signed(t *testing.T, key *ecdsa.PrivateKey, digest [32]byte) []byte {
	t.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// once is machines with a secret that is good for one join.
func once(t *testing.T) *machines {
	t.Helper()
	m := newMachines(t)
	m.store.secrets[resource.HashSecret(secret())] = 1
	return m
}

// TestSec_S66_AJoinWhoseAnswerWasLostIsRepeatedByTheSameKeys, wherever it was lost: as the same agent, under the same names,
// without another use or place.
func TestSec_S66_AJoinWhoseAnswerWasLostIsRepeatedByTheSameKeys(t *testing.T) {
	for method, key := range map[string]string{resource.MethodToken: "", resource.MethodIAM: keyNode} {
		for _, lost := range []string{"", "Admit", "Conclude"} {
			m, k := once(t), newKeyed(t)
			m.store.fail, m.store.failure, m.store.persisted = lost, errors.New("lost"), true
			_, err := m.hosts.Issue(t.Context(), k.ask(t, m, key, nil))
			if (err != nil) != (lost != "") {
				t.Fatalf("%s, %s: %v", method, lost, err)
			}
			targets, ids, places := maps.Clone(m.store.targets), len(m.store.agents), len(m.store.places)
			for range 3 {
				cred, err := m.hosts.Issue(t.Context(), k.ask(t, m, key, nil))
				if err != nil {
					t.Fatalf("%s, lost at %s: %v", method, lost, err)
				}
				for target, agent := range targets {
					if agent != cred.ID || cred.Targets[0] != target.String() {
						t.Errorf("%s: %s has %v, and %s had %s", method, cred.ID, cred.Targets, agent, target)
					}
				}
				if e := m.store.last(); e.Type != audit.AgentJoin || e.Data["repeated"] != "true" {
					t.Errorf("event %+v", e)
				}
			}
			if len(m.store.agents) != ids || len(m.store.places) != places || m.store.secrets[resource.HashSecret(secret())] < 0 {
				t.Errorf("%s: agents %v, places %v, uses left %v", method, m.store.agents, m.store.places, m.store.secrets)
			}
			if d := cmp.Diff(targets, m.store.targets); d != "" {
				t.Error(d)
			}
		}
	}
}

// TestSec_S66_OtherKeysRepeatNothing: not even those of which one is the same, and keys that are only named are no keys.
func TestSec_S66_OtherKeysRepeatNothing(t *testing.T) {
	for name, c := range map[string]struct {
		other func(*testing.T, keyed) keyed
		spoil func(*testing.T, keyed, *proof.HostRequest)
		code  fault.Code
	}{
		"other keys":       {func(t *testing.T, _ keyed) keyed { return newKeyed(t) }, nil, fault.Denied},
		"another SSH key":  {func(t *testing.T, k keyed) keyed { return keyed{clustertest.Key(t), k.tls} }, nil, fault.Denied},
		"another TLS key":  {func(t *testing.T, k keyed) keyed { return keyed{k.ssh, clustertest.Key(t)} }, nil, fault.Denied},
		"keys in exchange": {func(_ *testing.T, k keyed) keyed { return keyed{k.tls, k.ssh} }, nil, fault.Denied},
		"without a proof":  {nil, func(_ *testing.T, _ keyed, r *proof.HostRequest) { r.Join.Holds = wire.KeyProof{} }, fault.Denied},
		"one key proved":   {nil, func(_ *testing.T, _ keyed, r *proof.HostRequest) { r.Join.Holds.TLS = nil }, fault.Unauthenticated},
		"the other proved": {nil, func(_ *testing.T, _ keyed, r *proof.HostRequest) { r.Join.Holds.SSH = nil }, fault.Unauthenticated},
		"proofs in exchange": {nil, func(_ *testing.T, _ keyed, r *proof.HostRequest) {
			r.Join.Holds.SSH, r.Join.Holds.TLS = r.Join.Holds.TLS, r.Join.Holds.SSH
		}, fault.Unauthenticated},
		"the proof of another challenge": {nil, func(t *testing.T, k keyed, r *proof.HostRequest) {
			digest := certs.KeysDigest("another", certs.KeysHash(r.Join.SSHKey, r.Join.TLSKey))
			r.Join.Holds = wire.KeyProof{SSH: signed(t, k.ssh, digest), TLS: signed(t, k.tls, digest)}
		}, fault.Unauthenticated},
		"the proof of a renewal": {nil, func(t *testing.T, k keyed, r *proof.HostRequest) {
			digest := certs.RenewDigest(r.Join.Challenge, certs.KeysHash(r.Join.SSHKey, r.Join.TLSKey))
			r.Join.Holds = wire.KeyProof{SSH: signed(t, k.ssh, digest), TLS: signed(t, k.tls, digest)}
		}, fault.Unauthenticated},
		"another name beyond the token's": {nil, func(_ *testing.T, _ keyed, r *proof.HostRequest) { r.Join.Targets = []string{"node/db-1"} }, fault.Denied},
	} {
		m, k := once(t), newKeyed(t)
		if _, err := m.hosts.Issue(t.Context(), k.ask(t, m, "", nil)); err != nil {
			t.Fatal(err)
		}
		other := k
		if c.other != nil {
			other = c.other(t, k)
		}
		agents := len(m.store.agents)
		_, err := m.hosts.Issue(t.Context(), other.ask(t, m, "", func(r *proof.HostRequest) {
			if c.spoil != nil {
				c.spoil(t, k, r)
			}
		}))
		if !fault.Is(err, c.code) || len(m.store.agents) != agents {
			t.Errorf("%s: %v", name, err)
		}
	}
	// By an AWS identity other keys are another agent, whose name is taken.
	m, k := once(t), newKeyed(t)
	if _, err := m.hosts.Issue(t.Context(), k.ask(t, m, keyNode, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.hosts.Issue(t.Context(), newKeyed(t).ask(t, m, keyNode, nil)); !fault.Is(err, fault.Quarantined) {
		t.Errorf("other keys: %v", err)
	}
}

// TestSec_S66_ARepetitionIsJudgedAsARenewalIs: what was taken away since stays so.
func TestSec_S66_ARepetitionIsJudgedAsARenewalIs(t *testing.T) {
	for name, c := range map[string]struct {
		key   string
		since func(*machines, string)
		code  fault.Code
		says  string
	}{
		"the secret has expired": {"", func(m *machines, _ string) { m.store.lapses[resource.HashSecret(secret())] = m.Now }, fault.Denied, "secret are not accepted"},
		"the token is gone":      {keyNode, func(m *machines, _ string) { delete(m.store.tokens, "nodes") }, fault.Denied, "no join token"},
		"the role is not allowed": {keyNode, func(m *machines, _ string) {
			m.change(func(t *resource.Token) { t.Spec.Allow[0].Role = "other" })
		}, fault.Denied, "does not allow the role"},
		"the agent is locked": {keyNode, func(m *machines, id string) {
			m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "agent", Value: id}}})
		}, fault.Denied, "locked: agent"},
		"its certificate is locked": {"", func(m *machines, id string) {
			m.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "certificate", Value: m.store.agents[id].Host.Certificate}}})
		}, fault.Denied, "locked: certificate"},
		"the agent was removed, its secret is used up": {"", func(m *machines, id string) { delete(m.store.agents, id); clear(m.store.targets) }, fault.Denied, "secret are not accepted"},
		"the token was made again": {keyNode, func(m *machines, _ string) {
			m.change(func(t *resource.Token) { t.UID = "u2" })
		}, fault.Quarantined, "another agent already holds"},
	} {
		m, k := once(t), newKeyed(t)
		cred, err := m.hosts.Issue(t.Context(), k.ask(t, m, c.key, nil))
		if err != nil {
			t.Fatal(err)
		}
		c.since(m, cred.ID)
		again, err := m.hosts.Issue(t.Context(), k.ask(t, m, c.key, nil))
		if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s, %v", name, again.ID, err)
		}
	}
	// An agent that was removed joins again by its role, and may lose that answer as well.
	m, k := once(t), newKeyed(t)
	first, err := m.hosts.Issue(t.Context(), k.ask(t, m, keyNode, nil))
	if err != nil {
		t.Fatal(err)
	}
	delete(m.store.agents, first.ID)
	clear(m.store.targets)
	second, err := m.hosts.Issue(t.Context(), k.ask(t, m, keyNode, nil))
	if err != nil || second.ID == first.ID {
		t.Fatalf("%s after %s: %v", second.ID, first.ID, err)
	}
	if third, err := m.hosts.Issue(t.Context(), k.ask(t, m, keyNode, nil)); err != nil || third.ID != second.ID {
		t.Errorf("%s after %s: %v", third.ID, second.ID, err)
	}
}

// An agent that comes back with a new secret may lose the answer as well.
func TestSec_S66_AnExpiredAgentThatComesBackBySecretMayRepeatIt(t *testing.T) {
	m := once(t)
	mc := &machine{}
	was := m.join(t, mc, "", bySecret)
	m.Now = m.Now.Add(25 * time.Hour)
	m.Publish()
	fresh := resource.SecretPrefix + "DAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	m.store.secrets[resource.HashSecret(fresh)] = 1
	k := newKeyed(t)
	for range 2 {
		cred, err := m.hosts.Issue(t.Context(), k.ask(t, m, "", func(r *proof.HostRequest) {
			r.Secret = fresh
			digest := certs.RenewDigest(r.Join.Challenge, certs.KeysHash(r.Join.SSHKey, r.Join.TLSKey))
			r.Join.Prior = wire.PriorCredential{Certificate: mc.cert, Signature: signed(t, mc.tls, digest)}
		}))
		if err != nil || cred.ID != was.ID {
			t.Fatalf("%s after %s: %v", cred.ID, was.ID, err)
		}
	}
	if left := m.store.secrets[resource.HashSecret(fresh)]; left != 0 {
		t.Errorf("%d uses are left", left)
	}
}
