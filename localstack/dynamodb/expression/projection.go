package expression

import (
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// project is the part of i that the paths name. Elements of a list close up in the order of their indexes.
func project(paths []Path, i item.Item) item.Item {
	tree := &pick{}
	for _, path := range paths {
		if _, ok := path.Lookup(i); ok {
			tree.add(path)
		}
	}
	return tree.from(item.Value{Kind: item.M, Map: i}).Map
}

// pick is a tree of what to take; a node without children takes everything.
type pick struct {
	children map[Element]*pick
}

func (t *pick) add(p Path) {
	if len(p) == 0 {
		return
	}
	if t.children == nil {
		t.children = map[Element]*pick{}
	}
	child := t.children[p[0]]
	if child == nil {
		child = &pick{}
		t.children[p[0]] = child
	}
	child.add(p[1:])
}

func (t *pick) from(v item.Value) item.Value {
	out := item.Value{Kind: v.Kind}
	if v.Kind == item.M {
		out.Map = item.Item{}
	}
	var order []Element
	for e := range t.children {
		order = append(order, e)
	}
	slices.SortFunc(order, func(a, b Element) int { return a.Index - b.Index })
	for _, e := range order {
		inner, ok := e.step(v)
		if !ok {
			continue
		}
		child := t.children[e]
		if len(child.children) > 0 {
			inner = child.from(inner)
		}
		if e.InArray {
			out.List = append(out.List, inner)
		} else {
			out.Map[e.Name] = inner
		}
	}
	return out
}
