package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A line that is out of date changes no verdict, but the mutant takes its time again: here it is found at once.
func TestEveryKillerOnFileIsATestBesideItsMutant(t *testing.T) {
	mutants, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	killers, err := ParseKillers(killersList)
	if err != nil {
		t.Fatal(err)
	}
	if killersList != killers.String() {
		t.Error("killers.txt is not sorted")
	}
	beside := map[string]string{} // all test files of a package, one after another
	gone := maps.Clone(killers)
	for _, m := range mutants {
		test := killers[m.Sentence]
		if test == "" {
			continue // its whole package is tried each time
		}
		delete(gone, m.Sentence)
		if beside[m.dir()] == "" {
			files, err := filepath.Glob(filepath.Join("../..", m.dir(), "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				beside[m.dir()] += string(text) + "\n"
			}
		}
		if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(test) + `\(`).MatchString(beside[m.dir()]) {
			t.Errorf("%s has no %s, which killed %q: write its new name into killers.txt, or run: make mutate ONLY=^%s/ UPDATE=1", m.dir(), test, m.Sentence, m.dir())
		}
	}
	for sentence := range gone {
		t.Errorf("killers.txt has a line for %q, which mutants.txt doesn't: take it out", sentence)
	}
}

func TestKillersAreReadAsTheyAreWritten(t *testing.T) {
	const text = "A is wrong. → TestA\nB → c. → TestB\n"
	if got, err := ParseKillers(text); err == nil {
		t.Errorf("an arrow in a sentence was read as %v", got)
	}
	const sorted = "A is wrong. → TestA\nB is. → FuzzB\n"
	got, err := ParseKillers(sorted)
	if err != nil || got.String() != sorted || got["B is."] != "FuzzB" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseKillers(""); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"A.\n", "\n", "A. → \n", " → TestA\n", "A. → TestA/one\n", "A. → TestA TestB\n", "A. → TestA\nA. → TestB\n", "<<<<<<< HEAD\n"} {
		if got, err := ParseKillers(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

// Only what was tried changes; a mutant that is gone, and one that no test kills alone any more, lose their lines.
func TestTheFileKeepsTheLinesOfMutantsThatWereNotTried(t *testing.T) {
	one, two, three, four := Mutant{Sentence: "1."}, Mutant{Sentence: "2."}, Mutant{Sentence: "3."}, Mutant{Sentence: "4."}
	before := Killers{"0.": "TestGone", "1.": "TestOne", "2.": "TestOld", "3.": "TestNoMore"}
	got := merge(before, Killers{"2.": "TestNew", "4.": "TestFour"}, []Mutant{one, two, three, four}, []Mutant{two, three, four})
	if want := (Killers{"1.": "TestOne", "2.": "TestNew", "4.": "TestFour"}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A test that fails alone on good code would kill everything: it gets no line.
func TestAKillerThatFailsAloneOnGoodCodeIsLeftOut(t *testing.T) {
	enter(t)
	mutants := []Mutant{{Sentence: "1.", File: "p/p.go"}, {Sentence: "2.", File: "p/p.go"}, {Sentence: "3.", File: "p/p.go"}, {Sentence: "4.", File: "p/p.go"}}
	got, err := reliable(t.Context(), mutants, Killers{"1.": "TestRule", "2.": "TestNeedy", "3.": "TestGone"}, 2)
	if want := (Killers{"1.": "TestRule"}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	mutants[0].File = "nowhere/p.go"
	if got, err := reliable(t.Context(), mutants, Killers{"1.": "TestRule"}, 1); err == nil {
		t.Errorf("a package that can't be built: %v", got)
	}
}
