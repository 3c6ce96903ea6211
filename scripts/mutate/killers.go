package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

//go:embed killers.txt
var killersList string

const killersFile = "scripts/mutate/killers.txt"

// Killers are the tests that killed mutants last, by the mutants' sentences. Each fails alone on the broken code, and
// passes alone on the code as it is.
type Killers map[string]string

const arrow = " → "

// ParseKillers reads lines of a sentence, an arrow and a test.
func ParseKillers(text string) (Killers, error) {
	all := Killers{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		sentence, test, ok := strings.Cut(line, arrow)
		if !ok || sentence == "" || test == "" || strings.ContainsAny(test, " /") {
			return nil, fmt.Errorf("a line of killers.txt is not a sentence, an arrow and a test: %q", line)
		}
		if all[sentence] != "" {
			return nil, fmt.Errorf("killers.txt has two lines for %q", sentence)
		}
		all[sentence] = test
	}
	return all, nil
}

// String returns the lines, sorted.
func (k Killers) String() string {
	var lines strings.Builder
	for _, sentence := range slices.Sorted(maps.Keys(k)) {
		lines.WriteString(sentence + arrow + k[sentence] + "\n")
	}
	return lines.String()
}

// merge returns the killers from before with what was seen of the mutants that were tried, and without the mutants that
// are in no list any more.
func merge(before, seen Killers, all, tried []Mutant) Killers {
	merged := Killers{}
	for _, m := range all {
		from := before
		if slices.Contains(tried, m) {
			from = seen
		}
		if test := from[m.Sentence]; test != "" {
			merged[m.Sentence] = test
		}
	}
	return merged
}

// reliable returns the killers that pass alone on the code as it is: one that doesn't, because it needs what another
// test leaves behind, would seem to kill anything.
func reliable(ctx context.Context, mutants []Mutant, seen Killers, parallel int) (Killers, error) {
	tests := map[string][]string{} // by package
	for _, m := range mutants {
		if test := seen[m.Sentence]; test != "" && !slices.Contains(tests[m.dir()], test) {
			tests[m.dir()] = append(tests[m.dir()], test)
		}
	}
	var mu sync.Mutex // of passing and errs
	var errs []error
	passing := map[[2]string]bool{}
	spread(ctx, slices.Collect(maps.Keys(tests)), parallel, strings.Clone, func(dir string) {
		good, err := sound(ctx, dir, tests[dir])
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		for _, test := range good {
			passing[[2]string{dir, test}] = true
		}
	})
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	kept := Killers{}
	for _, m := range mutants {
		switch test := seen[m.Sentence]; {
		case test == "":
		case passing[[2]string{m.dir(), test}]:
			kept[m.Sentence] = test
		default:
			fmt.Printf("left out  %s: %s fails alone on code that isn't broken\n", m.dir(), test)
		}
	}
	return kept, nil
}

// sound returns those of a package's tests that pass alone.
func sound(ctx context.Context, dir string, tests []string) (good []string, err error) {
	into, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(into)
	b, err := build(ctx, dir, into)
	if err != nil {
		return nil, fmt.Errorf("building the tests of %s: %w", dir, err)
	}
	for _, test := range tests {
		if b.alone(ctx, test) == passes {
			good = append(good, test)
		}
	}
	return good, nil
}
