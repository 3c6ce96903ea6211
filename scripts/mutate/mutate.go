// Command mutate checks that each rule has a test that dies with it: it breaks one rule at a time, as mutants.txt says,
// and expects a test of the same package to fail. The working tree is never touched: the compiler gets the broken file
// as an overlay.
//
// Its entry point is [Parse], which reads mutants.txt.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed mutants.txt
var list string

func main() {
	since := flag.String("since", "", "only mutants of files that changed since this commit, and those that changed themselves")
	only := flag.String("only", "", "only mutants whose sentence or file matches this regular expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, *since, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		survivors = 1
	}
	if survivors > 0 {
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, since, only string) (survivors int, err error) {
	mutants, err := Parse(list)
	if err != nil {
		return 0, err
	}
	if mutants, err = matching(mutants, only); err != nil {
		return 0, err
	}
	if since != "" {
		if mutants, err = changed(ctx, mutants, since); err != nil {
			return 0, err
		}
	}
	for _, m := range mutants {
		killer, err := m.hunt(ctx)
		switch {
		case ctx.Err() != nil:
			return survivors, ctx.Err()
		case err != nil:
			survivors++
			fmt.Printf("UNTRIED   %s: %s: %v\n", m.File, m.Sentence, err)
		case killer == "":
			survivors++
			fmt.Printf("SURVIVES  %s: %s\n", m.File, m.Sentence)
		default:
			fmt.Printf("killed    %s: %s: %s\n", m.File, m.Sentence, killer)
		}
	}
	fmt.Printf("%d mutants, %d survive\n", len(mutants), survivors)
	return survivors, nil
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

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// hunt runs the tests of the mutant's package and returns the first one that fails; "" when none does.
func (m Mutant) hunt(ctx context.Context) (killer string, err error) {
	text, err := os.ReadFile(m.File)
	if err != nil {
		return "", err
	}
	broken, err := m.Broken(string(text))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file, err := filepath.Abs(m.File)
	if err != nil {
		return "", err
	}
	copied, overlay := filepath.Join(dir, filepath.Base(m.File)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: copied}})
	if err = errors.Join(err, os.WriteFile(copied, []byte(broken), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-failfast", "-timeout=2m", "-overlay="+overlay, "./"+filepath.Dir(m.File))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if found := failed.FindSubmatch(out); found != nil {
		return string(found[1]), nil
	}
	if bytes.Contains(out, []byte("panic: test timed out")) {
		return "a test that hangs", nil
	}
	if bytes.Contains(out, []byte("panic: ")) || bytes.Contains(out, []byte("fatal error: ")) {
		return "a panic", nil
	}
	return "", fmt.Errorf("it does not compile, or the tests can't run:\n%s", out)
}
