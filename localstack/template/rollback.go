package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// fail rolls back a deployment that could not go on, and returns its cause with what became of the stack.
func (r *deployment) fail(ctx context.Context, cause error) error {
	r.Log.Warn("Rolling back", "stack", r.name, "cause", cause)
	if err := r.rollBack(ctx); err != nil {
		return fmt.Errorf("%w; the stack is in %s: %w", cause, r.state.Status, err)
	}
	return fmt.Errorf("%w; the stack is in %s", cause, r.state.Status)
}

// rollBack brings the stack to what it was before: it hands what it had to the providers again, and deletes what is new.
func (r *deployment) rollBack(ctx context.Context) error {
	creating := r.state.Status == CreateInProgress
	status := UpdateRollbackInProgress
	if creating {
		status = RollbackInProgress
	}
	if err := r.State.update(func() { r.state.Status = status }); err != nil {
		return err
	}
	for _, id := range orderOf(r.state.Before) {
		if err := r.restore(ctx, id); err != nil {
			err = fmt.Errorf("rolling back %s (%s): %w", id, r.state.Before[id].Type, err)
			return errors.Join(err, r.State.update(func() { r.state.Status = UpdateRollbackFailed }))
		}
	}
	if err := r.State.update(r.retreat); err != nil {
		return err
	}
	err := r.clean(ctx)
	switch {
	case ctx.Err() != nil:
		return err
	case !creating:
		r.logged(err)
		err, status = nil, UpdateRollbackComplete
	case err != nil:
		status = RollbackFailed
	default:
		status = RollbackComplete
	}
	return errors.Join(err, r.State.update(func() { r.state.Status = status }))
}

// restore hands a resource that the stack had before to its provider again. One that was replaced is still there.
func (r *deployment) restore(ctx context.Context, id string) error {
	old := r.state.Before[id]
	from := r.state.Resources[id]
	if from == nil || !IsCustom(old.Type) {
		from = old
	}
	made, err := r.make(ctx, id, old, from)
	if err != nil {
		return err
	}
	r.State.note(func() { r.state.Before[id] = made })
	return nil
}

// retreat makes what the stack had before what it has, and what is new, or stands in its place, what is to be deleted.
// The state's lock is held.
func (r *deployment) retreat() {
	s := r.state
	for _, id := range slices.Backward(orderOf(s.Resources)) {
		if old := s.Before[id]; old == nil || !identical(old, s.Resources[id]) {
			s.Gone = append(s.Gone, Leaving{LogicalID: id, Undone: true, ResourceState: s.Resources[id]})
		}
	}
	s.Resources, s.Before = maps.Clone(s.Before), nil
	if s.Resources == nil {
		s.Resources = map[string]*ResourceState{}
	}
}

// clean deletes what is to be deleted, or leaves it behind if its policy says so. What can't be deleted stays among
// what is to be deleted, and so does what that needs.
func (r *deployment) clean(ctx context.Context) error {
	needed := map[string]bool{}
	var stay []Leaving
	var faults []error
	for _, l := range r.state.Gone {
		if ctx.Err() != nil {
			return ctx.Err() // the next run goes on
		}
		if l.keeps() {
			r.State.note(func() { r.State.Retained = append(r.State.Retained, Retained{r.name, l.LogicalID, l.Type, l.Ref}) })
			continue
		}
		if !needed[l.LogicalID] {
			err := r.remove(ctx, l)
			if err == nil {
				continue
			}
			faults = append(faults, fmt.Errorf("deleting %s (%s): %w", l.LogicalID, l.Type, err))
		}
		for _, need := range l.Needs {
			needed[need] = true
		}
		l.Undone = false // whoever deletes the stack later doesn't roll it back
		stay = append(stay, l)
	}
	return errors.Join(append(faults, r.State.update(func() { r.state.Gone = stay }))...)
}
