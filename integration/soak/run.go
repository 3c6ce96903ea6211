package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// How many of each run, and which of them are killed: the others are watched for leaks.
const (
	proxies     = "2"
	agents      = "3"
	steadyNode  = "node-1"
	victimNode  = "node-3"
	steadyProxy = "stile-proxy-0"
	victimProxy = "stile-proxy-1"
)

// nodes are those that the local AWS runs agents for.
var nodes = []string{steadyNode, "node-2", victimNode}

// Bounds of what is promised, widened for a machine that does all of it at once.
const (
	bound    = 10 * time.Second // of a revocation and a changed role; the product's own aim is 2 s
	recovery = 60 * time.Second // from the end of a trouble until all is well
	patience = time.Minute      // of one command
)

// run is one soak run.
type run struct {
	options
	*stand.System
	dir      string
	began    time.Time
	boss     *stand.Person
	book     rule.Book
	troubles rule.Troubles
	traffic  sync.RWMutex // held for reading while something is asked of the system, for writing while it rests
	sessions sessions
	sampler  sampler
	counts   counts
	homes    atomic.Int64
	mu       sync.Mutex
	kills    []rule.Kill
	taken    []taken
	whole    int      // sessions that the ledger holds whole
	dumps    []string // goroutines, as lines of the report
}

// counts are what was done, for the report.
type counts struct {
	sessions, bytes, logins, lists, writes, joins, revocations, troubles atomic.Int64
	cuts, changes, recoveries                                            durations
}

// employees are the users beside those of account.yaml, by what they do: three work, one keeps sessions open, and the
// last three are revoked, see their role change, and expire.
var employees = []string{"bea", "cal", "dan", "hal", "vic", "pia", "exa"}

func newRun(ctx context.Context, o options, dir string) (*run, error) {
	s, err := stand.Copy(ctx, o.root, dir)
	if err != nil {
		return nil, err
	}
	guests := make([]stand.Guest, 0, len(employees))
	for _, name := range employees {
		guests = append(guests, stand.Guest{Env: "env." + name, Role: stand.EngineerRole, Path: "/aws-reserved/sso.amazonaws.com/", Session: name})
	}
	r := &run{options: o, System: s, dir: dir}
	r.book.Tell = func(name rule.Name, text string) { breach(os.Stdout, name, text) }
	return r, errors.Join(s.AdmitReader(), s.Admit(guests...))
}

// all starts the system, drives it, and holds what is left against the rules.
func (r *run) all(ctx context.Context) error {
	if _, err := r.Localstack(ctx, "up", "-proxies", proxies, "-agents", agents); err != nil {
		return err
	}
	var err error
	if r.boss, err = r.newcomer(stand.Admin); err != nil {
		return err
	}
	if o := r.stile(ctx, r.boss, "", "login", "--iam"); o.fault() != "" {
		return errors.New(o.fault())
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.revokeMany(ctx); err != nil {
		return err
	}
	r.began = time.Now()
	if err := r.drive(ctx); err != nil {
		return err
	}
	return r.inspect(ctx)
}

// revokeMany has many revoked before the run begins.
func (r *run) revokeMany(ctx context.Context) error {
	if r.revoked == 0 {
		return nil
	}
	reader, err := r.Person(stand.ReaderFile, "")
	if err != nil {
		return err
	}
	return reader.Revoke(ctx, r.revoked)
}

// end stops the system, whatever happened before, and looks for what it left running.
func (r *run) end() error {
	_, err := r.Localstack(context.Background(), "down")
	left := r.running()
	r.book.Judge(rule.Gone, time.Now(), strings.Join(left, ", "))
	return err
}

// newcomer returns somebody with an empty home of their own.
func (r *run) newcomer(file string) (*stand.Person, error) {
	return r.Person(file, filepath.Join(r.dir, "people", fmt.Sprintf("%s-%d", file, r.homes.Add(1)), "home"))
}

// outcome is how a command went.
type outcome struct {
	stand.Result
	what         string
	began, ended time.Time
	err          error
}

// fault returns "" for a command that succeeded.
func (o outcome) fault() string {
	switch {
	case o.err != nil:
		return o.err.Error()
	case o.Status != 0:
		return fmt.Sprintf("%s ended with %d after %s: %s", o.what, o.Status, o.ended.Sub(o.began).Round(time.Millisecond), strings.TrimSpace(o.Err))
	}
	return ""
}

// stile runs stile for somebody.
func (r *run) stile(ctx context.Context, p *stand.Person, in string, args ...string) outcome {
	return r.stileFrom(ctx, p, strings.NewReader(in), args...)
}

func (r *run) stileFrom(ctx context.Context, p *stand.Person, in io.Reader, args ...string) outcome {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := outcome{what: "stile " + strings.Join(args, " "), began: time.Now()}
	o.Result, o.err = p.Run(ctx, in, args...)
	o.ended = time.Now()
	return o
}

// allowed judges a command whose user may do what it asks for, and reports whether it succeeded. A trouble excuses
// that it didn't, unless the words are those of a denial.
func (r *run) allowed(ctx context.Context, o outcome) bool {
	fault := o.fault()
	switch {
	case fault == "":
		r.book.Held(rule.LetIn)
		return true
	case ctx.Err() != nil, o.Status < 0 && interrupted(ctx):
	case r.troubles.Explain(o.began, o.ended) && !rule.Denies(o.Err):
		r.book.Excused(rule.LetIn)
	default:
		r.book.Broken(rule.LetIn, o.ended, "%s", fault)
	}
	return false
}

// interrupted reports whether somebody wants the run to end. A Ctrl-C ends the commands of this program too, and they
// may be gone before this program has heard of it.
func interrupted(ctx context.Context) bool { return !pause(ctx, time.Second) }

// kept reports whether the whole run kept every rule and tried each.
func (r *run) kept() bool { return r.book.Breaches() == 0 && len(r.book.Untried()) == 0 }

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// until asks every tenth of a second until it hears "", and returns the last words if the limit is over before.
func until(ctx context.Context, limit time.Duration, ask func() string) string {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		last := ask()
		if last == "" || !pause(ctx, 100*time.Millisecond) {
			return last
		}
	}
}

// remove deletes the home of somebody who isn't needed any more.
func (r *run) remove(p *stand.Person) { os.RemoveAll(filepath.Dir(p.Home)) }
