package resource

import (
	"fmt"
	"slices"
	"strings"
)

// Template is a login or another use as a role writes it. The only legal shapes are a literal, such as ubuntu, and one
// {{internal.<trait>}} or {{external.<trait>}}, with or without letters before and after it.
type Template struct {
	Literal string // when Trait is ""
	Prefix  string
	Trait   string // its values each make a login
	Suffix  string
	legal   func(string) bool
}

// Parse reads a value of the use as a role writes it. The error is a sentence for whoever wrote it.
func (u Use) Parse(s string) (Template, error) {
	prefix, rest, found := strings.Cut(s, "{{")
	if !found {
		if !u.legal(s) {
			return Template{}, u.bad(s)
		}
		return Template{Literal: s, legal: u.legal}, nil
	}
	inside, suffix, closed := strings.Cut(rest, "}}")
	if !closed {
		return Template{}, fmt.Errorf("%q opens {{ but doesn't close it", s)
	}
	if strings.ContainsAny(prefix+suffix, "{}") {
		return Template{}, fmt.Errorf("%q contains more than one {{…}}; only one is allowed", s)
	}
	source, trait, dotted := strings.Cut(strings.TrimSpace(inside), ".")
	if !dotted || source != "internal" && source != "external" || !traitKey.MatchString(trait) {
		return Template{}, fmt.Errorf("%q is not a template; write {{internal.<trait>}} or {{external.<trait>}}", s)
	}
	if prefix != "" && !u.legal(prefix) || suffix != "" && !u.legal("x"+suffix) {
		return Template{}, u.bad(prefix + suffix)
	}
	return Template{Prefix: prefix, Trait: trait, Suffix: suffix, legal: u.legal}, nil
}

func (u Use) bad(s string) error { return fmt.Errorf("%q %s", s, u.rule) }

// Expand returns the values that the template stands for with these traits, and the traits' values that were dropped
// because they make nothing legal.
func (t Template) Expand(traits map[string][]string) (values, dropped []string) {
	if t.Trait == "" {
		return []string{t.Literal}, nil
	}
	for _, v := range traits[t.Trait] {
		if l := t.Prefix + v + t.Suffix; t.legal(l) {
			values = append(values, l)
		} else {
			dropped = append(dropped, v)
		}
	}
	return values, dropped
}

// Legal reports whether a value has the shape that the template's use takes.
func (t Template) Legal(s string) bool { return t.legal(s) }

// Traits lists the traits that the role's templates are filled with, sorted: what the role allows and denies depends on
// its holder's.
func (r Role) Traits() []string {
	var all []string
	for _, b := range []*RoleBlock{&r.Spec.Allow, &r.Spec.Deny} {
		for _, k := range TargetKinds {
			_, uses := k.Of(b)
			for i, values := range uses {
				for _, v := range values {
					if t, err := k.Uses[i].Parse(v); err == nil && t.Trait != "" {
						all = append(all, t.Trait)
					}
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
