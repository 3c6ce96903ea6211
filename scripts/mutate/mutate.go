// Command mutate checks that each rule has a test that dies with it: it breaks one rule at a time, as mutants.txt says,
// and expects a test of the same package to fail. The working tree is never touched: the compiler gets the broken file
// as an overlay.
//
// killers.txt says which test killed each mutant last. That test is tried alone first, which takes a moment; only if it
// does not fail, the whole package is tried, so a line that is wrong or absent costs time and changes no result.
// With -update, the file is written from what this run saw.
//
// Several mutants are built and tried at once, but never the tests of one package twice at once: they may want the same
// port, directory or cgroup. Tests of different packages do run beside each other in go test ./... as well.
//
// Its entry point is [Parse], which reads mutants.txt.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

//go:embed mutants.txt
var list string

func main() {
	var o options
	flag.StringVar(&o.since, "since", "", "only mutants of files that changed since this commit, and those that changed themselves")
	flag.StringVar(&o.only, "only", "", "only mutants whose sentence or file matches this regular expression")
	flag.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "how many mutants are tried at once")
	flag.BoolVar(&o.update, "update", false, "write "+killersFile+" from what this run sees")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		survivors = 1
	}
	if survivors > 0 {
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

type options struct {
	since, only string
	parallel    int
	update      bool
}

func run(ctx context.Context, o options) (survivors int, err error) {
	if o.parallel < 1 {
		return 0, fmt.Errorf("-parallel is %d, and nothing would be tried", o.parallel)
	}
	all, err := Parse(list)
	if err != nil {
		return 0, err
	}
	killers, err := ParseKillers(killersList)
	if err != nil {
		return 0, err
	}
	mutants, err := matching(slices.Clone(all), o.only)
	if err != nil {
		return 0, err
	}
	if o.since != "" {
		if mutants, err = changed(ctx, mutants, o.since); err != nil {
			return 0, err
		}
	}
	survivors, seen := tryAll(ctx, mutants, killers, o.parallel)
	if err := ctx.Err(); err != nil {
		return survivors, err
	}
	fmt.Printf("%d mutants, %d survive\n", len(mutants), survivors)
	if o.update {
		if seen, err = reliable(ctx, mutants, seen, o.parallel); err != nil {
			return survivors, err
		}
		return survivors, os.WriteFile(killersFile, []byte(merge(killers, seen, all, mutants).String()), 0o644)
	}
	return survivors, nil
}

// tryAll hunts all mutants, and says as each ends what became of it. Seen are the tests that kill alone.
func tryAll(ctx context.Context, mutants []Mutant, killers Killers, parallel int) (survivors int, seen Killers) {
	var mu sync.Mutex // of what is printed and counted
	var running locks
	seen = Killers{}
	spread(ctx, mutants, parallel, Mutant.dir, func(m Mutant) {
		known := killers[m.Sentence]
		by, err := m.hunt(ctx, known, running.of(m.dir()))
		if ctx.Err() != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			survivors++
			fmt.Printf("UNTRIED   %s: %s: %v\n", m.File, m.Sentence, err)
		case by == kill{}:
			survivors++
			fmt.Printf("SURVIVES  %s: %s\n", m.File, m.Sentence)
		default:
			if by.alone {
				seen[m.Sentence] = by.name
			}
			also := ""
			if known != "" && by.name != known {
				also = fmt.Sprintf(" (not by %s, as killers.txt says: -update writes it)", known)
			}
			fmt.Printf("killed    %s: %s: %s%s\n", m.File, m.Sentence, by.name, also)
		}
	})
	return survivors, seen
}

// matching returns the mutants whose sentence or file matches an expression. That none does is an error: somebody who
// misspelt a package would otherwise believe that it passed.
func matching(mutants []Mutant, expression string) ([]Mutant, error) {
	pick, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("-only is no regular expression: %w", err)
	}
	mutants = slices.DeleteFunc(mutants, func(m Mutant) bool { return !pick.MatchString(m.Sentence) && !pick.MatchString(m.File) })
	if len(mutants) == 0 {
		return nil, fmt.Errorf("no mutant's sentence or file matches %q", expression)
	}
	return mutants, nil
}

const listFile = "scripts/mutate/mutants.txt"

// changed returns the mutants whose file differs from that of a commit, and those that the commit's list does not have
// as they are now. None is a fine answer: nothing that a rule is about changed.
func changed(ctx context.Context, mutants []Mutant, since string) ([]Mutant, error) {
	files, err := git(ctx, "diff", "--name-only", since, "--")
	if err != nil {
		return nil, err
	}
	var before []Mutant
	if there, err := git(ctx, "ls-tree", "--name-only", since, listFile); err != nil {
		return nil, err
	} else if there != "" { // else the list is new, and so is each mutant
		text, err := git(ctx, "show", since+":"+listFile)
		if err != nil {
			return nil, err
		}
		if before, err = Parse(text); err != nil {
			return nil, fmt.Errorf("reading the list of %s: %w", since, err)
		}
	}
	return news(mutants, before, strings.Fields(files)), nil
}

// news returns the mutants that are not in the list from before, or whose file is among those that changed.
func news(mutants, before []Mutant, files []string) []Mutant {
	return slices.DeleteFunc(mutants, func(m Mutant) bool { return slices.Contains(before, m) && !slices.Contains(files, m.File) })
}

func git(ctx context.Context, arguments ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", arguments...).Output()
	if err != nil {
		return "", fmt.Errorf("asking git (%s) what changed: %w", strings.Join(arguments, " "), err)
	}
	return string(out), nil
}

// Mutant is one rule broken in one place.
type Mutant struct {
	Sentence string // what goes wrong
	File     string // by its path from the root
	Old, New string // whole lines; Old occurs in the file exactly once
}

// dir is the package whose tests decide, by its path from the root.
func (m Mutant) dir() string { return filepath.Dir(m.File) }

// Parse reads a list: for each mutant a line "# sentence", a line with the file, and lines that begin with '-' (taken
// out), '+' (put in their place) or ' ' (left as they are), as in a diff; the first character is not part of the line.
// Empty lines separate mutants.
func Parse(text string) ([]Mutant, error) {
	var all []Mutant
	for i, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(block, "\n")
		if len(lines) < 3 || !strings.HasPrefix(lines[0], "# ") {
			return nil, fmt.Errorf("mutant %d is not a sentence, a file and lines: %q", i+1, lines[0])
		}
		m := Mutant{Sentence: lines[0][2:], File: lines[1]}
		for _, line := range lines[2:] {
			switch line[0] {
			case ' ':
				m.Old += line[1:] + "\n"
				m.New += line[1:] + "\n"
			case '-':
				m.Old += line[1:] + "\n"
			case '+':
				m.New += line[1:] + "\n"
			default:
				return nil, fmt.Errorf("mutant %d (%s) has a line that begins with none of - + and blank: %q", i+1, m.Sentence, line)
			}
		}
		if m.Old == m.New {
			return nil, fmt.Errorf("mutant %d (%s) changes nothing", i+1, m.Sentence)
		}
		all = append(all, m)
	}
	return all, nil
}

// Broken returns the file's text with the rule broken.
func (m Mutant) Broken(text string) (string, error) {
	times, at := 0, 0
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], m.Old) {
			times, at = times+1, i
		}
		_, rest, _ := strings.Cut(text[i:], "\n")
		i = len(text) - len(rest)
	}
	if times != 1 {
		return "", fmt.Errorf("its lines occur %d times in the file instead of once; copy them from the file as it is now", times)
	}
	return text[:at] + m.New + text[at+len(m.Old):], nil
}
