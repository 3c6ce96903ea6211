package query

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/query/statement"
	"github.com/stile-dev/stile/pkg/query/tally"
)

// Tally begins a question of a function of ours, or says how one goes. No person asks it, so no event says that it was asked; what a
// person has asked isn't told here.
func (d *Desk) Tally(ctx context.Context, c tally.Call) (tally.Answer, error) {
	r := c.Tally
	if r.ID == "" {
		text, literals, err := r.Compose()
		if err != nil {
			return tally.Answer{}, err
		}
		id, err := d.config.Lake.Start(ctx, text, literals, "stile-tally-"+identity.NewID("tly", d.config.Entropy, time.Now()))
		return tally.Answer{ID: id}, err
	}
	run, err := d.config.Lake.Look(ctx, r.ID)
	if err == nil && !tally.Ours(run.Text) || fault.Is(err, fault.NotFound) {
		return tally.Answer{}, fault.Newf(fault.NotFound, "ask again", "there is no question %.64q", r.ID)
	}
	if err != nil {
		return tally.Answer{}, err
	}
	out := tally.Answer{ID: r.ID}
	switch run.State {
	case "queued", "running":
		return out, nil
	case "succeeded":
	default:
		out.Done, out.Why = true, "the query "+run.State+": "+statement.Where(run.Reason)
		return out, nil
	}
	page, err := d.config.Lake.Rows(ctx, r.ID, r.Cursor)
	if err != nil {
		return tally.Answer{}, err
	}
	out.Done, out.Next = true, page.Next
	for _, row := range page.Rows {
		values := make([]string, len(row.Values))
		for i, v := range row.Values {
			if v != nil {
				values[i] = *v
			}
		}
		out.Rows = append(out.Rows, values)
	}
	return out, nil
}
