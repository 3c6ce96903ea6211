package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant that fits its file no longer would be found when somebody runs it: here it is found at once.
func TestEveryMutantFitsItsFile(t *testing.T) {
	mutants, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 40 {
		t.Errorf("%d mutants", len(mutants))
	}
	seen := map[string]bool{}
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join("../..", m.File))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.Broken(string(text)); err != nil {
			t.Errorf("%s: %s: %v", m.File, m.Sentence, err)
		}
		if tests, _ := filepath.Glob(filepath.Join("../..", filepath.Dir(m.File), "*_test.go")); len(tests) == 0 {
			t.Errorf("%s: %s: there is no test beside it", m.File, m.Sentence)
		}
		if seen[m.Sentence] || !strings.HasSuffix(m.Sentence, ".") {
			t.Errorf("%q is no sentence, or stands twice", m.Sentence)
		}
		seen[m.Sentence] = true
	}
}

func TestAMutantIsReadAsItIsWritten(t *testing.T) {
	all, err := Parse("# Nothing is refused.\na/b.go\n \tif x {\n-\t\treturn err\n+\t\treturn nil\n\n# Two.\nc.go\n-old\n")
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	want := Mutant{"Nothing is refused.", "a/b.go", "\tif x {\n\t\treturn err\n", "\tif x {\n\t\treturn nil\n"}
	if all[0] != want || all[1] != (Mutant{"Two.", "c.go", "old\n", ""}) {
		t.Errorf("%q", all)
	}
	for _, bad := range []string{"", "# A.\nf.go", "f.go\n-a\n+b", "# A.\nf.go\n-a\nb", "# A.\nf.go\n-a\n+a", "# A.\nf.go\n same"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
}

func TestAMutantsLinesStandInItsFileOnce(t *testing.T) {
	m := Mutant{Old: "\tb\n", New: "\tc\n"}
	if got, err := m.Broken("a\n\tb\nd\n"); err != nil || got != "a\n\tc\nd\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := m.Broken("\tb\n"); err != nil || got != "\tc\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", "a\n", "\tb\n\tb\n", "x\tb\n"} {
		if got, err := m.Broken(text); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// The hunt itself: a mutant that a test kills is killed, one that changes nothing that matters survives, and one that
// does not compile is neither.
func TestTheHuntTellsDeadFromAlive(t *testing.T) {
	t.Chdir("../..")
	const file = "pkg/fault/fault.go"
	killed := Mutant{"K.", file, "\treturn New(Internal, \"something went wrong inside Stile\",\n", "\treturn New(Denied, \"something went wrong inside Stile\",\n"}
	if by, err := killed.hunt(t.Context()); err != nil || by != "TestAnErrorWithoutAFaultIsInternalAndNotShown" {
		t.Errorf("killed by %q, %v", by, err)
	}
	alive := Mutant{"A.", file, "\t\"try again; if it keeps happening, give the request id to your administrator\").Because(err)\n", ""}
	alive.Old = "\t\t" + strings.TrimLeft(alive.Old, "\t")
	alive.New = strings.Replace(alive.Old, "try again", "try once more", 1)
	if by, err := alive.hunt(t.Context()); err != nil || by != "" {
		t.Errorf("killed by %q, %v", by, err)
	}
	if by, err := (Mutant{"B.", file, "package fault\n", "package\n"}).hunt(t.Context()); err == nil || by != "" {
		t.Errorf("killed by %q", by)
	}
}
