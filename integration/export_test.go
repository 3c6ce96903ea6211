package integration_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
)

// An export that is killed again and again has every event in the end, those of a writer with a slow clock included.
func TestAnExportThatIsKilledLeavesNoEventOut(t *testing.T) {
	boss, v := shared.person(t, admin).login(t), newVandal(t)
	start := boss.events(t, "--since", "30d")[0]
	db := shared.asProxy(t)
	write := func(n int, behind time.Duration) string {
		t.Helper()
		e := audit.New(audit.SessionStart, rand.Reader, time.Now())
		e.Cluster, e.Scope, e.Actor, e.Source, e.TargetKind, e.Target = start.Cluster, "/", "user/exported", "agent/agt_exported", "node", "node-1"
		e.Data = map[string]string{"login": "root", "certificate": "crt_1", "command": "a\nb\x1b"}
		if n == 198 {
			e.Data["command"] = strings.Repeat("x", 12_000)
		}
		books := ledger.New(ledger.Config{DynamoDB: db, Table: v.ledger, Now: func() time.Time { return time.Now().Add(-behind) }})
		if err := books.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	var want []string
	for n := range 300 {
		want = append(want, write(n, 0))
	}
	dir := t.TempDir()
	file, args := filepath.Join(dir, "events"), []string{"audit", "export", "--since", "1h", "--cursor", filepath.Join(dir, "cursor"), "-o", filepath.Join(dir, "events")}
	for range 4 {
		size := func() int64 {
			info, err := os.Stat(file)
			if err != nil {
				return 0
			}
			return info.Size()
		}
		before := size()
		ctx, kill := context.WithTimeout(t.Context(), time.Minute)
		c := boss.Command(ctx, "stile", args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() { _ = c.Wait(); close(over) }()
		for going := true; going && size() == before; {
			select {
			case <-over:
				going = false
			case <-time.After(time.Millisecond):
			}
		}
		kill()
		<-over
	}
	boss.must(t, args...)
	times := func() map[string]int {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]int{}
		for line := range bytes.Lines(b) {
			var e listed
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all[e.ID]++
		}
		return all
	}
	had := times()
	for n, id := range want {
		if had[id] == 0 {
			t.Errorf("event %d isn't there", n)
		}
	}
	late := write(0, 3*time.Second)
	boss.must(t, args...)
	now := times()
	if now[late] != 1 {
		t.Errorf("what a writer with a slow clock wrote is there %d times", now[late])
	}
	for id, n := range had {
		if now[id] != n {
			t.Errorf("%s came again", id)
		}
	}
	if text := boss.must(t, "audit", "export", "--since", "1h", "--format", "ocsf"); !strings.Contains(text, fmt.Sprintf(`"uid":%q`, want[198])) {
		t.Error("the large one is no record of OCSF")
	}
}
