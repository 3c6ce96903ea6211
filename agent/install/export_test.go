package install

import (
	"context"
	"io"
)

// For tests.
var (
	Await   = await
	Guarded = guarded
	Others  = others
	Put     = put
)

// Renews reports whether an agent with as many users is restarted for the plan's program.
func (p Plan) Renews(ctx context.Context, state string, users int, out io.Writer) bool {
	return p.renews(ctx, state, users, out)
}

// Shadowed is the fault of a unit in place of the package's.
func (p Plan) Shadowed(unit string) error { return p.shadowed(unit) }
