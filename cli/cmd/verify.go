package cmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// settling is how long after its end an hour has its statements, where nothing holds the checks up.
const settling = 3 * time.Hour

// sweeps is who makes statements: whoever else does proves nothing by them.
const sweeps = "function/sweep"

// meaning is what a check proves, and which events tell of what it found.
var meaning = map[string]struct{ proves, types string }{
	checked.Sequences:  {"no event of an agent is missing among those that it numbered", string(audit.LedgerGap)},
	checked.Lake:       {"the lake has each event that the ledger received, and no others", string(audit.LakeMissing) + "," + string(audit.LakeForeign)},
	checked.Canaries:   {"each column of the event that is written each hour to try it arrived in the lake", string(audit.EvidenceChecked)},
	checked.Signatures: {"each signature of the cluster's keys was meant by one of its functions", "signing"},
	checked.Recordings: {"each session that was to be recorded has its recording", string(audit.RecordingMissing) + "," + string(audit.RecordingAbandoned)},
}

// proof is what is printed as JSON.
type proof struct {
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Findings []finding `json:"findings"`
	Wrong    bool      `json:"wrong"` // something was found
	Whole    bool      `json:"whole"` // nothing was found, and nothing is left to prove
}

// finding is what is said of some hours of a check.
type finding struct {
	Kind  string    `json:"kind"` // proven, unproven, wrong
	Check string    `json:"check"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Text  string    `json:"text"` // a sentence that needs escaping
}

func (a *app) auditVerify() *cobra.Command { return a.verifyCommand(a.session) }

func (a *app) verifyCommand(login func() (session, error)) *cobra.Command {
	var since, until string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Say what the evidence proves, hour by hour, and what it can't",
		Long: "Say of each whole hour what the cluster's own checks have found, which run by themselves and state it in the audit log: that no\n" +
			"event of an agent is missing, that the lake has what the audit log received and no column of it is lost on the way, that\n" +
			"sessions have their recordings, and that whatever the cluster's keys signed was meant by one of its functions.\n" +
			"An hour without a statement was not checked, and counts as not proven; the last three hours may still be waiting for theirs.\n" +
			"The exit status is 1 unless everything is proven.",
		Args:    exactly(0, "stile audit verify --since 7d"),
		Example: "  stile audit verify --since 7d\n  stile audit verify --since 2026-11-01 --until 2026-11-08 --format json",
	}
	c.Flags().StringVar(&since, "since", "7d", "what was received since, written as for stile audit ls; the audit log keeps statements for 30 days")
	c.Flags().StringVar(&until, "until", "", "what was received before; three hours ago without it")
	format := formatFlag(c, formatText, formatText, output.JSON)
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err == nil {
			err = filled(c, "since", "until")
		}
		if err != nil {
			return err
		}
		p := proof{Findings: []finding{}}
		if p.Since, p.Until, err = between(since, until, a.Now()); err != nil {
			return err
		}
		s, err := login()
		if err != nil {
			return err
		}
		statements, now, err := statementsOf(c, s.client, p.Since)
		if err != nil {
			return err
		}
		if due := now.Add(-settling); p.Until.IsZero() || p.Until.After(due) {
			p.Until = due
		}
		if p.Until = p.Until.UTC().Truncate(checked.Hour); !p.Since.Add(checked.Hour).Before(p.Until) {
			return fault.New(fault.BadInput, "there is no whole hour in that time of which all must have been stated", "name an earlier time: --since 24h")
		}
		if len(statements) == 0 {
			return fault.New(fault.NotFound, "there are no statements of that time, or your roles don't let you see them",
				"wait if the cluster is younger than three hours: the first whole hour is stated half an hour after its end or later; otherwise ask for a role with the rules of the preset auditor, or look at the log of functions/sweep, which makes them")
		}
		p.take(checked.Sum(statements, p.Since, p.Until))
		if !p.Whole {
			a.status = fault.Internal.Exit()
		}
		return silence(a.prove(p, f))
	}
	return c
}

// statementsOf reads the statements of hours from a time on, and returns what time it is for the API.
func statementsOf(c *cobra.Command, from *client.Client, since time.Time) (all []checked.Statement, now time.Time, err error) {
	query := client.EventQuery{Types: []string{string(audit.EvidenceChecked)}, Since: since}
	_, now, err = from.Events(c.Context(), query, func(page wire.ReceivedEvents) error {
		for _, e := range page.Events {
			event, err := audit.Parse([]byte(e.Event))
			if err != nil || e.Standing != "proven" || event.Source != sweeps {
				continue
			}
			if s, ok := checked.Read(event); ok {
				all = append(all, s)
			}
		}
		return nil
	})
	return all, now, err
}

// take adds findings, check by check.
func (p *proof) take(all []checked.Summary) {
	p.Whole = true
	for _, s := range all {
		if s.Proved > 0 {
			p.Findings = append(p.Findings, finding{"proven", s.Check, p.Since, p.Until, fmt.Sprintf("%s, in %d of %d hours: %d looked at", meaning[s.Check].proves, s.Proved, s.Hours, s.Looked)})
		}
		for _, f := range s.Found {
			p.Wrong, p.Whole = true, false
			which := ""
			if f.Which != "" {
				which = ": " + f.Which
			}
			p.Findings = append(p.Findings, finding{"wrong", s.Check, f.From, f.To, fmt.Sprintf("%d of %d%s; see: stile audit ls --since %s --type %s", f.Found, f.Looked, which, f.From.Format(time.RFC3339), meaning[s.Check].types)})
		}
		for _, f := range s.Unproved {
			p.Whole = false
			why := f.Unproved
			if why == "" {
				why = "not checked: there is no statement"
			}
			p.Findings = append(p.Findings, finding{"unproven", s.Check, f.From, f.To, why})
		}
	}
}

// prove prints.
func (a *app) prove(p proof, f output.Format) error {
	if f == output.JSON {
		return output.Line(a.Out, p)
	}
	for _, f := range p.Findings {
		if _, err := fmt.Fprintf(a.Out, "%-9s %-11s %s to %s: %s\n", f.Kind, f.Check, f.Since.Local().Format(time.DateTime), f.Until.Local().Format(time.DateTime), escape.Text(f.Text)); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	end := "Nothing is wrong, but not everything could be proven"
	switch {
	case p.Wrong:
		end = "Something is wrong, or missing"
	case p.Whole:
		end = "All is as it should be, as far as these checks go"
	}
	if _, err := fmt.Fprintln(a.Out, end); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
