package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// rolesOf are the roles that a mapping or a user's record gives; none for other kinds.
func rolesOf(s resource.Spec) []string {
	switch spec := s.(type) {
	case *resource.MappingSpec:
		return spec.Roles
	case *resource.UserSpec:
		return spec.Roles
	}
	return nil
}

// unheld refuses to go on with a role that something gives, and names what does.
func (d *Desk) unheld(ctx context.Context, role string) error {
	var holders []string
	for _, kind := range []string{"iam_mapping", "user"} {
		all, err := d.config.Store.List(ctx, kind)
		if err != nil {
			return err
		}
		for _, r := range all {
			if slices.Contains(rolesOf(r.Spec), role) {
				holders = append(holders, kind+"/"+r.Metadata.Name)
			}
		}
	}
	if len(holders) == 0 {
		return nil
	}
	return fault.Newf(fault.Conflict, "remove the role from them first", "role %s is given by %s", role, summary(holders))
}

// unknownRoles warns of roles that a mapping or user's record gives and that don't exist: until they do, none of their
// users can log in. It is not a refusal, because a file may have the mapping before the role; a role that can't be looked
// up just now is not warned of.
func (d *Desk) unknownRoles(ctx context.Context, s resource.Spec) string {
	var missing []string
	stored := roles{desk: d}
	for _, role := range rolesOf(s) {
		if _, found, err := stored.find(ctx, role); err == nil && !found {
			missing = append(missing, role)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("there is no role %s yet: until it is created, nobody who is given it can log in", summary(missing))
}

// idle says that nobody gets what a user's record gives, or that another mapping is in a mapping's way; "" for all
// else. As with roles it is not a refusal, and what can't be looked up just now is not warned of.
func (d *Desk) idle(ctx context.Context, r resource.Resource) string {
	stored, err := d.config.Store.List(ctx, names.Mapping)
	if err != nil {
		return ""
	}
	mappings := append(d.builtin(names.Mapping), stored...)
	switch spec := r.Spec.(type) {
	case *resource.UserSpec:
		if !slices.ContainsFunc(mappings, func(m resource.Resource) bool { return m.Metadata.Name == spec.Mapping }) {
			return fmt.Sprintf("there is no iam_mapping %s yet: until it is created, nobody gets what the record adds", spec.Mapping)
		}
	case *resource.MappingSpec:
		var others []string
		for _, m := range mappings {
			if other, ok := m.Spec.(*resource.MappingSpec); ok && m.Metadata.Name != r.Metadata.Name && other.Match.Overlaps(spec.Match) {
				others = append(others, m.Metadata.Name)
			}
		}
		if slices.Sort(others); len(others) > 0 {
			return fmt.Sprintf("iam_mapping %s can match the same identities: an identity that two mappings match can't log in", summary(others))
		}
	}
	return ""
}

// summary lists a few names and says how many more there are.
func summary(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
