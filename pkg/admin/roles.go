package admin

import (
	"context"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// fewRoles is how many roles are read one by one before all are read at once: a change may concern a thousand of them in
// a thousand records.
const fewRoles = 8

// roles finds roles by their names, and reads none twice.
type roles struct {
	desk  *Desk
	found map[string]*resource.Role // nil for one that isn't there
	all   bool                      // found has all that there are
}

func (s *roles) find(ctx context.Context, name string) (resource.Role, bool, error) {
	r, known := s.found[name]
	if !known && !s.all {
		var err error
		if r, err = s.read(ctx, name); err != nil {
			return resource.Role{}, false, err
		}
	}
	if r == nil {
		return resource.Role{}, false, nil
	}
	return *r, true, nil
}

func (s *roles) read(ctx context.Context, name string) (*resource.Role, error) {
	if s.found == nil {
		s.found = map[string]*resource.Role{}
	}
	if len(s.found) < fewRoles {
		k, _ := resource.KindOf(names.Role)
		r, found, err := s.desk.find(ctx, k, name)
		if err != nil {
			return nil, err
		}
		s.found[name] = nil
		if role, ok := r.Role(); found && ok {
			s.found[name] = &role
		}
		return s.found[name], nil
	}
	stored, err := s.desk.config.Store.Roles(ctx)
	if err != nil {
		return nil, err
	}
	for i := range stored {
		s.found[stored[i].Metadata.Name] = &stored[i]
	}
	for _, r := range s.desk.builtin(names.Role) {
		if role, ok := r.Role(); ok {
			s.found[role.Metadata.Name] = &role
		}
	}
	s.all = true
	return s.found[name], nil
}
