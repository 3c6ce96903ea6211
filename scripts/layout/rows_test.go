package layout

import (
	"os"
	"regexp"
	"slices"
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
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9]) \| ([a-z0-9 ]+) \|`).FindAllStringSubmatch(string(text), -1) {
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
	entries, err := os.ReadDir("../../pkg")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	for name := range rowOf {
		if !slices.Contains(there, name) {
			t.Errorf("there is no package pkg/%s", name)
		}
	}
}
