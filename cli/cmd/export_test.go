package cmd

import (
	"context"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/client"
)

// Lookup is what ssh asks of an API that the test serves.
type Lookup struct {
	Client  *client.Client
	Profile *profile.Profile
}

// Missing explains why no proxy leads to a node.
func (l Lookup) Missing(ctx context.Context, node string, err error) error {
	return session{profile: l.Profile, client: l.Client}.missing(ctx, node, err)
}

// Proxies returns the addresses that ssh dials.
func (l Lookup) Proxies(ctx context.Context) ([]string, error) {
	return session{profile: l.Profile, client: l.Client}.proxies(ctx)
}
