package issuance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/issuance"
	"github.com/stile-dev/stile/pkg/store/storetest"
)

// within is an agent's admission within bounds, at a time.
func within(n, agent int, at time.Time, bounds ...issue.Bound) issue.Admission {
	a := storetest.Admission(n, storetest.ID("agt", agent), identity.Target{Kind: "node", Name: fmt.Sprint("web-", agent)})
	a.Intent.At, a.Places, a.Bounds = at, at.Add(24*time.Hour), bounds
	return a
}

// inForce is the certificate of an agent that its record names, "" when there is none.
func inForce(t interface {
	Context() context.Context
	Fatal(...any)
}, s storetest.Store, agent int,
) string {
	r, err := s.Agent(t.Context(), storetest.ID("agt", agent))
	if err != nil {
		t.Fatal(err)
	}
	return r.Certificate
}

func full(err error) bool {
	_, is := errors.AsType[*issue.FullError](err)
	return is
}

// together is tables at which everybody has read which places are free before anybody writes.
type together struct {
	*storetest.Tables
	reading sync.WaitGroup
	early   atomic.Int64 // how many still wait for the others
}

func (d *together) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	out, err := d.Tables.Query(ctx, in, o...)
	if d.early.Add(-1) >= 0 {
		d.reading.Done()
		d.reading.Wait()
	}
	return out, err
}

// TestSec_S62_ManyAtOnceNeverGetMorePlacesThanThereAre, of the token's and of each role's, and none is left over.
func TestSec_S62_ManyAtOnceNeverGetMorePlacesThanThereAre(t *testing.T) {
	const many = 200
	db, _ := storetest.New()
	at := &together{Tables: db}
	at.reading.Add(many)
	at.early.Store(many)
	s := issuance.New(store.Config{DynamoDB: at, State: "state", Secrets: "secrets", Ledger: "ledger"}, "sign-host")
	all := issue.Bound{Of: "nodes#u", Most: 20}
	roles := []issue.Bound{{Of: "nodes#u#A", Most: 12}, {Of: "nodes#u#B", Most: 12}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := map[int]int{}
	for n := range many {
		wg.Go(func() {
			err := s.Admit(t.Context(), within(n, n, storetest.Now, all, roles[n%2]))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				admitted[n%2]++
			case !full(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if admitted[0]+admitted[1] != 20 || admitted[0] > 12 || admitted[1] > 12 {
		t.Errorf("admitted %v", admitted)
	}
	if n := len(db.Of("place#nodes#u")); n != 20 {
		t.Errorf("%d places are taken", n)
	}
	if n := len(db.Of("agent")); n != 20 {
		t.Errorf("%d agents", n)
	}
}

func TestSec_S62_ALoweredBoundCountsThoseBeyondIt(t *testing.T) {
	const many = 40
	db, _ := storetest.New()
	at := &together{Tables: db}
	s := issuance.New(store.Config{DynamoDB: at, State: "state", Secrets: "secrets", Ledger: "ledger"}, "sign-host")
	for n := range 6 {
		storetest.Must(t, s.Admit(t.Context(), within(n, n, storetest.Now, issue.Bound{Of: "nodes#", Most: 1000})))
	}
	at.reading.Add(many)
	at.early.Store(many)
	var wg sync.WaitGroup
	for n := range many {
		wg.Go(func() {
			if err := s.Admit(t.Context(), within(6+n, 6+n, storetest.Now, issue.Bound{Of: "nodes#", Most: 8})); err != nil && !full(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(db.Of("place#nodes#")); n != 8 {
		t.Errorf("%d places are taken", n)
	}
}

func TestSec_S62_APlaceIsFreeWhenItsNodeIsRemovedOrGone(t *testing.T) {
	bound := issue.Bound{Of: "nodes#", Most: 1}
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), within(1, 1, storetest.Now, bound)))
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), within(2, 2, storetest.Now, bound)) }); !full(err) {
		t.Errorf("a second one: %v", err)
	}
	gone := storetest.Deleted("node", "web-1", storetest.Now.UnixMilli())
	gone.ForgetAgent = storetest.ID("agt", 1)
	storetest.Must(t, s.Commit(t.Context(), gone))
	storetest.Must(t, s.Admit(t.Context(), within(3, 3, storetest.Now, bound)))

	later := storetest.Now.Add(24*time.Hour - time.Millisecond)
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), within(4, 4, later, bound)) }); !full(err) {
		t.Errorf("before the place is free: %v", err)
	}
	storetest.Must(t, s.Admit(t.Context(), within(5, 5, later.Add(time.Millisecond), bound)))
	// The node that was gone is removed: its place is another's by now, and stays.
	gone = storetest.Deleted("node", "web-3", storetest.Now.UnixMilli())
	gone.ForgetAgent, gone.Counters.Input = storetest.ID("agt", 3), 1
	storetest.Must(t, s.Commit(t.Context(), gone))
	if err := s.Admit(t.Context(), within(6, 6, later, bound)); !full(err) {
		t.Errorf("after another's node was removed: %v", err)
	}
}

func TestARenewalKeepsItsPlaceAndOneInForceNeedsNone(t *testing.T) {
	db, s := storetest.New()
	bound := issue.Bound{Of: "nodes#", Most: 2}
	storetest.Must(t, s.Admit(t.Context(), within(1, 1, storetest.Now, bound)))
	storetest.Must(t, s.Admit(t.Context(), within(2, 2, storetest.Now))) // before there were places
	storetest.Must(t, s.Admit(t.Context(), within(3, 3, storetest.Now, bound)))
	renewed := storetest.Now.Add(16 * time.Hour)
	for n, agent := range []int{1, 2, 1, 3} {
		a := within(10+n, agent, renewed, issue.Bound{Of: "nodes#", Most: 1})
		a.Renewal, a.InForce, a.Shown = true, true, inForce(t, s, agent)
		storetest.Must(t, s.Admit(t.Context(), a))
	}
	held := map[string]int{}
	for _, i := range db.Items {
		if strings.HasPrefix(i.Text("pk"), "place#") {
			held[i.Text("held_by")]++
			if i.Int("until_ms") != renewed.Add(24*time.Hour).UnixMilli() {
				t.Errorf("%s has its place until %d", i.Text("held_by"), i.Int("until_ms"))
			}
		}
	}
	if len(held) != 2 || held[storetest.ID("agt", 1)] != 1 || held[storetest.ID("agt", 3)] != 1 {
		t.Errorf("places %v", held)
	}
	lapsed := within(20, 2, renewed, bound)
	lapsed.Renewal, lapsed.Shown = true, inForce(t, s, 2)
	if err := db.Unchanged(t, func() error { return s.Admit(t.Context(), lapsed) }); !full(err) {
		t.Errorf("one that comes back: %v", err)
	}
}

// Whatever happens in whatever order, and however the bound is changed, an agent is admitted exactly when its certificate may
// still be in force or fewer others may have one than the bound allows.
func TestTheBoundHoldsForEveryStory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		_, s := storetest.New()
		most := rapid.IntRange(1, 4).Draw(r, "most")
		now, input := storetest.Now, int64(0)
		until := map[int]time.Time{} // by agent that is there
		known := map[int]bool{}
		for n := range 40 {
			agent := rapid.IntRange(1, 8).Draw(r, "agent")
			switch rapid.SampledFrom([]string{"come", "come", "come", "remove", "wait", "bound"}).Draw(r, "what") {
			case "bound":
				most = rapid.IntRange(1, 6).Draw(r, "most")
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(1, 30).Draw(r, "hours")) * time.Hour)
			case "remove":
				if !known[agent] {
					continue
				}
				gone := storetest.Deleted("node", fmt.Sprint("web-", agent), 0)
				gone.Was, gone.ForgetAgent, gone.Counters.Input = revision(r, s, agent), storetest.ID("agt", agent), input
				if err := s.Commit(r.Context(), gone); err != nil {
					r.Fatal(err)
				}
				input++
				delete(until, agent)
				delete(known, agent)
			default:
				a := within(n, agent, now, issue.Bound{Of: "nodes#", Most: most})
				a.Renewal, a.InForce, a.Shown = known[agent], until[agent].After(now), inForce(r, s, agent)
				there := 0
				for other, end := range until {
					if other != agent && end.After(now) {
						there++
					}
				}
				err := s.Admit(r.Context(), a)
				if want := until[agent].After(now) || there < most; (err == nil) != want || err != nil && !full(err) {
					r.Fatalf("%d of %d are there, and another: %v", there, most, err)
				}
				if err == nil {
					until[agent], known[agent] = a.Places, true
				}
			}
		}
	})
}

func revision(r *rapid.T, s storetest.Store, agent int) int64 {
	node, found, err := s.Get(r.Context(), "node", fmt.Sprint("web-", agent))
	if err != nil || !found {
		r.Fatal(found, err)
	}
	return node.Metadata.Revision
}
