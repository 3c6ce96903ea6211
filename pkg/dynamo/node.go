package dynamo

import (
	"context"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/names"
)

// Nodes gives the nodes that agents hold the names of.
func (s *Store) Nodes(ctx context.Context) ([]inventory.Node, error) {
	var all []inventory.Node
	err := specs(ctx, s, names.Node, func(m access.Metadata, spec access.NodeSpec) {
		all = append(all, inventory.Node{Name: m.Name, Scope: m.Scope, Spec: spec})
	})
	return all, err
}
