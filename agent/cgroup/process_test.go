package cgroup_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/cgroup"
)

func TestStatIsParsed(t *testing.T) {
	rest := " S 12 13 14 34816 13 4194304 1 2 3 4 5 6 7 8 20 0 3 0 4711 1 2 18446744073709551615 0\n"
	want := cgroup.Stat{PID: 15, Parent: 12, Group: 13, Session: 14, Threads: 3, State: 'S', Start: 4711, Alive: true}
	zombie := want
	zombie.State, zombie.Threads, zombie.Alive = 'Z', 1, false
	headless := want
	headless.State = 'Z'
	dead := zombie
	dead.State, dead.Threads = 'X', 0
	for text, want := range map[string]cgroup.Stat{
		"15 (sh)" + rest:               want,
		"15 (a) R 1 1 (b)" + rest:      want,
		"15 (a\n16 (x) S 1 1 )" + rest: want,
		"15 ()" + rest:                 want,
		"15 (sh)" + strings.Replace(strings.Replace(rest, "S", "Z", 1), " 20 0 3 ", " 20 0 1 ", 1): zombie,
		"15 (sh)" + strings.Replace(rest, "S", "Z", 1):                                             headless,
		"15 (sh)" + strings.Replace(strings.Replace(rest, "S", "X", 1), " 20 0 3 ", " 20 0 0 ", 1): dead,
	} {
		got, err := cgroup.ParseStat([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	for _, text := range []string{
		"", "15", "15 (sh", "15 sh)" + rest, ")15 (" + rest, "15 (sh) S 12 13", "x (sh)" + rest,
		"15 (sh)" + strings.Replace(rest, " 12 ", " a ", 1), "15 (sh)" + strings.Replace(rest, "4711", "-1", 1),
		"15 (sh)" + strings.Replace(rest, "S", "SS", 1),
	} {
		if got, err := cgroup.ParseStat([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestLookFindsThisProcess(t *testing.T) {
	got, err := cgroup.Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got.PID != os.Getpid() || got.Parent != os.Getppid() || !got.Alive || got.Start == 0 || got.Threads < 1 {
		t.Errorf("this process is %+v", got)
	}
}

// What is no session's process gets no signal, and neither does whoever took over a number.
func TestSignalsGoToWhomTheyAreMeantFor(t *testing.T) {
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if err := cgroup.Send(pid, 0, 0); err == nil {
			t.Errorf("process %d could be signalled", pid)
		}
	}
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p, err := cgroup.Look(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := cgroup.Send(p.PID, p.Start-1, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cgroup.Send(p.PID, p.Start, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := <-ended; fmt.Sprint(err) != "signal: terminated" { // and not killed
		t.Errorf("it ended by %v", err)
	}
	if err := cgroup.Send(p.PID, p.Start, syscall.SIGTERM); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
}

func TestEnvironmentHoldsTheWholeEntry(t *testing.T) {
	for text, want := range map[string]bool{
		"A=b\x00STILE_SESSION_ID=ses_1\x00C=d\x00": true,
		"STILE_SESSION_ID=ses_1":                   true,
		"STILE_SESSION_ID=ses_12\x00":              false,
		"XSTILE_SESSION_ID=ses_1\x00":              false,
		"A=STILE_SESSION_ID=ses_1\x00":             false,
		"":                                         false,
	} {
		if got := cgroup.Holds([]byte(text), cgroup.Variable+"=ses_1"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own, "sh) S 1 (", 7, uint64(9))
	f.Add([]byte("15 (a) b)"), "\n", -1, uint64(0))
	f.Fuzz(func(t *testing.T, file []byte, name string, number int, start uint64) {
		_, _ = cgroup.ParseStat(file) // whatever it is, it doesn't panic
		text := fmt.Sprintf("%d (%s) T %d %d %d 0 -1 0 0 0 0 0 0 0 0 0 20 0 %d 0 %d 0 0\n", number, name, number, number, number, number, start)
		got, err := cgroup.ParseStat([]byte(text))
		want := cgroup.Stat{PID: number, Parent: number, Group: number, Session: number, Threads: number, State: 'T', Start: start, Alive: true}
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	})
}
