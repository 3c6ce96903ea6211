package resource

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reader reads a resource's properties and notices those that nobody asked for. Its methods return the zero
// value for a property that is absent or of the wrong type; [Reader.Done] reports the latter.
type Reader struct {
	at     string
	values map[string]any
	asked  map[string]bool
	errs   []error
}

// Read begins reading the resource's properties.
func Read(r Resource) *Reader {
	return ReadObject(r.LogicalID+" ("+r.Type+")", r.Properties)
}

// ReadObject begins reading the object at that place in a template.
func ReadObject(at string, values map[string]any) *Reader {
	return &Reader{at: at, values: values, asked: map[string]bool{}}
}

func (r *Reader) get(name string) (any, bool) {
	r.asked[name] = true
	v, ok := r.values[name]
	return v, ok && v != nil
}

func (r *Reader) wrong(name, want string, got any) {
	r.errs = append(r.errs, fmt.Errorf("%s.%s: must be %s, is %T", r.at, name, want, got))
}

// Fail adds an error about a property.
func (r *Reader) Fail(name, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s.%s: %w", r.at, name, fmt.Errorf(format, args...)))
}

// Has reports whether the property is given.
func (r *Reader) Has(name string) bool {
	_, ok := r.get(name)
	return ok
}

// Required is String, and an error where the property is absent or empty.
func (r *Reader) Required(name string) string {
	s := r.String(name)
	if s == "" {
		r.Fail(name, "is missing")
	}
	return s
}

// String reads a string; numbers and booleans count as their text, as in CloudFormation.
func (r *Reader) String(name string) string {
	v, ok := r.get(name)
	if !ok {
		return ""
	}
	s, ok := text(v)
	if !ok {
		r.wrong(name, "a string", v)
	}
	return s
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	default:
		return "", false
	}
}

// Bool reads a boolean, also as the strings true and false.
func (r *Reader) Bool(name string) bool {
	s := strings.ToLower(r.String(name))
	if s != "" && s != "true" && s != "false" {
		r.Fail(name, "%q is neither true nor false", s)
	}
	return s == "true"
}

// Object reads an object; nil when absent.
func (r *Reader) Object(name string) map[string]any {
	v, ok := r.get(name)
	if !ok {
		return nil
	}
	o, ok := v.(map[string]any)
	if !ok {
		r.wrong(name, "an object", v)
	}
	return o
}

// Objects reads a list of objects.
func (r *Reader) Objects(name string) []map[string]any {
	v, ok := r.get(name)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		r.wrong(name, "a list of objects", v)
		return nil
	}
	var out []map[string]any
	for _, item := range list {
		o, ok := item.(map[string]any)
		if !ok {
			r.wrong(name, "a list of objects", v)
			return nil
		}
		out = append(out, o)
	}
	return out
}

// Tags reads a list of {Key, Value}.
func (r *Reader) Tags(name string) map[string]string {
	out := map[string]string{}
	for i, o := range r.Objects(name) {
		t := ReadObject(fmt.Sprintf("%s.%s[%d]", r.at, name, i), o)
		out[t.Required("Key")] = t.String("Value")
		r.Add(t.Done())
	}
	return out
}

// Accept names properties that are accepted and change nothing here.
func (r *Reader) Accept(names ...string) {
	for _, n := range names {
		r.asked[n] = true
	}
}

// Add joins another reader's error.
func (r *Reader) Add(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// Done reports everything that was wrong, and the properties that nobody asked for.
func (r *Reader) Done() error {
	var unknown []string
	for name := range r.values {
		if !r.asked[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		r.errs = append(r.errs, fmt.Errorf("%s.%s: the local AWS doesn't know this property", r.at, name))
	}
	return errors.Join(r.errs...)
}

// Name is the physical name of a resource that its template doesn't name: the previous one, or else
// <stack>-<logical id>-<12 characters>, always the same for one stack, logical id and generation.
func (r Resource) Name(limit int) string {
	if r.PhysicalID != "" {
		return r.PhysicalID
	}
	sum := sha256.Sum256([]byte(r.StackID + "\n" + r.Stack + "\n" + r.Label()))
	suffix := base32.StdEncoding.EncodeToString(sum[:])[:12]
	head := r.Stack + "-" + r.LogicalID
	if most := limit - len(suffix) - 1; len(head) > most {
		head = strings.TrimRight(head[:most], "-")
	}
	return head + "-" + suffix
}

// Label tells the resource apart from those of the same logical id that the stack made before.
func (r Resource) Label() string {
	if r.Generation == 0 {
		return r.LogicalID
	}
	return r.LogicalID + "-" + strconv.Itoa(r.Generation)
}
