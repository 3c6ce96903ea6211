package layout_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/scripts/layout"
)

const root = "../.."

func TestTheRepositoryKeepsItsRules(t *testing.T) {
	tree, err := layout.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tree.Violations() {
		t.Error(v)
	}
}

// The tree in testdata breaks each rule once; what the rules say of it is the list beside it.
func TestEveryRuleFindsItsViolation(t *testing.T) {
	tree, err := layout.Load("testdata/broken")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, v := range tree.Violations() {
		got.WriteString(v.String() + "\n")
	}
	want, err := os.ReadFile("testdata/broken.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNoFileNamesThisMachine(t *testing.T) {
	machine := regexp.MustCompile(`(^|[^a-zA-Z0-9_.])/(` + strings.Join([]string{"work/main", "work/shared", "tmp/brief", "Users/"}, "|") + `)`)
	for _, name := range tracked(t) {
		text := read(t, name)
		if strings.ContainsRune(text, 0) {
			continue
		}
		lines := bufio.NewScanner(strings.NewReader(text))
		lines.Buffer(nil, 16<<20)
		for n := 1; lines.Scan(); n++ {
			if m := machine.FindString(lines.Text()); m != "" {
				t.Errorf("%s:%d -> %s: a path of one machine", name, n, m)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tracked lists the files that are, or would be, committed.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing files (git is needed): %v", err)
	}
	var names []string
	for name := range bytes.SplitSeq(out, []byte{0}) {
		if info, err := os.Stat(filepath.Join(root, string(name))); err == nil && info.Mode().IsRegular() {
			names = append(names, string(name))
		}
	}
	return names
}
