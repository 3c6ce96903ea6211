package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// sessions are those that clients saw begin and end.
type sessions struct {
	mu   sync.Mutex
	list []rule.Session
}

func (s *sessions) ended(one rule.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
}

func (s *sessions) all() []rule.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]rule.Session(nil), s.list...)
}

// held is a session that stays open and gives back what is typed into it.
type held struct {
	session rule.Session
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string // closed when the session's output ends
	errs    bytes.Buffer
	gone    chan struct{} // closed when the program has ended
	cancel  context.CancelFunc
}

// hold opens one and waits until it has said its id.
func (r *run) hold(p *stand.Person, user, target string) (*held, error) {
	ctx, cancel := context.WithCancel(context.Background()) // whoever holds it ends it
	h := &held{
		session: rule.Session{User: user, Target: target, From: time.Now()}, lines: make(chan string, 16), gone: make(chan struct{}), cancel: cancel,
		cmd: p.Command(ctx, "stile", "ssh", target, "--", `echo "$STILE_SESSION_ID"; exec cat`),
	}
	h.cmd.WaitDelay = 5 * time.Second
	h.cmd.Stderr = &h.errs
	in, err1 := h.cmd.StdinPipe()
	out, err2 := h.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, h.cmd.Start()); err != nil {
		cancel()
		return nil, err
	}
	h.in = in
	go h.read(out)
	id, ok := h.hear(patience)
	if !ok || !strings.HasPrefix(id, "ses_") {
		h.end(r)
		return nil, fmt.Errorf("stile ssh %s of %s said %q: %s", target, user, id, h.said())
	}
	h.session.ID = id
	return h, nil
}

func (h *held) read(out io.Reader) {
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		h.lines <- scanner.Text()
	}
	close(h.lines)
	_ = h.cmd.Wait() // how it ended is in its state
	close(h.gone)
}

// hear returns the next line, if one comes in time.
func (h *held) hear(limit time.Duration) (string, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case line, ok := <-h.lines:
		return line, ok
	case <-timer.C:
		return "", false
	}
}

// repeats types a word and reports whether it comes back.
func (h *held) repeats(word string) bool {
	if _, err := fmt.Fprintln(h.in, word); err != nil {
		return false
	}
	line, ok := h.hear(bound)
	return ok && line == word
}

// end closes the input, waits until the program is gone, and notes the session.
func (h *held) end(r *run) {
	_ = h.in.Close()
	timer := time.AfterFunc(bound, h.cancel)
	for range h.lines { // nobody listens any more
	}
	<-h.gone
	timer.Stop()
	h.cancel()
	if h.session.ID != "" {
		h.session.To = time.Now()
		r.sessions.ended(h.session)
	}
}

// said returns what the program said on standard error. It has ended.
func (h *held) said() string { return strings.TrimSpace(h.errs.String()) }

// beat is how often somebody types into an open session.
const beat = time.Second

// keep has somebody's session open on a node for the whole run, and types into it. When a trouble takes it, another
// one is opened.
func (r *run) keep(ctx context.Context, user, target string) error {
	p, err := r.newcomer("env." + user)
	if err != nil {
		return err
	}
	if !r.allowed(ctx, r.stile(ctx, p, "", "login", "--iam", "--ttl", "12h")) {
		return nil
	}
	for ctx.Err() == nil {
		began := time.Now()
		h, err := r.hold(p, user, target)
		if err != nil {
			r.lost(ctx, began, err.Error())
			pause(ctx, beat)
			continue
		}
		r.counts.sessions.Add(1)
		good := time.Now()
		for n := 0; pause(ctx, beat); n++ {
			if !h.repeats(fmt.Sprint("still here ", n)) {
				break
			}
			good = time.Now()
			r.book.Held(rule.LiveOn)
		}
		h.end(r)
		if ctx.Err() == nil {
			r.lost(ctx, good, fmt.Sprintf("the session of %s on %s ended: %s", user, target, h.said()))
		}
	}
	return nil
}

// lost judges that a session ended, or did not begin, between two times.
func (r *run) lost(ctx context.Context, since time.Time, fault string) {
	now := time.Now()
	switch {
	case interrupted(ctx):
	case r.troubles.Explain(since, now) && !rule.Denies(fault):
		r.book.Excused(rule.LiveOn)
	default:
		r.book.Broken(rule.LiveOn, now, "%s", fault)
	}
}
