package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
)

// columns are the counts of a line of the running report.
const columns = "%8v  %8v  %8v  %8v  %8v  %8v  %8v  %8v  %8v\n"

func header(w io.Writer) {
	fmt.Fprintf(w, columns, "TIME", "SESSIONS", "MIB", "LOGINS", "LISTS", "WRITES", "REVOKED", "TROUBLES", "BROKEN")
}

// report prints a line now and then until the context ends.
func (r *run) report(ctx context.Context) error {
	interval := max(20*time.Second, r.long/30)
	for pause(ctx, interval) {
		r.line(os.Stdout)
	}
	return nil
}

func (r *run) line(w io.Writer) {
	c := &r.counts
	fmt.Fprintf(w, columns, r.elapsed(), c.sessions.Load(), c.bytes.Load()>>20, c.logins.Load(), c.lists.Load(), c.writes.Load(),
		c.revocations.Load(), c.troubles.Load(), r.book.Breaches())
}

// final prints what was done, what processes held, and how each rule fared.
func (r *run) final(w io.Writer) {
	if r.began.IsZero() {
		return
	}
	fmt.Fprintln(w)
	header(w)
	r.line(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nHOW LONG IT TOOK\tMEDIAN / 95 % / LONGEST")
	fmt.Fprintf(t, "from a revocation to the end of the sessions\t%s\n", &r.counts.cuts)
	fmt.Fprintf(t, "from a changed role to the first other answer\t%s\n", &r.counts.changes)
	fmt.Fprintf(t, "from the end of a trouble, or a start, until all is well\t%s\n", &r.counts.recoveries)
	r.holdings(t)
	fmt.Fprintln(t, "\nRULE\tHELD\tEXCUSED\tBROKEN")
	for _, name := range rule.Names {
		c := r.book.Of(name)
		note := ""
		if c.Held+c.Broken == 0 {
			note = "  not tried"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d%s\n", name, c.Held, c.Excused, c.Broken, note)
	}
	_ = t.Flush()
	for _, name := range rule.Names {
		for _, text := range r.book.Of(name).Examples {
			breach(w, name, text)
		}
	}
	if len(r.book.Untried()) > 0 {
		fmt.Fprintln(w, "\nnot tried:", r.book.Untried())
	}
}

func breach(w io.Writer, name rule.Name, text string) {
	fmt.Fprintf(w, "\nbroken: %s\n  %s\n", name, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "))
}

// holdings prints what each life that was long enough held at first and in the end.
func (r *run) holdings(w io.Writer) {
	r.sampler.mu.Lock()
	defer r.sampler.mu.Unlock()
	fmt.Fprintln(w, "\nPROCESS\tRESTS\tSESSIONS\tMIB AT FIRST\tIN THE END\tFILES AT FIRST\tIN THE END")
	short := 0
	for _, l := range r.sampler.order {
		h := r.sampler.lives[l]
		m0, m1, enough := rule.Growth(h.memory)
		f0, f1, _ := rule.Growth(h.files)
		if !enough {
			short++
			continue
		}
		fmt.Fprintf(w, "%s (%d)\t%d\t%d\t%.1f\t%.1f\t%.0f\t%.0f\n", l.name, l.pid, len(h.memory), h.asked(), m0, m1, f0, f1)
	}
	if short > 0 {
		fmt.Fprintf(w, "%d more\tfewer than %d: not judged\n", short, rule.Fewest)
	}
	fmt.Fprintln(w, "\nGOROUTINES\tIN THE END\tJUST STARTED")
	for _, line := range r.dumps {
		fmt.Fprintln(w, line)
	}
	var state, spools int64
	state, _ = size(r.State)
	for _, name := range nodes {
		n, _ := size(filepath.Join(r.AgentHome(name), "state", "spool"))
		spools += n
	}
	fmt.Fprintf(w, "\nstate directory\t%d MiB\nspools\t%d KiB\nsessions whole in the ledger\t%d\n", state>>20, spools>>10, r.whole)
}
