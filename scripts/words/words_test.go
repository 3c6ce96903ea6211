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

func TestEverySentenceKeepsTheRules(t *testing.T) {
	found, err := words.Gather("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range words.Check(found) {
		t.Error(wrong)
	}
}

func TestEachRuleFindsItsFault(t *testing.T) {
	for _, good := range []words.Sentence{
		{Dir: "cli", Kind: words.Message, Text: "node web-1 is offline"},
		{Dir: "cli", Kind: words.Message, Text: "AWS does not answer"},
		{Dir: "cli", Kind: words.Message, Text: "Region x is unknown"},
		{Dir: "cli", Kind: words.Message, Text: "%q is unknown"},
		{Dir: "cli", Kind: words.Message, Text: "you left the session with ~."},
		{Dir: "cli", Kind: words.Hint, Text: "run: stile login --iam"},
		{Dir: "cli", Kind: words.Hint, Text: "{hint}"},
		{Dir: "cli", Kind: words.Log, Text: "Proxy is leaving"},
		{Dir: "cli", Kind: words.Help, Text: "Open a shell. The status is the command's."},
		{Dir: "agent", Kind: words.Text, Text: "usage:\n  run   serve this machine\n"},
		{Dir: "localstack/kms", Kind: words.Message, Text: "Please stand."},
	} {
		if wrong := words.Check([]words.Sentence{good}); len(wrong) != 0 {
			t.Errorf("%q", wrong)
		}
	}
	for _, bad := range []words.Sentence{
		{Kind: words.Message, Text: "Node web-1 is offline"},
		{Kind: words.Message, Text: "node web-1 is offline."},
		{Kind: words.Error, Text: "Reading: %w"},
		{Kind: words.Hint, Text: "an administrator frees the name"},
		{Kind: words.Log, Text: "proxy is leaving"},
		{Kind: words.Text, Text: "please go"},
		{Kind: words.Text, Text: "it appears  twice"},
		{Kind: words.Field, Text: "it stands twice"},
		{Kind: words.Field, Text: "%q is no scope"},
		{Kind: words.Doc, Text: "lets everybody in"},
	} {
		if wrong := words.Check([]words.Sentence{bad}); len(wrong) == 0 {
			t.Errorf("%q passes", bad.Text)
		}
	}
}
