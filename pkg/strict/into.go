package strict

import (
	"cmp"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stile-dev/stile/pkg/fault"
)

// Options change what [Node.Into] accepts.
type Options struct {
	// Scalars accepts a string where a list of strings is expected: `team: backend`.
	Scalars bool
	// Unknown ignores keys that are not known here, for what a newer release may have written. Whoever sets it looks
	// at what the document itself calls critical, see [Knows].
	Unknown bool
	// Written refuses what is written but says nothing: null, and an empty value of a field that is omitted when empty.
	// It would vanish, and its writer may have meant "none" where leaving it out means "any". False says what it says, and
	// so does an empty mapping of known keys.
	Written bool
}

// Knows reports whether v, a struct, has a field at a path of json names such as spec.options.record. Lists and maps on
// the way are looked through; the keys of a map have no field names.
func Knows(v any, path string) bool {
	t := reflect.TypeOf(v)
	for name := range strings.SplitSeq(path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return false
		}
		f, ok := fieldsOf(t)[name]
		if !ok {
			return false
		}
		t = t.FieldByIndex(f.index).Type
	}
	return true
}

// Into writes the tree into v, a pointer, by its json tags, and reports every fault at once. Values it
// reaches are bool, integers, string, []byte (base64), time.Time and whatever reads itself from text,
// lists, maps with string keys, structs, pointers to them, json.RawMessage and any.
func (n *Node) Into(v any, o Options) error {
	d := decoder{options: o}
	d.value(n, reflect.ValueOf(v).Elem(), "")
	if len(d.fields) > 0 {
		return Refuse(d.fields)
	}
	return nil
}

// Place returns the position of the value at a path such as spec.allow.logins[0], or of the nearest value above it.
func (n *Node) Place(path string) string {
	at, line, col := n, n.Line, n.Col
	for rest := path; rest != "" && at != nil; {
		at, line, col, rest = at.step(rest, line, col)
	}
	return place(line, col, path)
}

// step goes one key or index down the path.
func (n *Node) step(path string, line, col int) (*Node, int, int, string) {
	path = strings.TrimPrefix(path, ".")
	if n.Type == List && strings.HasPrefix(path, "[") {
		index, rest, _ := strings.Cut(path[1:], "]")
		if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(n.items) {
			return n.items[i], n.items[i].Line, n.items[i].Col, rest
		}
		return nil, line, col, ""
	}
	best := -1 // the longest key that the path begins with: keys may contain dots
	for i, k := range n.keys {
		tail, ok := strings.CutPrefix(path, k)
		if ok && (tail == "" || tail[0] == '.' || tail[0] == '[') && (best < 0 || len(k) > len(n.keys[best])) {
			best = i
		}
	}
	if best < 0 {
		return nil, line, col, ""
	}
	return n.items[best], n.spots[best].line, n.spots[best].col, path[len(n.keys[best]):]
}

type decoder struct {
	options Options
	span    string // what the number may be that comes next, such as 1 to 10
	fields  []fault.Field
}

func (d *decoder) fault(line, col int, path, reason string) {
	d.fields = append(d.fields, fault.Field{Path: place(line, col, path), Reason: reason})
}

func (d *decoder) want(n *Node, path, what string) {
	d.fault(n.Line, n.Col, path, fmt.Sprintf("this is %s; write %s", n.Type, what))
}

// number refuses what could not be read as a number of the field's range.
func (d *decoder) number(n *Node, path string, err error, span string) {
	if d.span != "" {
		span = "from " + d.span
	}
	if errors.Is(err, strconv.ErrRange) { // which YAML takes as a string, with too many digits
		d.fault(n.Line, n.Col, path, n.Text+" is out of range; write a whole number "+span)
		return
	}
	d.want(n, path, "a whole number "+span)
}

func (d *decoder) value(n *Node, v reflect.Value, path string) {
	if n.Type == Null {
		// As in encoding/json, null is the zero value; in YAML a key with nothing behind it.
		v.SetZero()
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
		return
	}
	if d.special(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Interface:
		if p := v.Elem(); p.IsValid() && p.Kind() == reflect.Pointer {
			d.value(n, p.Elem(), path) // the caller has chosen the type
			return
		}
		v.Set(reflect.ValueOf(n.plain()))
	default:
		d.scalar(n, v, path)
	}
}

// special handles types that read themselves.
func (d *decoder) special(n *Node, v reflect.Value, path string) bool {
	switch p := v.Addr().Interface().(type) {
	case *json.RawMessage:
		b, err := json.Marshal(n.plain())
		if err != nil {
			d.fault(n.Line, n.Col, path, "this can't be written as JSON")
		}
		*p = b
	case *[]byte:
		b, err := base64.StdEncoding.Strict().DecodeString(n.Text)
		if n.Type != String || err != nil {
			d.want(n, path, "a string in base64")
			return true
		}
		*p = b
	case encoding.TextUnmarshaler:
		d.text(n, v, path, p)
	default:
		return false
	}
	return true
}

// text says of a number that it isn't what the type takes, such as 8h, if that is what's wrong: quotes wouldn't help.
func (d *decoder) text(n *Node, v reflect.Value, path string, p encoding.TextUnmarshaler) {
	if n.Type != String && n.Type != Number {
		d.want(n, path, "a string, in quotes if need be")
		return
	}
	switch err := p.UnmarshalText([]byte(n.Text)); {
	case err != nil:
		d.fault(n.Line, n.Col, path, textReason(v, n.Text, err))
	case n.Type != String:
		d.want(n, path, "a string, in quotes if need be")
	}
}

func textReason(v reflect.Value, text string, err error) string {
	if v.Type().PkgPath() == "time" {
		return fmt.Sprintf("%q is not a time; write it as 2006-01-02T15:04:05Z", text)
	}
	return err.Error()
}

func (d *decoder) scalar(n *Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if n.Type != String {
			d.want(n, path, "a string, in quotes if need be")
			return
		}
		v.SetString(n.Text)
	case reflect.Bool:
		if n.Type != Bool {
			d.want(n, path, "true or false")
			return
		}
		v.SetBool(n.Text == "true")
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.Text, 10, v.Type().Bits())
		if n.Type != Number || err != nil {
			d.number(n, path, err, "in range")
			return
		}
		v.SetInt(i)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(n.Text, 10, v.Type().Bits())
		if n.Type != Number || err != nil {
			d.number(n, path, err, "of at least 0, in range")
			return
		}
		v.SetUint(i)
	default:
		d.fault(n.Line, n.Col, path, "this can't be set")
	}
}

func (d *decoder) list(n *Node, v reflect.Value, path string) {
	if d.options.Scalars && n.Type == String && v.Type().Elem().Kind() == reflect.String {
		n = &Node{Type: List, items: []*Node{n}}
	}
	if n.Type != List {
		d.want(n, path, "a list")
		return
	}
	if len(n.items) == 0 {
		v.SetZero() // an empty list is none, so that it is the same again when it was written and read
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.element(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// element refuses null, which can't be a member of a list or map.
func (d *decoder) element(n *Node, v reflect.Value, path string) {
	if n.Type == Null && v.Kind() != reflect.Interface {
		d.fault(n.Line, n.Col, path, "this is empty; write a value or take the entry out")
		return
	}
	d.value(n, v, path)
}

func (d *decoder) mapping(n *Node, v reflect.Value, path string) {
	if n.Type != Object {
		d.want(n, path, "a mapping of keys to values")
		return
	}
	if len(n.keys) == 0 {
		v.SetZero()
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.keys)))
	for i, key := range n.keys {
		e := reflect.New(v.Type().Elem()).Elem()
		d.element(n.items[i], e, child(path, key))
		if e.Kind() == reflect.Slice && e.IsNil() {
			e.Set(reflect.MakeSlice(e.Type(), 0, 0)) // otherwise it is written as null, which is refused when it is read again
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), e)
	}
}

func (d *decoder) structure(n *Node, v reflect.Value, path string) {
	if n.Type != Object {
		d.want(n, path, "a mapping of keys to values")
		return
	}
	fields := fieldsOf(v.Type())
	for i, key := range n.keys {
		f, ok := fields[key]
		if !ok && d.options.Unknown {
			continue
		}
		if !ok {
			d.fault(n.spots[i].line, n.spots[i].col, child(path, key), "unknown key; known here: "+known(fields))
			continue
		}
		item, into, at := n.items[i], v.FieldByIndex(f.index), child(path, key)
		before := len(d.fields)
		d.span = f.span
		d.value(item, into, at)
		if d.options.Written && len(d.fields) == before && (item.Type == Null || f.optional && empty(into)) {
			d.fault(item.Line, item.Col, at, nothing(item)+"; write "+cmp.Or(f.span, "a value")+", or leave "+key+" out")
		}
	}
}

// nothing names the way in which a value says nothing.
func nothing(n *Node) string {
	if n.Type == Number || n.Type == String && n.Text != "" {
		return n.Text + " is not allowed"
	}
	return "this is empty"
}

// empty reports whether a value is what its field has when nothing is written, and can say nothing else.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Bool, reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

func known(fields map[string]field) string {
	var keys []string
	for k := range fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// field is one field of a struct.
type field struct {
	index    []int
	optional bool // it is left out when empty
	span     string
}

// fieldsOf maps JSON names to fields, exactly as spelt: encoding/json would fold case.
func fieldsOf(t reflect.Type) map[string]field {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]field)
	}
	fields := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = field{f.Index, strings.Contains(options, "omit"), f.Tag.Get("range")}
		}
	}
	fieldCache.Store(t, fields)
	return fields
}

// fieldCache maps a reflect.Type to its fields: identities are read on every connection.
var fieldCache sync.Map

// plain returns the tree as encoding/json would: map[string]any, []any, json.Number, string, bool, nil.
func (n *Node) plain() any {
	switch n.Type {
	case Null:
		return nil
	case Bool:
		return n.Text == "true"
	case Number:
		return json.Number(n.Text)
	case String:
		return n.Text
	case List:
		l := make([]any, len(n.items))
		for i, item := range n.items {
			l[i] = item.plain()
		}
		return l
	case Object:
		m := make(map[string]any, len(n.keys))
		for i, key := range n.keys {
			m[key] = n.items[i].plain()
		}
		return m
	}
	return nil
}
