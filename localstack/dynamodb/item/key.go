package item

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
)

// Schema is a table's primary key.
type Schema struct {
	Hash  Attribute
	Range Attribute // its Name is "" when the table has no sort key
}

// Attribute is a key attribute with its type, which is S, N or B.
type Attribute struct {
	Name string
	Kind Kind
}

// Key sizes of a table's primary key, in bytes.
const (
	maxHashBytes  = 2048
	maxRangeBytes = 1024
)

// Attributes are the key's attributes, one or two.
func (s Schema) Attributes() []Attribute {
	if s.Range.Name == "" {
		return []Attribute{s.Hash}
	}
	return []Attribute{s.Hash, s.Range}
}

// Has reports whether name is part of the key.
func (s Schema) Has(name string) bool {
	return name == s.Hash.Name || s.Range.Name != "" && name == s.Range.Name
}

// Key is where an item is: bytes that sort as AWS sorts.
type Key struct {
	Hash  string // sortable bytes of the partition key
	Range string // sortable bytes of the sort key; "" without one
}

// KeyOf reads a primary key given alone, as in GetItem: exactly the key's attributes.
func (s Schema) KeyOf(key Item) (Key, error) {
	if len(key) != len(s.Attributes()) {
		return Key{}, Invalid("The provided key element does not match the schema")
	}
	for _, a := range s.Attributes() {
		if v, ok := key[a.Name]; !ok || v.Kind != a.Kind {
			return Key{}, Invalid("The provided key element does not match the schema")
		}
	}
	return s.encode(key)
}

// KeyIn reads the primary key out of a whole item, as in PutItem.
func (s Schema) KeyIn(i Item) (Key, error) {
	for _, a := range s.Attributes() {
		v, ok := i[a.Name]
		if !ok {
			return Key{}, Invalid("One or more parameter values were invalid: Missing the key " + a.Name + " in the item")
		}
		if v.Kind != a.Kind {
			return Key{}, Invalid(fmt.Sprintf("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", a.Name, a.Kind, v.Kind))
		}
	}
	return s.encode(i)
}

// Only is the key's part of an item.
func (s Schema) Only(i Item) Item {
	key := Item{}
	for _, a := range s.Attributes() {
		key[a.Name] = i[a.Name]
	}
	return key
}

func (s Schema) encode(i Item) (Key, error) {
	for _, a := range s.Attributes() {
		if err := notEmpty(a.Name, i[a.Name]); err != nil {
			return Key{}, err
		}
	}
	if len(i[s.Hash.Name].Text) > maxHashBytes {
		return Key{}, Invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	}
	k := Key{Hash: i[s.Hash.Name].Sortable()}
	if s.Range.Name != "" {
		if len(i[s.Range.Name].Text) > maxRangeBytes {
			return Key{}, Invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
		}
		k.Range = i[s.Range.Name].Sortable()
	}
	return k, nil
}

// notEmpty refuses an empty string or binary as a key attribute.
func notEmpty(name string, v Value) error {
	if v.Text != "" {
		return nil
	}
	kind := "string"
	if v.Kind == B {
		kind = "binary"
	}
	return Invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " + kind + " value. Key: " + name)
}

// NotEmpty refuses an empty value for the key attribute of that name, as a key condition does.
func NotEmpty(name string, v Value) error { return notEmpty(name, v) }

// Sortable is the key value as bytes whose order is the values' order.
func (v Value) Sortable() string {
	if v.Kind == N {
		return string(mustDecimal(v.Text).sortable(nil))
	}
	return v.Text
}

// Bytes is the key as one string, unambiguous and sorted by partition, then by sort key.
func (k Key) Bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(min(len(k.Hash), math.MaxUint16))) // at most maxHashBytes and a sign
	return append(append(b, k.Hash...), k.Range...)
}

// Plain is a key value as IAM's condition keys see it: binaries in base64.
func (v Value) Plain() string {
	if v.Kind == B {
		return base64.StdEncoding.EncodeToString([]byte(v.Text))
	}
	return v.Text
}
