package reader_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

func (b *book) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries++
	pk, after := table.Item(in.ExpressionAttributeValues).Text(":pk"), table.Item(in.ExclusiveStartKey).Text("sk")
	var found []table.Item
	for _, i := range b.items {
		if i.Text("pk") == pk && i.Text("sk") > after {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b table.Item) int { return strings.Compare(a.Text("sk"), b.Text("sk")) })
	out := &dynamodb.QueryOutput{}
	for _, i := range found[:min(len(found), int(*in.Limit))] {
		out.Items = append(out.Items, i)
		if len(out.Items) == int(*in.Limit) { // as DynamoDB, which doesn't look whether there is more
			out.LastEvaluatedKey = table.Item{"pk": i["pk"], "sk": i["sk"]}
		}
	}
	return out, nil
}

func (b *book) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if pk, sk := table.Item(in.Key).Text("pk"), table.Item(in.Key).Text("sk"); pk == "" || len(pk) > 2048 || sk == "" || len(sk) > 1024 {
		return nil, errors.New("ValidationException") // as DynamoDB
	}
	return &dynamodb.GetItemOutput{Item: b.items[table.Item(in.Key).Text("pk")+"|"+table.Item(in.Key).Text("sk")]}, nil
}

func all(audit.Event) bool { return true }

// from reads everything behind a position, a page at a time.
func (b *book) from(position string, until time.Time, limit int, want func(audit.Event) bool) (ids []string, pages int) {
	b.t.Helper()
	for ; position != ""; pages++ {
		if pages > 3000 {
			b.t.Fatal("it doesn't get on")
		}
		entries, next, err := reader.Received(b.t.Context(), b, "t", reader.Span{After: position, Until: until, Limit: limit}, want, b.cluster.Holder().Trust())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range entries {
			ids = append(ids, e.Event.ID)
		}
		position = next
	}
	return ids, pages
}

func TestWhatWasReceivedIsReadInItsOrderWhateverThePages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b := newBook(t)
	sources := append(slices.Clone(names.Writers), "agent", "agent", "agent")
	start := time.Date(2026, 11, 20, 23, 50, 0, 0, time.UTC)
	var want []string
	var times []time.Time
	b.now = start
	for n := range 1800 {
		e := b.event(uint64(n))
		e.SessionID = ""
		some, busy := sources, n >= 300 && n < 1400
		if busy { // several partitions have more than one read of them gives
			some = []string{"function/admin"}
		}
		if e.Source = some[r.IntN(len(some))]; e.Source == "agent" || e.Source == "proxy" {
			e.Source += "/x_1"
		}
		if err := b.ledger.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		want, times = append(want, e.ID), append(times, b.now)
		b.now = b.now.Add(time.Duration(1+r.IntN(800)) * time.Millisecond)
		if n%300 == 299 && !busy {
			b.now = b.now.Add(time.Duration(r.IntN(50)) * time.Hour)
		}
	}
	for _, limit := range []int{1, 7, 100, 5000} {
		from, to := r.IntN(300), 1400+r.IntN(400)
		if limit == 1 {
			to = from + 100
		}
		got, _ := b.from(reader.Begin(times[from]), times[to], limit, all)
		if !slices.Equal(got, want[from:to]) {
			t.Errorf("limit %d: %d events, not the %d from %d to %d", limit, len(got), to-from, from, to)
		}
	}
	got, _ := b.from(reader.Begin(start), b.now, 50, func(e audit.Event) bool { return e.Source == "function/sweep" })
	if len(got) == 0 || len(got) > 400 || !slices.IsSorted(got) {
		t.Errorf("%d of a function", len(got))
	}
}

func TestACallReadsABoundedNumberThoughNothingIsWanted(t *testing.T) {
	b := newBook(t)
	start := b.now
	for n := range 5000 {
		e := b.event(uint64(n))
		e.Source = "function/admin"
		if err := b.ledger.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Millisecond)
	}
	before := b.queries
	got, pages := b.from(reader.Begin(start), b.now, 10, func(audit.Event) bool { return false })
	if len(got) != 0 || pages < 2 || pages > 4 {
		t.Errorf("%d events on %d pages", len(got), pages)
	}
	if n := b.queries - before; n > 5000/100*len(ledger.Partitions(start)) {
		t.Errorf("%d queries", n)
	}
	b.queries = 0
	if _, pages := b.from(reader.Begin(start.Add(-90*24*time.Hour)), b.now, 10, func(audit.Event) bool { return false }); pages < 3 {
		t.Errorf("ninety days are looked at on %d pages", pages)
	}
}

func TestOneWritersEventsAreReadWithoutTheOthers(t *testing.T) {
	b := newBook(t)
	start := b.now
	for n, source := range []string{"function/admin", "agent/" + b.host.ID, "proxy/prx_1"} {
		e := b.event(uint64(n))
		e.Source = source
		if err := b.ledger.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	b.now = b.now.Add(time.Minute)
	entries, next, err := reader.Received(t.Context(), b, "t", reader.Span{After: reader.Begin(start), Until: b.now, Limit: 9, Writer: names.WriterAgent}, all)
	if err != nil || next != "" || len(entries) != 1 || entries[0].Event.Seq != 1 {
		t.Errorf("%+v, %q, %v", entries, next, err)
	}
	if b.queries > 2*ledger.Shards { // two days, when midnight is between
		t.Errorf("%d queries", b.queries)
	}
}

func TestWhatIsNoPositionIsRefused(t *testing.T) {
	b := newBook(t)
	for _, position := range []string{"", ".", "x", "2026-11-28", "2026-11-28.", "2026-13-28.01", "28.11.2026", "2026-11-28." + strings.Repeat("0", 100), "2026-11-28.\xff"} {
		_, _, err := reader.Received(t.Context(), b, "t", reader.Span{After: position, Until: b.now, Limit: 1}, all)
		if !errors.Is(err, reader.ErrPosition) {
			t.Errorf("%q: %v", position, err)
		}
	}
}

// Whoever may write proxies' partitions can put anything under any key there, and must not hide others' events by it.
func TestSec_S63_KeysThatAreNoReceiptsHideNothing(t *testing.T) {
	for name, key := range map[string]func(receipt string, n int) string{
		"cut off":       func(r string, n int) string { return r[:9] + fmt.Sprint(n) },
		"between":       func(r string, n int) string { return r[:20] + fmt.Sprintf("!%d", n) },
		"long":          func(r string, n int) string { return r[:20] + strings.Repeat("x", 900) + fmt.Sprint(n) },
		"long, odd":     func(r string, n int) string { return r[:20] + strings.Repeat("\U0010FFFF", 200) + fmt.Sprint(n) },
		"of no time":    func(_ string, n int) string { return fmt.Sprintf("zz%d", n) },
		"of long ago":   func(_ string, n int) string { return fmt.Sprintf("00%d", n) },
		"of the future": func(r string, n int) string { return "7" + r[1:20] + fmt.Sprint(n) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			var want []string
			start := b.now
			for n := range 30 {
				e := b.event(uint64(n))
				e.Source = "function/admin"
				if err := b.ledger.Append(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				want = append(want, e.ID)
				b.now = b.now.Add(time.Millisecond)
			}
			for n := range 700 {
				i := table.Item{
					"pk": table.String(ledger.Partition("proxy/prx_1", start, "x")), "sk": table.String(key(ledger.Receipt(start.Add(15*time.Millisecond), nil), n)),
					"event": table.String("{}"),
				}
				b.items[i.Text("pk")+"|"+i.Text("sk")] = i
			}
			got, _ := b.from(reader.Begin(start), b.now, 20, all)
			got = slices.DeleteFunc(got, func(id string) bool { return id == "" })
			if !slices.Equal(got, want) {
				t.Errorf("%d of %d events", len(got), len(want))
			}
		})
	}
}

// A position says up to when it has everything, unless it is behind what is no receipt.
func TestAPositionSaysUpToWhenItHasEverything(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 123e6, time.UTC)
	receipt := ledger.Receipt(at, []byte("x"))
	for name, c := range map[string]struct {
		position string
		want     time.Time
	}{
		"a receipt":            {"2026-11-27." + receipt, at},
		"a time":               {reader.Begin(at), at},
		"a day's end":          {"2026-11-27." + ledger.Receipt(at.Add(20*time.Hour), nil), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)},
		"upper case":           {"2026-11-27." + strings.ToUpper(receipt), time.Time{}},
		"what is no time":      {"2026-11-27.01kb-not-a-receipt", time.Time{}},
		"little":               {"2026-11-27.01", time.Time{}},
		"what isn't there yet": {"", time.Time{}},
	} {
		got, known := reader.Reached(c.position)
		if known == c.want.IsZero() || known && !got.Equal(c.want) {
			t.Errorf("%s: %v, %v", name, got, known)
		}
	}
}
