package head_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

func users(n int, at uint64) revoked.Set {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var orders []revoked.Order
	for i := range n {
		orders = append(orders, revoked.Order{Ref: identity.Record("m", fmt.Sprint(i)), Until: now.Add(time.Hour)})
	}
	s, _ := revoked.Set{}.Settle(revoked.Users, orders, identity.Version{Epoch: 1, Counter: at}, now)
	return s
}

func TestAListIsABaseAndWhatChangedSince(t *testing.T) {
	m, _ := newMemory()
	db, _ := storetest.New()
	s := head.New(head.Config{DynamoDB: db, S3: m, Table: "state", Bucket: "b"})
	if got, err := s.Stored(t.Context(), revoked.Users); err != nil || got.Set.Len() != 0 || got.Base != "" {
		t.Errorf("before the first: %+v, %v", got, err)
	}
	from, to := users(600, 2), users(700, 3)
	base, err := s.PutList(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	db.Put(names.Revoked, revoked.Users, table.Item{"base": table.String(base), "change": table.Bytes(revoked.Diff(from, to))})
	got, err := s.Stored(t.Context(), revoked.Users)
	if err != nil || !got.Set.Is(to.Sum()) || !got.From.Is(from.Sum()) || got.Base != base {
		t.Errorf("%d of %d entries, %v", got.Set.Len(), to.Len(), err)
	}
	if other, err := s.Stored(t.Context(), revoked.Agents); err != nil || other.Set.Len() != 0 {
		t.Errorf("the other list: %+v, %v", other, err)
	}
	for name, spoil := range map[string]func(key string){
		"another list": func(key string) { m.objects[key] = to.Bytes() },
		"no list":      func(key string) { m.objects[key] = []byte("rubbish") },
	} {
		for key := range m.objects {
			spoil(key)
		}
		s := head.New(head.Config{DynamoDB: db, S3: m, Table: "state", Bucket: "b"})
		if got, err := s.Stored(t.Context(), revoked.Users); !errors.Is(err, revoked.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	clear(m.objects)
	fresh := head.New(head.Config{DynamoDB: db, S3: m, Table: "state", Bucket: "b"})
	if _, err := fresh.Stored(t.Context(), revoked.Users); !errors.Is(err, revoked.ErrMalformed) {
		t.Errorf("a base that is lost: %v", err)
	}
}

func TestADocumentGetsTheListsThatItsHolderLacks(t *testing.T) {
	m, _ := newMemory()
	db, _ := storetest.New()
	s := head.New(head.Config{DynamoDB: db, S3: m, Table: "state", Bucket: "b"})
	c := clustertest.New(t)
	c.Bar(identity.Record("m", "eve"))
	view, err := c.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db.Put(names.Revoked, revoked.Users, table.Item{"base": table.String(""), "change": table.Bytes(view.State.Revoked(revoked.Users).Bytes())})
	h := document.NewHolder(c.ID, "")
	if doc, err := s.Lists(t.Context(), h, view.Revocations); err != nil || doc.Lists != nil {
		t.Errorf("for a holder that can't verify it: %+v, %v", doc.Lists, err)
	}
	if err := h.Accept(view.Trust...); err != nil {
		t.Fatal(err)
	}
	was := table.Item{"base": table.String(""), "change": table.Bytes(nil)}
	list := db.Items["state|"+names.Revoked+"|"+revoked.Users]
	db.Put(names.Revoked, revoked.Users, was)
	doc, err := s.Lists(t.Context(), h, view.Revocations)
	if err != nil || len(doc.Lists) != 0 || !errors.Is(h.Accept(doc), document.ErrLists) {
		t.Errorf("a list of another publication: %+v, %v", doc.Lists, err)
	}
	db.Put(names.Revoked, revoked.Users, list)
	doc, err = s.Lists(t.Context(), h, view.Revocations)
	if err != nil || len(doc.Lists) != 1 || h.Accept(doc) != nil {
		t.Fatalf("%+v, %v", doc.Lists, err)
	}
	if doc, err = s.Lists(t.Context(), h, view.Revocations); err != nil || doc.Lists != nil {
		t.Errorf("for one that has them: %+v, %v", doc.Lists, err)
	}
}
