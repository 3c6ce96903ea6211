// Package layout checks what the repository promises about itself: who may import whom, which words name
// packages, that each package says what it is, and that no product code knows where it runs.
//
// It reads source text only; nothing is compiled. Its entry points are [Load] and [Tree.Violations].
package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of the main module; infra, localstack/duck and the tools have modules of their own below it.
const Module = "github.com/stile-dev/stile"

// Violation says which import or text breaks which rule.
type Violation struct {
	From   string // folder of the package, or file and line
	To     string // what it imports or holds
	Reason string
}

// String returns the form in which people see it.
func (v Violation) String() string { return fmt.Sprintf("%s -> %s: %s", v.From, v.To, v.Reason) }

// Package is a folder of Go files, tests left out.
type Package struct {
	Dir     string // relative to the root, with slashes
	Name    string
	Docs    int      // package doc comments in files written by hand
	Imports []string // import paths, sorted
	Files   []File
}

// File is one parsed file.
type File struct {
	Path string
	AST  *ast.File
	Set  *token.FileSet
}

// Tree is a repository.
type Tree struct {
	Root     string
	Packages map[string]*Package // by folder
	Tests    []File
}

// Load parses all Go files below root.
func Load(root string) (*Tree, error) {
	t := &Tree{Root: root, Packages: map[string]*Package{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && ignored(filepath.ToSlash(rel), d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		return t.add(name, filepath.ToSlash(rel))
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	for _, p := range t.Packages {
		slices.Sort(p.Imports)
		p.Imports = slices.Compact(p.Imports)
	}
	return t, nil
}

func ignored(rel, name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules" ||
		rel == "bin" || rel == "scripts/tools" || name == "cdk.out"
}

func (t *Tree) add(name, rel string) error {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	file := File{Path: rel, AST: f, Set: set}
	if strings.HasSuffix(rel, "_test.go") {
		t.Tests = append(t.Tests, file)
		return nil
	}
	dir := path.Dir(rel)
	p := t.Packages[dir]
	if p == nil {
		p = &Package{Dir: dir, Name: f.Name.Name}
		t.Packages[dir] = p
	}
	p.Files = append(p.Files, file)
	if f.Doc != nil && !ast.IsGenerated(f) {
		p.Docs++
	}
	for _, i := range f.Imports {
		if to, err := strconv.Unquote(i.Path.Value); err == nil {
			p.Imports = append(p.Imports, to)
		}
	}
	return nil
}

// folder returns the folder of an import path of this repository.
func folder(importPath string) (string, bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// standard reports whether an import path is of Go's standard library.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// under reports whether dir is folder or lies below it.
func under(dir, folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }

// Violations applies every rule.
func (t *Tree) Violations() []Violation {
	var out []Violation
	for _, dir := range t.sorted() {
		p := t.Packages[dir]
		for _, rule := range []func(*Package) []Violation{
			t.rows, t.pure, t.sides, t.apart, t.borders, t.loaded, t.words, t.place,
		} {
			out = append(out, rule(p)...)
		}
	}
	return append(out, t.tests()...)
}

func (t *Tree) sorted() []string {
	var dirs []string
	for dir := range t.Packages {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}
