package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
)

var schema = item.Schema{Hash: item.Attribute{Name: "pk", Kind: item.S}}

func open(t *testing.T, dir string, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func made(tx *store.Tx) store.Table {
	table := store.Table{Name: "t", ID: "id", Schema: schema, StreamARN: "arn:aws:dynamodb:r:a:table/t/stream/l", StreamOn: true, View: "NEW_IMAGE"}
	tx.StartStream(store.Stream{ARN: table.StreamARN, Table: "t", First: tx.Sequence() + 1})
	tx.PutTable(table)
	return table
}

func put(tx *store.Tx, table store.Table, pk string) {
	tx.Put(table, item.Key{Hash: pk}, item.Item{"pk": item.String(pk)}, nil)
}

func TestAChangeThatFailsOrBreaksLeavesNothingAndHarmsNobody(t *testing.T) {
	s := open(t, t.TempDir(), time.Now)
	ctx := context.Background()
	if err := s.Update(ctx, func(tx *store.Tx) error { made(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	change := func(pk string, end func() error) error {
		return s.Update(ctx, func(tx *store.Tx) error {
			table, _ := tx.Table("t")
			put(tx, table, pk)
			return end()
		})
	}
	var group sync.WaitGroup
	failure := errors.New("no")
	for range 20 {
		group.Go(func() {
			if err := change("fails", func() error { return failure }); !errors.Is(err, failure) {
				t.Error(err)
			}
		})
		group.Go(func() {
			if err := change("breaks", func() error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
				t.Error(err)
			}
		})
		group.Go(func() {
			if err := change("good", func() error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	s.Read(func(r *store.Reader) {
		items, _ := r.Count("t")
		records := r.Records("arn:aws:dynamodb:r:a:table/t/stream/l", 0, 100)
		if items != 1 || r.Get("t", item.Key{Hash: "good"}) == nil || len(records) != 1 {
			t.Errorf("%d items, %d records", items, len(records))
		}
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := change("late", func() error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestRecordsAgeOutAndStayOutAfterReopening(t *testing.T) {
	now, dir := time.Unix(1e9, 0), t.TempDir()
	clock := func() time.Time { return now }
	s := open(t, dir, clock)
	ctx := context.Background()
	write := func(pk string) {
		t.Helper()
		if err := s.Update(ctx, func(tx *store.Tx) error {
			table, ok := tx.Table("t")
			if !ok {
				table = made(tx)
			}
			put(tx, table, pk)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	now = now.Add(25 * time.Hour)
	write("new")
	if err := s.Update(ctx, func(tx *store.Tx) error { tx.Tidy(24 * time.Hour); return nil }); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		s.Read(func(r *store.Reader) {
			_, trimmed, _ := r.Stream("arn:aws:dynamodb:r:a:table/t/stream/l")
			records := r.Records("arn:aws:dynamodb:r:a:table/t/stream/l", 0, 10)
			if trimmed != 1 || len(records) != 1 || records[0].Change.Keys["pk"].Text != "new" {
				t.Errorf("trimmed to %d, %d records", trimmed, len(records))
			}
			if items, _ := r.Count("t"); items != 2 {
				t.Errorf("%d items", items)
			}
		})
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, clock)
	check()
	write("newer")
	s.Read(func(r *store.Reader) {
		if r.Last() != 3 {
			t.Errorf("numbers go on at %d", r.Last())
		}
	})
	if err := s.Update(ctx, func(tx *store.Tx) error { tx.DropTable("t"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, clock)
	s.Read(func(r *store.Reader) {
		st, _, ok := r.Stream("arn:aws:dynamodb:r:a:table/t/stream/l")
		if len(r.Tables()) != 0 || !ok || st.Ended.IsZero() {
			t.Errorf("tables %v, stream %+v", r.Tables(), st)
		}
	})
	now = now.Add(25 * time.Hour)
	waiting := make(chan error)
	go func() {
		_, err := s.Wait(ctx, "arn:aws:dynamodb:r:a:table/t/stream/l", 3, 1)
		waiting <- err
	}()
	if err := s.Update(ctx, func(tx *store.Tx) error { tx.Tidy(24 * time.Hour); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, store.ErrNoStream) {
		t.Errorf("a reader of a forgotten stream: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
