package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/integration/stand"
)

// trial is an allow, and the tests that used it first: for one resource or value or another.
type trial struct {
	allow stand.Allow
	tests []string // empty when the system's start used it
}

// event is a line of go test -json.
type event struct {
	Time                 time.Time
	Action, Test, Output string
}

// learn runs all tests, unless dir has what an earlier run showed, and plans the trials.
func learn(ctx context.Context, dir string) ([]trial, error) {
	events, uses := filepath.Join(dir, "events.json"), filepath.Join(dir, "uses.json")
	if _, err := os.Stat(events); errors.Is(err, fs.ErrNotExist) {
		out, err := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-timeout=15m", "./integration", "-args", "-uses", uses).Output()
		if err != nil {
			return nil, fmt.Errorf("running all tests, which must pass first: %w\n%s", err, complaints(out))
		}
		if err := os.WriteFile(events, out, 0o600); err != nil {
			return nil, err
		}
	}
	raw, err := os.ReadFile(events)
	if err != nil {
		return nil, err
	}
	var used []stand.Use
	list, err := os.ReadFile(uses)
	if err == nil {
		err = json.Unmarshal(list, &used)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what roles used: %w", err)
	}
	return plan(raw, used)
}

// complaints are what the tests that failed printed, of go test's events.
func complaints(events []byte) string {
	var b strings.Builder
	printed := map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(events))
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			return b.String() // what follows is none of them
		}
		printed[e.Test] += e.Output
		if e.Action == "fail" {
			b.WriteString(printed[e.Test])
		}
		if e.Action == "fail" || e.Action == "pass" {
			delete(printed, e.Test)
		}
	}
}

// plan finds the test that ran when each use was first seen: tests run one after the other, and what they share starts
// before the first.
func plan(events []byte, used []stand.Use) ([]trial, error) {
	var starts []event
	dec := json.NewDecoder(bytes.NewReader(events))
	for {
		var e event
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading go test's events: %w", err)
		}
		if e.Action == "run" && !strings.Contains(e.Test, "/") {
			starts = append(starts, e)
		}
	}
	if len(starts) == 0 {
		return nil, errors.New("go test's events show no test")
	}
	tests := map[stand.Allow]map[string]bool{}
	for _, u := range used {
		if tests[u.Allow()] == nil {
			tests[u.Allow()] = map[string]bool{}
		}
		name := ""
		for _, s := range starts {
			if !s.Time.After(u.At) {
				name = s.Test
			}
		}
		tests[u.Allow()][name] = true
	}
	var out []trial
	for allow, by := range tests {
		t := trial{allow: allow}
		for name := range by {
			if name != "" && !by[""] { // the start alone says it
				t.tests = append(t.tests, name)
			}
		}
		slices.Sort(t.tests)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b trial) int { return strings.Compare(a.allow.String(), b.allow.String()) })
	return out, nil
}
