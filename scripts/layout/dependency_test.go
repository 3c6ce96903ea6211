package layout_test

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/scripts/layout"
)

// Each table of docs/dependencies.md is held against the go.mod of one module and the imports of its Go files: a
// requirement that nothing imports, a row that nothing requires and a row that names the wrong users all differ.
func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	tree, err := layout.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	doc := read(t, "docs/dependencies.md")
	for mod, heading := range map[string]string{"go.mod": "## The product, its tests, and the local AWS", "infra/go.mod": "## infra", "localstack/duck/go.mod": "## The engine of the local Athena"} {
		want := map[string]string{}
		modules := required(read(t, mod))
		users := users(tree, path.Dir(mod), modules)
		for module, direct := range modules {
			if direct && len(users[module]) == 0 {
				t.Errorf("%s requires %s, which no Go file imports", mod, module)
			}
			if direct {
				want[module] = strings.Join(users[module], ", ")
			}
		}
		if diff := cmp.Diff(want, reasons(t, doc, heading)); diff != "" {
			t.Errorf("%s and its imports (-), docs/dependencies.md (+):\n%s", mod, diff)
		}
	}
}

// required returns the modules of others that a go.mod requires, and whether it does so for its own imports.
func required(mod string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(mod) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && !strings.HasPrefix(fields[0], layout.Module) {
			out[fields[0]] = !strings.Contains(line, "// indirect")
		}
	}
	return out
}

// users returns whose files below a module's folder import each of the modules: the product, or else everything else.
func users(tree *layout.Tree, dir string, modules map[string]bool) map[string][]string {
	out := map[string][]string{}
	for _, f := range files(tree) {
		if home(f.Path) != dir {
			continue
		}
		for _, i := range f.AST.Imports {
			to, _ := strconv.Unquote(i.Path.Value)
			if module := owner(to, modules); module != "" {
				out[module] = append(out[module], user(f.Path))
			}
		}
	}
	for module, by := range out {
		slices.Sort(by)
		out[module] = slices.Compact(by)
		if slices.Contains(by, "product") {
			out[module] = []string{"product"}
		}
	}
	return out
}

// home is the folder of the module that a file belongs to.
func home(file string) string {
	for _, dir := range []string{"infra", "localstack/duck"} {
		if strings.HasPrefix(file, dir+"/") {
			return dir
		}
	}
	return "."
}

func files(tree *layout.Tree) []layout.File {
	out := slices.Clone(tree.Tests)
	for _, p := range tree.Packages {
		out = append(out, p.Files...)
	}
	return out
}

// owner returns the module that a package comes from, the longest whose path begins the package's.
func owner(importPath string, modules map[string]bool) string {
	for p := importPath; p != "."; p = path.Dir(p) {
		if _, known := modules[p]; known {
			return p
		}
	}
	return ""
}

// user says whose a file is: a kit (a package called after what it helps to test) is the tests'.
func user(file string) string {
	top, _, _ := strings.Cut(file, "/")
	switch {
	case strings.HasSuffix(file, "_test.go"), strings.HasSuffix(path.Dir(file), "test"):
		return "tests"
	case top == "localstack":
		return "local AWS"
	case top == "integration", top == "scripts":
		return top
	}
	return "product"
}

// reasons returns who uses each module by the table under a heading.
func reasons(t *testing.T, doc, heading string) map[string]string {
	t.Helper()
	_, section, found := strings.Cut(doc, heading+"\n")
	if !found {
		t.Fatalf("docs/dependencies.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	out := map[string]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		module, isRow := strings.CutPrefix(cells[0], "| `")
		if !isRow {
			continue
		}
		module = strings.TrimSuffix(module, "`")
		if _, twice := out[module]; twice || len(cells) != 3 || strings.Trim(cells[2], " |") == "" {
			t.Errorf("docs/dependencies.md: %s has two rows, or one without a reason", module)
			continue
		}
		out[module] = cells[1]
	}
	return out
}
