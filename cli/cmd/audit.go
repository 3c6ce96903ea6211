package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/wire"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Show what the audit log has of a session",
		Args: unknownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	ls := a.auditLs()
	ls.ValidArgsFunction = cobra.NoFileCompletions
	c.AddCommand(ls)
	return c
}

func (a *app) auditLs() *cobra.Command {
	c := &cobra.Command{
		Use:   "ls --session ID",
		Short: "List the events of a session, oldest first, and whether they are proven",
		Long: "List the events of a session, oldest first: who was let in, how it was recorded, the command, its end, and who read the recording.\n" +
			"A command is cut after 200 characters; --format json prints the events themselves, one per line, with all that they have.\n" +
			"An event is proven if the agent that it is from signed it, or if only its function can have written it.\n" +
			"stile recording ls lists ids of sessions that were recorded.",
		Args: exactly(0, "stile audit ls --session ID"),
	}
	id := c.Flags().String("session", "", "the session's id, as in stile recording ls")
	// It fails only for a flag that c doesn't have.
	_ = c.RegisterFlagCompletionFunc("session", func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeRecordings(c, nil, typed)
	})
	format := formatFlag(c, formatText, formatText, output.JSON)
	c.Example = "  stile audit ls --session ses_01h2xcejqtf2nbrexx3vqjhp41\n  stile audit ls --session ses_01h2xcejqtf2nbrexx3vqjhp41 --format json"
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		if !identity.ValidID("ses", *id) {
			if *id == "" {
				return fault.New(fault.BadInput, "no session was named", "type: stile audit ls --session ID, with an id that stile recording ls lists")
			}
			return fault.Newf(fault.BadInput, "name one that stile recording ls lists", "%.64q is not a session's id", *id)
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		found := false
		for e, err := range s.client.SessionEvents(c.Context(), *id) {
			if err == nil {
				found, err = true, a.printEvent(f, e)
			}
			if err != nil {
				return silence(err)
			}
		}
		if !found {
			_, err = fmt.Fprintln(a.Err, "There are no events of that session that your roles let you see; the audit log keeps events for 30 days")
		}
		return err
	}
	return c
}

// told is what a line shows of an event's data, in this order. All of it is in --format json.
var told = []string{"login", "recording", "command", "exit_status", "exit_signal", "chunks", "missing"}

// printEvent prints an event on one line.
func (a *app) printEvent(f output.Format, l wire.LedgerEvent) error {
	e, err := audit.Parse([]byte(l.Event))
	if f == output.JSON && err == nil {
		return output.Line(a.Out, json.RawMessage(l.Event))
	}
	if f == output.JSON {
		a.warn("an event that can't be read is left out")
		return nil
	}
	if err != nil {
		e.Reason = "it can't be read"
	}
	line := []string{fmt.Sprintf("%s  %-8s  %-18s  %-7s  %s", e.Time.Local().Format(time.DateTime), l.Standing, e.Type, e.Outcome, e.Actor)}
	if e.Target != "" {
		line = append(line, e.TargetKind+"/"+e.Target)
	}
	for _, key := range told {
		if v := e.Data[key]; v != "" {
			line = append(line, fmt.Sprintf("%s=%.200q", key, v))
		}
	}
	for _, text := range []string{e.Reason, l.Why} {
		if text != "" {
			line = append(line, text)
		}
	}
	_, err = fmt.Fprintln(a.Out, escape.Text(strings.Join(line, "  ")))
	return err
}
