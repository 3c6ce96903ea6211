package main

import (
	"context"

	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/trigger"
)

// publisher is functions/publish.
type publisher struct {
	api      invoke.API
	function string
}

// Publish waits for the run and returns the input counter that the run took.
func (p publisher) Publish(ctx context.Context) (int64, error) {
	out, err := invoke.Call[trigger.Direct, trigger.Published](ctx, p.api, p.function, trigger.Direct{Direct: true})
	return out.Input, err
}
