package resource_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/resource"
)

// fill sets every field of a struct to something.
func fill(v reflect.Value) {
	for _, f := range v.Fields() {
		switch f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Map:
			f.Set(reflect.ValueOf(resource.Labels{"k": {"v"}}))
		default:
			f.SetInt(1)
		}
	}
}

func fields(v any) []string {
	var all []string
	t := reflect.TypeOf(v)
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, name)
	}
	return all
}

// A field of a role that is added to the code is critical by default.
func TestEveryOptionAndDenialIsCritical(t *testing.T) {
	var r resource.Role
	fill(reflect.ValueOf(&r.Spec.Options).Elem())
	fill(reflect.ValueOf(&r.Spec.Allow).Elem())
	fill(reflect.ValueOf(&r.Spec.Deny).Elem())
	limits := r.Limits()
	for _, f := range fields(r.Spec.Options) {
		if !slices.Contains(limits, "spec.options."+f) {
			t.Errorf("options.%s is not critical", f)
		}
	}
	for _, f := range fields(r.Spec.Deny) {
		if !slices.Contains(limits, "spec.deny."+f) {
			t.Errorf("deny.%s is not critical", f)
		}
		if slices.Contains(limits, "spec.allow."+f) {
			t.Errorf("allow.%s only gives, and is critical", f)
		}
	}
	r.Critical = limits
	if f, unknown := r.Unknown(); unknown {
		t.Errorf("this release writes %s and doesn't know it", f)
	}
}

func TestACriticalFieldOfALaterReleaseIsNoticed(t *testing.T) {
	for path, known := range map[string]bool{
		"spec.options.max_session_ttl": true, "spec.deny.logins": true, "spec.allow.node_labels": true,
		"spec.options.moon_phase": false, "spec.deny.hours": false, "": false, "spec.options.": false, "spec.deny.node_labels.env": false,
	} {
		if got, unknown := (resource.Role{Critical: []string{path}}).Unknown(); unknown == known || unknown && got != path {
			t.Errorf("%q: %q %t", path, got, unknown)
		}
	}
	if _, unknown := resource.Unreadable(resource.Metadata{Name: "x"}).Unknown(); !unknown {
		t.Error("what can't be read bars nobody")
	}
}

// A release that knows neither conditions nor what they are about takes what it knows of a role, and bars nobody for the rest.
func TestWhatTheFirstReleasesCannotReadStandsBesideTheRules(t *testing.T) {
	rules := []resource.Rule{
		{Resources: []string{"role", "recording", "node"}, Verbs: []string{"list"}},
		{Resources: []string{"event"}, Verbs: []string{"read"}, Where: resource.WhereOwn},
		{Resources: []string{"*"}, Verbs: []string{"*"}},
		{Verbs: []string{"list"}}, // is about nothing, and has to be found wrong
	}
	r := resource.Role{Metadata: resource.Metadata{Name: "r"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: rules}, Deny: resource.RoleBlock{Rules: rules[:1]}}}
	p := r.Published()
	want := []resource.Rule{{Resources: []string{"role", "node"}, Verbs: []string{"list"}}, rules[2], rules[3]}
	if !reflect.DeepEqual(p.Spec.Allow.Rules, want) || !reflect.DeepEqual(p.Spec.Deny.Rules, want[:1]) {
		t.Errorf("the first releases read %+v and %+v", p.Spec.Allow.Rules, p.Spec.Deny.Rules)
	}
	beside := []resource.Rule{{Resources: []string{"recording"}, Verbs: []string{"list"}}, rules[1]}
	if p.Further == nil || !reflect.DeepEqual(p.Further.Allow, beside) || !reflect.DeepEqual(p.Further.Deny, beside[:1]) {
		t.Errorf("beside them stand %+v", p.Further)
	}
	if w := p.Whole(); w.Further != nil || len(w.Spec.Allow.Rules) != 5 || len(w.Spec.Deny.Rules) != 2 {
		t.Errorf("together they are %+v", w.Spec)
	}
	if r.Spec.Allow.Rules[0].Resources[1] != "recording" || r.Further != nil {
		t.Error("what was written is changed")
	}
	plain := resource.Role{Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: rules[2:3]}}}
	if plain.Published().Further != nil {
		t.Error("a role that all can read has something beside")
	}
}
