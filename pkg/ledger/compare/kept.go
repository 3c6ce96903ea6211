package compare

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

// kept is what one run leaves the next.
type kept struct {
	Front *hour   `json:"front,omitempty"` // that is stated next; nil before it was looked at
	Owed  []hour  `json:"owed,omitempty"`  // that were stated, and of which the lake may lack something
	Dark  bool    `json:"dark,omitempty"`  // the lake had nothing of the hour that was looked at last for the first time
	Asked []asked `json:"asked,omitempty"` // questions to the lake that no run has had the answer of

	revision int64
}

// hour is what is known of an hour of receipts.
type hour struct {
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

func (h *hour) end() time.Time { return h.From.Add(checked.Hour) }

// again begins another look, later.
func (h *hour) again(due time.Time) {
	*h = hour{From: h.From, Looks: h.Looks, Told: h.Told, Due: due}
}

func (h *hour) statement() checked.Statement {
	return checked.Statement{
		Check: checked.Lake, From: h.From, To: h.end(), Looked: h.Looked, Found: h.Missing + h.Foreign + h.Altered, Unproved: strings.Join(h.Unproved, "; "),
	}
}

var key = table.Key{PK: names.Looked, SK: "lake"}

// load reads what the last run left.
func (r *run) load(ctx context.Context) error {
	i, err := r.state.Get(ctx, key)
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(i.Text("value")), &r.kept)
	}
	if err != nil {
		return fmt.Errorf("reading how far it is: %w", err)
	}
	r.kept.revision = i.Int("revision")
	return nil
}

// save leaves the next run what is known. It fails with a [table.Conflict] when another run has written it.
func (r *run) save(ctx context.Context) error {
	b, err := json.Marshal(r.kept)
	if err != nil {
		return fmt.Errorf("writing how far it is: %w", err)
	}
	i := table.Item{
		names.PK: table.String(key.PK), names.SK: table.String(key.SK), "value": table.String(string(b)), "revision": table.Int(r.kept.revision + 1),
	}
	if r.kept.revision == 0 {
		err = r.state.Create(ctx, i)
	} else {
		err = r.state.PutIf(ctx, i, "revision = :was", table.Item{":was": table.Int(r.kept.revision)})
	}
	if err == nil {
		r.kept.revision++
	}
	return err
}
