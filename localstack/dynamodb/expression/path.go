package expression

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Element is one step of a document path: a name in a map, or an index in a list.
type Element struct {
	Name    string
	Index   int
	InArray bool // Index counts, Name doesn't
}

// Path is a document path such as a.b[1]; its first element is a name.
type Path []Element

// String writes the path as AWS's messages do: [a, b, [1]].
func (p Path) String() string {
	parts := make([]string, len(p))
	for i, e := range p {
		parts[i] = e.Name
		if e.InArray {
			parts[i] = "[" + strconv.Itoa(e.Index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Attribute is the top-level attribute that the path begins with.
func (p Path) Attribute() string { return p[0].Name }

// Lookup follows the path in an item.
func (p Path) Lookup(i item.Item) (item.Value, bool) {
	v, ok := i[p[0].Name]
	for _, e := range p[1:] {
		if !ok {
			return v, false
		}
		v, ok = e.step(v)
	}
	return v, ok
}

func (e Element) step(v item.Value) (item.Value, bool) {
	switch {
	case e.InArray && v.Kind == item.L && e.Index < len(v.List):
		return v.List[e.Index], true
	case !e.InArray && v.Kind == item.M:
		inner, ok := v.Map[e.Name]
		return inner, ok
	}
	return item.Value{}, false
}

// steps is a path as written, before names are looked up.
type steps []token

// path reads name(.name|[index])*.
func (r *reader) path() (steps, error) {
	t := r.peek()
	if t.class != className && (t.class != classWord || t.keyword()) {
		return nil, r.syntax()
	}
	s := steps{r.take()}
	for {
		switch {
		case r.accept("."):
			t := r.peek()
			if t.class != className && t.class != classWord {
				return nil, r.syntax()
			}
			s = append(s, r.take())
		case r.accept("["):
			if r.peek().class != classNumber {
				return nil, r.syntax()
			}
			s = append(s, r.take())
			if err := r.expect("]"); err != nil {
				return nil, err
			}
		default:
			return s, nil
		}
	}
}

// resolve looks up the names of a path as written.
func (e *Env) resolve(k Kind, s steps) (Path, error) {
	if len(s) > item.MaxDepth+1 {
		return nil, k.fault(fmt.Sprintf("The document path has too many nesting elements; nesting levels: %d", len(s)))
	}
	p := make(Path, len(s))
	for i, t := range s {
		if t.class == classNumber {
			index, err := strconv.Atoi(t.text)
			if err != nil || index > 1<<30 {
				return nil, k.fault("List index is not within the allowable range; index: [" + t.text + "]")
			}
			p[i] = Element{Index: index, InArray: true}
			continue
		}
		name, err := e.name(k, t)
		if err != nil {
			return nil, err
		}
		p[i] = Element{Name: name}
	}
	return p, nil
}

// disjoint refuses paths of which one contains the other, or that take one attribute both for a map and a list.
func disjoint(k Kind, paths []Path) error {
	for j, b := range paths {
		for _, a := range paths[:j] {
			if word := clash(a, b); word != "" {
				return k.fault(fmt.Sprintf("Two document paths %s with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", word, a, b))
			}
		}
	}
	return nil
}

func clash(a, b Path) string {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if a[i].InArray != b[i].InArray {
			return "conflict"
		}
		return ""
	}
	return "overlap"
}

// attributes lists the distinct top-level attributes of paths, sorted.
func attributes(paths []Path) []string {
	var names []string
	for _, p := range paths {
		names = append(names, p.Attribute())
	}
	slices.Sort(names)
	return slices.Compact(names)
}
