// Package property decodes a resource's resolved properties into a struct, strictly: CloudFormation writes
// numbers and booleans as JSON scalars or as strings, and a property that the struct doesn't know is an error.
//
// It knows no resource type. Its entry point is [Decode].
package property

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Decode fills into, a pointer to a struct whose fields are named like the properties, and names an unknown
// or mistyped property in its error.
func Decode(properties map[string]any, into any) error {
	raw, err := json.Marshal(properties)
	if err != nil {
		return fmt.Errorf("reading properties: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		text := strings.TrimPrefix(err.Error(), "json: ")
		return fmt.Errorf("reading properties: %s; the local AWS supports only what its provider names", text)
	}
	return nil
}

// Text is a string that may be written as any scalar.
type Text string

// UnmarshalJSON accepts a JSON string, number or boolean.
func (t *Text) UnmarshalJSON(raw []byte) error {
	text, err := unquote(raw)
	*t = Text(text)
	return err
}

// Int is a whole number that may be written as a string.
type Int int

// UnmarshalJSON accepts a JSON number or a string of digits.
func (n *Int) UnmarshalJSON(raw []byte) error {
	text, err := unquote(raw)
	if err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	*n = Int(value)
	return nil
}

// Bool is a boolean that may be written as a string.
type Bool bool

// UnmarshalJSON accepts true, false, "true" and "false".
func (b *Bool) UnmarshalJSON(raw []byte) error {
	text, err := unquote(raw)
	if err != nil {
		return err
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("%q is not a boolean", text)
	}
	*b = Bool(value)
	return nil
}

func unquote(raw []byte) (string, error) {
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[' || raw[0] == 'n') {
		return "", fmt.Errorf("%s is not a scalar", raw)
	}
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw), nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}
