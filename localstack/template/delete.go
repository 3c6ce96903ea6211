package template

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Delete deletes a stack: what it made, in reverse order, but for what its policies keep, which it returns. It refuses
// to while the stack is protected, or exports what another imports. A stack of which something can't be deleted stays,
// and Delete can be tried again. That there is no such stack is no error, as on AWS.
func (d *Deployer) Delete(ctx context.Context, name string) ([]Retained, error) {
	if d.State.Status(name) == "" {
		return nil, nil
	}
	run := d.open(name)
	if run.state.Protected {
		return nil, fmt.Errorf("stack %s cannot be deleted while termination protection is enabled", name)
	}
	for _, export := range sortedKeys(run.state.Exports) {
		if by := d.State.importer(export); by != "" && by != name {
			return nil, fmt.Errorf("export %s cannot be deleted as it is in use by %s", export, by)
		}
	}
	if err := d.State.update(run.condemn); err != nil {
		return nil, err
	}
	before := len(d.State.Retained)
	err := run.clean(ctx)
	kept := slices.Clone(d.State.Retained[before:])
	if ctx.Err() != nil {
		return kept, err
	}
	return kept, errors.Join(err, d.State.update(func() {
		if err != nil {
			run.state.Status = DeleteFailed
			return
		}
		delete(d.State.Stacks, name)
	}))
}

// Unprotect takes a stack's termination protection away until the next deployment.
func (d *Deployer) Unprotect(name string) error {
	return d.State.update(func() {
		if s := d.State.Stacks[name]; s != nil {
			s.Protected = false
		}
	})
}

// condemn has everything deleted that the stack has, and that an update had not finished with.
func (r *deployment) condemn() {
	s := r.state
	s.Gone = append(s.Gone, superseded(s.Before, s.Resources)...)
	for _, id := range slices.Backward(orderOf(s.Resources)) {
		s.Gone = append(s.Gone, Leaving{LogicalID: id, ResourceState: s.Resources[id]})
	}
	s.Resources, s.Before, s.Status = map[string]*ResourceState{}, nil, DeleteInProgress
}

// remove deletes one resource.
func (r *deployment) remove(ctx context.Context, l Leaving) error {
	if IsCustom(l.Type) {
		return r.deleteCustom(ctx, l)
	}
	if l.Ref == "" { // its creation failed, and left nothing
		return nil
	}
	provider := r.providers[l.Type]
	if provider == nil {
		return errors.New("no provider runs this type")
	}
	r.Log.Info("Deleting a resource", "stack", r.name, "resource", l.LogicalID, "id", l.Ref)
	return provider.Remove(r.resource(l.LogicalID, l.ResourceState))
}
