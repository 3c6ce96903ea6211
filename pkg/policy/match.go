package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/resource"
)

// uses puts what a session says into the order of the kind's uses. It must name exactly those, and nothing else: a
// sentence says what is wrong.
func uses(t *Target, use Use) (kind int, values [resource.MaxUses]string, wrong string) {
	kind = resource.TargetKindIndex(t.Kind)
	if kind < 0 {
		return kind, values, fmt.Sprintf("there is no kind of target %q", t.Kind)
	}
	wanted := resource.TargetKinds[kind].Uses
	for i := range wanted {
		if values[i] = use[wanted[i].Name]; values[i] == "" {
			return kind, values, fmt.Sprintf("a session on this %s must name its %s", t.Kind, wanted[i].Name)
		}
		if values[i] == "*" {
			return kind, values, fmt.Sprintf("a session on this %s must name one %s, not all", t.Kind, wanted[i].Name)
		}
	}
	if len(use) != len(wanted) {
		return kind, values, fmt.Sprintf("a session on this %s names more than it may", t.Kind)
	}
	return kind, values, ""
}

// allows: labels and each use must be named. A barred role allows nothing.
func (r *role) allows(k int, t *Target, sub *Subject, labels *view, values *[resource.MaxUses]string) bool {
	if r.barred != "" || !resource.Within(t.Scope, r.scope) || !r.allow.kinds[k].labels.matches(labels) {
		return false
	}
	for i := range resource.TargetKinds[k].Uses {
		if !r.allow.kinds[k].uses[i].permit(&resource.TargetKinds[k].Uses[i], values[i], sub.Traits) {
			return false
		}
	}
	return true
}

// permit reports whether an allowing list names a value. What no list can name is allowed by none: a deny could not
// name it either.
func (v *values) permit(u *resource.Use, value string, traits map[string][]string) bool {
	return v.name(value, traits) && (!v.any || value == "*" || u.Legal(value))
}

// denies: of labels and uses, those that the block mentions must all match; a block that mentions none denies nothing. A barred role
// denies its holders everything, everywhere.
func (r *role) denies(k int, t *Target, sub *Subject, labels *view, values *[resource.MaxUses]string) bool {
	if r.barred != "" {
		return true
	}
	if !resource.Within(t.Scope, r.scope) {
		return false
	}
	d, spoken := &r.deny.kinds[k], false
	for i := range resource.TargetKinds[k].Uses {
		if !d.uses[i].given {
			continue
		}
		if spoken = true; !d.uses[i].name(values[i], sub.Traits) {
			return false
		}
	}
	if d.labels.empty() {
		return spoken
	}
	return d.labels.matches(labels)
}

// name reports whether the list names a value, without making strings.
func (v *values) name(value string, traits map[string][]string) bool {
	if v.any {
		return true
	}
	for i := range v.list {
		if stands(&v.list[i], value, traits) {
			return true
		}
	}
	return false
}

// stands reports whether the template stands for the value: compared whole, and legal if it came from a trait.
func stands(t *resource.Template, value string, traits map[string][]string) bool {
	if t.Trait == "" {
		return t.Literal == value
	}
	middle, ok := strings.CutPrefix(value, t.Prefix)
	if !ok {
		return false
	}
	middle, ok = strings.CutSuffix(middle, t.Suffix)
	return ok && t.Legal(value) && slices.Contains(traits[t.Trait], middle)
}
