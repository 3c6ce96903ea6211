package template

import (
	"context"
	"errors"
	"fmt"

	"github.com/stile-dev/stile/localstack/resource"
)

// provision creates, updates or replaces one resource, as its declaration and what the stack has ask for.
func (r *deployment) provision(ctx context.Context, id string) error {
	before := r.state.Resources[id]
	used, err := r.consuming(r.template.Resources[id], before)
	if err != nil {
		return err
	}
	after, err := r.resolved(id)
	if err != nil {
		return err
	}
	after.Declared, after.Consumed = used.declared, used.values
	create := before == nil
	switch {
	case create:
	case before.Type != after.Type:
		return fmt.Errorf("it was a %s before; give the new one another name", before.Type)
	case before.Begun:
		after.Begun, after.Ref, after.Generation = true, before.Ref, before.Generation
	default:
		if create, err = replaced(before, after.Type, after.Properties); err != nil {
			return err
		}
		if !create {
			after.Ref, after.Generation, after.Attributes, after.CodeHash = before.Ref, before.Generation, before.Attributes, before.CodeHash
		}
	}
	r.changed = r.changed || create || before.Begun || !same(before.Properties, after.Properties)
	if create {
		if after.Adopt, err = r.adopts(&after); err != nil {
			return err
		}
		if after.Adopt { // what a rollback must not delete
			after.OnDelete = retain
		}
		begun := after
		begun.Begun = true
		if err := r.State.update(func() {
			if before != nil {
				r.discard(id)
			}
			begun.Generation = r.state.Generations[id]
			r.state.Generations[id]++
			r.state.Resources[id] = &begun
		}); err != nil {
			return err
		}
		after.Generation = begun.Generation
	}
	made, err := r.make(ctx, id, &after, before)
	if err != nil {
		return err
	}
	r.scope.Resources[id] = made.outcome()
	r.State.note(func() { r.state.Resources[id] = made })
	return nil
}

// resolved is a resource as the template declares it, with its functions resolved, before it is made.
func (r *deployment) resolved(id string) (ResourceState, error) {
	d := r.template.Resources[id]
	properties, err := r.scope.Resolve(orEmpty(d.Properties))
	if err != nil {
		return ResourceState{}, fmt.Errorf("properties: %w", err)
	}
	metadata, err := r.scope.Resolve(orEmpty(d.Metadata))
	if err != nil {
		return ResourceState{}, fmt.Errorf("metadata: %w", err)
	}
	needs, err := r.template.needs(r.scope, d)
	if err != nil {
		return ResourceState{}, err
	}
	if IsCustom(d.Type) {
		properties = stringified(properties)
	}
	onDelete, _ := d.DeletionPolicy.(string)
	onReplace, _ := d.UpdateReplacePolicy.(string)
	return ResourceState{
		Type: d.Type, Properties: properties.(map[string]any), Metadata: metadata.(map[string]any), Needs: needs,
		OnDelete: onDelete, OnReplace: onReplace,
	}, nil
}

// make has a resource made or brought to its properties. Want is what it is to be; before is what it was, or nil.
func (r *deployment) make(ctx context.Context, id string, want, before *ResourceState) (*ResourceState, error) {
	if IsCustom(want.Type) {
		return r.custom(ctx, id, want, before)
	}
	provider := r.providers[want.Type]
	if provider == nil {
		return nil, errors.New("no provider runs this type")
	}
	outcome, err := provider.Provision(r.resource(id, want))
	if err != nil {
		if outcome.Ref != "" { // it is there, but not as it should be
			there := *want
			there.Ref, there.Begun = outcome.Ref, true
			r.State.note(func() { r.state.Resources[id] = &there })
		}
		return nil, err
	}
	r.Log.Debug("Provisioned a resource", "stack", r.name, "resource", id, "type", want.Type, "id", outcome.Ref)
	made := *want
	made.Ref, made.Attributes, made.Begun = outcome.Ref, outcome.Attributes, false
	return &made, nil
}

// resource is what a provider is told of one.
func (r *deployment) resource(id string, s *ResourceState) resource.Resource {
	return resource.Resource{
		Stack: r.name, StackID: r.state.ID, LogicalID: id, Type: s.Type, Properties: s.Properties, Metadata: s.Metadata,
		PhysicalID: s.Ref, Generation: s.Generation, Begun: s.Begun, Import: s.Adopt,
	}
}

func orEmpty(m map[string]any) any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
