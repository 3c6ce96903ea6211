package cmd_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stile-dev/stile/cli/cmd"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"stile": func() {
			os.Exit(cmd.Run(context.Background(), cmd.Process{
				Args: os.Args[1:], Getenv: os.Getenv, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			}))
		},
	})
}

// The stories in testdata/script need no API: what is typed wrong, and what is asked before a login.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("STILE_HOME", e.WorkDir+"/home")
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"status": status},
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
	})
}

// status runs a program and compares its exit status: status 2 stile frobnicate.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARGUMENT...]")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = exitStatus(err)
	}
	if got != args[0] {
		ts.Fatalf("%v ended with %s, want %s", args[1:], got, args[0])
	}
}
