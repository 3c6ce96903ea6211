package issue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// renewBySecret renews by what is shown alone, as agents with a secret do.
func renewBySecret(r *proof.HostRequest) { bySecret(r); r.Secret = "" }

// ways are the methods, each with the key of its AWS identity, and how a join and a renewal by it look.
var ways = map[string]struct {
	key         string
	join, renew func(*proof.HostRequest)
}{
	resource.MethodToken: {"", bySecret, renewBySecret},
	resource.MethodIAM:   {keyNode, nil, nil},
}

// TestSec_S66_ASupersededCertificateQuarantinesItsAgent: of two that go on from one credential, the one that falls behind is
// found at its next renewal, and from then on neither renews.
func TestSec_S66_ASupersededCertificateQuarantinesItsAgent(t *testing.T) {
	for method, way := range ways {
		t.Run(method, func(t *testing.T) {
			m, own := once(t), &machine{}
			was := m.join(t, own, way.key, way.join)
			copied := *own
			m.join(t, own, way.key, way.renew)
			m.join(t, own, way.key, way.renew)
			before := len(m.store.events)
			m.refused(t, &copied, way.key, fault.Quarantined, "its state directory was copied", way.renew)
			e := m.store.last()
			if len(m.store.events) != before+1 || e.Type != audit.AgentCopied || e.Actor != "agent/"+was.ID || e.Data["shown"] != was.CertificateID || e.Reason == "" {
				t.Errorf("%d events, the last %+v", len(m.store.events)-before, e)
			}
			_, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{own.tls, own.cert}, way.key, way.renew))
			if bySecret := way.key == ""; strings.Contains(fault.From(err).Hint, "by a secret that has uses left") != bySecret {
				t.Errorf("by a secret %t, and told to %s", bySecret, fault.From(err).Hint)
			}
			tried := *own
			m.refused(t, &tried, way.key, fault.Quarantined, "its state directory was copied", way.renew)
			if e := m.store.last(); e.Type != audit.AgentJoinRefused || e.DecisionID == "" {
				t.Errorf("event %+v", e)
			}
			// stile rm frees the names; the old credentials stay worthless.
			for _, target := range was.Targets {
				parsed, err := identity.ParseTarget(target)
				if err != nil {
					t.Fatal(err)
				}
				delete(m.store.targets, parsed)
			}
			delete(m.store.agents, was.ID)
			m.refused(t, own, way.key, fault.Denied, "removed by an administrator", way.renew)
		})
	}
}

// TestSec_S66_ACopyThatRenewedFirstIsFoundByTheAgentItself: the copy shows the certificate before the one in force, as one whose
// answer was lost does, and gets in. But then the agent's own certificate is the superseded one.
func TestSec_S66_ACopyThatRenewedFirstIsFoundByTheAgentItself(t *testing.T) {
	m, own := newMachines(t), &machine{}
	m.join(t, own, keyNode, nil)
	copied := *own
	m.join(t, own, keyNode, nil)
	m.join(t, &copied, keyNode, nil) // in between, both hold a certificate that is valid
	m.refused(t, own, keyNode, fault.Quarantined, "was copied", nil)
	m.refused(t, &copied, keyNode, fault.Quarantined, "was copied", nil)
}

// TestSec_S66_ARenewalWhoseAnswerWasLostIsMadeAgain, wherever it was lost and however often, and also when the agent was killed
// before it had kept the answer; but not once the certificate in force was used.
func TestSec_S66_ARenewalWhoseAnswerWasLostIsMadeAgain(t *testing.T) {
	for method, way := range ways {
		t.Run(method, func(t *testing.T) {
			m, mc := once(t), &machine{}
			was := m.join(t, mc, way.key, way.join)
			for _, lost := range []string{"Admit", "Conclude", ""} { // the last is lost on the way
				m.store.fail, m.store.failure, m.store.persisted = lost, errors.New("lost"), true
				tried := *mc
				if _, err := m.hosts.Issue(t.Context(), m.ask(t, &tried, way.key, way.renew)); (err != nil) != (lost != "") {
					t.Fatalf("%s: %v", lost, err)
				}
			}
			old := *mc
			if now := m.join(t, mc, way.key, way.renew); now.ID != was.ID {
				t.Errorf("%s after %s", now.ID, was.ID)
			}
			m.join(t, mc, way.key, way.renew)
			m.refused(t, &old, way.key, fault.Quarantined, "restored from a copy", way.renew)
		})
	}
}

// A machine that was restored from an old snapshot is a copy, even if it comes after its certificate's end and nobody else is
// there.
func TestSec_S66_AnOldSnapshotIsACopy(t *testing.T) {
	m, mc := newMachines(t), &machine{}
	m.join(t, mc, keyNode, nil)
	snapshot := *mc
	m.join(t, mc, keyNode, nil)
	m.join(t, mc, keyNode, nil)
	m.Now = m.Now.Add(48 * time.Hour)
	m.Publish()
	m.refused(t, &snapshot, keyNode, fault.Quarantined, "restored from a copy", nil)
}

// TestSec_S66_AQuarantinedAgentRepeatsNoJoin: its keys are as well known as its certificate.
func TestSec_S66_AQuarantinedAgentRepeatsNoJoin(t *testing.T) {
	for method, way := range ways {
		t.Run(method, func(t *testing.T) {
			m, k := once(t), newKeyed(t)
			cred, err := m.hosts.Issue(t.Context(), k.ask(t, m, way.key, nil))
			if err != nil {
				t.Fatal(err)
			}
			m.store.copied[cred.ID] = true
			_, err = m.hosts.Issue(t.Context(), k.ask(t, m, way.key, nil))
			wantFault(t, err, fault.Quarantined, "was copied")
		})
	}
}

// TestSec_S66_OnlyItsOwnKeyQuarantinesAnAgent: who shows a superseded certificate without its key, or with another's, changes
// nothing.
func TestSec_S66_OnlyItsOwnKeyQuarantinesAnAgent(t *testing.T) {
	m, mc := newMachines(t), &machine{}
	m.join(t, mc, keyNode, nil)
	old := *mc
	m.join(t, mc, keyNode, nil)
	m.join(t, mc, keyNode, nil)
	for range 2 {
		seen := machine{cert: old.cert, tls: mc.tls}
		m.refused(t, &seen, keyNode, fault.Unauthenticated, "did not sign this challenge", nil)
	}
	m.join(t, mc, keyNode, nil)
}

// TestSec_S66_AQuarantineThatIsNotWrittenIsNoCredential: a table that fails at that moment lets nobody in, and the next renewal
// finds the same.
func TestSec_S66_AQuarantineThatIsNotWrittenIsNoCredential(t *testing.T) {
	for _, call := range []string{"Agent", "Copied"} {
		m, mc := newMachines(t), &machine{}
		m.join(t, mc, keyNode, nil)
		old := *mc
		m.join(t, mc, keyNode, nil)
		m.join(t, mc, keyNode, nil)
		down := errors.New("table is down")
		m.store.fail, m.store.failure, m.store.persisted = call, down, false
		tried := old
		if cred, err := m.hosts.Issue(t.Context(), m.ask(t, &tried, keyNode, nil)); !errors.Is(err, down) || len(cred.TLSCertificate) != 0 {
			t.Errorf("%s: %v", call, err)
		}
		m.refused(t, &old, keyNode, fault.Quarantined, "was copied", nil)
	}
}

func TestAProxyThatWasCopiedIsToldToStartAnew(t *testing.T) {
	m, mc := newMachines(t), &machine{}
	proxy := func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = resource.FleetToken, nil }
	m.join(t, mc, keyFleet, proxy)
	old := *mc
	m.join(t, mc, keyFleet, proxy)
	m.join(t, mc, keyFleet, proxy)
	_, err := m.hosts.Issue(t.Context(), m.ask(t, &old, keyFleet, proxy))
	wantFault(t, err, fault.Quarantined, "it was copied")
	if hint := fault.From(err).Hint; strings.Contains(hint, "stile rm") {
		t.Errorf("hint %q", hint)
	}
}

func TestWhichCertificatesARecordLetsRenew(t *testing.T) {
	r := issue.Record{ID: agentID, Certificate: "crt_b", Previous: "crt_a"}
	marked, earlier, joined := r, r, r
	marked.Copied = true
	earlier.Certificate, earlier.Previous = "", ""
	joined.Previous = ""
	for _, c := range []struct {
		record      issue.Record
		certificate string
		want        bool
	}{
		{r, "crt_b", true},
		{r, "crt_a", true},
		{r, "crt_c", false},
		{r, "", false},
		{joined, "crt_b", true},
		{joined, "crt_a", false},
		{joined, "", false},
		{earlier, "", false},
		{marked, "crt_b", false},
		{marked, "crt_a", false},
		{earlier, "crt_c", true},
		{issue.Record{}, "crt_b", false},
	} {
		if got := c.record.Renews(c.certificate); got != c.want {
			t.Errorf("%q by %+v: %v", c.certificate, c.record, got)
		}
	}
}
