package issuance_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

// TestSec_S66_ARecordLetsTwoCertificatesRenewAndNoOther: the one in force, and the one before it until that one was shown. What
// the transaction demands is what [issue.Record.Renews] says.
func TestSec_S66_ARecordLetsTwoCertificatesRenewAndNoOther(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web)))
	try := func(n, shown int, want bool) {
		t.Helper()
		r, err := s.Agent(t.Context(), first)
		storetest.Must(t, err)
		if got := r.Renews(storetest.ID("crt", shown)); got != want {
			t.Errorf("%d of %+v renews: %v", shown, r, got)
		}
		a := storetest.Renewal(n, shown, first, nil, web)
		if want {
			storetest.Must(t, s.Admit(t.Context(), a))
		} else if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), a) }); !errors.Is(err, issue.ErrRecord) {
			t.Errorf("%d, shown to %+v: %v", shown, r, err)
		}
	}
	try(2, 9, false) // of no record
	try(2, 1, true)
	try(3, 1, true) // the answer was lost
	try(4, 1, true) // twice
	try(5, 2, false)
	try(5, 3, false)
	try(5, 4, true) // the answer came at last: 4 was used
	try(6, 1, false)
	try(6, 5, true)
	try(7, 4, false)
}

// TestSec_S66_NothingRenewsAnAgentThatWasCopied, until it is removed; and what is known of it stays.
func TestSec_S66_NothingRenewsAnAgentThatWasCopied(t *testing.T) {
	db, s := storetest.New()
	a := storetest.Admission(1, first, web)
	a.Repeat, a.Bounds, a.Places = "keys", []issue.Bound{{Of: "nodes#", Most: 1}}, storetest.Now
	storetest.Must(t, s.Admit(t.Context(), a))
	r, err := s.Agent(t.Context(), first)
	storetest.Must(t, err)
	if d := cmp.Diff(issue.Record{ID: first, Certificate: storetest.ID("crt", 1), Epoch: 1}, r); d != "" {
		t.Error(d)
	}
	intent := storetest.Admission(2, first).Intent
	other := r
	other.Certificate = storetest.ID("crt", 9)
	for what, r := range map[string]issue.Record{"renewed meanwhile": other, "removed meanwhile": {ID: storetest.ID("agt", 7)}} {
		if err := db.Unchanged(t, func() error { return s.Copied(t.Context(), intent, r, storetest.Event(audit.AgentCopied)) }); !errors.Is(err, issue.ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
	storetest.Must(t, s.Copied(t.Context(), intent, r, storetest.Event(audit.AgentCopied)))
	for what, do := range map[string]struct {
		do   func() error
		want error
	}{
		"a challenge twice": {func() error { return s.Copied(t.Context(), intent, r, storetest.Event(audit.AgentCopied)) }, issue.ErrUsed},
		"the one in force":  {func() error { return s.Admit(t.Context(), storetest.Renewal(3, 1, first, nil, web)) }, issue.ErrRecord},
		"another":           {func() error { return s.Admit(t.Context(), storetest.Renewal(4, 2, first, nil, web)) }, issue.ErrRecord},
		"a second time it is said": {func() error {
			return s.Copied(t.Context(), storetest.Admission(5, first).Intent, r, storetest.Event(audit.AgentCopied))
		}, issue.ErrRecord},
	} {
		if err := db.Unchanged(t, do.do); !errors.Is(err, do.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	was, err := s.Joined(t.Context(), "keys", storetest.Now)
	if now, errNow := s.Agent(t.Context(), first); err != nil || errNow != nil || was.Host.ID != first || !now.Copied || storetest.Holder(t, s, web) != first {
		t.Errorf("joined %+v, record %+v, %v, %v", was, now, err, errNow)
	}
	gone := storetest.Deleted("node", web.Name, storetest.Now.UnixMilli())
	gone.ForgetAgent = first
	storetest.Must(t, s.Commit(t.Context(), gone))
	if r, err := s.Agent(t.Context(), first); err != nil || r != (issue.Record{}) {
		t.Errorf("removed: %+v, %v", r, err)
	}
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(6, storetest.ID("agt", 2), web)))
}

// in puts an admission into an epoch.
func in(epoch uint64, a issue.Admission) issue.Admission {
	a.Host.Versions.Trust.Epoch = epoch
	return a
}

// unjudged makes a renewal one that a record can't judge.
func unjudged(r issue.Record, a issue.Admission) issue.Admission {
	a.Unjudged = &issue.Unjudged{Record: r, Event: storetest.Event(audit.AgentUnjudged)}
	return a
}

// TestSec_S92_APassNeedsTheRecordThatCanNotJudge as it was read, and is written with its event.
func TestSec_S92_APassNeedsTheRecordThatCanNotJudge(t *testing.T) {
	db, s := storetest.New()
	a := in(1, storetest.Admission(1, first, web))
	a.Token = "uid-1"
	storetest.Must(t, s.Admit(t.Context(), a))
	restored, err := s.Agent(t.Context(), first)
	storetest.Must(t, err)
	refused := func(what string, a issue.Admission) {
		t.Helper()
		if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), a) }); !errors.Is(err, issue.ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("judged", in(2, storetest.Renewal(2, 9, first, nil, web)))
	another := restored
	another.Certificate = storetest.ID("crt", 7)
	refused("another record", unjudged(another, in(2, storetest.Renewal(2, 9, first, nil, web))))
	again := unjudged(restored, in(2, storetest.Renewal(2, 9, first, nil, web)))
	again.Token, again.Same = "uid-2", true
	refused("a token that was made again", again)

	passing := unjudged(restored, in(2, storetest.Renewal(2, 9, first, nil, web)))
	passing.Token, passing.Same = "uid-1", true
	events := len(db.Items)
	storetest.Must(t, s.Admit(t.Context(), passing))
	if got := len(db.Items) - events; got != 3 { // the event, and the marks of the challenge and of the certificate
		t.Errorf("%d items more", got)
	}
	want := issue.Record{ID: first, Token: "uid-1", Certificate: storetest.ID("crt", 2), Previous: storetest.ID("crt", 9), Epoch: 2}
	if r, err := s.Agent(t.Context(), first); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	refused("a second one at the same time", unjudged(restored, in(2, storetest.Renewal(3, 8, first, nil, web))))
}

// TestSec_S92_NothingPassesWithACopiedRecord, which another reader has not seen to be one yet.
func TestSec_S92_NothingPassesWithACopiedRecord(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), in(1, storetest.Admission(1, first, web))))
	r, err := s.Agent(t.Context(), first)
	storetest.Must(t, err)
	storetest.Must(t, s.Copied(t.Context(), storetest.Admission(2, first).Intent, r, storetest.Event(audit.AgentCopied)))
	if err := db.Unchanged(t, func() error {
		return s.Admit(t.Context(), unjudged(r, in(2, storetest.Renewal(3, 9, first, nil, web))))
	}); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("got %v", err)
	}
}

// TestSec_S92_ARecordNeverGoesBackToAnEarlierEpoch: a signer that has read its documents before the epoch began would let
// another one pass.
func TestSec_S92_ARecordNeverGoesBackToAnEarlierEpoch(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), in(2, storetest.Admission(1, first, web))))
	r, err := s.Agent(t.Context(), first)
	storetest.Must(t, err)
	for what, a := range map[string]issue.Admission{
		"judged": in(1, storetest.Renewal(2, 1, first, nil, web)), "not judged": unjudged(r, in(1, storetest.Renewal(2, 9, first, nil, web))),
	} {
		if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), a) }); !errors.Is(err, issue.ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
	storetest.Must(t, s.Admit(t.Context(), in(2, storetest.Renewal(2, 1, first, nil, web))))
	storetest.Must(t, s.Admit(t.Context(), in(3, storetest.Renewal(3, 2, first, nil, web))))
}

// TestSec_S92_ARecordOfAnEarlierReleaseIsOfItsCertificatesEpoch, and no record is of none: an upgrade lets nobody pass.
func TestSec_S92_ARecordOfAnEarlierReleaseIsOfItsCertificatesEpoch(t *testing.T) {
	db, s := storetest.New()
	for issued, want := range map[uint64]uint64{0: 1, 1: 1, 2: 2} {
		host, err := in(issued, storetest.Admission(1, first, web)).Host.Marshal()
		storetest.Must(t, err)
		db.Put(names.Agent, first, table.Item{
			"standing": table.String("active"), "identity": table.String(string(host)), "certificate": table.String(storetest.ID("crt", 1)),
		})
		if r, err := s.Agent(t.Context(), first); err != nil || r.Epoch != want {
			t.Errorf("issued in %d: %+v, %v", issued, r, err)
		}
	}
	storetest.Must(t, s.Admit(t.Context(), in(2, storetest.Renewal(2, 1, first, nil, web))))
	db.Put(names.Agent, first, table.Item{"standing": table.String("active"), "identity": table.String("{")})
	if r, err := s.Agent(t.Context(), first); err == nil {
		t.Errorf("one that can't be read is %+v", r)
	}
}

// A token that was deleted and made again is another one.
func TestARecordLetsItsOwnTokenRenew(t *testing.T) {
	db, s := storetest.New()
	a := storetest.Admission(1, first, web)
	a.Token = "uid-1"
	storetest.Must(t, s.Admit(t.Context(), a))
	a = storetest.Renewal(2, 1, first, nil, web)
	a.Token, a.Same = "uid-2", true
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), a) }); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("by another: %v", err)
	}
	a.Token = "uid-1"
	storetest.Must(t, s.Admit(t.Context(), a))
}

// A record of an earlier release tells nothing of certificates: the next renewal is the first that counts.
func TestARecordOfAnEarlierReleaseLetsItsAgentRenew(t *testing.T) {
	db, s := storetest.New()
	host, err := storetest.Admission(1, first, web).Host.Marshal()
	storetest.Must(t, err)
	db.Put(names.Agent, first, table.Item{"standing": table.String("active"), "identity": table.String(string(host))})
	if r, err := s.Agent(t.Context(), first); err != nil || !r.Renews(storetest.ID("crt", 1)) {
		t.Errorf("%+v, %v", r, err)
	}
	storetest.Must(t, s.Admit(t.Context(), storetest.Renewal(2, 1, first, nil, identity.Target{Kind: "node", Name: "web-2"})))
	if err := s.Admit(t.Context(), storetest.Renewal(3, 9, first, nil)); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("another: %v", err)
	}
}
