package issuance_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

var (
	web, orders  = identity.Target{Kind: "node", Name: "web-1"}, identity.Target{Kind: "db", Name: "orders"}
	first, other = storetest.ID("agt", 1), storetest.ID("agt", 2)
)

// by is an agent's admission by a token's secret.
func by(n int, secret, token string) issue.Admission {
	a := storetest.Admission(n, storetest.ID("agt", n), identity.Target{Kind: "node", Name: fmt.Sprint("web-", n)})
	a.Secret, a.Host.Token = secret, token
	return a
}

func TestAChallengeIsUsedOnceWhateverFor(t *testing.T) {
	db, s := storetest.New()
	a := storetest.Admission(1, first, web)
	storetest.Must(t, s.Intend(t.Context(), a.Intent))
	if got := db.Of(names.Issuance + "#" + a.Intent.Certificate); !cmp.Equal(got, []string{"intent"}) {
		t.Errorf("issuance %v", got)
	}
	a.Intent.Certificate = storetest.ID("crt", 2) // another certificate for the same challenge
	for name, do := range map[string]func() error{
		"a login":      func() error { return s.Intend(t.Context(), a.Intent) },
		"a join":       func() error { return s.Admit(t.Context(), a) },
		"a quarantine": func() error { return s.Quarantine(t.Context(), a, web, storetest.Event(audit.AgentQuarantined)) },
	} {
		if err := db.Unchanged(t, do); !errors.Is(err, issue.ErrUsed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAdmissionThatIsRefusedWritesNothing(t *testing.T) {
	hour := storetest.Now.Add(time.Hour)
	for name, c := range map[string]struct {
		token admin.Change
		a     issue.Admission
		want  error
	}{
		"an agent that is gone":            {storetest.Token(1, hour), storetest.Renewal(9, 8, other, nil, orders), issue.ErrRecord},
		"a secret that is not there":       {storetest.Token(1, hour), by(9, "guess", "nodes"), issue.ErrSecret},
		"another token's secret":           {storetest.Token(1, hour), by(9, "hash", "others"), issue.ErrSecret},
		"a secret that is used up":         {storetest.Token(0, hour), by(9, "hash", "nodes"), issue.ErrSecret},
		"a secret that ends at the moment": {storetest.Token(1, storetest.Now), by(9, "hash", "nodes"), issue.ErrSecret},
	} {
		db, s := storetest.New()
		storetest.Must(t, s.Commit(t.Context(), c.token))
		if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), c.a) }); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestASecretIsCountedDownAndGoesWithItsToken(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Commit(t.Context(), storetest.Token(3, storetest.Now.Add(time.Hour))))
	if hash, err := s.Secret(t.Context(), "nodes"); err != nil || hash != "hash" {
		t.Errorf("%q, %v", hash, err)
	}
	if hash, err := s.Secret(t.Context(), "others"); err != nil || hash != "" {
		t.Errorf("of a token that is not there: %q, %v", hash, err)
	}
	for n := range 2 {
		storetest.Must(t, s.Admit(t.Context(), by(n+1, "hash", "nodes")))
	}
	if left := db.Items["secrets|token_hash#hash|token"].Int("uses_left"); left != 1 {
		t.Errorf("%d uses are left", left)
	}
	gone := storetest.Deleted("token", "nodes", 1)
	gone.ForgetSecret, gone.Counters.Input = "hash", 1
	storetest.Must(t, s.Commit(t.Context(), gone))
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), by(4, "hash", "nodes")) }); !errors.Is(err, issue.ErrSecret) {
		t.Errorf("after the token: %v", err)
	}
}

func TestASecretIsFoundByItsHashAlone(t *testing.T) {
	_, s := storetest.New()
	until := storetest.Now.Add(time.Hour)
	storetest.Must(t, s.Commit(t.Context(), storetest.Token(3, until)))
	for hash, want := range map[string]issue.Secret{"hash": {Token: "nodes", Uses: 3, Expires: until}, "other": {}, "": {}} {
		got, err := s.HashedSecret(t.Context(), hash)
		if err != nil || got.Token != want.Token || got.Uses != want.Uses || !got.Expires.Equal(want.Expires) {
			t.Errorf("%q: %+v, %v", hash, got, err)
		}
	}
}

func TestANameBelongsToOneAgentUntilItIsDropped(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web, orders)))
	taken := func(n int) {
		t.Helper()
		err := db.Unchanged(t, func() error {
			return s.Admit(t.Context(), storetest.Admission(n, other, identity.Target{Kind: "db", Name: "web-1"}, orders, web))
		})
		if got, ok := errors.AsType[*issue.TakenError](err); !ok || got.Target != orders {
			t.Errorf("got %v", err)
		}
	}
	taken(2)
	storetest.Must(t, s.Admit(t.Context(), storetest.Renewal(3, 1, first, nil, web, orders))) // its own names are no obstacle
	taken(4)
	storetest.Must(t, s.Admit(t.Context(), storetest.Renewal(5, 3, first, []identity.Target{orders}, web)))
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(6, other, orders)))
	for target, want := range map[identity.Target]string{web: first, orders: other} {
		if got := storetest.Holder(t, s, target); got != want {
			t.Errorf("%s is held by %q, want %q", target, got, want)
		}
	}
	if got, err := s.Targets(t.Context(), first); err != nil || !cmp.Equal(got, []identity.Target{web}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Targets(t.Context(), storetest.ID("agt", 7)); err != nil || got != nil {
		t.Errorf("of an agent that is not there: %v, %v", got, err)
	}
}

// An old credential that is renewed late may name what was freed and given to another agent meanwhile.
func TestARenewalLeavesWhatItDropsAndAnotherHoldsByNow(t *testing.T) {
	_, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web)))
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(2, other, orders)))
	dropped := []identity.Target{orders, {Kind: "db", Name: "free"}, web}
	storetest.Must(t, s.Admit(t.Context(), storetest.Renewal(3, 1, first, dropped, identity.Target{Kind: "node", Name: "web-2"})))
	for target, want := range map[identity.Target]string{web: "", orders: other} {
		if got := storetest.Holder(t, s, target); got != want {
			t.Errorf("%s is held by %q, want %q", target, got, want)
		}
	}
	if dropped[0] != orders || len(dropped) != 3 {
		t.Errorf("the caller's list became %v", dropped)
	}
}

// Whoever comes second to a name leaves a note, one for each name, and nothing that would count as its admission.
func TestAQuarantineIsANoteAndGoesWithTheNameItIsAbout(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web, orders)))
	for n := range 3 {
		storetest.Must(t, s.Quarantine(t.Context(), storetest.Admission(n+2, storetest.ID("agt", n+2), web), web, storetest.Event(audit.AgentQuarantined)))
	}
	note := "quarantined#node/web-1"
	if got := db.Of(names.Agent); !cmp.Equal(got, []string{first, note}) || db.Items["state|agent|"+note].Text("claimed_by") != storetest.ID("agt", 4) {
		t.Errorf("records %v, claimed by %s", got, db.Items["state|agent|"+note].Text("claimed_by"))
	}
	if got := storetest.Holder(t, s, web); got != first {
		t.Errorf("held by %q", got)
	}
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), storetest.Renewal(8, 4, storetest.ID("agt", 4), nil, web)) }); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("somebody in quarantine renews: %v", err)
	}
	gone := storetest.Deleted("node", "web-1", storetest.Now.UnixMilli())
	gone.ForgetAgent, gone.ForgetTargets = first, []identity.Target{orders}
	storetest.Must(t, s.Commit(t.Context(), gone))
	if got := db.Of(names.Agent); len(got) != 0 || storetest.Holder(t, s, web) != "" || storetest.Holder(t, s, orders) != "" {
		t.Errorf("records %v, held by %q and %q", got, storetest.Holder(t, s, web), storetest.Holder(t, s, orders))
	}
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(9, storetest.ID("agt", 4), web)))
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), storetest.Renewal(10, 5, first, nil, orders)) }); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("the agent that was removed renews: %v", err)
	}
}

func TestSignaturesAndTheirEventAreWrittenTogetherAndOnce(t *testing.T) {
	db, s := storetest.New()
	c := issue.Conclusion{Certificate: storetest.ID("crt", 1), Event: storetest.Event(audit.UserLogin), Signed: []issue.Signed{
		{Purpose: names.KeyUserSSH, Digest: "d1", Requests: []string{"r1", "r2", "", strings.Repeat("r", 2000)}}, {Purpose: names.KeyUserX509, Digest: "d2", Doubtful: []string{"r3"}},
	}}
	invalid := c
	invalid.Event.Source = ""
	_ = db.Unchanged(t, func() error { return s.Conclude(t.Context(), invalid) })
	storetest.Must(t, s.Conclude(t.Context(), c))
	if got := db.Of(names.Issuance + "#" + c.Certificate); !cmp.Equal(got, []string{"signed#user-ssh", "signed#user-x509"}) || len(db.Items) != 6 {
		t.Errorf("%v of %d items", got, len(db.Items))
	}
	if got := db.Items["ledger|issuance#"+c.Certificate+"|signed#user-ssh"]; got.Text("digest") != "d1" || !strings.HasPrefix(got.Text("kms_requests"), `["r1","r2",`) {
		t.Errorf("kept %v", got)
	}
	for id, doubtful := range map[string]int64{"r1": 0, "r2": 0, "r3": 1} {
		if got := claimed(db, id); len(got) != 1 || got[0].Text("of") != c.Certificate || got[0].Int(ledger.Doubtful) != doubtful || got[0].Int(names.Expires) == 0 {
			t.Errorf("claimed by %s: %v", id, got)
		}
	}
	// What was said stays: nobody signs the same certificate a second time in silence.
	c.Event = storetest.Event(audit.UserLogin)
	_ = db.Unchanged(t, func() error { return s.Conclude(t.Context(), c) })
}

// claimed returns the claims of a request, under whatever hour they are, of the one signer.
func claimed(db *storetest.Tables, id string) (all []table.Item) {
	for k, i := range db.Items {
		if strings.HasPrefix(k, "ledger|claimed#sign-host#20") && i.Text(names.SK) == id {
			all = append(all, i)
		}
	}
	return all
}

func TestSignaturesThatCameToNothingAreClaimedAlone(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Claim(t.Context(), "crt", []issue.Signed{{Purpose: names.KeyUserSSH}}))
	if len(db.Items) != 0 {
		t.Errorf("nothing was signed: %v", db.Items)
	}
	var many []string
	for n := range 120 { // more than one transaction takes
		many = append(many, fmt.Sprint("r", n))
	}
	storetest.Must(t, s.Claim(t.Context(), "crt", []issue.Signed{{Purpose: names.KeyUserSSH, Requests: many}}))
	if len(db.Items) != len(many) || len(claimed(db, "r119")) != 1 {
		t.Errorf("%d items", len(db.Items))
	}
}
