// Package schema holds templates against what is published about AWS: CloudFormation's schemas of resource types, and
// the Service Authorization Reference's actions and condition keys. Both are extracts, committed as JSON, of the
// packages that source/package.json names; scripts/schemas writes them again.
//
// The schemas are looser than CloudFormation in places: many properties that take one of a few words are plain strings
// in them, hardly a number has its range, and which properties exclude or demand each other isn't in them. They know no
// template but one: what a value means in another stack is asked here by its name alone.
//
// It reads only JSON and must not know the CDK, nor how the stacks are declared. Its entry points are [Load],
// [Schemas.Check] and [Actions].
package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// Schemas are CloudFormation's resource types.
type Schemas struct {
	Source    string // package and version
	Resources map[string]Resource
	Objects   map[string]map[string]Property // what a property of the kind object holds, by <resource type>.<name>
}

// Resource is one resource type.
type Resource struct {
	Properties map[string]Property
	Attributes map[string]Type // what Fn::GetAtt takes
	ARN        string          `json:",omitempty"` // its form, as arn:${Partition}:sqs:${Region}:${Account}:${QueueName}
}

// Property is one property of a resource or an object.
type Property struct {
	Type
	Required bool `json:"required,omitempty"`
}

// Kind says what a value is.
type Kind string

// The kinds of values.
const (
	String  Kind = "string"
	Number  Kind = "number"
	Integer Kind = "integer"
	Boolean Kind = "boolean"
	JSON    Kind = "json" // anything: policies, documents
	List    Kind = "list"
	Map     Kind = "map"
	Object  Kind = "object"
	Either  Kind = "either"
)

// Type is the type of a value.
type Type struct {
	Is     Kind   `json:"is"`
	Values []any  `json:"values,omitempty"` // the only ones, where the schema has them
	Of     *Type  `json:"of,omitempty"`     // of a list or a map
	Name   string `json:"name,omitempty"`   // of an object
	Types  []Type `json:"types,omitempty"`  // of either
}

//go:embed resources.json
var resources []byte

// Load reads the committed schemas.
func Load() (*Schemas, error) {
	s := &Schemas{}
	if err := json.Unmarshal(resources, s); err != nil {
		return nil, fmt.Errorf("reading resources.json: %w", err)
	}
	return s, nil
}
