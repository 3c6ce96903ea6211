package review

import (
	"maps"
	"regexp"
	"slices"
)

// Find returns a resource by its stack and logical id.
func (a *Account) Find(stack, id string) (Resource, bool) {
	t, ok := a.stacks[stack]
	if !ok {
		return Resource{}, false
	}
	r, ok := t.Resources[id]
	return r, ok
}

// Before lists, sorted, the resources of the same stack that CloudFormation makes before this one: those that it depends on
// or refers to, and so on.
func (a *Account) Before(r Resource) []string {
	found := map[string]bool{}
	var visit func(Resource)
	visit = func(r Resource) {
		for id := range mentioned([]any{r.Properties, map[string]any{"DependsOn": r.DependsOn}}) {
			next, ok := a.Find(r.Stack, id)
			if ok && !found[id] {
				found[id] = true
				visit(next)
			}
		}
	}
	visit(r)
	return slices.Sorted(maps.Keys(found))
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9]+)[.}]`)

// mentioned are the logical ids that a value of a template refers to.
func mentioned(v any) map[string]bool {
	out := map[string]bool{}
	add := func(v any) {
		if id, ok := v.(string); ok {
			out[id] = true
		}
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for key, item := range v {
				reference(key, item, add)
				walk(item)
			}
		}
	}
	walk(v)
	return out
}

// reference tells add of the ids that an intrinsic function, or DependsOn, names.
func reference(key string, v any, add func(any)) {
	list, several := v.([]any)
	switch {
	case key == "Ref", key == "DependsOn" && !several:
		add(v)
	case key == "DependsOn":
		for _, id := range list {
			add(id)
		}
	case key == "Fn::GetAtt" && len(list) > 0:
		add(list[0])
	case key == "Fn::Sub":
		if several && len(list) > 0 {
			v = list[0]
		}
		text, _ := v.(string)
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			add(m[1])
		}
	}
}
