package query

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/query/statement"
)

// Holding begins a question of a function of ours, or says how one goes. No person asks it, so no event says that it was asked; what a
// person has asked isn't told here.
func (d *Desk) Holding(ctx context.Context, c holding.Call) (holding.Answer, error) {
	r := c.Holding
	if r.ID == "" {
		text, literals, err := r.Compose()
		if err != nil {
			return holding.Answer{}, err
		}
		id, err := d.config.Lake.Start(ctx, text, literals, "stile-holding-"+identity.NewID("hld", d.config.Entropy, time.Now()))
		return holding.Answer{ID: id}, err
	}
	run, err := d.config.Lake.Look(ctx, r.ID)
	if err == nil && !holding.Ours(run.Text) || fault.Is(err, fault.NotFound) {
		return holding.Answer{}, fault.Newf(fault.NotFound, "ask again", "there is no question %.64q", r.ID)
	}
	if err != nil {
		return holding.Answer{}, err
	}
	out := holding.Answer{ID: r.ID}
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
		return holding.Answer{}, err
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
