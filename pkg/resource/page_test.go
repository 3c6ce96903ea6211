package resource_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/resource"
)

// shelf is what is stored, in pages of two; the names in capitals are not to be shown.
type shelf []string

func (s shelf) page(after string) ([]resource.Resource, bool, error) {
	if after == "broken" {
		return nil, false, errors.New("the table is away")
	}
	var held []resource.Resource
	at := slices.Index(s, after) + 1
	for _, name := range s[at:min(at+2, len(s))] {
		held = append(held, resource.Resource{Metadata: resource.Metadata{Name: name}})
	}
	return held, at+2 < len(s), nil
}

func show(held []resource.Resource) ([]string, error) {
	var shown []string
	for i := range held {
		if name := held[i].Metadata.Name; name == "odd" {
			return nil, errors.New("what is it?")
		} else if strings.ToLower(name) == name {
			shown = append(shown, name)
		}
		held[i] = resource.Resource{} // it may do with them what it likes
	}
	return shown, nil
}

func TestNoPageButTheLastIsEmpty(t *testing.T) {
	for name, k := range map[string]struct {
		stored shelf
		after  string
		shown  []string
		next   string
	}{
		"nothing stored":                 {},
		"a page of what may be shown":    {stored: shelf{"a", "b", "c"}, shown: []string{"a", "b"}, next: "b"},
		"a page of which half may be":    {stored: shelf{"a", "B", "c"}, shown: []string{"a"}, next: "B"},
		"the last page":                  {stored: shelf{"a", "b", "c"}, after: "b", shown: []string{"c"}},
		"pages of which nothing may be":  {stored: shelf{"A", "B", "C", "D", "e", "f", "g"}, shown: []string{"e", "f"}, next: "f"},
		"nothing may be, up to the end":  {stored: shelf{"A", "B", "C"}},
		"nothing more behind a full one": {stored: shelf{"a", "b", "C", "D"}, after: "b"},
	} {
		shown, next, err := resource.Shown(k.after, k.stored.page, show)
		if err != nil || !cmp.Equal(shown, k.shown) || next != k.next {
			t.Errorf("%s: %v, next %q, %v", name, shown, next, err)
		}
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
		if shown, next, err := resource.Shown(k.after, k.stored.page, show); err == nil || shown != nil || next != "" {
			t.Errorf("%s: %v, next %q, %v", name, shown, next, err)
		}
	}
}
