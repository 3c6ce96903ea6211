package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// module is a package whose tests do what the mode says, and write down that they ran.
var module = map[string]string{
	"go.mod": "module example.com/m\n\ngo 1.26\n",
	"p/p.go": "package p\n\nconst mode = \"whole\"\n",
	"p/p_test.go": `package p

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if mode == "main" {
		os.Exit(1)
	}
	os.Exit(code)
}

func ran(t *testing.T) {
	f, err := os.OpenFile("ran", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, t.Name())
	f.Close()
}

func TestIdle(t *testing.T) { ran(t) }

var before bool

func TestBefore(t *testing.T) { ran(t); before = true }

func TestOrder(t *testing.T) {
	ran(t)
	if before && mode == "order" {
		t.Error("only after another")
	}
}

func TestNeedy(t *testing.T) {
	ran(t)
	if !before {
		t.Error("only after another")
	}
}

func TestFlaky(t *testing.T) {
	ran(t)
	if _, err := os.Stat("was"); mode == "flaky" && err != nil {
		os.WriteFile("was", nil, 0o600)
		t.Error("once")
	}
}

func TestPanic(t *testing.T) {
	ran(t)
	if mode == "panic" {
		t.Run("inside", func(*testing.T) { panic("inside") })
	}
	if mode == "hang" {
		select {}
	}
	if mode == "far" {
		go panic("far")
		select {}
	}
}

func TestRule(t *testing.T) {
	ran(t)
	t.Run("one", func(t *testing.T) {
		if mode == "broken" {
			t.Error("broken")
		}
	})
}

func TestRuleToo(t *testing.T) {
	ran(t)
	if mode == "broken" {
		t.Error("broken")
	}
}
`,
}

// all is what runs when all tests run and none fails.
const all = "TestIdle TestBefore TestOrder TestNeedy TestFlaky TestPanic TestRule TestRuleToo"

func enter(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("p", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range module {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func broken(mode string) Mutant {
	return Mutant{"M.", "p/p.go", "const mode = \"whole\"\n", "const mode = \"" + mode + "\"\n"}
}

// lock is one that tests whether something ran before it was locked.
type lock struct {
	t      *testing.T
	locked bool
}

func (l *lock) Lock() {
	if ran(l.t) != "" {
		l.t.Error("tests ran before the lock")
	}
	l.locked = true
}

func (l *lock) Unlock() { l.locked = false }

// ran returns the tests that ran in the module.
func ran(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("p/ran")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// Whatever is on file, the verdict is that of the whole package; what is on file only spares the others.
func TestTheKillerOnFileIsTriedAloneAndOnlyItsFailureCounts(t *testing.T) {
	until := func(test string) string { return all[:strings.Index(all+" ", test+" ")+len(test)] }
	for name, c := range map[string]struct {
		mode, killer string
		want         kill
		ran          string
	}{
		"the one on file":            {"broken", "TestRuleToo", kill{"TestRuleToo", true}, "TestRuleToo"},
		"none is on file":            {"broken", "", kill{"TestRule", true}, until("TestRule") + " TestRule"},
		"it passes":                  {"broken", "TestIdle", kill{"TestRule", true}, "TestIdle " + until("TestRule") + " TestRule"},
		"it is gone":                 {"broken", "TestGone", kill{"TestRule", true}, until("TestRule") + " TestRule"},
		"it begins others' names":    {"broken", "TestRul", kill{"TestRule", true}, until("TestRule") + " TestRule"},
		"it is an expression":        {"broken", "Test.*", kill{"TestRule", true}, until("TestRule") + " TestRule"},
		"alive, and none is on file": {"fine", "", kill{}, all},
		"alive, and it passes":       {"fine", "TestRule", kill{}, "TestRule " + all},
		"alive, and it is gone":      {"fine", "TestGone", kill{}, all},
		"it fails only after others": {"order", "TestOrder", kill{"TestOrder", false}, "TestOrder " + until("TestOrder") + " " + until("TestOrder")},
		"it panics":                  {"panic", "TestPanic", kill{"TestPanic", true}, "TestPanic"},
		"something panics elsewhere": {"far", "TestPanic", kill{"a panic", false}, "TestPanic " + until("TestPanic")},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t)
			l := lock{t: t}
			got, err := broken(c.mode).hunt(t.Context(), c.killer, &l)
			if err != nil || got != c.want || l.locked {
				t.Errorf("%+v, %v, locked %v; want %+v", got, err, l.locked, c.want)
			}
			if ran := ran(t); ran != c.ran {
				t.Errorf("%s ran instead of %s", ran, c.ran)
			}
		})
	}
}

// What fails once may have met a busy machine; what does not compile, and tests that end badly without one that fails,
// say nothing of the mutant. None of them is dead, nor alive.
func TestWhatSaysNothingOfAMutantKillsNothing(t *testing.T) {
	for mode, want := range map[string]string{
		"flaky":        "TestFlaky failed once",
		"main":         "the tests can't run",
		"x\" + 1 + \"": "it does not compile",
	} {
		for _, killer := range []string{"", "TestIdle"} {
			enter(t)
			got, err := broken(mode).hunt(t.Context(), killer, &sync.Mutex{})
			if got != (kill{}) || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v; want %q", mode, got, err, want)
			}
		}
	}
}

func TestAHangIsADeathWithoutAName(t *testing.T) {
	enter(t)
	m := broken("hang")
	if err := os.WriteFile(m.File, []byte("package p\n\n"+m.New), 0o600); err != nil {
		t.Fatal(err)
	}
	tests, err := build(t.Context(), m.dir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tests.limit = time.Second
	if got, err := tests.all(t.Context(), ""); err != nil || got != (kill{name: "a test that hangs"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got := tests.alone(t.Context(), "TestPanic"); got != unknown {
		t.Errorf("alone it is %v", got)
	}
}

func TestAHuntThatIsEndedEndsItsTests(t *testing.T) {
	enter(t)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := broken("hang").hunt(ctx, "", &sync.Mutex{})
		ended <- err
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(ran(t), "TestPanic"); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the tests don't begin")
		}
	}
	end()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("tests that were ended passed")
		}
	case <-time.After(limit / 2):
		t.Error("the tests still run")
	}
}

// A real one of each kind.
func TestTheHuntTellsDeadFromAlive(t *testing.T) {
	t.Chdir("../..")
	const file = "pkg/fault/fault.go"
	const killer = "TestAnErrorWithoutAFaultIsInternalAndNotShown"
	killed := Mutant{"K.", file, "\treturn New(Internal, \"something went wrong inside Stile\",\n", "\treturn New(Denied, \"something went wrong inside Stile\",\n"}
	for _, known := range []string{"", killer} {
		if by, err := killed.hunt(t.Context(), known, &sync.Mutex{}); err != nil || by != (kill{killer, true}) {
			t.Errorf("killed by %+v, %v", by, err)
		}
	}
	alive := Mutant{"A.", file, "\t\t\"try again; if it keeps happening, give the request id to your administrator\").Because(err)\n", ""}
	alive.New = strings.Replace(alive.Old, "try again", "try once more", 1)
	if by, err := alive.hunt(t.Context(), killer, &sync.Mutex{}); err != nil || by != (kill{}) {
		t.Errorf("killed by %+v, %v", by, err)
	}
	if by, err := (Mutant{"B.", file, "package fault\n", "package\n"}).hunt(t.Context(), killer, &sync.Mutex{}); err == nil || by != (kill{}) {
		t.Errorf("killed by %+v", by)
	}
}
