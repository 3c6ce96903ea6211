package conformance_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	readmePath = "../README.md"
	tableBegin = "<!-- go test ./localstack/conformance -update writes what follows -->\n"
	tableEnd   = "<!-- and this ends it -->\n"
)

func TestTheREADMESaysOfEachBehaviourHowItIsKnown(t *testing.T) {
	if onAWS() {
		return // it holds the table of before this run
	}
	known, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(raw), tableBegin)
	old, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		t.Fatal("the README has no place for the table of behaviours")
	}
	want := markdown(known)
	if flags.update {
		if err := os.WriteFile(readmePath, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("the README holds another table; go test ./localstack/conformance -update writes it (-want +README):\n%s", diff)
	}
}

// markdown is the table as the README holds it. known is what was recorded.
func markdown(known map[string]string) string {
	var rows strings.Builder
	count := map[string]int{}
	for _, b := range table {
		basis, text := "assumed", "assumed"
		if b.Source != "" {
			basis, text = "documented", "[documented]("+pages[b.Source]+")"
		}
		if _, ok := known[b.ID]; ok {
			basis, text = "recorded", "recorded"
		}
		count[basis]++
		if why := unasked[b.ID]; why != "" {
			text += "; the suite can't ask AWS: " + why
		}
		local := "does so"
		if b.Absent != "" {
			local = "does not: " + b.Absent
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", b.ID, b.Says, text, local)
	}
	const head = "| behaviour | what AWS does | known | the local AWS |\n|---|---|---|---|\n"
	return fmt.Sprintf("\n%d behaviours: %d recorded, %d documented, %d assumed.\n\n%s%s\n",
		len(table), count["recorded"], count["documented"], count["assumed"], head, rows.String())
}

func TestTheTableOfBehavioursIsInOrder(t *testing.T) {
	if !slices.IsSortedFunc(table, func(a, b behaviour) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("it is not sorted by id")
	}
	cited := map[string]bool{}
	for i, b := range table {
		if i > 0 && table[i-1].ID == b.ID {
			t.Errorf("%s appears twice", b.ID)
		}
		if !strings.HasSuffix(b.Says, ".") {
			t.Errorf("%s: %q is no sentence", b.ID, b.Says)
		}
		if b.Source != "" && pages[b.Source] == "" {
			t.Errorf("%s cites %q, which is no page", b.ID, b.Source)
		}
		cited[b.Source] = true
	}
	for id := range unasked {
		if !slices.ContainsFunc(table, func(b behaviour) bool { return b.ID == id }) {
			t.Errorf("%s is said to be beyond the suite, and is no row", id)
		}
	}
	for name := range pages {
		if !cited[name] {
			t.Errorf("nothing cites the page %s", name)
		}
	}
}

// What was recorded must be of rows that there are: a row that was renamed takes its record along.
func TestRecordsAreOfRowsOfTheTable(t *testing.T) {
	entries, err := os.ReadDir(flags.goldens)
	if os.IsNotExist(err) {
		return // nobody has run the suite on an account yet
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		one, err := readGolden(strings.TrimSuffix(e.Name(), ".golden"))
		if err != nil {
			t.Fatal(err)
		}
		for id := range one {
			if !slices.ContainsFunc(table, func(b behaviour) bool { return b.ID == id }) {
				t.Errorf("%s holds %s, which is no row of the table", e.Name(), id)
			}
		}
	}
}
