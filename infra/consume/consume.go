// Package consume says in a digest what a resource consumes of other stacks. Fn::GetStackOutput is resolved when a
// resource is created or updated, and nobody is told when the output changes later: neither the consumer's text nor its
// parameters change, so that the CDK skips its stack, and CloudFormation would leave the resource as it is. With the
// digest in the resource's metadata, both see a change.
//
// It reads templates as JSON, and must not know the CDK or what the stacks declare. Its entry point is [Digests].
package consume

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

type template struct {
	Parameters map[string]any
	Conditions map[string]any
	Resources  map[string]any
	Outputs    map[string]any
}

// Digests returns, by stack and logical id, the digest of each resource that refers to other stacks. It covers the
// outputs referred to, and the whole declarations of what those are made of: resources, conditions and parameters,
// and the outputs of further stacks behind them. What refers to a stack that isn't among the templates, or to an output
// that it doesn't have, is an error.
func Digests(templates map[string][]byte) (map[string]map[string]string, error) {
	all := map[string]template{}
	for name, raw := range templates {
		var t template
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("reading template %s: %w", name, err)
		}
		all[name] = t
	}
	out := map[string]map[string]string{}
	var faults []error
	for _, name := range sorted(all) {
		out[name] = map[string]string{}
		for _, id := range sorted(all[name].Resources) {
			w := &walk{all: all, seen: map[string]any{}}
			if err := w.outputs(all[name].Resources[id]); err != nil {
				faults = append(faults, fmt.Errorf("%s of %s: %w", id, name, err))
			} else if len(w.seen) > 0 {
				out[name][id] = w.digest()
			}
		}
	}
	return out, errors.Join(faults...)
}

// walk collects declarations, by stack, section and name.
type walk struct {
	all  map[string]template
	seen map[string]any
}

func (w *walk) digest() string {
	raw, err := json.Marshal(w.seen) // keys of maps are sorted
	if err != nil {
		panic(err) // it came from JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// outputs follows every Fn::GetStackOutput in v, and nothing else.
func (w *walk) outputs(v any) error {
	return each(v, func(fn string, arg any) error {
		if fn != "Fn::GetStackOutput" {
			return nil
		}
		to, _ := arg.(map[string]any)
		stack, _ := to["StackName"].(string)
		name, _ := to["OutputName"].(string)
		value, ok := w.all[stack].Outputs[name]
		if !ok || len(to) != 2 {
			return fmt.Errorf("it refers to %v, but only an output of these stacks can be followed", arg)
		}
		return w.add(stack, "output", name, value)
	})
}

// add notes one declaration with everything that it refers to.
func (w *walk) add(stack, section, name string, declaration any) error {
	key := stack + "/" + section + "/" + name
	if _, done := w.seen[key]; done {
		return nil
	}
	w.seen[key] = declaration
	if err := w.outputs(declaration); err != nil {
		return err
	}
	var faults []error
	for _, referred := range references(declaration) {
		t := w.all[stack]
		for section, declared := range map[string]map[string]any{"resource": t.Resources, "condition": t.Conditions, "parameter": t.Parameters} {
			if other, ok := declared[referred]; ok {
				faults = append(faults, w.add(stack, section, referred, other))
			}
		}
	}
	return errors.Join(faults...)
}

var hole = regexp.MustCompile(`\$\{([A-Za-z0-9]+)[}.]`)

// references are the names in the same template that v refers to. Pseudo parameters are among them.
func references(v any) []string {
	found := map[string]bool{}
	_ = each(v, func(fn string, arg any) error { // fails only if the function given does
		switch arg := arg.(type) {
		case string:
			name, _, _ := strings.Cut(arg, ".")
			switch fn {
			case "Ref", "Fn::GetAtt", "Condition":
				found[name] = true
			case "Fn::Sub":
				for _, m := range hole.FindAllStringSubmatch(arg, -1) {
					found[m[1]] = true
				}
			}
		case []any:
			if first, ok := first(arg); ok && fn == "Fn::Sub" {
				for _, m := range hole.FindAllStringSubmatch(first, -1) {
					found[m[1]] = true
				}
			} else if ok && (fn == "Fn::GetAtt" || fn == "Fn::If") {
				found[first] = true
			}
		}
		return nil
	})
	return sorted(found)
}

func first(list []any) (string, bool) {
	if len(list) == 0 {
		return "", false
	}
	text, ok := list[0].(string)
	return text, ok
}

// each calls do for every key and value of every object in v, which covers each call of an intrinsic function.
func each(v any, do func(key string, value any) error) error {
	var faults []error
	switch v := v.(type) {
	case map[string]any:
		for _, key := range sorted(v) {
			faults = append(faults, do(key, v[key]), each(v[key], do))
		}
	case []any:
		for _, item := range v {
			faults = append(faults, each(item, do))
		}
	}
	return errors.Join(faults...)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
