package cmd

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

func (a *app) auditBody() *cobra.Command {
	c := &cobra.Command{
		Use:   "body SHA256",
		Short: "Print the whole of what an event had no room for",
		Long: "Print the whole of what an event had no room for: a resource before or after a change, or the SQL of a question. The event has its\n" +
			"SHA-256 in a field whose name ends in _sha256, as before_sha256. It is for users who may ask the audit lake, and the audit log holds\n" +
			"who was given it. To a terminal it is written with control characters made visible; to a file or a pipe as it is.",
		Example:           "  stile audit body 6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090",
		Args:              exactly(1, "stile audit body 6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := a.session()
		if err != nil {
			return err
		}
		return silence(a.writeBody(c.Context(), s.client, args[0]))
	}
	return c
}

// writeBody prints the text with a SHA-256: to a terminal without anything that it would obey, elsewhere as it is.
func (a *app) writeBody(ctx context.Context, c *client.Client, sum string) error {
	if err := audit.ReadSum(sum); err != nil {
		return err
	}
	text, err := c.AuditBody(ctx, sum)
	if err == nil && audit.Sum(text) != sum {
		err = fault.Newf(fault.Internal, "tell your administrator: somebody has replaced it", "what the API gives doesn't have the SHA-256 %s", sum)
	}
	if err != nil {
		return err
	}
	if shell.IsTerminal(a.Out) {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = escape.Text(lines[i])
		}
		text = strings.Join(lines, "\n") + "\n"
	}
	_, err = io.WriteString(a.Out, text)
	return err
}
