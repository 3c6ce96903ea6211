package integration_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
)

// The largest event that there can be holds up nothing: it and all that come behind it are listed, followed, exported and found
// by SQL.
func TestTheLargestEventHoldsUpNeitherListNorExportNorLake(t *testing.T) {
	const many, large = 1000, 497 // the 498th
	boss, v := shared.person(t, admin).login(t), newVandal(t)
	start := boss.events(t, "--since", "30d")[0]
	books := ledger.New(ledger.Config{DynamoDB: shared.asProxy(t), Table: v.ledger})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	follow := boss.Command(ctx, "stile", "audit", "ls", "--follow", "--format", "ndjson", "--since", "1s", "--actor", "large")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	var want []string
	largest := ""
	for n := range many {
		e := audit.New(audit.SessionStart, rand.Reader, time.Now())
		e.Cluster, e.Scope, e.Actor, e.Source, e.TargetKind, e.Target = start.Cluster, "/", "user/large", "agent/agt_large", "node", "node-1"
		e.Data = map[string]string{"login": "root", "certificate": "crt_1", "command": "x"}
		if n == large {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			e.Data["command"] = strings.Repeat("x", audit.MaxSize-len(b)+1)
			if b, err = json.Marshal(e); err != nil || len(b) != audit.MaxSize {
				t.Fatalf("it has %d bytes, %v", len(b), err)
			}
			largest = e.ID
		}
		if err := books.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		want = append(want, e.ID)
	}
	slices.Sort(want)
	same := func(where string, got []string) {
		t.Helper()
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s has %d of %d events, the largest among them: %v", where, len(got), many, slices.Contains(got, largest))
		}
	}
	var followed []string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for len(followed) < many && lines.Scan() {
		var e listed
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		followed = append(followed, e.ID)
	}
	same("what is followed", followed)
	if err := follow.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = follow.Wait()
	var list, exported []string
	for _, e := range boss.events(t, "--since", "1h", "--actor", "large") {
		list = append(list, e.ID)
	}
	same("the list", list)
	for text := range strings.Lines(boss.must(t, "audit", "export", "--since", "1h")) {
		var e listed
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if e.Actor == "user/large" {
			exported = append(exported, e.ID)
		}
	}
	same("the export", exported)
	eventually(t, time.Minute, func() string {
		if rows := shared.lake(t, func(r row) bool { return aws.ToString(r.Actor) == "user/large" }); len(rows) < many {
			return fmt.Sprintf("the lake has %d of %d", len(rows), many)
		}
		return ""
	})
	var found []string
	for _, row := range boss.asked(t, "SELECT id FROM events WHERE origin = 'lake' AND actor = 'user/large'") {
		found = append(found, row["id"].(string))
	}
	same("SQL", found)
	rows := boss.asked(t, "SELECT length(element_at(data, 'command')) AS n FROM events WHERE origin = 'lake' AND actor = 'user/large' ORDER BY n DESC LIMIT 1")
	if len(rows) != 1 || fmt.Sprint(rows[0]["n"]) == "1" {
		t.Errorf("the largest has a command of %v", rows)
	}
}
