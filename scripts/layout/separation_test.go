package layout

import (
	"os"
	"path/filepath"
	"testing"
)

// A rule about a package that is not there, or that no function may hold, would guard nothing.
func TestEveryRuleOfWhatAFunctionHoldsIsAboutSomething(t *testing.T) {
	tree := &Tree{Root: "../.."}
	functions, err := filepath.Glob("../../functions/*")
	if err != nil || len(functions) == 0 {
		t.Fatalf("%v, %v", functions, err)
	}
	for _, c := range codes {
		if _, err := os.Stat(filepath.Join("../..", c.dir)); err != nil {
			t.Error(err)
		}
		may := 0
		for _, f := range functions {
			name := filepath.Base(f)
			if c.right == nil && tree.serves(name) || c.right != nil && c.right.MatchString(tree.rights(name)) {
				may++
			}
		}
		if may == 0 || may == len(functions) {
			t.Errorf("%s: %d of %d functions may hold it", c.dir, may, len(functions))
		}
	}
}
