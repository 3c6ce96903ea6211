package layout

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A rule about a package that is not there, or that no function may hold, would guard nothing.
func TestEveryRuleOfWhatAFunctionHoldsIsAboutSomething(t *testing.T) {
	tree := &Tree{Root: "../.."}
	functions := functionNames(t)
	for _, c := range codes {
		if _, err := os.Stat(filepath.Join("../..", c.dir)); err != nil {
			t.Error(err)
		}
		may := 0
		for _, f := range functions {
			if tree.function(f).holds(c) {
				may++
			}
		}
		if may == 0 || may == len(functions) {
			t.Errorf("%s: %d of %d functions may hold it", c.dir, may, len(functions))
		}
	}
}

// A right or a service that no function has would let a rule pass that guards nothing.
func TestEveryServiceIsCalledBySomeFunction(t *testing.T) {
	tree := &Tree{Root: "../.."}
	for name, may := range services {
		called := 0
		for _, f := range functionNames(t) {
			if may.MatchString(tree.rights(f)) {
				called++
			}
		}
		if called == 0 {
			t.Errorf("no function may call %s", name)
		}
	}
}

// What the rules see of a function is what the compiler takes: no replacement in go.mod, no folder that the tree leaves
// out, and no file that only a build tag chooses brings code that they don't judge.
func TestTheTreeReachesWhatTheCompilerTakes(t *testing.T) {
	tree, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range functionNames(t) {
		dir := "functions/" + name
		reached := append(slices.Collect(maps.Keys(tree.reach(dir))), dir)
		slices.Sort(reached)
		if diff := cmp.Diff(compiled(t, dir), reached); diff != "" {
			t.Errorf("%s: the compiler (-), the tree (+):\n%s", dir, diff)
		}
	}
}

func functionNames(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("../../functions/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("%v, %v", dirs, err)
	}
	for i := range dirs {
		dirs[i] = filepath.Base(dirs[i])
	}
	return dirs
}

// compiled returns the folders of this repository that go into a function as make builds it.
func compiled(t *testing.T, dir string) []string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-deps", "-json=Dir", "-tags", "lambda.norpc", "./"+dir)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing what %s contains: %v", dir, err)
	}
	var dirs []string
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Dir string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if rel, ours := strings.CutPrefix(p.Dir, root+string(filepath.Separator)); ours {
			dirs = append(dirs, filepath.ToSlash(rel))
		}
	}
	slices.Sort(dirs)
	return dirs
}
