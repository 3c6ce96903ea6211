package spool_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestAFullDiskRefusesSessionsUntilThereIsSpaceAgain(t *testing.T) {
	dir, full := t.TempDir(), false
	s, err := spool.Open(spool.Config{
		Dir: dir, Epoch: "e1", Stamp: func() spool.Stamp { return spool.Stamp{Cluster: "c", Source: "agent/agt_1"} },
		Allocate: func(path string, size int64) error {
			if full {
				return syscall.ENOSPC
			}
			return spool.Allocate(path, size)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	record(t, s, 0, 1)
	if err := s.Room(); err != nil {
		t.Fatalf("with space: %v", err)
	}
	full = true
	if err := s.Full(true); err != nil {
		t.Fatal(err)
	}
	err = s.Record(event(1))
	if f := fault.From(err); f.Code != fault.Unavailable || !strings.Contains(f.Hint, dir) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an event that was not kept: %v, %+v", err, f)
	}
	if err := s.Room(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("room on a full disk: %v", err)
	}
	full = false
	if err := s.Full(false); err != nil {
		t.Fatal(err)
	}
	if err := s.Room(); err != nil {
		t.Errorf("with space again: %v", err)
	}
	record(t, s, 2, 3)
	lines, _, err := s.Next(1 << 20)
	if got := numbers(t, lines); err != nil || len(got) != 2 || got[1] != "2" {
		t.Errorf("kept %v, %v", got, err)
	}
}

func TestTheReserveTakesItsSpaceAndIsGivenToTheFirstWriteWithoutAny(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	info, err := os.Stat(filepath.Join(dir, "reserve"))
	if err != nil || info.Size() < 64<<10 || info.Sys().(*syscall.Stat_t).Blocks*512 < info.Size() {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := s.Full(true); err != nil {
		t.Fatal(err)
	}
	_ = s.Record(event(0))
	if _, err := os.Stat(filepath.Join(dir, "reserve")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve after a write that failed: %v", err)
	}
}
