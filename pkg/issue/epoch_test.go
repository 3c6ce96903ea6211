package issue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// past is an agent that joined, and renewed after a backup.
type past struct {
	*machines
	id              string
	renew           func(*proof.HostRequest)
	key             string
	old, saved, own machine // with its certificate of before the backup, with that of the backup, and the newest
	between         machine // of after the backup, superseded
	restore         func()
	inForce, newest string // ids of certificates: of the backup, and the newest
}

// afterBackup makes one whose record has been restored; no epoch has begun yet.
func afterBackup(t *testing.T, method string) *past {
	t.Helper()
	way := ways[method]
	p := &past{machines: once(t), key: way.key, renew: way.renew}
	mc := &machine{}
	cred := p.next(t, mc, way.join)
	p.id, p.old = cred.ID, *mc
	p.next(t, mc, way.renew)
	p.inForce, p.saved = p.next(t, mc, way.renew).CertificateID, *mc
	p.restore = p.store.backup(p.id)
	p.next(t, mc, way.renew)
	p.between = *mc
	p.newest = p.next(t, mc, way.renew).CertificateID
	p.own = *mc
	p.restore()
	return p
}

// next renews or joins, an hour after the last time.
func (p *past) next(t *testing.T, mc *machine, change func(*proof.HostRequest)) wire.HostCredential {
	t.Helper()
	p.Now = p.Now.Add(time.Hour)
	p.Publish()
	return p.join(t, mc, p.key, change)
}

// unjudged are the events that say that a renewal passed.
func (p *past) unjudged() (all []audit.Event) {
	for _, e := range p.store.events {
		if e.Type == audit.AgentUnjudged {
			all = append(all, e)
		}
	}
	return all
}

// denied expects a refusal that leaves the agent's record as it is.
func (p *past) denied(t *testing.T, mc machine, code fault.Code, says string) {
	t.Helper()
	before, passed := p.store.record(p.id), len(p.unjudged())
	p.refused(t, &mc, p.key, code, says, p.renew)
	after := p.store.record(p.id)
	if after.Copied = before.Copied; after != before || len(p.unjudged()) != passed {
		t.Errorf("the record went from %+v to %+v, and %d renewals passed", before, after, len(p.unjudged())-passed)
	}
}

// TestSec_S92_TheFirstRenewalOfAnEpochPassesOnce, although the restored record doesn't know the certificate; and from then on
// a copy is one again.
func TestSec_S92_TheFirstRenewalOfAnEpochPassesOnce(t *testing.T) {
	for method := range ways {
		t.Run(method, func(t *testing.T) {
			p := afterBackup(t, method)
			p.Begin(2)
			own := p.own
			if cred := p.next(t, &own, p.renew); cred.ID != p.id {
				t.Errorf("%s became %s", p.id, cred.ID)
			}
			all := p.unjudged()
			if len(all) != 1 || all[0].Actor != "agent/"+p.id || all[0].Data["shown"] != p.newest || all[0].Data["restored"] != p.inForce ||
				all[0].Data["epoch"] != "2" || !strings.Contains(all[0].Reason, "of epoch 1") {
				t.Errorf("events %+v", all)
			}
			if r := p.store.record(p.id); r.Epoch != 2 || r.Previous != p.newest {
				t.Errorf("record %+v", r)
			}
			p.next(t, &own, p.renew)
			p.next(t, &own, p.renew)
			if all := p.unjudged(); len(all) != 1 {
				t.Errorf("%d renewals passed", len(all))
			}
			p.denied(t, p.between, fault.Quarantined, "was copied")
			p.denied(t, own, fault.Quarantined, "was copied")
		})
	}
}

// TestSec_S92_WhatWasSupersededBeforeTheBackupIsACopy in any epoch: the backup knows it.
func TestSec_S92_WhatWasSupersededBeforeTheBackupIsACopy(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.Begin(2)
	p.denied(t, p.old, fault.Quarantined, "was copied")
	p.denied(t, p.own, fault.Quarantined, "was copied")
}

// TestSec_S92_ACopyThatPassesIsFoundByTheAgentItself: its own certificate is the second one then.
func TestSec_S92_ACopyThatPassesIsFoundByTheAgentItself(t *testing.T) {
	for name, taken := range map[string]func(*past) machine{
		"copied after the backup":  func(p *past) machine { return p.between },
		"copied before the backup": func(p *past) machine { return p.saved },
	} {
		t.Run(name, func(t *testing.T) {
			p := afterBackup(t, resource.MethodIAM)
			p.Begin(2)
			theirs := taken(p)
			p.next(t, &theirs, p.renew)
			p.denied(t, p.own, fault.Quarantined, "was copied")
			p.denied(t, theirs, fault.Quarantined, "was copied")
		})
	}
}

// TestSec_S92_OfTwoWithOneCertificateOneFallsBehind: the second one comes as if its answer had been lost, as in any epoch.
func TestSec_S92_OfTwoWithOneCertificateOneFallsBehind(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.Begin(2)
	first, second := p.own, p.own
	p.next(t, &first, p.renew)
	p.next(t, &second, p.renew)
	if all := p.unjudged(); len(all) != 1 {
		t.Errorf("%d passed", len(all))
	}
	p.denied(t, first, fault.Quarantined, "was copied")
	p.denied(t, second, fault.Quarantined, "was copied")
}

// TestSec_S92_OfTwoAtOnceOnePasses: a record that another has written meanwhile is not the one that could not judge.
func TestSec_S92_OfTwoAtOnceOnePasses(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.Begin(2)
	p.Now = p.Now.Add(time.Hour)
	p.Publish()
	theirs, own := p.between, p.own
	p.store.meanwhile = func() { p.join(t, &theirs, p.key, p.renew) }
	_, err := p.hosts.Issue(t.Context(), p.ask(t, &own, p.key, p.renew))
	wantFault(t, err, fault.Unavailable, "changed a moment ago")
	if all := p.unjudged(); len(all) != 1 || p.store.copied[p.id] {
		t.Errorf("%d passed; copied: %v", len(all), p.store.copied[p.id])
	}
	p.denied(t, p.own, fault.Quarantined, "was copied")
}

// TestSec_S92_ARestoredRecordIsWorthWhatItSays: nobody passes whom the restored tables refuse for another reason, and the pass
// is not used up by it.
func TestSec_S92_ARestoredRecordIsWorthWhatItSays(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*past)
		code   fault.Code
		says   string
	}{
		"quarantined before the backup": {func(p *past) { p.store.copied[p.id] = true }, fault.Quarantined, "was copied"},
		"removed before the backup":     {func(p *past) { delete(p.store.agents, p.id) }, fault.Denied, "or joined after the backup"},
		"revoked":                       {func(p *past) { p.Bar(identity.Ref{Target: "agent", Value: p.id}) }, fault.Unauthenticated, "was revoked"},
		"its token was made again": {func(p *past) {
			p.change(func(t *resource.Token) { t.UID = "another" })
		}, fault.Denied, "was deleted, and created again"},
		"its token grants the name no more": {func(p *past) {
			p.change(func(t *resource.Token) { t.Spec.Names = []string{"other"} })
		}, fault.Denied, "does not grant node/node-1"},
		"its name is another's": {func(p *past) {
			p.store.targets[identity.Target{Kind: "node", Name: "node-1"}] = "agt_other"
		}, fault.Quarantined, "another agent already holds"},
		"a record of a later epoch": {func(p *past) {
			a := p.store.agents[p.id]
			a.Host.Versions.Trust.Epoch = 3
			p.store.agents[p.id] = a
		}, fault.Unavailable, "is of epoch 3, and the documents here are of epoch 2"},
		"a record of this epoch": {func(p *past) {
			a := p.store.agents[p.id]
			a.Host.Versions.Trust.Epoch = 2
			p.store.agents[p.id] = a
		}, fault.Quarantined, "was copied"},
	} {
		t.Run(name, func(t *testing.T) {
			p := afterBackup(t, resource.MethodIAM)
			p.Begin(2)
			c.before(p)
			p.denied(t, p.own, c.code, c.says)
		})
	}
}

// TestSec_S92_ATableWithoutItsEpochCallsNobodyACopy: it is put in place minutes before its epoch begins.
func TestSec_S92_ATableWithoutItsEpochCallsNobodyACopy(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.CopyOf("stile-state")
	p.denied(t, p.own, fault.Unavailable, "the state table is a copy of stile-state")
	p.denied(t, p.old, fault.Unavailable, "the state table is a copy of stile-state")
	if p.store.copied[p.id] {
		t.Error("the agent was quarantined")
	}
	p.Begin(2)
	own := p.own
	p.next(t, &own, p.renew)
}

// TestSec_S92_WithoutANewEpochARestoredRecordJudgesAsEver: a record put back by hand lets nobody pass.
func TestSec_S92_WithoutANewEpochARestoredRecordJudgesAsEver(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.denied(t, p.own, fault.Quarantined, "was copied")
}

// What was issued in this epoch was written down in it: a record of an earlier one has been put in its place.
func TestSec_S92_ACertificateOfThisEpochNeedsARecordOfIt(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.Begin(2)
	own := p.own
	p.next(t, &own, p.renew)
	p.restore()
	p.denied(t, own, fault.Quarantined, "was copied")
}

// A pass whose answer was lost has its event, and the agent renews by the certificate that it still has.
func TestAPassWhoseAnswerWasLostIsMadeAgain(t *testing.T) {
	p := afterBackup(t, resource.MethodIAM)
	p.Begin(2)
	p.store.fail, p.store.failure = "Conclude", errors.New("lost")
	tried, own := p.own, p.own
	if _, err := p.hosts.Issue(t.Context(), p.ask(t, &tried, p.key, p.renew)); err == nil {
		t.Fatal("nothing was lost")
	}
	p.next(t, &own, p.renew)
	p.next(t, &own, p.renew)
	if all := p.unjudged(); len(all) != 1 {
		t.Errorf("events %+v", all)
	}
}

// A proxy is as much restored as an agent.
func TestAProxyPassesAsAnAgentDoes(t *testing.T) {
	proxy := func(r *proof.HostRequest) { r.Join.Token, r.Join.Targets = resource.FleetToken, nil }
	p, mc := &past{machines: newMachines(t), key: keyFleet, renew: proxy}, &machine{}
	id := p.next(t, mc, proxy).ID
	restore := p.store.backup(id)
	p.next(t, mc, proxy)
	p.next(t, mc, proxy)
	restore()
	p.Begin(2)
	if cred := p.next(t, mc, proxy); cred.ID != id || len(p.unjudged()) != 1 || p.unjudged()[0].Actor != "proxy/"+id {
		t.Errorf("%s became %s, events %+v", id, cred.ID, p.unjudged())
	}
}
