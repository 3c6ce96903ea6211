package dynamo

import (
	"context"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
)

// Held lists the targets of a kind whose names agents hold.
func (s *Store) Held(ctx context.Context, kind string) ([]inventory.Held, error) {
	var all []inventory.Held
	err := specs(ctx, s, kind, func(m access.Metadata, spec access.TargetSpec) {
		all = append(all, inventory.Held{Target: identity.Target{Kind: kind, Name: m.Name}, Scope: m.Scope, Spec: spec})
	})
	return all, err
}
