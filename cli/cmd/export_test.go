package cmd

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/profile"
	played "github.com/stile-dev/stile/cli/recording"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/wire"
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
	Now     func() time.Time // of Answer; nil: time.Now
}

// Unaltered says whether what can't be changed stands in a file as the API has it.
func (l Lookup) Unaltered(ctx context.Context, file string) error {
	_, err := l.checked(ctx, &app{Process: Process{In: strings.NewReader(file)}})
	return err
}

func (l Lookup) checked(ctx context.Context, a *app) ([]entry, error) {
	list, err := a.read("-")
	if err == nil {
		err = creatable(list, true)
	}
	if err == nil {
		err = unaltered(ctx, session{profile: l.Profile, client: l.Client}, list, true)
	}
	return list, err
}

// Replace writes a file, and what is said of it.
func (l Lookup) Replace(ctx context.Context, file, format string, out io.Writer) error {
	a := &app{Process: Process{In: strings.NewReader(file), Out: out, Err: io.Discard}}
	list, err := l.checked(ctx, a)
	if err != nil {
		return err
	}
	return a.writeAll(ctx, session{profile: l.Profile, client: l.Client}, list, true, output.Format(format))
}

// CreateToken creates the token of a file, and prints the command that installs agents by it.
func (l Lookup) CreateToken(ctx context.Context, file, from, sums string, replace bool, out, errs io.Writer) error {
	a := &app{Process: Process{In: strings.NewReader(file), Out: out, Err: errs}}
	list, err := a.read("-")
	if err != nil {
		return err
	}
	s := session{profile: l.Profile, client: l.Client}
	return a.issueToken(ctx, s, list[0], installation{from: from, sums: sums, form: "user-data", replace: replace})
}

// Remove deletes what is named, and says how that went.
func (l Lookup) Remove(ctx context.Context, out, errs io.Writer, args ...string) error {
	a := &app{Process: Process{Out: out, Err: errs}}
	list, err := removals(args)
	if err == nil {
		err = a.removeAll(ctx, session{profile: l.Profile, client: l.Client}, list)
	}
	if err != nil {
		a.tell(&cobra.Command{}, err)
	}
	return err
}

// Body writes what an event had no room for.
func (l Lookup) Body(ctx context.Context, sum string, out io.Writer) error {
	return (&app{Process: Process{Out: out}}).writeBody(ctx, l.Client, sum)
}

// Missing explains why no proxy leads to a node.
func (l Lookup) Missing(ctx context.Context, node string, err error) error {
	return session{profile: l.Profile, client: l.Client}.missing(ctx, node, err)
}

// Proxies returns the addresses that ssh dials.
func (l Lookup) Proxies(ctx context.Context) ([]string, error) {
	return session{profile: l.Profile, client: l.Client}.proxies(ctx)
}

// EventLine is what audit ls prints of an event.
func EventLine(l wire.LedgerEvent) (string, error) {
	var out strings.Builder
	a := &app{Process: Process{Out: &out}}
	err := a.printEvent(formatText, l)
	return out.String(), err
}

// WholeEvents are what people read of the events of a decision.
func WholeEvents(all ...wire.LedgerEvent) (string, error) {
	var out strings.Builder
	p := &whole{app: &app{Process: Process{Out: &out}}}
	for _, l := range all {
		if err := p.print(l); err != nil {
			return out.String(), err
		}
	}
	return out.String(), p.end()
}

// Export exports what an API that the test serves has, as a command line says, at a time.
func (l Lookup) Export(ctx context.Context, who profile.Credential, now time.Time, out, errs io.Writer, args ...string) error {
	a := &app{Process: Process{Out: out, Err: errs, Now: func() time.Time { return now }}}
	c := a.exportCommand(func() (session, error) { return session{profile: l.Profile, client: l.Client, credential: who}, nil })
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetErr(errs)
	return c.ExecuteContext(ctx)
}

// Verify asks what statements prove that an API has that the test serves, as a command line says, at a time, and returns the exit
// status.
func (l Lookup) Verify(ctx context.Context, now time.Time, out io.Writer, args ...string) (status int, err error) {
	a := &app{Process: Process{Out: out, Err: io.Discard, Now: func() time.Time { return now }}}
	c := a.verifyCommand(func() (session, error) { return session{profile: l.Profile, client: l.Client}, nil })
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.ExecuteContext(ctx)
	return a.status, err
}

// FailCursor has the n-th writing of a cursor from now on fail, or what comes after it, until the function that it returns is called.
func FailCursor(n int, after bool) (mend func()) {
	whole := writeCursor
	writeCursor = func(path string, b []byte) error {
		n--
		if n == -1 && !after {
			return errors.New("killed")
		}
		err := whole(path, b)
		if n == -1 {
			err = errors.New("killed")
		}
		return err
	}
	return func() { writeCursor = whole }
}

// EventRecord returns what audit ls prints of an event as OCSF, and what it warns of.
func EventRecord(l wire.LedgerEvent) (string, string, error) {
	var out, errs strings.Builder
	a := &app{Process: Process{Out: &out, Err: &errs}}
	err := a.printEvent(formatOCSF, l)
	return out.String(), errs.String(), err
}

// SearchRecordings searches a list of recordings in a source for a text, and returns the exit status that it leaves.
func SearchRecordings(ctx context.Context, list iter.Seq2[wire.Recording, error], source played.Source, text string, out, errs io.Writer) (int, error) {
	a := &app{Process: Process{Out: out, Err: errs, Now: time.Now}}
	err := a.search(ctx, list, source, matcher(text, false), output.JSON)
	return a.status, err
}

// Answer asks an API that the test serves, and prints.
func (l Lookup) Answer(ctx context.Context, format string, r wire.QueryRequest, out, errs io.Writer) error {
	a := &app{Process: Process{Out: out, Err: errs, Now: l.Now}}
	if a.Now == nil {
		a.Now = time.Now
	}
	return a.answer(ctx, l.Client, output.Format(format), r)
}
