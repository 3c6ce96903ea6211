package integration_test

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outage is how long the control plane stays down.
const outage = 30 * time.Second

// With the local AWS killed there is no API, no function, no table and no key: what was logged in works on.
func TestTheControlPlaneDownStopsNoSessionOldOrNew(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	open := p.Command(ctx, "stile", "ssh", "node-1", "--", "while read line; do echo got $line; done")
	in, err := open.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := open.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	echo := func(word string) {
		t.Helper()
		if _, err := fmt.Fprintln(in, word); err != nil {
			t.Fatalf("the open session takes nothing any more: %v", err)
		}
		if !lines.Scan() || lines.Text() != "got "+word {
			t.Fatalf("the open session answered %q, %v", lines.Text(), lines.Err())
		}
	}
	echo("before")

	if err := syscall.Kill(shared.pid(t, "localstack"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	t.Cleanup(func() {
		if _, err := shared.up(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 10*time.Second, func() string {
		if r := p.run(t, nil, "ls"); r.status != 6 {
			return fmt.Sprintf("ls ended with %d: the API is still there", r.status)
		}
		return ""
	})
	p.run(t, nil, "ls").refused(t, 6, "can't be reached")
	eventually(t, outage+30*time.Second, func() string {
		echo("during")
		if r := p.run(t, strings.NewReader("new"), "ssh", "node-1", "--", "cat"); r.status != 0 || r.out != "new" {
			t.Fatalf("a new session ended with %d after %s: %s", r.status, time.Since(down), r.err)
		}
		if left := outage - time.Since(down); left > 0 {
			return "the outage goes on for " + left.String()
		}
		return ""
	})

	if _, err := shared.up(); err != nil {
		t.Fatal(err)
	}
	echo("after")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open.Wait(); err != nil {
		t.Errorf("the open session ended with %v", err)
	}
	eventually(t, 30*time.Second, p.online(t, "node-1", true))
}

func TestUpAgainIsANoOpAndDownKeepsWhatWasCreated(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, "kind: role\nmetadata: {name: kept}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n")
	t.Cleanup(func() { boss.must(t, "rm", "role/kept") })
	before := shared.pid(t, "localstack")
	out, err := shared.up()
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out, "\n"); lines > 10 {
		t.Errorf("up says %d lines, want ten at most:\n%s", lines, out)
	}
	if after := shared.pid(t, "localstack"); after != before {
		t.Errorf("up again started another local AWS: %d, then %d", before, after)
	}
	if err := shared.down(); err != nil {
		t.Fatal(err)
	}
	boss.run(t, nil, "ls").refused(t, 6)
	if _, err := shared.up(); err != nil {
		t.Fatal(err)
	}
	if got := boss.must(t, "get", "role/kept"); !strings.Contains(got, "name: kept") {
		t.Errorf("got %q", got)
	}
	p := shared.person(t, engineer).login(t)
	eventually(t, 60*time.Second, p.online(t, "node-1", true))
	if r := p.run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
		t.Errorf("ssh ended with %d: %s", r.status, r.err)
	}
}
