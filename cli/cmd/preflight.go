package cmd

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/preflight"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

func (a *app) preflight() *cobra.Command {
	var policy bool
	c := &cobra.Command{
		Use:   "preflight",
		Short: "Ask an AWS account what would be in the way of deploying Stile",
		Long: "Ask an AWS account what would be in the way of deploying Stile, with the AWS identity and in the Region of this shell.\n" +
			"This needs no cluster, and only reads. What couldn't be asked is unknown. The exit status is 7 when something would stop the deployment.",
		Example: "  stile preflight\n  AWS_PROFILE=prod AWS_REGION=eu-central-1 stile preflight --format json\n  stile preflight --policy",
		Args:    exactly(0, "stile preflight"),
	}
	format := formatFlag(c, output.Table, output.Formats...)
	c.Flags().BoolVar(&policy, "policy", false, "print the IAM policy that the checks need, and ask nothing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		if policy {
			_, err := fmt.Fprintln(a.Out, preflight.Policy())
			return err
		}
		aws, err := config.LoadDefaultConfig(c.Context(), config.WithLogger(logging.Nop{}))
		if err != nil {
			return fault.New(fault.BadInput, "this shell's AWS configuration can't be read",
				"check AWS_PROFILE and the files in ~/.aws").Because(err)
		}
		rows, err := preflight.Run(c.Context(), preflight.Config{AWS: aws, Now: a.Now})
		if err != nil {
			return err
		}
		if err := a.printPreflight(f, rows); err != nil {
			return err
		}
		return preflight.Judge(rows)
	}
	return c
}

// printPreflight prints what to do below the table, where it has room.
func (a *app) printPreflight(f output.Format, rows []preflight.Row) error {
	table := output.Rows{Header: []string{"VERDICT", "CHECK", "FOUND", "NEEDED"}}
	var hints strings.Builder
	for _, r := range rows {
		table.Lines = append(table.Lines, []string{string(r.Verdict), r.Check, r.Found, r.Needed})
		if r.Hint != "" {
			fmt.Fprintf(&hints, "%s: %s\n", r.Check, escape.Text(r.Hint))
		}
	}
	if err := output.Print(a.Out, f, rows, table); err != nil || f != output.Table || hints.Len() == 0 {
		return err
	}
	_, err := fmt.Fprint(a.Out, "\n"+hints.String())
	return err
}
