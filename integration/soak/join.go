package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// agent is one that the local AWS doesn't look after.
type agent struct {
	name, dir string
	cmd       *exec.Cmd
	gone      chan struct{}
	person    *stand.Person
	log       string
}

// hire configures an agent with an empty state directory.
func (r *run) hire(name string) (*agent, error) {
	p, err := r.Person(stand.NodeFile, filepath.Join(r.dir, "hired", name, "home"))
	if err != nil {
		return nil, err
	}
	a := &agent{name: name, dir: filepath.Join(r.dir, "hired", name), person: p, log: filepath.Join(r.State, "log", "hired.log")}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("api: %s\ntoken: demo-nodes\nmethod: iam\nname: %s\nstate: %s\nregion: %s\n",
		p.Env["STILE_API"], name, filepath.Join(a.dir, "state"), p.Env["AWS_REGION"])
	return a, os.WriteFile(filepath.Join(a.dir, "agent.yaml"), []byte(text), 0o600)
}

// start runs it.
func (a *agent) start() error {
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	a.cmd = a.person.Command(context.Background(), "stile-agent", "run", "--config", filepath.Join(a.dir, "agent.yaml"))
	a.cmd.Stdout, a.cmd.Stderr = log, log
	if err := a.cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	a.gone = gone
	go func() {
		_ = a.cmd.Wait() // how it ended is in its state
		close(gone)
	}()
	return nil
}

// stop signals it and waits until it is gone; what doesn't go is killed, and reported.
func (a *agent) stop(signal syscall.Signal) string {
	_ = a.cmd.Process.Signal(signal)
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-a.gone:
		return ""
	case <-timer.C:
		_ = a.cmd.Process.Kill()
		<-a.gone
		return fmt.Sprintf("the agent of %s did not end within 20 s of signal %d", a.name, signal)
	}
}

// delivery is how long an agent is left in peace before its name is taken: what it has not delivered by then it can
// deliver no more.
const delivery = 2 * time.Second

// join has a new agent come, serve, go in one of two ways, come back, and lose its name.
func (r *run) join(ctx context.Context, n int) (err error) {
	a, err := r.hire(fmt.Sprintf("node-soak-%d", n))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(a.dir)) }()
	p, err := r.newcomer("env.bea")
	if err != nil {
		return err
	}
	defer r.remove(p)
	if !r.allowed(ctx, r.stile(ctx, p, "", "login", "--iam")) {
		return nil
	}
	if err := a.start(); err != nil {
		return err
	}
	defer func() { _ = a.stop(syscall.SIGKILL) }()
	r.counts.joins.Add(1)
	if !r.serves(ctx, p, a, "after it joined") {
		return nil
	}
	signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[n%2]
	from := time.Now()
	if fault := a.stop(signal); fault != "" {
		r.book.Broken(rule.Recovery, time.Now(), "%s", fault)
	}
	if signal == syscall.SIGKILL {
		r.killed(a.name, from)
	}
	if err := a.start(); err != nil {
		return err
	}
	if !r.serves(ctx, p, a, "after it came back") || !pause(ctx, delivery) {
		return nil
	}
	from = time.Now()
	defer r.killed(a.name, from) // from now on it may tell nobody what it did
	if !r.drop(ctx, "node/"+a.name) {
		return nil
	}
	last := until(ctx, bound, func() string {
		if o := r.stile(ctx, p, "", "ssh", a.name, "--", "true"); o.err != nil || o.Status == 0 {
			return fmt.Sprintf("%s was removed and still let somebody in: %v", a.name, o.err)
		}
		if o := r.stile(ctx, p, "", "ls"); o.fault() != "" || strings.Contains(o.Out, a.name) {
			return a.name + " was removed and is still listed: " + o.fault()
		}
		return ""
	})
	if ctx.Err() == nil {
		r.book.Judge(rule.LockedOut, time.Now(), last)
	}
	return nil
}

// killed notes that an agent was killed, or its name taken, and is gone now.
func (r *run) killed(target string, from time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kills = append(r.kills, rule.Kill{Target: target, From: from, To: time.Now()})
}

// serves waits until somebody reaches the agent.
func (r *run) serves(ctx context.Context, p *stand.Person, a *agent, when string) bool {
	began := time.Now()
	last := until(ctx, recovery, func() string {
		o := r.stile(ctx, p, "", "ssh", a.name, "--", `echo "$STILE_SESSION_ID"`)
		if id := strings.TrimSpace(o.Out); strings.HasPrefix(id, "ses_") {
			r.sessions.ended(rule.Session{ID: id, User: "bea", Target: a.name, From: o.began, To: o.ended})
		}
		return o.fault()
	})
	if ctx.Err() != nil {
		return false
	}
	r.counts.recoveries.add(time.Since(began))
	r.book.Judge(rule.Recovery, time.Now(), prefix(a.name+" "+when+": ", last))
	return last == ""
}
