// Package owed is what is known of the comparing of ledger and lake: how far it is, and of which hours the lake lacks something. One
// run of the comparing leaves it for the next, and whoever asks the lake is told of it.
//
// Its entry points are [Load] and [NewReader].
package owed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Kept is what one run leaves the next.
type Kept struct {
	Front *Hour   `json:"front,omitempty"` // that is stated next; nil before it was looked at
	Owed  []Hour  `json:"owed,omitempty"`  // that were stated, and of which the lake may lack something
	Dark  bool    `json:"dark,omitempty"`  // the lake had nothing of the hour that was looked at last for the first time
	Asked []Asked `json:"asked,omitempty"` // questions to the lake that no run has had the answer of

	revision int64
}

// Asked is a question on its way.
type Asked struct {
	What string    `json:"what"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	ID   string    `json:"id"`
	At   time.Time `json:"at"` // when it was begun
}

// Hour is what is known of an hour of receipts.
type Hour struct {
	From     time.Time `json:"from"`
	Looks    int       `json:"looks,omitempty"`   // that came to their end
	Due      time.Time `json:"due,omitzero"`      // before which it isn't looked at
	Told     bool      `json:"told,omitempty"`    // what was found is told: it isn't told again
	Settled  time.Time `json:"settled,omitzero"`  // when it was decided what to tell, while that is being told
	At       time.Time `json:"at,omitzero"`       // what was received before was compared in this look
	Looked   int       `json:"looked,omitempty"`  // events that the ledger has, in this look
	Missing  int       `json:"missing,omitempty"` // of them that the lake lacks
	Foreign  int       `json:"foreign,omitempty"` // that the lake has and the ledger doesn't
	Altered  int       `json:"altered,omitempty"` // that aren't what the ledger received under their receipts
	Lacking  []string  `json:"lacking,omitempty"` // some of the missing, by their keys
	Strange  []string  `json:"strange,omitempty"` // some of the foreign and altered
	Unproved []string  `json:"unproved,omitempty"`
}

// End is where it ends.
func (h *Hour) End() time.Time { return h.From.Add(checked.Hour) }

// Again begins another look, later.
func (h *Hour) Again(due time.Time) {
	*h = Hour{From: h.From, Looks: h.Looks, Told: h.Told, Due: due}
}

// Statement is what is stated of it.
func (h *Hour) Statement() checked.Statement {
	return checked.Statement{
		Check: checked.Lake, From: h.From, To: h.End(), Looked: h.Looked, Found: h.Missing + h.Foreign + h.Altered, Unproved: strings.Join(h.Unproved, "; "),
	}
}

var key = table.Key{PK: names.Looked, SK: "lake"}

// Load returns what the last run left, as the table of state has it.
func Load(ctx context.Context, state table.Table) (k Kept, err error) {
	i, err := state.Get(ctx, key)
	if errors.Is(err, table.ErrNotFound) {
		return Kept{}, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(i.Text("value")), &k)
	}
	if err != nil {
		return Kept{}, fmt.Errorf("reading how far the comparing of ledger and lake is: %w", err)
	}
	k.revision = i.Int("revision")
	return k, nil
}

// Save leaves it to the next run. It is a conflict when another run has saved meanwhile.
func (k *Kept) Save(ctx context.Context, state table.Table) error {
	b, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("writing how far the comparing of ledger and lake is: %w", err)
	}
	i := table.Item{
		names.PK: table.String(key.PK), names.SK: table.String(key.SK), "value": table.String(string(b)), "revision": table.Int(k.revision + 1),
	}
	if k.revision == 0 {
		err = state.Create(ctx, i)
	} else {
		err = state.PutIf(ctx, i, "revision = :was", table.Item{":was": table.Int(k.revision)})
	}
	if err == nil {
		k.revision++
	}
	return err
}
