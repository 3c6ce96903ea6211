package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// mostPointed is how many events an answer has room for however they are written: JSON of 16 KiB takes 64 KiB at most.
const mostPointed = 64

// Session reads events of a session that come after one, the oldest first and up to limit if there is room for as many, and the id of
// the last that was looked for, to go on after, "" at the end. Where they are any proxy may say; what isn't there, or is another
// session's, is left out.
func Session(ctx context.Context, db table.API, name, session, after string, limit int, trust ...document.Trust) ([]Entry, string, error) {
	of := func(e audit.Event) bool { return e.SessionID == session }
	return pointed(ctx, table.Table{API: db, Name: name}, ledger.Session(session), of, after, limit, trust)
}

// Decision reads what there is of a decision as Session does of a session: the event of who decided, and whatever else names the
// decision, which an agent may do in its own events and a proxy in any.
func Decision(ctx context.Context, db table.API, name, decision, after string, limit int, trust ...document.Trust) ([]Entry, string, error) {
	of := func(e audit.Event) bool { return e.DecisionID == decision }
	return pointed(ctx, table.Table{API: db, Name: name}, ledger.Decision(decision), of, after, limit, trust)
}

// pointed reads the events that a partition says the place of, those of them that say themselves that they belong there.
func pointed(ctx context.Context, t table.Table, pk string, of func(audit.Event) bool, after string, limit int, trust []document.Trust) ([]Entry, string, error) {
	pointers, more, err := t.Page(ctx, pk, after, min(limit, mostPointed))
	if err != nil {
		return nil, "", err
	}
	var found basket
	var g errgroup.Group
	g.SetLimit(8)
	for _, p := range pointers {
		key := table.Key{PK: p.Text("at"), SK: cmp.Or(p.Text("under"), p.Text(names.SK))}
		if strings.HasPrefix(key.PK, names.Event+"#") && keyed(key) {
			g.Go(func() error { return found.get(ctx, t, key) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, "", fmt.Errorf("reading events of %s: %w", pk, err)
	}
	if err := found.certify(ctx, t); err != nil {
		return nil, "", fmt.Errorf("reading events of %s: %w", pk, err)
	}
	next := ""
	if more && len(pointers) > 0 {
		next = pointers[len(pointers)-1].Text(names.SK)
	}
	var out []Entry
	for _, e := range Judge(found.items, trust...).Entries {
		if of(e.Event) {
			out = append(out, e)
		}
	}
	return out, next, nil
}

// API is a *dynamodb.Client.
type API = table.API

// basket collects items.
type basket struct {
	mu    sync.Mutex
	items []table.Item
}

// certify adds the certificates that the items name.
func (f *basket) certify(ctx context.Context, t table.Table) error {
	var g errgroup.Group
	g.SetLimit(8)
	certificates := map[string]bool{}
	for _, i := range slices.Clone(f.items) {
		if digest := i.Text("certificate"); digestShape.MatchString(digest) && !certificates[digest] {
			certificates[digest] = true
			g.Go(func() error {
				return f.get(ctx, t, table.Key{PK: names.Certificate + "#" + digest, SK: names.Certificate})
			})
		}
	}
	return g.Wait()
}

// get reads an item, if it is there.
func (f *basket) get(ctx context.Context, t table.Table, key table.Key) error {
	i, err := t.Get(ctx, key)
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if strings.HasPrefix(key.PK, names.Event+"#") {
		i = bounded(i)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, i)
	return nil
}
