package tally_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

func TestWhatItsFunctionClaimsIsSettled(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1", "r2")
	h.signed(roleUser, "r1")
	h.signed(roleUser, "r2")
	h.after(time.Minute)
	h.left(0)
	h.signed(roleUser, "r2") // EventBridge brings a record twice
	h.after(time.Hour)
	h.left(0)
	if all := h.told(audit.SigningUnclaimed); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestSec_S99_WhatNobodyClaimsIsToldOnce(t *testing.T) {
	h := newHall(t)
	at := h.now
	h.signed(roleUser, "r1")
	h.after(time.Minute) // it may be claimed yet
	h.left(1)
	h.after(5*time.Minute, "r1")
	h.left(0)
	h.signed(roleUser, "r1")
	h.bring(h.signs(roleUser, "r1", at))
	h.after(10 * time.Minute)
	h.left(0)
	all := h.told(audit.SigningUnclaimed)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	e := all[0]
	want := map[string]string{"request": "r1", "by": "arn:aws:sts::111122223333:role/stile-sign-user-eu-central-1/x", "signed": "2026-11-28T10:00:00Z"}
	if d := cmp.Diff(want, e.Data); d != "" || e.TargetKind != "key" || e.Target != key || e.Outcome != audit.Failure || !strings.Contains(e.Reason, "r1") {
		t.Errorf("%+v\n%s", e, d)
	}
}

// Who can't claim need not be waited for.
func TestSec_S99_WhatAnotherRoleSignsIsToldAtOnce(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	h.claim("sign-host", "r1")
	h.signed("arn:aws:iam::111122223333:role/Admin", "r1")
	h.bring(strings.Replace(h.signs(roleUser, "r2", h.now), `"sessionContext"`, `"another"`, 1)) // the root user, or a user, has no role
	h.after(time.Second, "r1", "r2")
	h.left(0)
}

func TestSec_S99_AFunctionClaimsNothingInAnothersName(t *testing.T) {
	h := newHall(t)
	h.claim("sign-host", "r1")
	h.claim("sign-user", "r2")
	h.signed(roleUser, "r1")
	h.signed(roleHost, "r2")
	h.after(time.Second)
	h.after(6*time.Minute, "r1", "r2")
}

// An id of a request that was settled settles no other record, whoever shows it again.
func TestSec_S99_ARequestThatWasSettledHidesNoOther(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	h.signed(roleUser, "r1")
	h.after(time.Minute)
	h.signed(roleHost, "r1")
	h.signed("arn:aws:iam::111122223333:role/Admin", "r1")
	h.after(6*time.Minute, "r1", "r1")
	if all := h.told(audit.SigningUnclaimed); len(all) != 2 {
		t.Errorf("%+v", all)
	}
}

func TestAClaimMayBeLateOrInAnotherHour(t *testing.T) {
	h := newHall(t)
	h.now = h.now.Add(time.Hour - time.Second)
	h.signed(roleUser, "late")
	h.signed(roleUser, "over")
	h.after(0)
	h.now = h.now.Add(2 * time.Second)
	h.claim("sign-user", "over") // of the next hour
	h.now = h.now.Add(4 * time.Minute)
	h.claim("sign-user", "late")
	h.after(0)
	h.left(0)
	h.now = h.now.Add(time.Hour)
	h.claim("sign-user", "slow") // its clock, or the record's, is a little ahead
	h.now = h.now.Truncate(time.Hour)
	h.claim("sign-user", "early")
	h.bring(h.signs(roleUser, "early", h.now.Add(-2*time.Second)))
	h.after(time.Minute)
	h.left(0)
	// What is claimed after it was told stays told.
	h.signed(roleUser, "never")
	h.after(10*time.Minute, "never")
	h.claim("sign-user", "never")
	h.after(10 * time.Minute)
}

func TestARecordMayBeDaysLate(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	body, other := h.signs(roleUser, "r1", h.now), h.signs(roleUser, "r2", h.now)
	h.now = h.now.Add(13 * 24 * time.Hour)
	h.bring(body)
	h.bring(other)
	h.after(0, "r2")
	h.left(0)
}

// What signed before there were claims is not compared, nor what failed.
func TestWhatSignedNothingOrTooEarlyIsPassedOver(t *testing.T) {
	h := newHall(t)
	h.bring(h.signs(roleUser, "before", h.now.Add(-time.Second)))
	h.bring(strings.Replace(h.signs(roleUser, "failed", h.now), `"eventName"`, `"errorCode":"AccessDenied","eventName"`, 1))
	h.after(time.Hour)
	h.left(0)
}

// A message that is no record may hide one, and one that can't be read holds up no other.
func TestSec_S99_AMessageThatIsNoRecordIsTold(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	good := h.signs(roleUser, "r1", h.now)
	for _, body := range []string{
		"", "{}", "[", strings.Repeat("x", 1<<20), strings.Replace(good, "aws.kms", "mine", 1), strings.Replace(good, `"Sign"`, `"Verify"`, 1),
		strings.Replace(good, `"r1"`, `"`+strings.Repeat("r", 2000)+`"`, 1), strings.Replace(good, `"r1"`, `""`, 1),
		strings.Replace(good, `"r1"`, `"unread-1"`, 1), strings.Replace(good, "2026-11-28T10", "0001-01-01T00", 1),
	} {
		h.bring(body)
	}
	h.bring(good)
	told := h.look()
	if len(told) != 10 {
		t.Errorf("told %q", told)
	}
	h.left(0)
	for _, e := range h.told(audit.SigningUnclaimed) {
		if e.Data["message"] == "" || e.Data["request"] != "" || e.Target != "" {
			t.Errorf("%+v", e)
		}
	}
	h.bring("{}")
	h.after(time.Second) // it was told
	h.left(0)
	// The clock of the record is ahead for ever.
	h.bring(strings.Replace(h.signs(roleUser, "r9", h.now), "2026-", "2099-", 1))
	h.after(time.Second, "r9")
}

// Whoever signs without end is told of, and holds up the records of others no longer than it takes to read past them.
func TestSec_S99_AFloodIsToldWithinBounds(t *testing.T) {
	h := newHall(t)
	for n := range 25_000 {
		h.signed("arn:aws:iam::111122223333:role/Admin", fmt.Sprint("flood-", n))
	}
	h.claim("sign-user", "r1")
	h.signed(roleUser, "r1")
	if told := h.look(); len(told) != 200 {
		t.Errorf("%d were told", len(told))
	}
	if h.most > 20_000 || len(h.queue) != 25_001-200 {
		t.Errorf("%d were taken out, %d are left", h.most, len(h.queue))
	}
	if told := h.look(); len(told) != 200 {
		t.Errorf("%d were told by the next look", len(told))
	}
}

// A record leaves the queue only after what is said of it is kept, and is told once whatever fails in between.
func TestWhatFailsIsMadeGoodByTheNextLook(t *testing.T) {
	h := newHall(t)
	down := errors.New("down")
	h.signed(roleUser, "r1")
	h.now = h.now.Add(10 * time.Minute)
	good := h.tally
	h.tally = h.opened(full{})
	if _, err := h.tally.Settle(t.Context(), h.now); !errors.Is(err, errFull) {
		t.Error(err)
	}
	h.left(1)
	h.tally, h.refuse, h.hidden = good, down, map[string]bool{}
	if _, err := h.tally.Settle(t.Context(), h.now.Add(time.Minute)); !errors.Is(err, down) {
		t.Error(err)
	}
	h.left(1)
	h.after(10 * time.Minute)
	h.left(0)
	if all := h.told(audit.SigningUnclaimed); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	h.signed(roleUser, "r2")
	h.db.Fail, h.hidden = down, map[string]bool{}
	if _, err := h.tally.Settle(t.Context(), h.now); !errors.Is(err, down) {
		t.Error(err)
	}
	h.left(1)
}

func TestAnHourIsStatedByWhatWasFound(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1", "r2")
	h.claim("sign-host", "r3")
	storetest.Must(t, h.ledger.Claim(t.Context(), ledger.Claim{Function: "sign-host", Doubtful: []string{"r4", "r5"}}))
	for _, r := range []string{"r1", "r2"} {
		h.signed(roleUser, r)
	}
	h.signed(roleHost, "r3")
	h.signed(roleHost, "r4") // the other one was not signed
	h.publishes()
	h.after(time.Minute)
	s, lacking := h.hour()
	if s.Looked != 5 || !s.Proves() || len(lacking) != 0 {
		t.Errorf("%+v, %+v", s, lacking)
	}
	if all, _ := h.states(); len(all) != 0 {
		t.Errorf("stated again: %+v", all)
	}
}

func TestAnHourInWhichSomebodyElseSignedSaysSo(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	h.signed(roleUser, "r1")
	h.signed(roleUser, "r2")
	h.signed("arn:aws:iam::111122223333:role/Admin", "r3")
	h.now = h.now.Add(10 * time.Minute)
	h.after(0, "r2", "r3")
	h.claim("sign-user", "r2") // too late
	h.publishes()
	s, lacking := h.hour()
	if s.Looked != 4 || s.Found != 2 || s.Unproved != "" || len(lacking) != 0 {
		t.Errorf("%+v, %+v", s, lacking)
	}
}

// Signing for two hours without records: where no records come, anybody could have signed, so that nothing is proved.
func TestSec_S99_SigningWithoutRecordsProvesNothing(t *testing.T) {
	h := newHall(t)
	for n := range 120 {
		h.claim("sign-user", fmt.Sprint("r", n))
		h.now = h.now.Add(time.Minute)
		if n == 70 {
			h.signed(roleUser, "r70")
			h.after(0)
		}
	}
	h.now = first.Add(149 * time.Minute)
	one, lacking := h.states()
	h.now = h.now.Add(time.Minute)
	two, more := h.states()
	all := slices.Concat(one, two)
	lacking = append(lacking, more...)
	if len(one) != 1 || len(all) != 2 || len(lacking) != 2 {
		t.Fatalf("%+v, %+v", all, lacking)
	}
	for n, want := range []int{60, 59} {
		s, u := all[n], lacking[n]
		if s.Proves() || s.Found != 0 || s.Looked != 60-want || !strings.Contains(s.Unproved, "sign-user") || u.Lacking != want || u.Claimed != 60 || len(u.Requests) != 10 {
			t.Errorf("%+v, %+v", s, u)
		}
	}
	told := h.told(audit.SigningUnrecorded)
	if len(told) != 2 {
		t.Fatalf("%+v", told)
	}
	for _, e := range told {
		if e.Target != "sign-user" || e.Outcome != audit.Failure || e.Data["claimed"] != "60" || strings.Count(e.Data["requests"], "r") != 10 {
			t.Errorf("%+v", e)
		}
	}
	// A record that comes after that takes nothing back.
	h.bring(h.signs(roleUser, "r0", first))
	h.after(time.Minute)
	h.left(0)
}

// An hour in which nothing was signed is none that proves anything: documents are signed each minute.
func TestASilentHourProvesNothing(t *testing.T) {
	h := newHall(t)
	begins := table.Item{"pk": table.String("checked"), "sk": table.String(checked.Signatures), "until_ms": table.Int(first.Add(-2 * time.Hour).UnixMilli())}
	h.db.Items["state|checked|"+checked.Signatures] = begins // as it was before what is compared was restored
	h.states()
	before := h.told(audit.EvidenceChecked)
	for _, e := range before {
		if s, _ := checked.Read(e); s.Proves() || !strings.Contains(s.Unproved, "2026-11-28T10:00:00Z") {
			t.Errorf("before there were claims: %+v", s)
		}
	}
	if len(before) == 0 {
		t.Error("the hours before aren't stated")
	}
	s, lacking := h.hour()
	if s.Proves() || s.Looked != 0 || len(lacking) != 0 {
		t.Errorf("%+v, %+v", s, lacking)
	}
}

// Who signs in each hour and didn't has shown nothing: neither that its signatures are claimed, nor that records of them come.
func TestAnHourInWhichASteadySignerIsSilentProvesNothing(t *testing.T) {
	const publish, user = "publish claims no signature, though documents are signed each minute", "sign-user claims no signature, though functions/canary logs in every five minutes"
	logsIn := func(h *hall) {
		h.claim("sign-user", "r1")
		h.signed(roleUser, "r1")
	}
	joins := func(h *hall) { // which proves nothing of the others
		h.claim("sign-host", "r2")
		h.signed(roleHost, "r2")
	}
	for want, does := range map[string][]func(*hall){
		"":                      {logsIn, (*hall).publishes},
		publish:                 {logsIn, joins},
		user:                    {(*hall).publishes, joins},
		publish + "; " + user:   {joins},
		publish + "; of 1 sign": {logsIn, func(h *hall) { h.claim("sign-host", "r3") }}, // of which no record comes
	} {
		h := newHall(t)
		for _, do := range does {
			do(h)
		}
		s, lacking := h.hour()
		if got := s.Unproved; got != want && (len(lacking) == 0 || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "signatures go unseen")) || s.Found != 0 {
			t.Errorf("want %q: %+v", want, s)
		}
	}
	// What may have signed, without a record, is no signature.
	h := newHall(t)
	h.publishes()
	storetest.Must(t, h.ledger.Claim(t.Context(), ledger.Claim{Function: "sign-user", Doubtful: []string{"r1"}}))
	if s, _ := h.hour(); s.Unproved != user {
		t.Errorf("%+v", s)
	}
}

// An hour has more claims than are read at once, and records beside them in the same order.
func TestAnHourMayBeLong(t *testing.T) {
	h := newHall(t)
	var all []string
	for n := range 2500 {
		all = append(all, fmt.Sprintf("r%04d", n))
	}
	h.claim("sign-user", all...)
	for n, r := range all {
		if n%2 == 0 {
			h.signed(roleUser, r)
		}
	}
	h.after(time.Minute)
	s, lacking := h.hour()
	if s.Looked != 1250 || len(lacking) != 1 || lacking[0].Lacking != 1250 || lacking[0].Requests[0] != "r0001" {
		t.Errorf("%+v, %+v", s, lacking)
	}
}

func TestWhatCanNotBeToldIsNotStated(t *testing.T) {
	h := newHall(t)
	h.claim("sign-user", "r1")
	h.now = h.now.Add(2 * time.Hour)
	good := h.tally
	h.tally = h.opened(full{})
	if _, err := h.run(); !errors.Is(err, errFull) {
		t.Error(err)
	}
	h.tally = good
	if all, _ := h.states(); len(all) != 1 || all[0].Unproved == "" {
		t.Errorf("%+v", all)
	}
}
