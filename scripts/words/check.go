package words

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// verbs are the words that hints begin with: a hint says what to do.
var verbs = strings.Fields(`
	ask assume call check choose claim close compare connect correct delete deploy empty end free give join keep leave list log make
	name put read remove replace restore run see send set shorten split start stop tell try type update use wait write`)

// said are the hints that begin otherwise.
var said = []string{"did you mean: "}

// proper are words that always begin with a capital.
var proper = []string{"Region", "Stile"}

// stumbles are words that a reader stops at, with what to write instead. Each was in a message once.
var stumbles = []struct {
	word    *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\banew\b`), "again"},
	{regexp.MustCompile(`\bone types\b`), "an imperative"},
	{regexp.MustCompile(`\b[Pp]lease\b`), "nothing"},
	{regexp.MustCompile(`\bfailed to\b`), "doing x: cause"},
	{regexp.MustCompile(`\bif it stays([,;]|$)`), "if it keeps happening"},
	{regexp.MustCompile(`\b(lets?|letting) .* in\b`), "admit"},
	{regexp.MustCompile(`\bwhoever\b`), "the noun"},
	{regexp.MustCompile(`\b(every|any)body\b`), "the noun: every user, no agent"},
	{regexp.MustCompile(`\bstands?\b`), "is or appears"},
	{regexp.MustCompile(`(%[.0-9]*[qs]|\}|\b(it|this|that|which)) is (none\b|no [a-z])`), "is not a …"},
	{regexp.MustCompile(`\bbarr?(s|ed)\b`), "denies or denied"},
	{regexp.MustCompile(`\b(is|are|was|were) not taken\b`), "not accepted, or not supported"},
	{regexp.MustCompile(`[^\s]  +[^\s]`), "one space"},
}

// Check returns what is wrong with the wording, a line for each fault. The local AWS is left out, because it quotes AWS.
func Check(list []Sentence) []string {
	var out []string
	for _, s := range list {
		for _, fault := range faults(s) {
			out = append(out, fmt.Sprintf("%s: %s %q: %s", s.Dir, s.Kind, s.Text, fault))
		}
	}
	return out
}

func faults(s Sentence) []string {
	if strings.HasPrefix(s.Dir, "localstack") {
		return nil
	}
	var out []string
	switch s.Kind {
	case Hint:
		if !imperative(s.Text) {
			out = append(out, "begin with what to do: an imperative of the list in check.go")
		}
	case Message, Error:
		if capital(s.Text) {
			out = append(out, "begin in lower case")
		}
	case Log:
		if r, _ := utf8.DecodeRuneInString(s.Text); unicode.IsLower(r) {
			out = append(out, "begin with a capital")
		}
	case Field, Help, Text, Doc: // begin as their place wants it
	}
	if s.Kind != Help && s.Kind != Text && s.Kind != Doc && strings.HasSuffix(s.Text, ".") && !strings.HasSuffix(s.Text, "~.") {
		out = append(out, "leave the full stop out")
	}
	for _, w := range stumbles {
		if found := w.word.FindString(indent.ReplaceAllString(s.Text, "$1")); found != "" {
			out = append(out, fmt.Sprintf("%q reads badly: write %s", found, w.instead))
		}
	}
	return out
}

// indent is an indented line of a usage text or an example, which has columns.
var indent = regexp.MustCompile(`(^|\n) +.*`)

// imperative reports whether a hint begins with a verb, or with an operand, which may.
func imperative(hint string) bool {
	if strings.HasPrefix(hint, "{") || slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(hint, s) }) {
		return true
	}
	return slices.Contains(verbs, strings.TrimRight(strings.Fields(hint)[0], ":,;"))
}

// capital reports whether a text begins with a word that has a capital only because it comes first.
func capital(text string) bool {
	first := strings.TrimRight(strings.Fields(text)[0], ":,;")
	if r, size := utf8.DecodeRuneInString(first); !unicode.IsUpper(r) || strings.ContainsFunc(first[size:], func(r rune) bool { return !unicode.IsLower(r) }) {
		return false
	}
	return !slices.Contains(proper, first)
}
