package audit

import (
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
)

// Filter chooses events. Zero fields choose all.
type Filter struct {
	Types   []string // of one of these types or groups, which are what stands before a type's dot
	Actor   string   // by whom, as in an event: user/<name>
	Target  string   // <kind>/<name>
	Outcome Outcome
}

// ParseFilter reads what people write: types and groups with commas between them, an actor or the name of a user, a target, an
// outcome. All faults are reported as one [fault.BadInput].
func ParseFilter(types, actor, target, outcome string) (Filter, error) {
	f := Filter{Actor: actor, Target: target, Outcome: Outcome(outcome)}
	var faults []fault.Field
	if types != "" {
		f.Types = strings.Split(types, ",")
	}
	for _, t := range f.Types {
		if !known(t) {
			faults = append(faults, fault.Field{Path: "type", Reason: "no type of event and no group of types is called " + quote(t)})
		}
	}
	if actor != "" && actor != Unknown && !strings.Contains(actor, "/") {
		f.Actor = "user/" + actor
	}
	if f.Actor != "" && !isActor(f.Actor) {
		faults = append(faults, fault.Field{Path: "actor", Reason: "no actor is called " + quote(actor)})
	}
	if target != "" {
		var why string
		if f.Target, why = about(target); why != "" {
			faults = append(faults, fault.Field{Path: "target", Reason: why})
		}
	}
	if f.Outcome != "" && f.Outcome != Success && f.Outcome != Failure && f.Outcome != Denied {
		faults = append(faults, fault.Field{Path: "outcome", Reason: "an outcome must be success, failure or denied"})
	}
	if len(faults) > 0 {
		return Filter{}, strict.Refuse(faults)
	}
	return f, nil
}

// Besides are the kinds of what events are about that are no resources.
var Besides = []string{names.Agent, names.AuditLake, names.Certificate, "document", "function", "key", names.Recording}

// nameShape is the name of something that an event is about.
var nameShape = regexp.MustCompile(`^[^\pC\pZ*]{1,256}$`)

// about reads what an event may be about, kind/name, and writes the kind as events do, or says why there is none about it.
func about(target string) (as, why string) {
	word, name, both := strings.Cut(target, "/")
	if !both || word == "" || !nameShape.MatchString(name) {
		return "", quote(target) + " is not a kind and a name, such as node/web-1"
	}
	if k, ok := resource.KindOf(word); ok {
		if k.Target && !identity.ValidTargetName(name) {
			return "", quote(target) + " is not a kind and a name, such as node/web-1"
		}
		return k.Name + "/" + name, ""
	}
	if !slices.Contains(Besides, word) {
		return "", "events are about no " + quote(word) + ", but about these kinds: " + strings.Join(slices.Concat(resource.KindNames(), Besides), ", ")
	}
	return target, ""
}

// isActor reports whether an event's actor may be called so.
func isActor(s string) bool {
	kind, name, _ := strings.Cut(s, "/")
	switch kind {
	case "user":
		return identity.ValidUserName(name)
	case "agent", "proxy", "function", "aws":
		return name != ""
	}
	return s == Unknown
}

func quote(s string) string { return `"` + clip(s) + `"` }

// known reports whether there is a type or a group of that name.
func known(name string) bool {
	for t := range Types {
		if string(t) == name || group(t) == name {
			return true
		}
	}
	return false
}

// group is what stands before a type's dot.
func group(t Type) string {
	g, _, _ := strings.Cut(string(t), ".")
	return g
}

// Match reports whether an event is one of those.
func (f Filter) Match(e Event) bool {
	return (len(f.Types) == 0 || slices.Contains(f.Types, string(e.Type)) || slices.Contains(f.Types, group(e.Type))) &&
		(f.Actor == "" || f.Actor == e.Actor) &&
		(f.Target == "" || f.Target == e.TargetKind+"/"+e.Target) &&
		(f.Outcome == "" || f.Outcome == e.Outcome)
}
