package cmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/client"
)

// ParseSSH reads the arguments of ssh.
func ParseSSH(args ...string) (login, node, command string, err error) {
	c := &cobra.Command{}
	flags := sshFlags(c)
	if err := c.ParseFlags(args); err != nil {
		return "", "", "", err
	}
	l, err := flags.read(c, c.Flags().Args())
	return l.options.user, l.node, l.command, err
}

// Lookup is what ssh asks of an API that the test serves.
type Lookup struct {
	Client  *client.Client
	Profile *profile.Profile
}

// Unaltered says whether what is built in stands in a file as the API has it.
func (l Lookup) Unaltered(ctx context.Context, file string) error {
	a := &app{Process: Process{In: strings.NewReader(file)}}
	list, err := a.read("-")
	if err == nil {
		err = creatable(list, true)
	}
	if err != nil {
		return err
	}
	return unaltered(ctx, session{profile: l.Profile, client: l.Client}, list)
}

// Missing explains why no proxy leads to a node.
func (l Lookup) Missing(ctx context.Context, node string, err error) error {
	return session{profile: l.Profile, client: l.Client}.missing(ctx, node, err)
}

// Proxies returns the addresses that ssh dials.
func (l Lookup) Proxies(ctx context.Context) ([]string, error) {
	return session{profile: l.Profile, client: l.Client}.proxies(ctx)
}
