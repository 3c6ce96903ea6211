package spool_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/pkg/audit"
)

// rerun opens the spool of an earlier run in another epoch, maybe as another agent, and returns how it numbers two events.
func rerun(t *testing.T, dir, epoch, agent string) (numbers []string) {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, Epoch: epoch, Stamp: func() spool.Stamp {
		return spool.Stamp{Cluster: "c", Source: "agent/" + agent}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	record(t, s, 0, 2)
	lines, _, err := s.Next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[len(lines)-2:] {
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, fmt.Sprintf("%s %d %s", e.SourceEpoch, e.Seq, e.SourceAfter))
	}
	return numbers
}

// deliverAll acknowledges all that a spool holds.
func deliverAll(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir, 0)
	_, at, err := s.Next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Acknowledge(at); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// Without that the last events before an agent stopped could be kept from the ledger and nobody would know.
func TestSec_S63_AnEpochsFirstEventSaysHowTheOneBeforeEnded(t *testing.T) {
	dir := t.TempDir()
	check := func(got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("numbered %q, want %q", got, want)
		}
	}
	check(rerun(t, dir, "a", "agt_1"), "a 1 ", "a 2 ")
	check(rerun(t, dir, "b", "agt_1"), "b 1 a:2", "b 2 ") // what is not delivered yet says so
	deliverAll(t, dir)
	segments, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments { // as if all had been delivered and deleted
		if err := os.Truncate(s, 0); err != nil {
			t.Fatal(err)
		}
	}
	check(rerun(t, dir, "c", "agt_1"), "c 1 b:2", "c 2 ")
	check(rerun(t, dir, "d", "agt_2"), "d 1 ", "d 2 ") // another agent by now, which has said nothing before
	check(rerun(t, dir, "e", "agt_2"), "e 1 d:2", "e 2 ")
}
