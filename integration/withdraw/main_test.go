package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWhoNoticedIsReadFromWhatTheTestsPrinted(t *testing.T) {
	for name, k := range map[string]struct{ out, want string }{
		"a test": {"=== RUN\n    --- FAIL: TestA/part (0.1s)\n--- FAIL: TestA (0.2s)\nFAIL\n", "TestA"},
		"the start": {
			"localstack up: exit status 1\nwaiting\nlocalstack: StileControl: FAILED: AccessDenied\nmore\n", "the system doesn't start: StileControl: FAILED: AccessDenied",
		},
		"the start, without a word":  {"localstack up: exit status 1\n", "the system doesn't start"},
		"a log that names the start": {"{\"msg\":\"run: localstack up\"}\n", ""},
		"something else":             {"fork/exec: no such file or directory\n", ""},
		"part of a test":             {"    --- FAIL: TestA/part (0.1s)\n", ""},
		"nothing":                    {"", ""},
	} {
		if got := verdict([]byte(k.out)); got != k.want {
			t.Errorf("%s: %q, want %q", name, got, k.want)
		}
	}
}

func TestOnlyWhatFailedIsShown(t *testing.T) {
	const events = `{"Action":"output","Test":"TestA","Output":"fine\n"}
{"Action":"output","Test":"TestB","Output":"it broke\n"}
{"Action":"pass","Test":"TestA"}
{"Action":"fail","Test":"TestB"}
{"Action":"output","Output":"no test needed x/y/z\n"}
{"Action":"fail"}
`
	if got := complaints([]byte(events)); got != "it broke\nno test needed x/y/z\n" {
		t.Errorf("%q", got)
	}
}

// A right without which a test waits is noticed, and what the test had started is stopped by its own interrupt.
func TestTestsThatWaitAreInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("integration", 0o700); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "waits")
	script := "#!/bin/sh\ntrap 'echo stopped >stopped; exit 1' INT\nwhile :; do sleep 0.1; done\n"
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	killer, err := trial{}.attempt(t.Context(), binary, ".", 2*time.Second)
	if err != nil || killer != "a test that waits for 2s" {
		t.Errorf("%q, %v", killer, err)
	}
	if _, err := os.Stat("integration/stopped"); err != nil {
		t.Errorf("it wasn't interrupted: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if killer, err := (trial{}).attempt(ctx, binary, ".", time.Second); !errors.Is(err, context.Canceled) || killer != "" {
		t.Errorf("a run that was ended itself: %q, %v", killer, err)
	}
}
