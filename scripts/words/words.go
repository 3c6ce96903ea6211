// Package words lists every sentence that people read of the system (messages and hints, help, log lines, descriptions)
// so that a change of wording shows in review as one, and checks the rules that a program can check.
//
// It reads source text only; nothing is compiled. Its entry points are [Gather] and [Check].
package words

import (
	"cmp"
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"

	"github.com/stile-dev/stile/scripts/layout"
)

// Kind says who reads a sentence, and where.
type Kind string

// The kinds.
const (
	Message Kind = "message" // of a fault: what went wrong
	Hint    Kind = "hint"    // of a fault: what to do next
	Field   Kind = "field"   // why an input is faulty
	Help    Kind = "help"    // of a command or a flag
	Text    Kind = "text"    // any other: printed, answered, or part of one of the others
	Error   Kind = "error"   // a cause, which logs and programs started by hand show
	Log     Kind = "log"     // of a log event
	Doc     Kind = "doc"     // a description in the API's document or the Makefile
)

// Sentence is one thing that people read. Operands that aren't constant appear in it as {source text}.
type Sentence struct {
	Dir  string // folder of the package, or a file that isn't Go's
	Kind Kind
	Text string
}

// Gather finds the sentences of a repository, by folder and then in the order of the files.
func Gather(root string) ([]Sentence, error) {
	tree, err := layout.Load(root)
	if err != nil {
		return nil, err
	}
	var out []Sentence
	for _, p := range tree.Packages {
		if !read(p.Dir) {
			continue
		}
		slices.SortFunc(p.Files, func(a, b layout.File) int { return cmp.Compare(a.Path, b.Path) })
		for _, f := range p.Files {
			if !ast.IsGenerated(f.AST) {
				out = append(out, sentences(p.Dir, f.AST)...)
			}
		}
	}
	docs, err := documents(root)
	if err != nil {
		return nil, fmt.Errorf("reading documents: %w", err)
	}
	out = append(out, docs...)
	slices.SortStableFunc(out, func(a, b Sentence) int { return cmp.Compare(a.Dir, b.Dir) })
	return once(out), nil
}

// once leaves a sentence out that its folder has had already, except for hints, which stay beside their messages.
func once(list []Sentence) []Sentence {
	had := map[Sentence]bool{}
	return slices.DeleteFunc(list, func(s Sentence) bool {
		again := had[s] && s.Kind != Hint && s.Kind != Message
		had[s] = true
		return again
	})
}

// read reports whether a folder holds what users run, not what tests or builds it.
func read(dir string) bool {
	top, _, _ := strings.Cut(dir, "/")
	return slices.Contains([]string{"agent", "cli", "functions", "infra", "localstack", "pkg", "proxy"}, top) &&
		!strings.HasSuffix(path.Base(dir), "test") && dir != "infra/review" && dir != "localstack/conformance"
}

// Print writes the list: first what users read, then what operators find in logs, each by folder.
func Print(list []Sentence) string {
	var out strings.Builder
	part := func(title string, in func(Sentence) bool) {
		fmt.Fprintf(&out, "# %s\n", title)
		dir := ""
		for _, s := range list {
			if !in(s) {
				continue
			}
			if s.Dir != dir {
				dir = s.Dir
				fmt.Fprintf(&out, "\n## %s\n\n", dir)
			}
			fmt.Fprintf(&out, "%-8s %s\n", s.Kind, strings.ReplaceAll(s.Text, "\n", `\n`))
		}
	}
	part("What users read", func(s Sentence) bool { return !s.Kind.logged() })
	out.WriteString("\n")
	part("What logs say", func(s Sentence) bool { return s.Kind.logged() })
	return out.String()
}

func (k Kind) logged() bool { return k == Log || k == Error }
