package ocsf_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is what testdata/schema has of OCSF.
type schema struct {
	Version string
	Classes map[string]class
	Objects map[string]object
}

type class struct {
	UID         int64
	CategoryUID int64 `json:"category_uid"`
	object
}

type object struct {
	Attributes map[string]attribute
	AtLeastOne []string `json:"at_least_one"`
}

type attribute struct {
	Type        string
	ObjectType  string `json:"object_type"`
	IsArray     bool   `json:"is_array"`
	Requirement string
	Enum        []int64
}

func load(t testing.TB) *schema {
	t.Helper()
	b, err := os.ReadFile("testdata/schema/ocsf-1.2.0.json")
	if err != nil {
		t.Fatal(err)
	}
	s := &schema{}
	if err := json.Unmarshal(b, s); err != nil {
		t.Fatal(err)
	}
	for name, c := range s.Classes {
		if name == "authentication" { // of the class, not of an object: see the README there
			c.AtLeastOne = []string{"service", "dst_endpoint"}
			s.Classes[name] = c
		}
	}
	return s
}

// check says what is wrong with a record, in JSON; nothing of one that is right.
func (s *schema) check(record []byte) (faults []string) {
	d := json.NewDecoder(bytes.NewReader(record))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return []string{err.Error()}
	}
	number := func(name string) int64 { n, _ := whole(fields[name]); return n }
	for _, c := range s.Classes {
		if c.UID != number("class_uid") {
			continue
		}
		if number("category_uid") != c.CategoryUID {
			faults = append(faults, "category_uid is not the class's")
		}
		if number("type_uid") != c.UID*100+number("activity_id") {
			faults = append(faults, "type_uid is not of class and activity")
		}
		if at := time.UnixMilli(number("time")); at.Year() < 2020 || at.Year() > 2100 {
			faults = append(faults, "time is not in milliseconds")
		}
		if metadata, ok := fields["metadata"].(map[string]any); ok && metadata["version"] != s.Version {
			faults = append(faults, "metadata.version is not the schema's")
		}
		return append(faults, s.object("", c.object, fields)...)
	}
	return []string{fmt.Sprintf("there is no class %v", fields["class_uid"])}
}

func (s *schema) object(path string, o object, fields map[string]any) (faults []string) {
	for name, a := range o.Attributes {
		if _, ok := fields[name]; !ok && a.Requirement == "required" {
			faults = append(faults, path+name+" is required")
		}
	}
	if len(o.AtLeastOne) > 0 && !slices.ContainsFunc(o.AtLeastOne, func(name string) bool { _, ok := fields[name]; return ok }) {
		faults = append(faults, fmt.Sprintf("%sneeds one of %v", path, o.AtLeastOne))
	}
	for name, value := range fields {
		a, ok := o.Attributes[name]
		if !ok {
			faults = append(faults, path+name+" is no attribute there")
			continue
		}
		list, isList := value.([]any)
		if isList != a.IsArray {
			faults = append(faults, path+name+" is a list, or should be one")
			continue
		}
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			faults = append(faults, s.value(path+name, a, v)...)
		}
	}
	return faults
}

func (s *schema) value(path string, a attribute, v any) []string {
	wrong := []string{fmt.Sprintf("%s is %v, which is no %s", path, v, a.Type)}
	text, isText := v.(string)
	switch a.Type {
	case "object_t":
		fields, ok := v.(map[string]any)
		if !ok {
			return wrong
		}
		if a.ObjectType == "object" { // may hold anything
			return nil
		}
		o, ok := s.Objects[a.ObjectType]
		if !ok {
			return []string{path + ": testdata/schema lacks the object " + a.ObjectType}
		}
		return s.object(path+".", o, fields)
	case "integer_t", "long_t", "timestamp_t", "port_t":
		n, ok := whole(v)
		if !ok {
			return wrong
		}
		if len(a.Enum) > 0 && !slices.Contains(a.Enum, n) {
			return []string{fmt.Sprintf("%s is %d, which is not in its enum", path, n)}
		}
	case "boolean_t":
		if _, ok := v.(bool); !ok {
			return wrong
		}
	case "ip_t":
		if _, err := netip.ParseAddr(text); !isText || err != nil {
			return wrong
		}
	case "json_t":
	case "string_t", "hostname_t", "url_t", "email_t", "uuid_t", "mac_t", "subnet_t":
		if !isText {
			return wrong
		}
	default:
		return []string{path + " is of the type " + a.Type + ", which isn't checked"}
	}
	return nil
}

func whole(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok || strings.ContainsAny(n.String(), ".eE") {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}
