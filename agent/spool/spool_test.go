package spool_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

func open(t *testing.T, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, Limit: limit, Epoch: "e1", Stamp: func() spool.Stamp {
		return spool.Stamp{Cluster: "c", Source: "agent/agt_1"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func event(n int) audit.Event {
	e := audit.New(audit.SessionStart, rand.Reader, time.Now())
	e.Actor, e.TargetKind, e.Target = "user/ada", "node", "web-1"
	e.Data = map[string]string{"certificate": "crt_1", "command": fmt.Sprint(n)}
	return e
}

func record(t *testing.T, s *spool.Spool, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Record(event(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers reads what Next gave.
func numbers(t *testing.T, lines [][]byte) []string {
	t.Helper()
	var out []string
	for _, l := range lines {
		var e audit.Event
		if err := json.Unmarshal(l, &e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if e.Cluster != "c" || e.Source != "agent/agt_1" || e.Seq == 0 {
			t.Errorf("not stamped: %s", l)
		}
		out = append(out, e.Data["command"])
	}
	return out
}

func TestEventsComeInOrderUntilAcknowledgedAndOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	record(t, s, 0, 5000)
	if files := segments(t, dir); len(files) < 2 {
		t.Errorf("all in one segment, which can't go before all is delivered: %v", files)
	}
	seen := 0
	for range 10 {
		lines, at, err := s.Next(48 << 10)
		if err != nil || len(lines) == 0 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		for _, n := range numbers(t, lines) {
			if n != fmt.Sprint(seen) {
				t.Fatalf("got %s, want %d", n, seen)
			}
			seen++
		}
		if err := s.Acknowledge(at); err != nil {
			t.Fatal(err)
		}
	}
	again, _, _ := s.Next(1)
	if got := numbers(t, again); len(got) != 1 || got[0] != fmt.Sprint(seen) {
		t.Fatalf("a small limit gives %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 0)
	record(t, s, 5000, 5001)
	for seen <= 5000 {
		lines, at, err := s.Next(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers(t, lines) {
			if n != fmt.Sprint(seen) {
				t.Fatalf("after the restart: got %s, want %d", n, seen)
			}
			seen++
		}
		if err := s.Acknowledge(at); err != nil {
			t.Fatal(err)
		}
	}
	if lines, _, err := s.Next(1 << 20); err != nil || len(lines) != 0 {
		t.Errorf("%d lines left, %v", len(lines), err)
	}
	if files := segments(t, dir); len(files) != 1 {
		t.Errorf("acknowledged segments stay: %v", files)
	}
}

// segments lists the spool's files in their order; none is larger than a segment is.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	return files
}

// A gap or a double in the numbers is how the other side sees that events are missing.
func TestEventsAreNumberedOneByOne(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	record(t, s, 0, 5)
	if err := s.Record(audit.Event{}); err == nil {
		t.Error("an event that says nothing was kept")
	}
	record(t, s, 5, 10)
	lines, _, err := s.Next(1 << 20)
	if err != nil || len(lines) != 10 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i, l := range lines {
		var e audit.Event
		if err := json.Unmarshal(l, &e); err != nil || e.Seq != uint64(i+1) || e.SourceEpoch != "e1" {
			t.Errorf("event %d is number %d of %q, %v", i, e.Seq, e.SourceEpoch, err)
		}
	}
}

// A session may begin as long as there is a byte of room, and not with none.
func TestTheLastByteOfRoomIsRoom(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	record(t, s, 0, 3)
	_ = s.Close()
	info, err := os.Stat(segments(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	for limit, room := range map[int64]bool{info.Size() + 1: true, info.Size(): false, info.Size() - 1: false} {
		s := open(t, dir, limit)
		if err := s.Room(); (err == nil) != room {
			t.Errorf("%d bytes where %d are allowed: %v", info.Size(), limit, err)
		}
		_ = s.Close()
	}
}

// A disk that takes its time to keep what is written holds up no event, not even one that begins a segment.
func TestASlowDiskHoldsUpNoEvent(t *testing.T) {
	slow, free := make(chan struct{}), make(chan struct{})
	var synced sync.Map
	s, err := spool.Open(spool.Config{
		Dir: t.TempDir(), Epoch: "e1", Stamp: func() spool.Stamp { return spool.Stamp{Cluster: "c", Source: "agent/agt_1"} },
		OnError: func(err error) { t.Error(err) },
		Sync: func(f *os.File) error {
			select {
			case slow <- struct{}{}:
			case <-free:
			}
			<-free
			synced.Store(f.Name(), true)
			return f.Sync()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	record(t, s, 0, 1)
	<-slow // the disk is at work
	record(t, s, 1, 6001)
	batch, _, err := s.Next(1 << 30)
	if err != nil || len(batch) != 6001 {
		t.Errorf("%d events, %v", len(batch), err)
	}
	close(free)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	segments := 0
	synced.Range(func(any, any) bool { segments++; return true })
	if segments < 2 {
		t.Errorf("%d segments were synced", segments)
	}
}

func TestAnUnfinishedLineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	record(t, s, 0, 2)
	_ = s.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], b[:len(b)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	lines, _, err := open(t, dir, 0).Next(1 << 20)
	if err != nil || len(numbers(t, lines)) != 1 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

func TestAFullSpoolHasNoRoomForSessionsButKeepsTheirEnds(t *testing.T) {
	s := open(t, t.TempDir(), 4<<10)
	for n := 0; s.Room() == nil; n++ {
		record(t, s, n, n+1)
	}
	if !fault.Is(s.Room(), fault.Unavailable) {
		t.Errorf("got %v", s.Room())
	}
	if err := s.Record(event(99)); err != nil {
		t.Errorf("an event in the reserve: %v", err)
	}
	var err error
	for n := 0; err == nil; n++ {
		if err = s.Record(event(n)); n > 1000 {
			t.Fatal("the spool has no end")
		}
	}
	_, at, err := s.Next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Acknowledge(at); err != nil {
		t.Fatal(err)
	}
	if err := s.Room(); err != nil {
		t.Errorf("after delivery: %v", err)
	}
}

func TestSpoolFilesAreTheAgentsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir, 0)
	record(t, s, 0, 1)
	_, at, _ := s.Next(1 << 20)
	if err := s.Acknowledge(at); err != nil {
		t.Fatal(err)
	}
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s, %v", path, info.Mode(), err)
		}
		return nil
	})
	if b, _ := os.ReadFile(filepath.Join(dir, "delivered")); !bytes.HasPrefix(b, []byte("1 ")) {
		t.Errorf("cursor %q", b)
	}
}
