package integration_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The stories in testdata/script are typed on the running system. Beside testscript's own commands:
//
//	as PERSON              become somebody of account.yaml, with an empty home of their own
//	status N PROGRAM ...   run a program, which must end with N
//	refused N PROGRAM ...  the same, and its stderr must be an error and a hint that people understand
//	eventually N PROGRAM ... run a program until it ends with N
//	snapshot, unchanged    remember all that is stored; compare
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values[storyKey{}] = &story{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).become(t, ts, args[0]) },
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				if got := ended(ts, args[1:]); strconv.Itoa(got) != args[0] {
					ts.Fatalf("ended with %d, want %s", got, args[0])
				}
			},
			"refused": func(ts *testscript.TestScript, _ bool, args []string) {
				r := result{status: ended(ts, args[1:]), out: ts.ReadFile("stdout"), err: ts.ReadFile("stderr")}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				r.refused(t, want)
				if t.Failed() {
					ts.Fatalf("that was %v", args)
				}
			},
			"eventually": func(ts *testscript.TestScript, _ bool, args []string) {
				eventually(t, 30*time.Second, func() string {
					if got := ended(ts, args[1:]); strconv.Itoa(got) != args[0] {
						return "ended with " + strconv.Itoa(got)
					}
					return ""
				})
			},
			"snapshot":  func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).before = shared.snapshot(t, of(ts).person) },
			"unchanged": func(ts *testscript.TestScript, _ bool, _ []string) { shared.unchanged(t, of(ts).person, of(ts).before) },
		},
	})
}

type storyKey struct{}

// story is who types, and what was stored when asked for.
type story struct {
	person *person
	before map[string]string
}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

func (s *story) become(t *testing.T, ts *testscript.TestScript, name string) {
	file := map[string]string{"engineer": engineer, "admin": admin, "stranger": "env.stranger"}[name]
	if file == "" {
		ts.Fatalf("nobody is called %s", name)
	}
	s.person = shared.person(t, file)
	s.person.Home = filepath.Join(ts.Getenv("WORK"), "home", name)
	s.person.Env["STILE_HOME"] = s.person.Home
	ts.Setenv("PATH", s.person.Path+":"+ts.Getenv("PATH"))
	ts.Setenv("USER", userName())
	for name, value := range s.person.Env {
		ts.Setenv(name, value)
	}
}

// ended runs a program and gives its status.
func ended(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}
