// Command withdraw checks that each right of a role is needed by a test: it takes one allowed action at a time out of
// the templates, and expects the tests that used it first to fail. It runs all integration tests once to learn which
// those are, or reads what an earlier run learnt.
//
//	go run ./integration/withdraw [-only REGEX] [-learnt DIRECTORY]
//
// Its entry point is [plan]: what is tried, and by which tests.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// How long the tests that used an allow first may take, and all of them: a right that is missing may make a test wait.
const (
	limit    = 8 * time.Minute
	limitAll = 15 * time.Minute
	ending   = time.Minute // in which they stop the system that all share
)

func main() {
	only := flag.String("only", "", "only allows, as role/sid/action, that match this regular `expression`")
	learnt := flag.String("learnt", "", "keep in this `directory` what the run of all tests shows, and read it there the next time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	survivors, err := run(ctx, *only, *learnt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "withdraw:", err)
	}
	if survivors > 0 || err != nil {
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, only, dir string) (survivors int, err error) {
	pick, err := regexp.Compile(only)
	if err != nil {
		return 0, fmt.Errorf("-only is no regular expression: %w", err)
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "stile-withdraw-"); err != nil {
			return 0, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return 0, err
	}
	binary := filepath.Join(dir, "integration.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./integration").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the tests: %w\n%s", err, out)
	}
	trials, err := learn(ctx, dir)
	if err != nil {
		return 0, err
	}
	if err := control(ctx, binary); err != nil {
		return 0, err
	}
	tried := 0
	for _, t := range trials {
		if !pick.MatchString(t.allow.String()) {
			continue
		}
		tried++
		began := time.Now()
		killer, err := t.hunt(ctx, binary)
		took := time.Since(began).Round(time.Second)
		switch {
		case ctx.Err() != nil:
			return survivors, ctx.Err()
		case err != nil:
			return survivors, err
		case killer == "":
			survivors++
			fmt.Printf("SURVIVES  %s: no test fails without it (%v)\n", t.allow, took)
		default:
			fmt.Printf("killed    %s: %s (%v)\n", t.allow, killer, took)
		}
	}
	fmt.Printf("%d allows withdrawn, %d survive\n", tried, survivors)
	if tried == 0 {
		return 0, fmt.Errorf("no allow that was used matches %q", only)
	}
	return survivors, nil
}

// control starts the system with all that is allowed: what doesn't start then would be taken for noticed by every trial.
func control(ctx context.Context, binary string) error {
	out, err := tests(ctx, binary, "^$", limit, "")
	if err != nil {
		return fmt.Errorf("starting the system with every right, which must be possible first: %w\n%s", err, out)
	}
	return nil
}

// hunt runs a trial and returns the first test that fails, or what else did; "" when nothing does. What the tests that used the
// allow first don't notice, another may.
func (t trial) hunt(ctx context.Context, binary string) (killer string, err error) {
	if len(t.tests) > 0 {
		killer, err = t.attempt(ctx, binary, "^("+strings.Join(t.tests, "|")+")$", limit)
	}
	if killer != "" || err != nil {
		return killer, err
	}
	return t.attempt(ctx, binary, ".", limitAll)
}

func (t trial) attempt(ctx context.Context, binary, pattern string, limit time.Duration) (killer string, err error) {
	out, err := tests(ctx, binary, pattern, limit, t.allow.String())
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, errHung):
		return "a test that waits for " + limit.String(), nil
	}
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		if killer = verdict(out); killer != "" {
			return killer, nil
		}
	}
	return "", fmt.Errorf("the tests without %s failed for another reason: %w\n%s", t.allow, err, out)
}

// errHung says that tests were ended. That a right is missing makes some wait.
var errHung = errors.New("the tests took too long")

// tests runs the tests that match, on a system without an allow. They are interrupted when they take too long: a test
// binary that ends by its own timeout leaves its system behind.
func tests(ctx context.Context, binary, pattern string, limit time.Duration, without string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errHung)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", pattern, "-test.failfast", "-test.timeout", "0", "-without", without)
	cmd.Dir = "integration"
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = ending
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.Bytes(), err
}

var (
	failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	down   = regexp.MustCompile(`(?m)^localstack up: .*\n(?:(?:.*\n)*?localstack: (.*))?`)
)

// verdict reads what tests that failed printed: which of them noticed that something is missing. What is none of their
// failures is "".
func verdict(out []byte) string {
	if found := failed.FindSubmatch(out); found != nil {
		return string(found[1])
	}
	if found := down.FindSubmatch(out); found != nil {
		return strings.TrimSuffix(fmt.Sprintf("the system doesn't start: %.200s", found[1]), ": ")
	}
	return ""
}
