package layout_test

import (
	"flag"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/scripts/layout"
)

var update = flag.Bool("update", false, "write the tests into docs/security.md")

var (
	caseName = regexp.MustCompile(`^TestSec_(S[0-9]{2})_[A-Z0-9]\w*$`)
	caseRow  = regexp.MustCompile(`^\| (S[0-9]{2}) \|([^|]*)\|([^|]*)\|([^|]*)\|$`)
)

// Every case has a test, every test of a case a row, and the document says which.
func TestSecurityCasesAndTheirTestsAgree(t *testing.T) {
	tree, err := layout.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	tests := casesOf(tree)
	var out strings.Builder
	rows := map[string]bool{}
	doc := read(t, "docs/security.md")
	for line := range strings.Lines(doc) {
		m := caseRow.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			out.WriteString(line)
			continue
		}
		if rows[m[1]] {
			t.Errorf("docs/security.md -> %s: it has two rows", m[1])
		}
		rows[m[1]] = true
		if len(tests[m[1]]) == 0 {
			t.Errorf("docs/security.md -> %s: no test of this case", m[1])
		}
		out.WriteString("| " + m[1] + " |" + m[2] + "|" + m[3] + "| " + strings.Join(tests[m[1]], "<br>") + " |\n")
	}
	for name, where := range tests {
		if !rows[name] {
			t.Errorf("%s -> %s: docs/security.md has no row for it", where, name)
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, "docs/security.md"), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != doc {
		t.Error("docs/security.md lists other tests than there are: go test ./scripts/layout -update writes them")
	}
}

var (
	payRow = regexp.MustCompile(`^\|[^|]*\|[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|$`)
	quoted = regexp.MustCompile("`([^`]+)`")
)

// What is said of who pays names where the bound is, and a test of it.
func TestWhoPaysNamesFilesAndTestsThatThereAre(t *testing.T) {
	tree, err := layout.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for name, tests := range casesOf(tree) {
		for _, test := range tests {
			there["TestSec_"+name+"_"+test[strings.LastIndex(test, " ")+1:]] = true
		}
	}
	_, pays, found := strings.Cut(read(t, "docs/security.md"), "## Who pays?")
	rows := 0
	for line := range strings.Lines(pays) {
		m := payRow.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil || !strings.Contains(m[1], "`") {
			continue
		}
		rows++
		for _, place := range quoted.FindAllStringSubmatch(m[1], -1) {
			if _, err := os.Stat(filepath.Join(root, place[1])); err != nil {
				t.Errorf("%s: %v", place[1], err)
			}
		}
		tests := quoted.FindAllStringSubmatch(m[2], -1)
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, test := range tests {
			if !there[test[1]] {
				t.Errorf("%s: there is no such test", test[1])
			}
		}
	}
	if !found || rows < 15 {
		t.Errorf("%d rows", rows)
	}
}

// casesOf returns the tests of each case, as folder and name.
func casesOf(tree *layout.Tree) map[string][]string {
	out := map[string][]string{}
	for _, f := range tree.Tests {
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "TestSec_") {
				continue
			}
			m := caseName.FindStringSubmatch(fn.Name.Name)
			if m == nil {
				continue // of a surface that the list of cases doesn't name
			}
			out[m[1]] = append(out[m[1]], "`"+path.Dir(f.Path)+"` "+strings.TrimPrefix(fn.Name.Name, "TestSec_"+m[1]+"_"))
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}
