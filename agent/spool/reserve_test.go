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

// TestSec_S65_WhatIsNoSessionsTakesNoMoreThanHalf: what users who may do nothing can cause leaves room for the sessions of
// others, and gets none of the disk that is held back for these.
func TestSec_S65_WhatIsNoSessionsTakesNoMoreThanHalf(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 8<<10)
	noted := 0
	for ; s.Note(event(noted)) == nil; noted++ {
		if noted > 1000 {
			t.Fatal("there is no end to it")
		}
	}
	size := func() (n int64) {
		for _, f := range segments(t, dir) {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	if n := size(); n > 4<<10 || noted < 5 {
		t.Errorf("%d events take %d of 8192 bytes", noted, n)
	}
	if s.Scarce() {
		t.Error("half of the room is called scarce")
	}
	if err := s.Room(); err != nil {
		t.Errorf("no session has room: %v", err)
	}
	record(t, s, 0, 2)
	if !s.Scarce() || s.Room() != nil {
		t.Errorf("more than half is taken: scarce %v, %v", s.Scarce(), s.Room())
	}
	_, at, err := s.Next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Acknowledge(at); err != nil {
		t.Fatal(err)
	}
}

// TestSec_S65_WhatIsNoSessionsGetsNothingOfTheReserve: the reserve is for the ends of sessions.
func TestSec_S65_WhatIsNoSessionsGetsNothingOfTheReserve(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	if err := s.Full(true); err != nil {
		t.Fatal(err)
	}
	if err := s.Note(event(0)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "reserve")); err != nil {
		t.Errorf("the reserve is gone: %v", err)
	}
}
