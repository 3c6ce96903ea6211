package proc_test

import (
	"testing"

	"github.com/stile-dev/stile/integration/proc"
)

func TestMemoryAndTimesAreReadFromProc(t *testing.T) {
	got, err := proc.ParseRollup("55d0 ---p 00000000 00:00 0 [rollup]\nRss:               20480 kB\nAnonymous:          6144 kB\n")
	if err != nil || got.Resident != 20 || got.Anonymous != 6 {
		t.Errorf("got %+v, %v", got, err)
	}
	seconds, err := proc.ParseCPU("77 (a b) c) S 1 77 77 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 1 0 1 1 1")
	if err != nil || seconds != 2 {
		t.Errorf("%v s, %v", seconds, err)
	}
	parent, err := proc.ParseParent("78 (a) b) c) S 77 77 77 0 -1")
	if err != nil || parent != 77 {
		t.Errorf("parent %d, %v", parent, err)
	}
}
