package clustertest

import "github.com/stile-dev/stile/pkg/resource"

// Roles returns stored resources, which must be roles, as a store returns roles.
func Roles(all []resource.Resource) (roles []resource.Role) {
	for _, r := range all {
		role, _ := r.Role()
		roles = append(roles, role)
	}
	return roles
}

// Mappings does the same for mappings.
func Mappings(all []resource.Resource) (mappings []resource.Mapping) {
	for _, r := range all {
		mappings = append(mappings, resource.Mapping{Metadata: r.Metadata, Spec: *r.Spec.(*resource.MappingSpec)})
	}
	return mappings
}
