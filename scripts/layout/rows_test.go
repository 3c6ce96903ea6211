package layout

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table that people read and the one that is enforced are one; and no row is about a package that is not there.
func TestTheRowsOfContributingAreThoseThatAreEnforced(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9]) \| ([a-z0-9/ ]+) \|`).FindAllStringSubmatch(string(text), -1) {
		row, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(m[2]) {
			told[name] = row
		}
	}
	if d := cmp.Diff(rowOf, told); d != "" {
		t.Error(d)
	}
	for name := range rowOf {
		if _, err := os.Stat("../../pkg/" + name); err != nil {
			t.Errorf("there is no package pkg/%s", name)
		}
	}
}
