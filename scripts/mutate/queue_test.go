package main

import (
	"context"
	"strings"
	"sync"
	"testing"
)

func first(w string) string { return w[:1] }

func TestAWorkerStaysInAPackageAndBeginsWhereMostIsLeft(t *testing.T) {
	var got []string
	spread(t.Context(), []string{"b1", "a1", "a2", "c1", "a3", "c2"}, 1, first, func(w string) { got = append(got, w) })
	if strings.Join(got, " ") != "a1 a2 a3 c1 c2 b1" {
		t.Errorf("%v", got)
	}
}

// Two workers are in two packages; when only one is left, both are there.
func TestWorkersShareAPackageOnlyWhenNoOtherIsLeft(t *testing.T) {
	q := queue[string]{left: map[string][]string{"a": {"a1", "a2", "a3"}, "b": {"b1"}}, at: map[string]int{}}
	for i, step := range []struct{ from, work, at string }{
		{"", "a1", "a"}, {"", "b1", "b"}, {"b", "a2", "a"}, {"a", "a3", "a"}, {"a", "", ""}, {"a", "", ""},
	} {
		if work, at := q.next(step.from); work != step.work || at != step.at {
			t.Errorf("step %d: %q in %q, want %+v", i, work, at, step)
		}
	}
}

func TestAsManyWorkAtOnceAsAreAllowed(t *testing.T) {
	const workers = 3
	var mu sync.Mutex
	at, most, done := 0, 0, 0
	full := make(chan struct{}) // closed when as many work as may: so many do, or this never ends
	spread(t.Context(), strings.Split(strings.Repeat("a b c d e ", 20), " ")[:100], workers, first, func(string) {
		mu.Lock()
		at++
		if most = max(most, at); at == workers && done == 0 {
			close(full)
			done++
		}
		mu.Unlock()
		<-full
		mu.Lock()
		at--
		mu.Unlock()
	})
	if most != workers {
		t.Errorf("%d at once", most)
	}
}

func TestNothingIsBegunAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	times := 0
	spread(ctx, []string{"a1", "a2", "b1"}, 1, first, func(string) { times++; cancel() })
	if times != 1 {
		t.Errorf("%d were begun", times)
	}
}

func TestAPackageHasOneLock(t *testing.T) {
	var l locks
	if a := l.of("a"); a != l.of("a") || a == l.of("b") {
		t.Error("a package has two locks, or two packages have one")
	}
}
