package item

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Malformed is a body that can't be read at all; it becomes a SerializationException.
type Malformed string

func (e Malformed) Error() string { return string(e) }

// UnmarshalJSON reads a value and validates it: one type, canonical numbers, sets without duplicates, depth.
func (v *Value) UnmarshalJSON(data []byte) error { return v.read(data, 0) }

func (v *Value) read(data []byte, depth int) error {
	if depth > MaxDepth {
		return Invalid("Nesting Levels have exceeded supported limits")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return Malformed("Unexpected value type in payload")
	}
	var kind Kind
	for name, raw := range members {
		if !known(Kind(name)) || bytes.Equal(raw, []byte("null")) {
			continue
		}
		if kind != "" {
			return Invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
		}
		kind = Kind(name)
	}
	if kind == "" {
		return Invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	v.Kind = kind
	return v.readAs(members[string(kind)], depth)
}

func known(k Kind) bool {
	switch k {
	case S, N, B, BOOL, NULL, M, L, SS, NS, BS:
		return true
	}
	return false
}

func (v *Value) readAs(raw json.RawMessage, depth int) error {
	switch v.Kind {
	case S, N, B:
		return v.readScalar(raw)
	case BOOL:
		return into(raw, &v.Bool)
	case NULL:
		var null bool
		if err := into(raw, &null); err != nil {
			return err
		}
		if !null {
			return Invalid("One or more parameter values were invalid: Null attribute value types must have the value of true")
		}
		return nil
	case L:
		return v.readList(raw, depth)
	case M:
		return v.readMap(raw, depth)
	default:
		return v.readSet(raw)
	}
}

func (v *Value) readScalar(raw json.RawMessage) error {
	var text string
	if err := into(raw, &text); err != nil {
		return err
	}
	var err error
	v.Text, err = scalar(v.Kind, text)
	return err
}

// scalar is a string, number or binary from its wire form.
func scalar(k Kind, text string) (string, error) {
	switch k {
	case N:
		return ParseNumber(text)
	case B:
		if len(text)%4 != 0 {
			return "", Malformed(fmt.Sprintf("Base64 encoded length is expected a multiple of 4 bytes but found: %d", len(text)))
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", Malformed("Invalid Base64 in a binary value")
		}
		return string(raw), nil
	default:
		return text, nil
	}
}

func (v *Value) readList(raw json.RawMessage, depth int) error {
	var elements []json.RawMessage
	if err := into(raw, &elements); err != nil {
		return err
	}
	v.List = make([]Value, len(elements))
	for i, e := range elements {
		if err := v.List[i].read(e, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (v *Value) readMap(raw json.RawMessage, depth int) error {
	var members map[string]json.RawMessage
	if err := into(raw, &members); err != nil {
		return err
	}
	v.Map = make(Item, len(members))
	for name, e := range members {
		var inner Value
		if err := inner.read(e, depth+1); err != nil {
			return err
		}
		v.Map[name] = inner
	}
	return nil
}

func (v *Value) readSet(raw json.RawMessage) error {
	var texts []string
	if err := into(raw, &texts); err != nil {
		return err
	}
	element := v.Kind.Element()
	if len(texts) == 0 {
		word := map[Kind]string{S: "string", N: "number", B: "binary"}[element]
		return Invalid("One or more parameter values were invalid: An " + word + " set  may not be empty")
	}
	seen := map[string]bool{}
	for i, text := range texts {
		canonical, err := scalar(element, text)
		if err != nil {
			return err
		}
		if seen[canonical] {
			return duplicates(v.Kind, texts)
		}
		seen[canonical], v.Set = true, append(v.Set, canonical)
		texts[i] = text
	}
	sortSet(v.Kind, v.Set)
	return nil
}

func duplicates(k Kind, texts []string) error {
	if k == NS {
		return Invalid("Input collection contains duplicates")
	}
	if k == BS {
		return Invalid("One or more parameter values were invalid: Input collection of type BS contains duplicates.")
	}
	return Invalid("One or more parameter values were invalid: Input collection [" + strings.Join(texts, ", ") + "] contains duplicates.")
}

// into decodes a member whose JSON type is fixed.
func into(raw json.RawMessage, to any) error {
	err := json.Unmarshal(raw, to)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Mistyped(wrong)
	}
	if err != nil {
		return Malformed("Unexpected value type in payload")
	}
	return nil
}

// Mistyped says in AWS's words that a member has another JSON type than it must have.
func Mistyped(wrong *json.UnmarshalTypeError) Malformed {
	word := wrong.Type.String()
	switch wrong.Type.Kind() {
	case reflect.String:
		word = "String"
	case reflect.Bool:
		word = "Boolean"
	case reflect.Int:
		word = "Integer"
	case reflect.Struct, reflect.Map:
		return "Unexpected value type in payload"
	default:
	}
	return Malformed(strings.ToUpper(wrong.Value) + "_VALUE cannot be converted to " + word)
}

// UnmarshalJSON reads an item; an empty attribute name is refused.
func (i *Item) UnmarshalJSON(data []byte) error {
	var members map[string]Value
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	if _, empty := members[""]; empty {
		return Invalid("Empty attribute name")
	}
	*i = members
	return nil
}

// MarshalJSON writes the value in DynamoDB's form.
func (v Value) MarshalJSON() ([]byte, error) {
	var content any
	switch v.Kind {
	case S, N:
		content = v.Text
	case B:
		content = []byte(v.Text)
	case BOOL:
		content = v.Bool
	case NULL:
		content = true
	case L:
		content = append([]Value{}, v.List...)
	case M:
		content = v.Map.orEmpty()
	case SS, NS:
		content = v.Set
	case BS:
		raw := make([][]byte, len(v.Set))
		for i, e := range v.Set {
			raw[i] = []byte(e)
		}
		content = raw
	default:
		return nil, fmt.Errorf("writing a value: unknown kind %q", v.Kind)
	}
	return json.Marshal(map[Kind]any{v.Kind: content})
}

func (i Item) orEmpty() Item {
	if i == nil {
		return Item{}
	}
	return i
}
