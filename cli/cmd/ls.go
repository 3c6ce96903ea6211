package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

func (a *app) ls() *cobra.Command {
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the nodes that you may reach, with labels and whether they are online",
		Args:  exactly(0, "stile ls"),
	}
	format := formatFlag(c, output.Table, output.Formats...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		list, err := s.client.ListTargets(c.Context(), names.KindNode)
		if err != nil {
			return silence(err)
		}
		if err := s.profile.SetProxies(list.Proxies); err != nil {
			a.warn("the proxies' addresses were not saved: " + fault.From(err).Message)
		}
		if list.Targets == nil {
			list.Targets = []wire.Target{}
		}
		if len(list.Targets) == 0 && f == output.Table {
			_, err := fmt.Fprintln(a.Out, "There are no nodes that you may reach")
			return err
		}
		return output.Print(a.Out, f, list.Targets, rows(list.Targets))
	}
	return c
}

func rows(targets []wire.Target) output.Rows {
	out := output.Rows{Header: []string{"NAME", "KIND", "STATE", "LOGINS", "LABELS"}}
	for _, n := range targets {
		state := "offline"
		if n.Online {
			state = "online"
		}
		out.Lines = append(out.Lines, []string{n.Name, n.Kind, state, strings.Join(n.Logins, ","), output.Labels(n.Labels)})
	}
	return out
}
