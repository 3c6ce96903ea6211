package schema

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// object checks properties: each is known, and none is missing.
func (c *checker) object(at string, got map[string]any, known map[string]Property) {
	for _, name := range slices.Sorted(maps.Keys(got)) {
		p, ok := known[name]
		if !ok {
			c.fault(at, "the property %s is unknown", name)
			continue
		}
		if p.Required && c.mayBeAbsent(got[name]) {
			c.fault(at, "the property %s is required and can be AWS::NoValue", name)
		}
		c.value(at+"."+name, got[name], p.Type)
	}
	for name, p := range known {
		if _, ok := got[name]; p.Required && !ok {
			c.fault(at, "the property %s is missing", name)
		}
	}
}

// value checks a value, literal or computed.
func (c *checker) value(at string, v any, want Type) {
	if name, arg, ok := intrinsic(v); ok {
		c.function(at, name, arg, want)
		return
	}
	switch want.Is {
	case JSON:
		c.anything(at, v)
	case Either:
		c.either(at, v, want)
	case Object:
		if m, ok := v.(map[string]any); ok {
			c.object(at, m, c.schemas.Objects[want.Name])
			return
		}
		c.mismatch(at, v, want)
	case List, Map:
		c.items(at, v, want)
	default:
		c.scalar(at, v, want)
	}
}

func (c *checker) items(at string, v any, want Type) {
	list, isList := v.([]any)
	members, isMap := v.(map[string]any)
	switch {
	case want.Is == List && isList:
		for i, item := range list {
			c.value(at+"["+strconv.Itoa(i)+"]", item, *want.Of)
		}
	case want.Is == Map && isMap:
		for name, item := range members {
			c.value(at+"."+name, item, *want.Of)
		}
	default:
		c.mismatch(at, v, want)
	}
}

// anything looks for references in what no schema describes.
func (c *checker) anything(at string, v any) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			c.value(at+"["+strconv.Itoa(i)+"]", item, Type{Is: JSON})
		}
	case map[string]any:
		for name, item := range v {
			c.value(at+"."+name, item, Type{Is: JSON})
		}
	}
}

// either takes what one of the types takes; the faults of the last one are told.
func (c *checker) either(at string, v any, want Type) {
	before := len(c.found)
	var faults []string
	for _, t := range want.Types {
		c.value(at, v, t)
		faults = slices.Clone(c.found[before:])
		c.found = c.found[:before]
		if len(faults) == 0 {
			return
		}
	}
	c.found = append(c.found, faults...)
}

func (c *checker) scalar(at string, v any, want Type) {
	ok := false
	switch v := v.(type) {
	case string:
		ok = want.Is == String
	case bool:
		ok = want.Is == Boolean
	case float64:
		ok = want.Is == Number || want.Is == Integer && v == math.Trunc(v)
	}
	switch {
	case !ok:
		c.mismatch(at, v, want)
	case want.Values != nil && !slices.Contains(want.Values, v):
		c.fault(at, "%v is none of %v", v, want.Values)
	}
}

func (c *checker) mismatch(at string, v any, want Type) {
	c.fault(at, "%s is not of the type %s", shown(v), want.Is)
}

func shown(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

// gives reports whether a computed value can be what is wanted. Parameters are strings to CloudFormation, so that one can be a
// boolean's value, and a number a string's.
func gives(got, want Type) bool {
	switch want.Is {
	case JSON:
		return true
	case Either:
		return slices.ContainsFunc(want.Types, func(t Type) bool { return gives(got, t) })
	case String:
		return got.Is == String || got.Is == Number || got.Is == Integer
	case Number, Integer:
		return got.Is == Number || got.Is == Integer
	case Boolean:
		return got.Is == Boolean || got.Is == String
	case List:
		return got.Is == List && gives(*got.Of, *want.Of)
	case Map, Object:
		return got.Is == want.Is && got.Name == want.Name
	}
	return false
}
