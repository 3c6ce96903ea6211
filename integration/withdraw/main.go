// Command withdraw checks that each right of a role is needed by a test: it takes one allowed action at a time out of
// the templates, and expects the tests that used it first to fail. It runs all integration tests once to learn which
// those are, or reads what an earlier run learnt.
//
//	go run ./integration/withdraw [-only REGEX] [-learnt FILE]
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
	"time"
)

// limit is how long one system may take to start, fail its tests and stop.
const limit = 8 * time.Minute

func main() {
	only := flag.String("only", "", "only allows, as role/sid/action, that match this regular `expression`")
	learnt := flag.String("learnt", "", "keep in this `directory` what the run of all tests shows, and read it there the next time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
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
	tried := 0
	for _, t := range trials {
		if !pick.MatchString(t.allow.String()) {
			continue
		}
		tried++
		killer, err := t.hunt(ctx, binary)
		switch {
		case ctx.Err() != nil:
			return survivors, ctx.Err()
		case err != nil:
			return survivors, err
		case killer == "":
			survivors++
			fmt.Printf("SURVIVES  %s: no test fails without it\n", t.allow)
		default:
			fmt.Printf("killed    %s: %s\n", t.allow, killer)
		}
	}
	fmt.Printf("%d allows withdrawn, %d survive\n", tried, survivors)
	if tried == 0 {
		return 0, fmt.Errorf("no allow that was used matches %q", only)
	}
	return survivors, nil
}

var failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// hunt runs a trial and returns the first test that fails, or what else did; "" when nothing does. What the tests that used the
// allow first don't notice, another may.
func (t trial) hunt(ctx context.Context, binary string) (killer string, err error) {
	for _, pattern := range []string{"^(" + strings.Join(t.tests, "|") + ")$", "."} {
		if killer, err = t.attempt(ctx, binary, pattern); killer != "" || err != nil {
			break
		}
	}
	return killer, err
}

func (t trial) attempt(ctx context.Context, binary, pattern string) (killer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", pattern, "-test.failfast", "-test.timeout", limit.String(), "-without", t.allow.String())
	cmd.Dir = "integration"
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	_, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return "", nil
	case !exited:
		return "", err
	}
	if found := failed.FindSubmatch(out.Bytes()); found != nil {
		return string(found[1]), nil
	}
	if bytes.Contains(out.Bytes(), []byte("localstack up")) {
		return "the system doesn't start", nil
	}
	return "", fmt.Errorf("the tests without %s failed for another reason: %w\n%s", t.allow, err, out.String())
}
