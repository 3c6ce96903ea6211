package issuance_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/store/storetest"
)

const week = 7 * 24 * time.Hour

// TestSec_S66_WhatKeysJoinedAsIsFoundUntilItsAgentIsRemoved, or the evidence can't be valid any more.
func TestSec_S66_WhatKeysJoinedAsIsFoundUntilItsAgentIsRemoved(t *testing.T) {
	db, s := storetest.New()
	joined := func(key string, now time.Time) issue.Joined {
		t.Helper()
		was, err := s.Joined(t.Context(), key, now)
		storetest.Must(t, err)
		return was
	}
	a := storetest.Admission(1, first, web)
	a.Repeat = "keys"
	storetest.Must(t, s.Admit(t.Context(), a))
	a.Host.Form = identity.Form{V: 1}
	if d := cmp.Diff(issue.Joined{Agent: first, Host: a.Host, Expires: a.Expires.Local()}, joined("keys", storetest.Now)); d != "" {
		t.Error(d)
	}
	for what, was := range map[string]issue.Joined{"other keys": joined("other", storetest.Now), "a week later": joined("keys", storetest.Now.Add(week))} {
		if d := cmp.Diff(issue.Joined{}, was); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}

	// The same keys that were let in meanwhile are not told that the name is taken by somebody.
	second := storetest.Admission(2, other, web)
	second.Repeat = "keys"
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), second) }); !errors.Is(err, issue.ErrJoining) {
		t.Errorf("at the same time: %v", err)
	}
	gone := storetest.Deleted("node", web.Name, storetest.Now.UnixMilli())
	gone.ForgetAgent = first
	storetest.Must(t, s.Commit(t.Context(), gone))
	if d := cmp.Diff(issue.Joined{Agent: first}, joined("keys", storetest.Now)); d != "" {
		t.Error(d)
	}
	second.Stale = first
	storetest.Must(t, s.Admit(t.Context(), second))
	if was := joined("keys", storetest.Now); was.Host.ID != other {
		t.Errorf("joined as %+v", was)
	}
	third := storetest.Admission(3, storetest.ID("agt", 3), orders)
	third.Repeat, third.Intent.At = "keys", storetest.Now.Add(week)
	storetest.Must(t, s.Admit(t.Context(), third))
}

func TestWhatIsRefusedIsNotRememberedAsAJoin(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web)))
	a := storetest.Admission(2, other, web)
	a.Repeat = "keys"
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), a) }); err == nil {
		t.Fatal("a taken name was given")
	}
	storetest.Must(t, s.Quarantine(t.Context(), a, web, storetest.Event("agent.quarantined")))
	if was, err := s.Joined(t.Context(), "keys", storetest.Now); err != nil || was.Agent != "" {
		t.Errorf("%+v, %v", was, err)
	}
}
