package cmd

import (
	"bufio"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// exported is what somebody asks to be exported.
type exported struct {
	since, until, out, cursor string
	follow                    bool
}

func (a *app) auditExport() *cobra.Command { return a.exportCommand(a.session) }

func (a *app) exportCommand(login func() (session, error)) *cobra.Command {
	var q exported
	c := &cobra.Command{
		Use:   "export",
		Short: "Write all events of a time, for another system",
		Long: "Write all events that you may see and that were received in a time, in the order of their arrival, one per line: as stile\n" +
			"audit ls does, but for programs. It takes the same memory however many there are.\n" +
			"--cursor FILE keeps how far it has come. The next time it goes on from there, and --since is of no more account: nothing is\n" +
			"left out whatever ended it, and only what was written since the cursor was comes again. Events have an id to tell them by.\n" +
			"-o FILE writes to a new file, and with --cursor to the end of one, from which what a crash left of a line is removed first.\n" +
			"--follow goes on with what is received from then on, until you end it or your login does.",
		Args: exactly(0, "stile audit export --since 24h --cursor stile.cursor"),
		Example: "  stile audit export --since 30d > events.ndjson\n  stile audit export --since 1h --cursor stile.cursor -o events.ndjson\n" +
			"  stile audit export --since 1h --cursor stile.cursor --format ocsf --follow | forwarder",
	}
	c.Flags().StringVar(&q.since, "since", "", "what was received since, written as for stile audit ls; with a cursor that is there already, that is where it goes on")
	c.Flags().StringVar(&q.until, "until", "", "what was received before; now without it")
	c.Flags().StringVarP(&q.out, "output", "o", "", "write to this file instead of standard output: a new one, or with --cursor to its end")
	c.Flags().StringVar(&q.cursor, "cursor", "", "file that keeps how far it has come; it is made if it isn't there")
	c.Flags().BoolVar(&q.follow, "follow", false, "go on with what is received from then on")
	format := formatFlag(c, formatNDJSON, formatNDJSON, formatOCSF)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err == nil {
			err = filled(c, "since", "until", "output", "cursor")
		}
		if err != nil {
			return err
		}
		query := client.EventQuery{}
		if query.Since, query.Until, err = between(q.since, q.until, a.Now()); err != nil {
			return err
		}
		if q.follow && q.until != "" {
			return fault.New(fault.BadInput, "what is received from now on isn't before --until", "leave out --until or --follow")
		}
		s, err := login()
		if err != nil {
			return err
		}
		e := export{asked: q, listing: listing{app: a, client: s.client, query: query}}
		if err := e.open(s, f); err != nil {
			return err
		}
		return silence(e.close(e.run(c, f)))
	}
	return c
}

// saveEach is how many pages are written before the cursor is, and a page has up to a hundred events.
const saveEach = 10

// export writes events for another system.
type export struct {
	listing
	asked  exported
	cursor *cursor
	file   *os.File // nil is standard output
	out    *bufio.Writer
	pages  int // since the cursor was written
	wrote  int // events by then
}

// open reads the cursor and opens the file.
func (e *export) open(s session, f output.Format) (err error) {
	if e.asked.cursor != "" {
		if e.cursor, err = openCursor(e.asked.cursor, s.credential); err != nil {
			return err
		}
	}
	goesOn := e.cursor != nil && e.cursor.there
	switch {
	case goesOn:
		e.query.Since, e.firm = e.cursor.place.From, e.cursor.place.From
		for _, key := range e.cursor.place.Seen {
			e.seen.put(key, e.cursor.place.To)
		}
	case e.query.Since.IsZero():
		return fault.New(fault.BadInput, "it isn't said where to begin", "give --since, such as --since 24h, or a --cursor that an export has left")
	}
	if e.asked.out == "" {
		return nil
	}
	if e.cursor != nil && same(e.asked.out, e.asked.cursor) {
		return fault.New(fault.BadInput, "--output and --cursor name one file", "give each its own")
	}
	e.file, err = outlet(e.asked.out, goesOn, f)
	return err
}

func same(a, b string) bool {
	one, err := os.Stat(a)
	other, wrong := os.Stat(b)
	if err == nil && wrong == nil {
		return os.SameFile(one, other)
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

// close closes the file and returns the first error.
func (e *export) close(err error) error {
	if e.file == nil {
		return err
	}
	if closed := e.file.Close(); err == nil && closed != nil {
		err = unwritten(closed)
	}
	return err
}

func (e *export) run(c *cobra.Command, f output.Format) error {
	to := e.Out
	if e.file != nil {
		to = e.file
	}
	e.out = bufio.NewWriterSize(outgoing{to}, 64<<10)
	into := *e.app
	into.Out = e.out
	e.printer = into.printer(f)
	if e.cursor != nil && e.cursor.there && !e.query.Until.IsZero() && !e.query.Until.After(e.firm) {
		e.warn("the cursor is behind --until already: there is nothing left to export")
		return nil
	}
	e.before, e.after = e.check, e.leave
	if e.asked.follow {
		return e.listing.follow(c.Context())
	}
	return e.all(c.Context())
}

// check refuses a cursor that the ledger has lost what is behind, and makes a new one before anything is written.
func (e *export) check(page wire.ReceivedEvents) error {
	if e.cursor == nil {
		return nil
	}
	p, kept := e.cursor.place, e.oldest(page)
	switch {
	case !e.cursor.there:
		if e.firm = page.Since; e.firm.Before(kept) {
			e.firm = kept
		}
		return e.cursor.save(place{From: e.firm, To: e.firm})
	case p.From.After(page.Until):
		return fault.Newf(fault.Conflict, "set this right where the cursor is from, or name another file and say by --since where to begin",
			"the cursor is at %s, which the API's clock says is still to come", p.From.Local().Format(time.DateTime))
	case p.From.Before(kept):
		return fault.Newf(fault.Conflict, "name another file and begin with --since 30d; what expired meanwhile may be in the lake",
			"the cursor is at %s, and the audit log keeps events for 30 days: what was received in between can't be exported any more", p.From.Local().Format(time.DateTime))
	}
	return nil
}

// oldest is from when on the ledger has everything. A page that ends in the past, by --until, doesn't tell the time.
func (e *export) oldest(page wire.ReceivedEvents) time.Time {
	now := page.Until
	if here := e.Now(); here.After(now) {
		now = here
	}
	return now.Add(-retention)
}

// leave has a page's events leave the process, and then the cursor say so.
func (e *export) leave(page wire.ReceivedEvents) error {
	if err := e.out.Flush(); err != nil {
		return err
	}
	if e.pages++; e.cursor == nil || page.Next != "" && e.pages < saveEach {
		return nil
	}
	if n := e.printer.count(); page.Next != "" || n > e.wrote || e.firm.Sub(e.cursor.place.From) >= lateEach*time.Second {
		if err := e.settle(); err != nil {
			return unwritten(err)
		}
		e.pages, e.wrote = 0, n
		return e.cursor.save(place{From: e.firm, To: page.Until, Seen: e.seen.since(e.firm)})
	}
	return nil
}

// settle has what was written survive a crash of the machine, where it went into a file.
func (e *export) settle() error {
	f := e.file
	if f == nil {
		f, _ = e.Out.(*os.File)
	}
	if f == nil {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Sync()
}

// outgoing says of what can't be written what to do about it.
type outgoing struct{ to io.Writer }

func (o outgoing) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil {
		err = unwritten(err)
	}
	return n, err
}

func unwritten(err error) error {
	return fault.New(fault.Internal, "events can't be written any further", "free room where they go, or see why their reader ended; then type the command again: with --cursor it goes on").Because(err)
}

// since returns the keys of what was received at a time or later.
func (s *seen) since(t time.Time) (out [][sha256.Size]byte) {
	for _, o := range s.order {
		if !o.at.Before(t) {
			out = append(out, o.key)
		}
	}
	return out
}
