package cmd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stile-dev/stile/cli/output"
	played "github.com/stile-dev/stile/cli/recording"
	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// Formats of recordings beyond those of lists.
const (
	formatText = output.Format(played.Text)
	formatCast = output.Format(played.Cast)
	formatRaw  = output.Format(played.Raw)
)

func (a *app) recording() *cobra.Command {
	c := &cobra.Command{
		Use: "recording", Short: "List, play, export, search and verify recordings of sessions",
		Args: unknownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.recordingLs(), a.recordingPlay(), a.recordingExport(), a.recordingSearch(), a.recordingVerify())
	for _, sub := range c.Commands() {
		sub.ValidArgsFunction = cobra.NoFileCompletions
		if strings.HasSuffix(sub.Use, " ID") {
			sub.ValidArgsFunction = a.completeRecordings
		}
	}
	return c
}

// completeRecordings offers the newest recordings that may be listed. Without a login or the API it offers nothing.
func (a *app) completeRecordings(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	s, err := a.session()
	if len(args) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), lookup)
	defer cancel()
	var out []cobra.Completion
	for r, err := range s.client.Recordings(ctx, client.RecordingQuery{}) {
		if err != nil || len(out) == 50 {
			break
		}
		out = append(out, cobra.CompletionWithDesc(escape.Text(r.SessionID), escape.Text(r.User+" on "+r.Node)))
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// narrowing adds the flags that narrow a list, and returns a function that reads them.
func (a *app) narrowing(c *cobra.Command) func() (client.RecordingQuery, error) {
	user := c.Flags().String("user", "", "only recordings of this user's sessions")
	target := c.Flags().String("target", "", "only those on this target: KIND/NAME, or the name of a node")
	since := c.Flags().String("since", "", "only sessions that began since: 24h, 7d, 2006-01-02 (its beginning, here), '2006-01-02 15:04:05' (here), or a time as in RFC 3339; without it, a week before --until or now")
	until := c.Flags().String("until", "", "only sessions that began before, written as --since; a list is of at most 92 days")
	return func() (client.RecordingQuery, error) {
		q := client.RecordingQuery{User: *user, Target: *target}
		if err := filled(c, "user", "target", "since", "until"); err != nil {
			return q, err
		}
		if q.Target != "" && !strings.Contains(q.Target, "/") {
			q.Target = names.KindNode + "/" + q.Target
		}
		var err error
		if q.Target != "" { // which kinds there are the API knows
			if _, err = identity.ParseTarget(q.Target); err != nil {
				return q, err
			}
		}
		q.Since, q.Until, err = between(*since, *until, a.Now())
		return q, err
	}
}

// moment reads a time, or how long ago it was.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	ago, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var n int
		if n, err = strconv.Atoi(days); n > 36500 {
			err = errors.New("too long")
		}
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return time.Time{}, fault.Newf(fault.BadInput, "write how long ago, such as 24h or 7d and at most 36500d, a day such as 2006-01-02, or a time such as '2006-01-02 15:04:05' (here) or 2006-01-02T15:04:05Z", "%s doesn't take %q", flag, text)
	}
	return now.Add(-ago), nil
}

func (a *app) recordingLs() *cobra.Command {
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the recordings of sessions that you may see, newest first",
		Long: "List the recordings of sessions that you may see, newest first. A session is there once its agent has told of it, which it\n" +
			"does when the session begins; one that was not recorded is not there. An open one lasts, or S3 doesn't have it whole yet; of an\n" +
			"incomplete one nothing was heard for two hours. BYTES is what it showed. For its command: stile audit ls --session ID.",
		Example: "  stile recording ls --user ada --since 7d\n  stile recording ls --target node/web-1 --since 2006-01-02 --until 2006-01-03\n  stile recording ls --target node/web-1 --format json",
		Args:    exactly(0, "stile recording ls"),
	}
	query := a.narrowing(c)
	format := formatFlag(c, output.Table, append([]output.Format{formatText}, output.Formats...)...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		q, err := query()
		if err != nil {
			return err
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		list := []wire.Recording{}
		for r, err := range s.client.Recordings(c.Context(), q) {
			if err != nil {
				return silence(err)
			}
			list = append(list, r)
		}
		if len(list) == 0 && (f == output.Table || f == formatText) {
			_, err := fmt.Fprintln(a.Out, "There are no recordings of that time, user and target that your roles let you see; --since looks further back")
			return err
		}
		return output.Print(a.Out, f, list, recordingRows(list))
	}
	return c
}

func recordingRows(list []wire.Recording) output.Rows {
	rows := output.Rows{Header: []string{"SESSION", "USER", "LOGIN", "NODE", "STARTED", "LASTED", "STATE", "BYTES"}}
	for _, r := range list {
		lasted, size := "", ""
		if !r.Ended.IsZero() {
			lasted, size = r.Ended.Sub(r.Started).Round(time.Second).String(), strconv.FormatInt(r.Bytes, 10)
		}
		rows.Lines = append(rows.Lines, []string{r.SessionID, r.User, r.Login, r.Node, r.Started.Local().Format(time.DateTime), lasted, r.State, size})
	}
	return rows
}

// reading logs in and opens a recording.
func (a *app) reading(id string) (session, *played.Reader, error) {
	if !identity.ValidID("ses", id) {
		return session{}, nil, fault.Newf(fault.BadInput, "name one that stile recording ls lists", "%.64q is not a session's id", id)
	}
	s, err := a.session()
	if err != nil {
		return session{}, nil, err
	}
	return s, played.Open(s.archive(), id, a.Now), nil
}

func (a *app) recordingPlay() *cobra.Command {
	var o played.Options
	c := &cobra.Command{
		Use:   "play ID",
		Short: "Play a recording in the terminal, or print what it showed",
		Long: "Play a recording in the terminal, as it was shown. Space pauses, . shows the next output, the arrows go 5 seconds forth and back,\n" +
			"+ and - change the speed, q and Ctrl-C end it. What would change the terminal or make it answer is left out.\n" +
			"Without a terminal, and with --format text, it prints what was shown as lines of plain text. That you read it is in the audit log.",
		Example: "  stile recording play ses_01h2xcejqtf2nbrexx3vqjhp41 --speed 4 --idle-limit 2s\n  stile recording play ses_01h2xcejqtf2nbrexx3vqjhp41 --format text | less",
		Args:    exactly(1, "stile recording play ID"),
	}
	c.Flags().Float64Var(&o.Speed, "speed", 1, "how many times faster than it was, 0.1 to 64")
	c.Flags().DurationVar(&o.Idle, "idle-limit", 0, "shorten pauses to this; 0 leaves them")
	format := formatFlag(c, "", formatText, output.JSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !(o.Speed >= 0.1 && o.Speed <= 64) || o.Idle < 0 {
			return fault.New(fault.BadInput, "it can't be played like that", "use --speed from 0.1 to 64, and an --idle-limit such as 2s")
		}
		f := formatText
		if c.Flags().Changed("format") {
			var err error
			if f, err = format(); err != nil {
				return err
			}
		}
		_, r, err := a.reading(args[0])
		if err != nil {
			return err
		}
		if c.Flags().Changed("format") || !shell.IsTerminal(a.Out) {
			return silence(a.print(c.Context(), r, a.Out, played.Format(f), 0))
		}
		return silence(a.play(c.Context(), r, o))
	}
	return c
}

// print prints a recording, and warns of what is missing in it.
func (a *app) print(ctx context.Context, r *played.Reader, w io.Writer, f played.Format, stream byte) error {
	b := bufio.NewWriter(w)
	err := played.Print(ctx, r, b, f, stream, a.warn)
	return errors.Join(err, b.Flush())
}

// play plays in the terminal, and leaves it as it was.
func (a *app) play(ctx context.Context, r *played.Reader, o played.Options) error {
	ctx, stop := stoppable(ctx)
	defer stop()
	playing, quit := context.WithCancel(ctx)
	defer quit()
	out := a.Out.(*os.File)
	if w, h, err := term.GetSize(int(out.Fd())); err == nil {
		o.Width, o.Height = w, h
	}
	// In raw mode a line feed alone doesn't go to the first column.
	o.Warn = func(text string) { _, _ = fmt.Fprintf(a.Err, "stile: warning: %s\r\n", escape.Text(text)) }
	back := func() {}
	if shell.IsTerminal(a.In) {
		in := a.In.(*os.File)
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("setting the terminal to raw mode: %w", err)
		}
		back = func() { _ = term.Restore(int(in.Fd()), before) }
		keys := make(chan played.Key, 16)
		go played.ReadKeys(in, keys, quit)
		o.Keys = keys
	}
	notes, err := played.Play(playing, r, out, o)
	_, _ = io.WriteString(out, "\r\n")
	back()
	for _, n := range notes {
		a.warn(n)
	}
	if playing.Err() != nil && ctx.Err() == nil {
		return nil // a key ended it, maybe while it waited for S3
	}
	return err
}

// stoppable ends its context on a signal, so that what is open is left in order.
func stoppable(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

func (a *app) recordingExport() *cobra.Command {
	var file, stream string
	c := &cobra.Command{
		Use:   "export ID",
		Short: "Write a recording as asciicast, text, JSON or the bytes that the client got",
		Long: "Write a recording. cast is asciicast v2, which asciinema plays; of a session without a terminal each line feed in it has a carriage\n" +
			"return before it. text is what was shown as lines of plain text; json has one object per line; raw is the exact bytes that the\n" +
			"client got. cast and raw give orders to a terminal and are therefore not written to one. That you read it is in the audit log.",
		Example: "  stile recording export ses_01h2xcejqtf2nbrexx3vqjhp41 --format cast --output session.cast",
		Args:    exactly(1, "stile recording export ID --format cast --output FILE"),
	}
	format := formatFlag(c, formatCast, formatCast, formatText, output.JSON, formatRaw)
	c.Flags().StringVarP(&file, "output", "o", "", "the file to write, which must not exist; without it, the standard output")
	c.Flags().StringVar(&stream, "stream", "", "for raw: stdout or stderr alone")
	offer(c, "stream", "stdout", "stderr")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		only, known := map[string]byte{"": 0, "stdout": recording.Stdout, "stderr": recording.Stderr}[stream]
		if !known || only != 0 && f != formatRaw {
			return fault.New(fault.BadInput, "such a stream can't be written alone", "use --format raw with --stream stdout or --stream stderr")
		}
		if file == "" && (f == formatCast || f == formatRaw) && shell.IsTerminal(a.Out) {
			return fault.Newf(fault.BadInput, "name a file with --output, or use --format text", "%s isn't written to a terminal, which would obey it", f)
		}
		_, r, err := a.reading(args[0])
		if err != nil {
			return err
		}
		if file == "" {
			return silence(a.print(c.Context(), r, a.Out, played.Format(f), only))
		}
		return silence(a.export(c.Context(), r, file, played.Format(f), only))
	}
	return c
}

// export writes a file whole, or none.
func (a *app) export(ctx context.Context, r *played.Reader, file string, f played.Format, stream byte) error {
	ctx, stop := stoppable(ctx)
	defer stop()
	w, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.Newf(fault.Conflict, "name another with --output, or remove it", "%s exists", file)
	}
	if err != nil {
		return fault.New(fault.BadInput, err.Error(), "name a file that can be written with --output")
	}
	err = errors.Join(a.print(ctx, r, w, f, stream), w.Close())
	if err != nil {
		_ = os.Remove(file)
	}
	return err
}

func (a *app) recordingSearch() *cobra.Command {
	var fold bool
	c := &cobra.Command{
		Use:   "search TEXT",
		Short: "Search what sessions showed, in the recordings that you may read",
		Long: "Search the lines that sessions showed. It reads each recording from S3, so narrow it down. A full-screen program's output is\n" +
			"found as it was written, which may be in fragments. Each recording that it reads is noted as read in the audit log.\n" +
			"At the end it says how many it has read; those that it couldn't read whole it names, and the exit status is then 6.",
		Example: "  stile recording search 'DROP TABLE' --since 24h --target web-1",
		Args:    exactly(1, "stile recording search TEXT"),
	}
	query := a.narrowing(c)
	c.Flags().BoolVarP(&fold, "ignore-case", "i", false, "make no difference between upper and lower case")
	format := formatFlag(c, formatText, formatText, output.JSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		q, err := query()
		if err != nil {
			return err
		}
		if args[0] == "" {
			return fault.New(fault.BadInput, "there is nothing to search for", "type: stile recording search TEXT")
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		return silence(a.search(c.Context(), s.client.Recordings(c.Context(), q), s.archive(), matcher(args[0], fold), f))
	}
	return c
}

func matcher(text string, fold bool) func(string) bool {
	if !fold {
		return func(line string) bool { return strings.Contains(line, text) }
	}
	text = strings.ToLower(text)
	return func(line string) bool { return strings.Contains(strings.ToLower(line), text) }
}

// match is a line that was found.
type match struct {
	Session string    `json:"session_id"`
	User    string    `json:"user"`
	Login   string    `json:"login"`
	Node    string    `json:"node"`
	Time    time.Time `json:"time"`
	At      float64   `json:"at"` // seconds since the session's start
	Line    string    `json:"line"`
}

// search searches one recording of a list after another. It names those that couldn't be read whole, and says at the end, or where
// something ends it, how many it could and couldn't read.
func (a *app) search(ctx context.Context, list iter.Seq2[wire.Recording, error], source played.Source, matches func(string) bool, f output.Format) error {
	read, matched, part := 0, 0, 0
	each := func(rec wire.Recording) error {
		whole, err := played.Search(ctx, played.Open(source, rec.SessionID, a.Now), matches, func(at time.Duration, line string) error {
			matched++
			m := match{rec.SessionID, rec.User, rec.Login, rec.Node, rec.Started.Add(at).UTC().Truncate(time.Millisecond), played.Seconds(at), line}
			return a.printMatch(f, m)
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			part++
			a.warn(fmt.Sprintf("%s of %s on %s was not read to its end: %s", rec.SessionID, rec.User, rec.Node, reason(err)))
		case !whole:
			part++
			a.warn(fmt.Sprintf("%s of %s on %s isn't whole: something is missing or was changed in it, or it hasn't ended; see: stile recording verify %s", rec.SessionID, rec.User, rec.Node, rec.SessionID))
		default:
			read++
		}
		return nil
	}
	var failed error
	for rec, err := range list {
		if failed = err; failed == nil {
			failed = each(rec)
		}
		if failed != nil {
			break
		}
	}
	if failed != nil && read+part == 0 {
		return failed
	}
	if part > 0 {
		a.status = fault.Unavailable.Exit()
	}
	_, err := fmt.Fprintf(a.Err, "stile: %s found; %s read whole, %d not\n", played.Count(matched, "line"), played.Count(read, "recording"), part)
	return cmp.Or(failed, err)
}

// reason is what people see of an error.
func reason(err error) string {
	if f := fault.From(err); f.Code != fault.Internal {
		return f.Message
	}
	return err.Error()
}

func (a *app) printMatch(f output.Format, m match) error {
	if f == output.JSON {
		return output.Line(a.Out, m)
	}
	_, err := fmt.Fprintf(a.Out, "%s %s %s@%s: %s\n", escape.Text(m.Session), m.Time.Local().Format(time.DateTime), escape.Text(m.User), escape.Text(m.Node), escape.Text(m.Line))
	return err
}

func (a *app) recordingVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify ID",
		Short: "Check that a recording is what was recorded, and whole",
		Long: "Check a recording: that its chunks follow one another by their hashes, that the agent of its target signed what it consists of,\n" +
			"and that the audit log, written while the session lasted, has the same hashes. All versions of all objects are read, and the keys\n" +
			"are those of this machine's trust documents. It says what is proven, and what can't be. The exit status is 1 when something is wrong.",
		Example: "  stile recording verify ses_01h2xcejqtf2nbrexx3vqjhp41\n  stile recording verify ses_01h2xcejqtf2nbrexx3vqjhp41 --format json",
		Args:    exactly(1, "stile recording verify ID"),
	}
	format := formatFlag(c, formatText, formatText, output.JSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		s, r, err := a.reading(args[0])
		if err != nil {
			return err
		}
		return silence(a.verify(c.Context(), s, r, args[0], f))
	}
	return c
}

func (a *app) verify(ctx context.Context, s session, r *played.Reader, id string, f output.Format) error {
	e := played.Evidence{Events: s.client.SessionEvents(ctx, id), Entry: func() (wire.Recording, error) { return s.client.GetRecording(ctx, id) }}
	trust, err := s.profile.Trusted()
	if err != nil {
		a.warn(fault.From(err).Message)
	} else {
		e.Hosts = append(e.Hosts, trust.CA(names.KeyHostX509))
	}
	report, err := played.Verify(ctx, r, e)
	if err != nil {
		return err
	}
	if report.Bad {
		a.status = fault.Internal.Exit()
	}
	if f == output.JSON {
		return output.Line(a.Out, report)
	}
	if err := report.Print(a.Out); err != nil {
		return err
	}
	end := "Nothing is wrong, but not everything could be proven"
	switch {
	case report.Bad:
		end = "The recording is not as it was made"
	case report.Whole:
		end = "The recording is whole, and as it was made"
	}
	_, err = fmt.Fprintln(a.Out, end)
	return err
}
