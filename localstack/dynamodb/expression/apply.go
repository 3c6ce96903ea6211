package expression

import (
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Apply is the item after the update; old is not changed. Every right-hand side reads the item as it was,
// and every list index counts in the list as it was.
func (u *Update) Apply(old item.Item) (item.Item, error) {
	root := item.Value{Kind: item.M, Map: old.Clone()}
	actions := u.ordered()
	edits := make([]edit, len(actions))
	var err error
	for n, a := range actions {
		if edits[n], err = a.edit(old); err != nil {
			return nil, err
		}
	}
	for n, a := range actions {
		if root, err = at(root, a.path, edits[n]); err != nil {
			return nil, err
		}
	}
	return root.Map, nil
}

// ordered puts appending to lists after the rest, by index, and removals last, from the end of lists.
func (u *Update) ordered() []action {
	rank := func(a action) int {
		switch {
		case a.verb == "REMOVE":
			return 2
		case a.path[len(a.path)-1].InArray:
			return 1
		}
		return 0
	}
	list := slices.Clone(u.actions)
	slices.SortStableFunc(list, func(a, b action) int {
		if d := rank(a) - rank(b); d != 0 || rank(a) == 0 {
			return d
		}
		x, y := a.path[len(a.path)-1].Index, b.path[len(b.path)-1].Index
		if rank(a) == 2 {
			return y - x
		}
		return x - y
	})
	return list
}

// edit is what becomes of a value that may be there: the new one, or none.
type edit func(v item.Value, ok bool) (item.Value, bool, error)

func (a action) edit(old item.Item) (edit, error) {
	switch a.verb {
	case "REMOVE":
		return func(v item.Value, _ bool) (item.Value, bool, error) { return v, false, nil }, nil
	case "ADD":
		return a.add, nil
	}
	set, err := a.value(old)
	return func(item.Value, bool) (item.Value, bool, error) { return set, true, nil }, err
}

func (a action) add(v item.Value, ok bool) (item.Value, bool, error) {
	switch {
	case !ok:
		return a.with, true, nil
	case v.Kind != a.with.Kind:
		return v, ok, errOperand
	case v.Kind == item.N:
		total, err := item.Add(v.Text, a.with.Text)
		return item.Number(total), true, err
	}
	union := slices.Clone(v.Set)
	for _, e := range a.with.Set {
		if !slices.Contains(v.Set, e) {
			union = append(union, e)
		}
	}
	return item.NewSet(v.Kind, union), true, nil
}

// at is v with the value at path edited; maps and lists on the way are copied.
func at(v item.Value, path Path, change edit) (item.Value, error) {
	step, last := path[0], len(path) == 1
	if step.InArray != (v.Kind == item.L) || !step.InArray && v.Kind != item.M {
		return v, errPath
	}
	inner, ok := step.step(v)
	keep := true
	var err error
	switch {
	case last:
		inner, keep, err = change(inner, ok)
	case !ok:
		return v, errPath
	default:
		inner, err = at(inner, path[1:], change)
	}
	if err != nil {
		return v, err
	}
	return step.put(v, inner, keep), nil
}

// put is the container v with the element replaced, added or, if not kept, removed.
func (e Element) put(v, inner item.Value, keep bool) item.Value {
	if e.InArray {
		list := slices.Clone(v.List)
		switch {
		case e.Index >= len(list) && keep:
			list = append(list, inner)
		case e.Index >= len(list):
		case keep:
			list[e.Index] = inner
		default:
			list = slices.Delete(list, e.Index, e.Index+1)
		}
		return item.Value{Kind: item.L, List: list}
	}
	m := v.Map.Clone()
	if keep {
		m[e.Name] = inner
	} else {
		delete(m, e.Name)
	}
	return item.Value{Kind: item.M, Map: m}
}
