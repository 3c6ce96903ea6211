package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
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

func TestAPickThatMatchesNothingIsAnError(t *testing.T) {
	all := []Mutant{{Sentence: "One.", File: "a/one.go"}, {Sentence: "Two.", File: "b/two.go"}}
	for pick, want := range map[string]int{"": 2, "^One": 1, "^b/": 1, "zzz": 0, "(": 0} {
		got, err := matching(slices.Clone(all), pick)
		if len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", pick, got, err)
		}
	}
}

// A commit may change a mutant's file, the mutant's lines, or neither; only in the last case it is not tried again.
func TestWhatChangedIsTriedAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	do := func(arguments ...string) {
		t.Helper()
		arguments = append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, arguments...)
		if _, err := git(t.Context(), arguments...); err != nil {
			t.Fatal(err)
		}
	}
	do("init", "-q")
	write("a.go", "a\n")
	write("b.go", "b\n")
	do("add", ".")
	do("commit", "-q", "-m", "without a list")
	const text = "# A.\na.go\n-a\n\n# B.\nb.go\n-b\n\n# C.\nb.go\n-b\n+c\n"
	write(listFile, text)
	do("add", ".")
	do("commit", "-q", "-m", "with one")
	write("a.go", "a\na2\n")
	now := strings.Replace(text, "+c", "+d", 1)
	write(listFile, now)
	for since, want := range map[string]string{"HEAD": "A. C.", "HEAD~1": "A. B. C."} {
		mutants, err := Parse(now)
		if err != nil {
			t.Fatal(err)
		}
		mutants, err = changed(t.Context(), mutants, since)
		var got []string
		for _, m := range mutants {
			got = append(got, m.Sentence)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("since %s: %q, %v, want %q", since, got, err, want)
		}
	}
	if got, err := changed(t.Context(), nil, "no-such-commit"); err == nil {
		t.Errorf("since a commit that is not there: %v", got)
	}
}
