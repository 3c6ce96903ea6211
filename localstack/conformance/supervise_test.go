package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// closeLimit is how long the process with the tests may take to end by itself: it ends no call that makes a stack.
const closeLimit = 10 * time.Minute

// supervise runs the suite on a real account and cleans up, whatever becomes of the tests. They run in a process of
// their own, because a panic ends the process that it happens in.
func supervise() (status int, err error) {
	ctx, stop := interruptible()
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, flags.limit, fmt.Errorf("the run took longer than %s", flags.limit))
	defer cancel()
	r, err := open(ctx)
	if err != nil {
		return 1, err
	}
	r.announce()
	if flags.clean {
		return 0, r.clean(ctx)
	}
	left, err := r.stacks(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d stacks of prefix %s are there already: take another prefix, or clean up: %s", len(left), r.prefix, r.command())
	}
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	status, err = r.tests(ctx, stop, dir)
	return status, errors.Join(err, r.clean(context.WithoutCancel(ctx)))
}

// interruptible is a context that ends with the first signal. After stop a second Ctrl-C ends the program; a terminal
// that is closed may send its signal twice.
func interruptible() (ctx context.Context, stop func()) {
	signal.Ignore(syscall.SIGPIPE) // nobody may be left to read what is printed while cleaning up
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, release := signal.NotifyContext(context.Background(), signals...)
	return ctx, func() {
		signal.Ignore(syscall.SIGHUP)
		release()
	}
}

// tests runs the tests in a process that ends with this one, or when ctx does.
func (r *remote) tests(ctx context.Context, stop func(), dir string) (status int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(program, append(os.Args[1:], "-within", dir, "-prefix", r.prefix)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals of the terminal are for this process
	line, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		stop()
		why := "Interrupted"
		if cause := context.Cause(ctx); errors.Is(ctx.Err(), context.DeadlineExceeded) {
			why = cause.Error()
		}
		fmt.Printf("%s; cleaning up. If you interrupt that as well, type: %s\n", why, r.command())
		_ = line.Close() // it ends then
		select {
		case err = <-ended:
		case <-time.After(closeLimit):
			err = errors.Join(cmd.Process.Kill(), <-ended)
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it had started
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return 1, nil // it has said why
	}
	return 0, err
}

// within runs the tests under a supervisor, with a directory of its own.
func within(m *testing.M) (status int, err error) {
	ctx := context.Background()
	r, err := open(ctx)
	if err != nil {
		return 1, err
	}
	r.dir = flags.within
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the supervisor says so or is no more
		r.close()
		os.Exit(1)
	}()
	if here, err = r.world(ctx); err != nil {
		return 1, err
	}
	status = m.Run()
	err = record()
	if whole() {
		err = errors.Join(err, missing())
	}
	into := flags.goldens
	if !filepath.IsAbs(into) {
		into = filepath.Join("localstack", "conformance", into)
	}
	fmt.Printf("What was seen stands in %s. Type: go test ./localstack/conformance -update\n", into)
	return status, err
}

// close waits for a stack that is beginning to be made, and has no more made.
func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
