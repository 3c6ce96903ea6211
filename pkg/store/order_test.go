package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

// given puts so many orders into the tables, and returns them.
func given(db *storetest.Tables, many int) (all []revoked.Order) {
	for i := range many {
		o := revoked.Order{
			Seq: int64(i + 1), Ref: identity.Record("m", fmt.Sprint("user-", i)), Group: identity.Ref{Target: "mapping", Value: "m"},
			Reserve: i%2 == 0, Until: storetest.Now.Add(time.Hour),
		}
		db.Put(names.Order, item(o.Seq), store.OrderItem(o))
		all = append(all, o)
	}
	return all
}

func item(seq int64) string { return fmt.Sprintf("%016d", seq) }

// A Query can show less of a transaction than the counter has. What it doesn't show is found all the same, or is known to be
// coming, or to be gone.
func TestSec_S71_EachOrderThatTheCounterCountsIsAccountedFor(t *testing.T) {
	for name, c := range map[string]struct {
		hidden, written, gone []int64
		want                  []int64
	}{
		"all are there":                    {want: []int64{1, 2, 3}},
		"the last is hidden":               {hidden: []int64{3}, want: []int64{1, 2, 3}},
		"one between is hidden":            {hidden: []int64{2}, want: []int64{1, 2, 3}},
		"all are hidden":                   {hidden: []int64{1, 2, 3}, want: []int64{1, 2, 3}},
		"the last is still being written":  {written: []int64{3}, want: []int64{1, 2}},
		"one is written, and one hidden":   {written: []int64{1}, hidden: []int64{2}, want: []int64{2, 3}},
		"one is gone":                      {gone: []int64{2}, want: []int64{1, 3}},
		"one is gone, and another written": {gone: []int64{1}, written: []int64{2}, want: []int64{3}},
	} {
		for _, before := range []int64{0, 200} { // few are read in another way than many
			db, s := storetest.New()
			all := given(db, int(before)+4) // the last is not counted yet
			db.Late, db.Hidden = map[string]bool{}, map[string]bool{}
			at := func(seq int64) string { return "state|" + names.Order + "|" + item(before+seq) }
			for _, seq := range c.written {
				db.Late[at(seq)] = true
			}
			for _, seq := range c.hidden {
				db.Hidden[at(seq)] = true
			}
			for _, seq := range c.gone {
				delete(db.Items, at(seq))
			}
			want := revoked.Run{Orders: slices.Clone(all[:before])}
			for _, seq := range c.want {
				want.Orders = append(want.Orders, all[before+seq-1])
			}
			for _, seq := range c.written {
				want.Pending = append(want.Pending, before+seq)
			}
			for _, seq := range c.gone {
				want.Gone = append(want.Gone, before+seq)
			}
			run, err := s.Orders(t.Context(), 0, before+3)
			if d := cmp.Diff(want, run, cmpopts.EquateEmpty()); d != "" || err != nil {
				t.Errorf("%s, after %d others: %v: %s", name, before, err, d)
			}
		}
	}
}

func TestAnOrderThatCanNotBeReadIsNotLeftOut(t *testing.T) {
	db, s := storetest.New()
	db.Put(names.Order, "first", table.Item{})
	if _, err := s.Orders(t.Context(), 0, 1000); err == nil {
		t.Error("read")
	}
	if _, err := s.AllOrders(t.Context()); err == nil {
		t.Error("all read")
	}
}

// What a restored table had under the number of an order is not taken for it.
func TestSec_S71_AnOrderIsNotWhatStoodUnderItsNumber(t *testing.T) {
	db, s := storetest.New()
	all := given(db, 2)
	torn := all[1]
	torn.Ref = identity.Record("m", "torn")
	db.Old = map[string]table.Item{"state|" + names.Order + "|" + item(2): store.OrderItem(torn)}
	if run, err := s.Orders(t.Context(), 0, 2); err != nil || !cmp.Equal(run.Orders, all) {
		t.Errorf("%+v, %v", run, err)
	}
}

// Those that are there are all read, however many.
func TestAllOrdersAreReadPageByPage(t *testing.T) {
	db, s := storetest.New()
	all := given(db, 2300)
	got, err := s.AllOrders(t.Context())
	if d := cmp.Diff(all, got); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
	run, err := s.Orders(t.Context(), 1100, 2200)
	if d := cmp.Diff(revoked.Run{Orders: all[1100:2200]}, run); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
}
