package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/stile-dev/stile/infra/schema"
)

// database is the part of aws-service-spec's db.json that is read.
type database struct {
	Schema struct {
		Resource, TypeDefinition struct{ Entities []entity }
	}
}

type entity struct {
	ID                 string `json:"$id"`
	Name               string
	CloudFormationType string
	ARNTemplate        string
	Properties         map[string]property
	Attributes         map[string]property
}

type property struct {
	Type     kind
	Required bool
}

type kind struct {
	Type          string
	AllowedValues []any
	Element       *kind
	Types         []kind
	Reference     struct {
		ID string `json:"$ref"`
	}
}

// schemas extracts resource types.
func schemas(dir string, types map[string]bool) (*schema.Schemas, error) {
	source, err := version(dir)
	if err != nil {
		return nil, err
	}
	db, err := open(filepath.Join(dir, "db.json.gz"))
	if err != nil {
		return nil, err
	}
	x := extraction{definitions: map[string]entity{}, out: &schema.Schemas{
		Source: source, Resources: map[string]schema.Resource{}, Objects: map[string]map[string]schema.Property{},
	}}
	for _, d := range db.Schema.TypeDefinition.Entities {
		x.definitions[d.ID] = d
	}
	for _, r := range db.Schema.Resource.Entities {
		if !types[r.CloudFormationType] {
			continue
		}
		attributes := map[string]schema.Type{}
		for name, a := range r.Attributes {
			if attributes[name], err = x.kind(r.CloudFormationType, a.Type); err != nil {
				return nil, err
			}
		}
		properties, err := x.properties(r.CloudFormationType, r.Properties)
		if err != nil {
			return nil, err
		}
		x.out.Resources[r.CloudFormationType] = schema.Resource{Properties: properties, Attributes: attributes, ARN: r.ARNTemplate}
	}
	for _, t := range slices.Sorted(maps.Keys(types)) {
		if _, ok := x.out.Resources[t]; !ok {
			return nil, fmt.Errorf("%s has no schema of %s", source, t)
		}
	}
	return x.out, nil
}

func open(path string) (*database, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the schemas: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	db := &database{}
	if err := json.NewDecoder(z).Decode(db); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return db, nil
}

type extraction struct {
	definitions map[string]entity
	out         *schema.Schemas
}

func (x *extraction) properties(resource string, from map[string]property) (map[string]schema.Property, error) {
	out := map[string]schema.Property{}
	for name, p := range from {
		t, err := x.kind(resource, p.Type)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", resource, name, err)
		}
		out[name] = schema.Property{Type: t, Required: p.Required}
	}
	return out, nil
}

// tag is the object that the database takes for granted.
const tag = "Tag"

func (x *extraction) kind(resource string, k kind) (schema.Type, error) {
	switch k.Type {
	case "string", "number", "integer", "boolean", "json":
		return schema.Type{Is: schema.Kind(k.Type), Values: k.AllowedValues}, nil
	case "date-time":
		return schema.Type{Is: schema.String}, nil
	case "array", "map":
		of, err := x.kind(resource, *k.Element)
		is := schema.List
		if k.Type == "map" {
			is = schema.Map
		}
		return schema.Type{Is: is, Of: &of}, err
	case "tag":
		one := schema.Property{Type: schema.Type{Is: schema.String}, Required: true}
		x.out.Objects[tag] = map[string]schema.Property{"Key": one, "Value": one}
		return schema.Type{Is: schema.Object, Name: tag}, nil
	case "ref":
		return x.object(resource, k.Reference.ID)
	case "union":
		out := schema.Type{Is: schema.Either}
		for _, one := range k.Types {
			t, err := x.kind(resource, one)
			if err != nil {
				return out, err
			}
			out.Types = append(out.Types, t)
		}
		return narrow(out), nil
	}
	return schema.Type{}, fmt.Errorf("the kind %q is not known here", k.Type)
}

// narrow leaves out "or anything" where the other form is a list: it stands there for a form that nobody writes.
func narrow(t schema.Type) schema.Type {
	for _, one := range t.Types {
		if one.Is == schema.List {
			return one
		}
	}
	return t
}

func (x *extraction) object(resource, id string) (schema.Type, error) {
	d := x.definitions[id]
	name := resource + "." + d.Name
	if _, seen := x.out.Objects[name]; !seen {
		x.out.Objects[name] = nil // a definition may contain itself
		properties, err := x.properties(resource, d.Properties)
		if err != nil {
			return schema.Type{}, err
		}
		x.out.Objects[name] = properties
	}
	return schema.Type{Is: schema.Object, Name: name}, nil
}
