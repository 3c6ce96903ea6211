package main

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/stile-dev/stile/infra/schema"
)

// reference extracts services of the Service Authorization Reference.
func reference(dir string, services map[string]bool) (*schema.Reference, error) {
	source, err := version(dir)
	if err != nil {
		return nil, err
	}
	out := &schema.Reference{Source: source, Services: map[string]schema.Service{}}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if out.Services[name], err = service(filepath.Join(dir, "data"), name+".json"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func service(dir, file string) (schema.Service, error) {
	out := schema.Service{Actions: map[string]schema.Action{}, Kinds: map[string]schema.Thing{}}
	var all map[string]struct {
		Name          string
		ConditionKeys []string
		ResourceTypes []struct {
			Name          string
			ConditionKeys []string
		}
	}
	if err := read(filepath.Join(dir, "actions", file), &all); err != nil {
		return out, err
	}
	for _, a := range all {
		one := schema.Action{Keys: a.ConditionKeys}
		for _, r := range a.ResourceTypes {
			one.On = append(one.On, r.Name)
			one.Keys = append(one.Keys, r.ConditionKeys...)
		}
		slices.Sort(one.Keys)
		one.Keys = slices.Compact(one.Keys)
		out.Actions[a.Name] = one
	}
	var kinds map[string]struct {
		Key, ARN      string
		ConditionKeys []string
	}
	if err := read(filepath.Join(dir, "resourceTypes", file), &kinds); err != nil {
		return out, err
	}
	for _, k := range kinds {
		out.Kinds[k.Key] = schema.Thing{ARN: k.ARN, Keys: k.ConditionKeys}
	}
	return out, nil
}
