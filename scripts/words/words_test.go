package words_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/scripts/words"
)

var update = flag.Bool("update", false, "write testdata/strings.txt")

const list = "testdata/strings.txt"

// The list is for review: whoever changes a sentence sees it beside its neighbours.
func TestTheListHasEverySentence(t *testing.T) {
	found, err := words.Gather("../..")
	if err != nil {
		t.Fatal(err)
	}
	got := words.Print(found)
	if *update {
		if err := os.WriteFile(list, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("testdata/strings.txt (-) is not what the source says (+); read it, then: go test ./scripts/words -update\n%s", diff)
	}
}

func TestASentenceIsFoundWhereverItStands(t *testing.T) {
	found, err := words.Gather("testdata/tree")
	if err != nil {
		t.Fatal(err)
	}
	want := []words.Sentence{
		{Dir: "Makefile", Kind: words.Doc, Text: "start it"},
		{Dir: "cli", Kind: words.Field, Text: "it is empty"},
		{Dir: "cli", Kind: words.Hint, Text: "write one"},
		{Dir: "cli", Kind: words.Log, Text: "Proxy is leaving"},
		{Dir: "cli", Kind: words.Help, Text: "the file to read"},
		{Dir: "cli", Kind: words.Message, Text: "there is no node %q"},
		{Dir: "cli", Kind: words.Hint, Text: `run stile ls to see {some(row{}, "which there are")}`},
		{Dir: "cli", Kind: words.Text, Text: "which there are"},
		{Dir: "cli", Kind: words.Field, Text: "%d bytes"},
		{Dir: "cli", Kind: words.Message, Text: "there is no name"},
		{Dir: "cli", Kind: words.Hint, Text: "write a name"},
		{Dir: "cli", Kind: words.Text, Text: "of interest"},
		{Dir: "cli", Kind: words.Text, Text: "and so on"},
		{Dir: "cli", Kind: words.Error, Text: "reading: %w"},
		{Dir: "openapi.yaml", Kind: words.Doc, Text: "Who the caller is"},
		{Dir: "openapi.yaml", Kind: words.Doc, Text: "The status of somebody"},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}
