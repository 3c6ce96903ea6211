package query

import (
	"context"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/wire"
)

// Body returns a text that an event had no room for. It is for those who may ask the lake, since they see all events. That somebody
// reads it is in the ledger first.
func (d *Desk) Body(ctx context.Context, p Person, sum string) (wire.AuditBody, error) {
	if err := d.config.Pace.Count(ctx, p.User.UID, p.Now); err != nil {
		return wire.AuditBody{}, err
	}
	if decision := p.decide(); !decision.Allowed {
		return wire.AuditBody{}, d.denied(ctx, p, wire.QueryRequest{}, decision)
	}
	text, err := d.config.Bodies.Read(ctx, sum)
	if err != nil {
		return wire.AuditBody{}, err
	}
	e := d.event(audit.LakeRead, p, wire.QueryRequest{})
	e.Target = sum
	if err := d.config.Ledger.Append(ctx, e); err != nil {
		return wire.AuditBody{}, err
	}
	return wire.AuditBody{Sha256: sum, Text: text}, nil
}
