package admin

import (
	"slices"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// revoke has what was issued to somebody or something before the change end with it. The group is what may be revoked
// as a whole when too much is revoked one by one.
func (d *Desk) revoke(c Caller, set law, change *Change, ref, group identity.Ref) {
	o := revoked.Order{Ref: ref, Group: group}
	o.Until = change.Event.Time.Add(revoked.Life(o.List()))
	o.Reserve = set.May(subject(c), change.Resource.Kind, "delete", "/").Allowed
	change.Revoke = &o
	change.Event.Data["revoked"] = ref.Target + " " + ref.Value
}

// holders returns whose certificates have what a mapping or a record gives, and the group that they belong to; false when
// nobody's do. The group of a record is those of its scope, so that nobody pays for the records that others write.
func holders(r resource.Resource) (who, group identity.Ref, are bool) {
	switch spec := r.Spec.(type) {
	case *resource.UserSpec:
		gives := len(spec.Roles)+len(spec.Traits) > 0
		return identity.Record(spec.Mapping, r.Metadata.Name), identity.Records(r.Metadata.Scope), gives
	case *resource.MappingSpec:
		return identity.Ref{Target: "mapping", Value: r.Metadata.Name}, identity.Ref{}, true
	}
	return identity.Ref{}, identity.Ref{}, false
}

// downgrades reports whether an update takes something from those who hold it: a role, a trait's value, or everything, by
// admitting them in another way than before. What is only added waits for the next login.
func downgrades(was, now resource.Spec) bool {
	switch had := was.(type) {
	case *resource.UserSpec:
		has, ok := now.(*resource.UserSpec)
		return !ok || had.Mapping != has.Mapping || lacks(has.Roles, had.Roles) || loses(has.Traits, had.Traits)
	case *resource.MappingSpec:
		has, ok := now.(*resource.MappingSpec)
		return !ok || had.Match != has.Match || had.User != has.User || lacks(has.Roles, had.Roles) || loses(has.Traits, had.Traits)
	}
	return false
}

func loses(has, had map[string][]string) bool {
	for trait, values := range had {
		if lacks(has[trait], values) {
			return true
		}
	}
	return false
}

func lacks(has, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(has, w) })
}
