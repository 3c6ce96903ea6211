package resource_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/resource"
)

// shelf is what is stored; names in capitals are not to be shown.
type shelf []string

// read counts how often it is asked.
func (s shelf) read(asked *int) func(string, int) ([]resource.Resource, bool, error) {
	return func(after string, limit int) ([]resource.Resource, bool, error) {
		*asked++
		if after == "broken" {
			return nil, false, errors.New("the table is away")
		}
		at := slices.Index(s, after) + 1
		end := len(s)
		if limit > 0 {
			end = min(at+limit, len(s))
		}
		var held []resource.Resource
		for _, name := range s[at:end] {
			held = append(held, resource.Resource{Metadata: resource.Metadata{Name: name}})
		}
		return held, end < len(s), nil
	}
}

func show(r resource.Resource) (string, bool, error) {
	name := r.Metadata.Name
	if name == "odd" {
		return "", true, errors.New("what is it?")
	}
	return name, strings.ToLower(name) == name, nil
}

func TestAPageHoldsAndTellsOnlyWhatMayBeShown(t *testing.T) {
	for name, k := range map[string]struct {
		stored shelf
		after  string
		limit  int
		shown  []string
		next   string
	}{
		"nothing stored":                   {limit: 2},
		"a page of what may be shown":      {stored: shelf{"a", "b", "c"}, limit: 2, shown: []string{"a", "b"}, next: "b"},
		"the last page":                    {stored: shelf{"a", "b", "c"}, limit: 2, after: "b", shown: []string{"c"}},
		"what ends a page is not told":     {stored: shelf{"a", "B", "c"}, limit: 2, shown: []string{"a"}, next: "a"},
		"nor what the next one begins by":  {stored: shelf{"a", "B", "c"}, limit: 2, after: "a", shown: []string{"c"}},
		"nor what was passed over":         {stored: shelf{"A", "B", "C", "D", "e", "F", "g", "h"}, limit: 2, shown: []string{"e"}, next: "e"},
		"no more than were asked for":      {stored: shelf{"A", "B", "C", "d", "e", "f"}, limit: 1, shown: []string{"d"}, next: "d"},
		"nothing may be, up to the end":    {stored: shelf{"A", "B", "C"}, limit: 2},
		"nothing more that may be shown":   {stored: shelf{"a", "b", "C", "D"}, limit: 2, after: "b"},
		"everything, without a limit":      {stored: shelf{"A", "b", "C", "d"}, shown: []string{"b", "d"}},
		"an asker who makes a name up":     {stored: shelf{"a", "B", "C", "d"}, limit: 1, after: "B", shown: []string{"d"}},
		"as many as there are, and no end": {stored: shelf{"a", "b"}, limit: 2, shown: []string{"a", "b"}},
	} {
		var asked int
		shown, next, err := resource.Shown(k.after, k.limit, k.stored.read(&asked), show)
		if err != nil || !cmp.Equal(shown, k.shown) || next != k.next {
			t.Errorf("%s: %v, next %q, %v", name, shown, next, err)
		}
	}
}

// Who asks for little must not make much of it.
func TestManyThatMayNotBeShownAreReadManyAtOnce(t *testing.T) {
	var stored shelf
	for i := range 10_000 {
		stored = append(stored, fmt.Sprintf("HIDDEN-%05d", i))
	}
	stored = append(stored, "last")
	var asked int
	shown, next, err := resource.Shown("", 1, stored.read(&asked), show)
	if err != nil || !cmp.Equal(shown, []string{"last"}) || next != "" || asked > 20 {
		t.Errorf("%v, next %q, %v after %d reads", shown, next, err, asked)
	}
}

func TestAPageThatCanNotBeReadOrShownGivesNothing(t *testing.T) {
	for name, k := range map[string]struct {
		stored shelf
		after  string
	}{
		"read":  {after: "broken"},
		"shown": {stored: shelf{"a", "odd", "c"}},
	} {
		var asked int
		if shown, next, err := resource.Shown(k.after, 2, k.stored.read(&asked), show); err == nil || shown != nil || next != "" {
			t.Errorf("%s: %v, next %q, %v", name, shown, next, err)
		}
	}
}
