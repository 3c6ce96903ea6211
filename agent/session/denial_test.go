package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// deny refuses a user and checks that whoever is given a decision id finds an event by it.
func deny(t *testing.T, w *world, user string) (recorded bool) {
	t.Helper()
	q := ada(nil)
	q.User.Name, q.User.UID = user, "usr_"+user
	f := w.Refuse(q, fault.New(fault.Denied, "access denied: no role", "ask"))
	if f.DecisionID == "" {
		return false
	}
	events := w.of(audit.SessionDenied)
	if len(events) == 0 || events[len(events)-1].DecisionID != f.DecisionID {
		t.Errorf("there is no event of decision %s", f.DecisionID)
	}
	return true
}

// counts returns how many denials of whom the journal says weren't recorded.
func counts(t *testing.T, w *world) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range w.of(audit.SessionDenialsCounted) {
		if out[e.Actor] != "" {
			t.Errorf("%s is counted twice", e.Actor)
		}
		out[e.Actor] = e.Reason
		if !strings.HasPrefix(e.Reason, e.Data["denials"]+" refusal") || e.Data["since"] == "" {
			t.Errorf("%+v", e)
		}
	}
	return out
}

// TestSec_S65_DenialsOfAUserAreRationedAndTheRestCounted: somebody who may do nothing tries on and on.
func TestSec_S65_DenialsOfAUserAreRationedAndTheRestCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 1000 {
			if recorded := deny(t, w, "mallory"); recorded != (i < 10) {
				t.Fatalf("denial %d: recorded %v", i, recorded)
			}
		}
		if !deny(t, w, "ada") {
			t.Error("another user's denial is not recorded")
		}
		<-time.After(30 * time.Second)
		if !deny(t, w, "mallory") || deny(t, w, "mallory") {
			t.Error("half a minute later not exactly one more is recorded")
		}
		<-time.After(5 * time.Minute)
		synctest.Wait()
		if got := counts(t, w); len(got) != 1 || got["user/mallory"] != "991 refusals of user mallory were not written one by one" {
			t.Errorf("%v", got)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if got := counts(t, w); len(got) != 1 {
			t.Errorf("quiet since: %v", got)
		}
	})
}

// TestSec_S65_DenialsOfManyUsersCostBoundedMemoryAndAreCounted: the users beyond those with a ration of their own share
// one, and are counted together.
func TestSec_S65_DenialsOfManyUsersCostBoundedMemoryAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for range 11 {
			for n := range 400 {
				deny(t, w, fmt.Sprintf("user-%d", n))
			}
		}
		recorded := len(w.of(audit.SessionDenied))
		if recorded != 257*10 {
			t.Errorf("%d denials were recorded, want ten of each of 256 and ten of the others", recorded)
		}
		w.Close()
		got := counts(t, w)
		if len(got) != 257 || got["agent/"+host.ID] != "144 refusals of other users were not written one by one" {
			t.Errorf("%d users are counted; the others: %q", len(got), got["agent/"+host.ID])
		}
		left := 0
		for _, e := range w.of(audit.SessionDenialsCounted) {
			var n int
			if _, err := fmt.Sscan(e.Data["denials"], &n); err != nil {
				t.Error(err)
			}
			left += n
		}
		if recorded+left != 4400 {
			t.Errorf("%d recorded and %d counted, of 4400", recorded, left)
		}
		<-time.After(time.Hour)
		if !deny(t, newWorld(), "late") {
			t.Error("a new register records nothing")
		}
	})
}

// TestSec_S65_AnotherNameIsNoOtherUser: a mapping names people by what they choose, such as the name of a role session. One
// who goes by many names has one ration; and one who goes by another's name doesn't use up the other's.
func TestSec_S65_AnotherNameIsNoOtherUser(t *testing.T) {
	w := newWorld()
	refuse := func(name, uid string) bool {
		q := ada(nil)
		q.User.Name, q.User.UID = name, uid
		return w.Refuse(q, fault.New(fault.Denied, "access denied: no role", "ask")).DecisionID != ""
	}
	for i := range 100 {
		if recorded := refuse(fmt.Sprintf("name-%d", i), "usr_1"); recorded != (i < 10) {
			t.Fatalf("denial %d: recorded %v", i, recorded)
		}
	}
	if !refuse("name-0", "usr_2") {
		t.Error("somebody else of the same name pays for it")
	}
	w.Close()
	counted := w.of(audit.SessionDenialsCounted)
	if len(counted) != 1 || counted[0].Data["denials"] != "90" || counted[0].Data["uid"] != "usr_1" || counted[0].Actor != "user/name-10" {
		t.Errorf("%+v", counted)
	}
}

// TestSec_S65_WhatFindsNoRoomIsCountedUntilItDoes: the journal takes no denial, and later not even their number.
func TestSec_S65_WhatFindsNoRoomIsCountedUntilItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.crowded = fault.New(fault.Unavailable, "no room", "wait")
		for range 3 {
			if deny(t, w, "mallory") {
				t.Error("recorded without room")
			}
		}
		<-time.After(6 * time.Minute)
		synctest.Wait()
		w.mu.Lock()
		w.crowded = nil
		w.mu.Unlock()
		<-time.After(5 * time.Minute)
		synctest.Wait()
		if got := counts(t, w); got["user/mallory"] != "3 refusals of user mallory were not written one by one" {
			t.Errorf("%v", got)
		}
	})
}

// TestSec_S65_AnAdmittedUserCannotFillTheJournalWithDeniedSessions: a login without an account on the node, tried in one
// channel after another of one connection.
func TestSec_S65_AnAdmittedUserCannotFillTheJournalWithDeniedSessions(t *testing.T) {
	w := newWorld()
	a := admit(t, w, nil)
	for range 100 {
		s := open(t, a)
		_ = s.Deny(fault.New(fault.NotFound, "no such login", "use another"))
		s.End(session.Result{})
	}
	if n := len(w.of(audit.SessionDenied)); n != 10 {
		t.Errorf("%d of 100 denials were recorded", n)
	}
	w.Close()
	if got := counts(t, w); got["user/ada"] != "90 refusals of user ada were not written one by one" {
		t.Errorf("%v", got)
	}
}

func TestOneDenialIsCountedAsOne(t *testing.T) {
	w := newWorld()
	for range 11 { // ten are written
		deny(t, w, "mallory")
	}
	w.Close()
	if e := w.of(audit.SessionDenialsCounted); len(e) != 1 || e[0].Reason != "1 refusal of user mallory was not written" || e[0].Data["denials"] != "1" {
		t.Errorf("%+v", e)
	}
}

// TestSec_S65_ShortSessionsLeaveOthersRoom: one user begins one session after another on a connection that was admitted
// while there was room.
func TestSec_S65_ShortSessionsLeaveOthersRoom(t *testing.T) {
	w := newWorld()
	begin := func(a *session.Access) error {
		s := open(t, a)
		defer s.End(session.Result{})
		return s.Start(nil, session.Show{})
	}
	a := admit(t, w, nil)
	for range 100 {
		if err := begin(a); err != nil {
			t.Fatalf("with plenty of room: %v", err)
		}
	}
	w.scarce = true
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = begin(a)
	}
	if n != 21 || !fault.Is(err, fault.RateLimited) {
		t.Errorf("while room is scarce, session %d: %v", n, err)
	}
	q := ada(nil)
	q.User.UID = "usr_2" // whom another mapping calls the same
	other, err := w.Register.Admit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if err := begin(other); err != nil {
		t.Errorf("another user's session: %v", err)
	}
	w.full = fault.New(fault.Unavailable, "the spool is full", "wait")
	if err := begin(other); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a session on an old connection, without room: %v", err)
	}
}

// TestSec_S65_TheEventOfADenialIsSmall: a user with a great many traits is refused.
func TestSec_S65_TheEventOfADenialIsSmall(t *testing.T) {
	w := newWorld()
	q := ada(nil)
	q.User.Traits = map[string][]string{"team": {strings.Repeat("x", 10<<10)}}
	_ = w.Refuse(q, fault.New(fault.Denied, strings.Repeat("y", 10<<10), "ask"))
	e := w.of(audit.SessionDenied)[0]
	if size := len(fmt.Sprintf("%+v", e)); size > 4<<10 || !strings.Contains(e.Data["left_out"], "traits") {
		t.Errorf("%d bytes; left out: %s", size, e.Data["left_out"])
	}
}
