package layout

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// use is a place in a file.
type use struct {
	at   string // file:line
	name string
}

// uses finds selections of names from an imported package, such as time.Now, as calls or as values.
func (f File) uses(pkg string, names []string) []use {
	return slices.DeleteFunc(f.selected(pkg), func(u use) bool { return u.name != "*" && !slices.Contains(names, u.name) })
}

func (f File) at(n ast.Node) string {
	return f.Path + ":" + strconv.Itoa(f.Set.Position(n.Pos()).Line)
}

// local are texts from which product code could know that it runs on one machine or under test.
var local = []string{"localstack", "127.0.0.1", "localhost", "::1", "9010", "9011", "STILE_PORTS", "STILE_STATE", "/_local"}

// product are the folders whose code runs in an account.
var product = []string{"pkg", "functions", "proxy", "agent", "cli"}

// place: no path in the product knows where it runs, or that it is tested.
func (t *Tree) place(p *Package) []Violation {
	if !slices.ContainsFunc(product, func(f string) bool { return under(p.Dir, f) }) {
		return nil
	}
	var out []Violation
	for _, f := range p.Files {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false // the borders judge those
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			for _, word := range local {
				if strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
					out = append(out, Violation{f.at(lit), strconv.Quote(text), "no product code knows that it runs locally"})
					break
				}
			}
			return true
		})
	}
	if fixture(p.Dir) {
		return out
	}
	for _, to := range p.Imports {
		if to == "testing" || strings.HasPrefix(to, "testing/") || fixture(to) {
			out = append(out, Violation{p.Dir, to, "no product code knows that it is tested"})
		}
	}
	return out
}

// fixture reports whether a package is only for tests, like net/http/httptest: its name ends in test.
func fixture(dir string) bool { return strings.HasSuffix(dir, "test") }

// tests: none is skipped silently, and none waits for a time instead of a condition.
func (t *Tree) tests() []Violation {
	var out []Violation
	for _, f := range t.Tests {
		polls := f.polls()
		for _, u := range f.uses("time", []string{"Sleep"}) {
			if !polls[u.at] {
				out = append(out, Violation{u.at, "time.Sleep", "wait for a condition with a deadline, or use testing/synctest"})
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				out = append(out, Violation{f.at(s), "t." + s.Sel.Name, "a test that lacks something fails and says how to get it"})
			}
			return true
		})
	}
	return out
}

// polls returns the lines in loops of functions that have a deadline: a sleep there is the pause between two looks.
func (f File) polls() map[string]bool {
	lines := map[string]bool{}
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || !mentions(fn.Body, "deadline") {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			loop, ok := n.(*ast.ForStmt)
			if !ok {
				return true
			}
			ast.Inspect(loop.Body, func(n ast.Node) bool {
				if n != nil {
					lines[f.at(n)] = true
				}
				return true
			})
			return true
		})
	}
	return lines
}

func mentions(body ast.Node, name string) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	})
	return found
}
