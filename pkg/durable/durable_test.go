package durable_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stile-dev/stile/pkg/durable"
)

func TestAFileIsReplacedWholeByWhoeverIsLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var all sync.WaitGroup
	for n := range byte(8) {
		all.Go(func() {
			if err := durable.Write(path, bytes.Repeat([]byte{'a' + n}, 100_000)); err != nil {
				t.Error(err)
			}
			b, err := os.ReadFile(path)
			if err != nil || len(b) != 100_000 || bytes.Count(b, b[:1]) != len(b) {
				t.Errorf("a reader sees %d bytes, %v", len(b), err)
			}
		})
	}
	all.Wait()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestWhatCannotBePlacedChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "by a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(path, []byte("new")); err == nil {
		t.Error("a directory was replaced")
	}
	if err := durable.Place(path, filepath.Join(dir, "temp"), []byte("new")); err == nil {
		t.Error("a directory was replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	if err := durable.Write(filepath.Join(dir, "absent", "file"), nil); err == nil {
		t.Error("a directory was made")
	}
	if err := durable.SyncDir(filepath.Join(dir, "absent")); err == nil {
		t.Error("a directory that isn't there was synced")
	}
}
