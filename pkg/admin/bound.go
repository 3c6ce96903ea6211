package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Every login reads all mappings and all roles, and every agent gets all roles, so there is only so much of both. Who
// doesn't administer a kind everywhere leaves the last tenth of it to those who do. The bounds hold however many write at
// once: what is counted here is read after the input counter, and a change is made only while that stays as it was. Only what
// DynamoDB doesn't show yet of a transaction whose counter it shows isn't counted: a bound can be passed by the few changes
// that are just being made. Bounds are for what is added: what was there before them is read, made smaller and deleted as ever.
const (
	// maxMappings is how many mappings there may be.
	maxMappings = 1000
	// maxMappingsOfScope is how many of them there may be at a scope directly below / and everywhere below that, before
	// somebody who doesn't administer all mappings may add no more.
	maxMappingsOfScope = 100
	// maxRecordsOfScope is the same for users' records, all of which a change of a mapping reads.
	maxRecordsOfScope = 1000
	// maxMapping and maxRecord are how large the bodies of a mapping and of a user's record may be, in bytes of JSON. What both
	// give has room in one identity, of [identity.MaxSize], beside its other fields: whoever writes one of them can't keep a
	// user out by making that too large.
	maxMapping = 1792
	maxRecord  = 1024
	// maxRolesOfScope is how large the roles at a scope directly below / and everywhere below that may be together, in bytes,
	// before somebody who doesn't administer all roles may add no more. Each change reads and publishes all roles.
	maxRolesOfScope = 512 << 10
	// maxRoles is how large all roles may be together, in bytes. The rest of the policy document is for what is in it beside
	// the roles that people write.
	maxRoles = document.MaxPolicy * 15 / 16
)

// delegated is what may be filled of a bound by those who don't administer the kind everywhere.
func delegated(most int) int { return most - most/10 }

// room refuses to add what there is no room for. There is no was for what is created.
func (d *Desk) room(ctx context.Context, c Caller, was *resource.Resource, now resource.Resource) error {
	switch now.Kind {
	case names.Role:
		return d.roomForRole(ctx, c, now)
	case names.Mapping:
		if err := fits(was, now, maxMapping); err != nil {
			return err
		}
		return d.roomForMapping(ctx, c, was, now)
	case names.User:
		if err := fits(was, now, maxRecord); err != nil {
			return err
		}
		return d.roomForRecord(ctx, c, was, now)
	}
	return nil
}

// fits refuses a body that is too large, unless it is no larger than the one that it replaces.
func fits(was *resource.Resource, now resource.Resource, most int) error {
	body, err := json.Marshal(now.Spec) // as in an identity, where < takes six bytes
	if err != nil || len(body) <= most {
		return err
	}
	if was != nil {
		if had, err := json.Marshal(was.Spec); err != nil || len(body) <= len(had) {
			return err
		}
	}
	return fault.Newf(fault.TooLarge, "remove roles and traits that its users don't need",
		"%s %s takes %d bytes, but %d are allowed: a certificate has no room for more", now.Kind, now.Metadata.Name, len(body), most)
}

// roomForMapping counts mappings.
func (d *Desk) roomForMapping(ctx context.Context, c Caller, was *resource.Resource, now resource.Resource) error {
	all := everywhere(c, now.Kind)
	if was != nil && (all || within(was, now)) {
		return nil // there are no more than before
	}
	stored, err := d.config.Store.Mappings(ctx)
	if err != nil {
		return err
	}
	most := maxMappings
	if !all {
		most = delegated(maxMappings)
	}
	if was == nil && len(stored) >= most {
		return fault.Newf(fault.TooLarge, "delete mappings that are not needed, or ask an administrator of / to: stile get iam_mappings",
			"there are %d iam_mappings in all, and you may add one only while there are fewer than %d", len(stored), most)
	}
	if all {
		return nil
	}
	var scopes []string
	for _, m := range stored {
		scopes = append(scopes, m.Metadata.Scope)
	}
	return roomAt(now, scopes, maxMappingsOfScope)
}

// roomForRecord counts users' records. Administrators of all users may have any number.
func (d *Desk) roomForRecord(ctx context.Context, c Caller, was *resource.Resource, now resource.Resource) error {
	if everywhere(c, now.Kind) || within(was, now) {
		return nil
	}
	stored, err := d.config.Store.List(ctx, names.User)
	if err != nil {
		return err
	}
	var scopes []string
	for _, r := range stored {
		scopes = append(scopes, r.Metadata.Scope)
	}
	return roomAt(now, scopes, maxRecordsOfScope)
}

// within reports whether a resource stays in its branch.
func within(was *resource.Resource, now resource.Resource) bool {
	return was != nil && branch(was.Metadata.Scope) == branch(now.Metadata.Scope)
}

// roomAt refuses one more resource in a branch that holds most of its kind. What is at / itself was given to people who may
// write there.
func roomAt(now resource.Resource, scopes []string, most int) error {
	top, in := branch(now.Metadata.Scope), 0
	if top == "/" {
		return nil
	}
	for _, scope := range scopes {
		if resource.Within(scope, top) {
			in++
		}
	}
	if in < most {
		return nil
	}
	return fault.Newf(fault.TooLarge, "delete some that are not needed, or ask an administrator of / to add it: stile get "+now.Kind+"s",
		"there are %d %ss at %s and below, and you may add one only while there are fewer than %d", in, now.Kind, top, most)
}

// branch returns the scope directly below / that a scope is at or below; / for itself. Scopes below it are made up freely, so
// each of them having its own room would be no bound.
func branch(scope string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(scope, "/"), "/")
	return "/" + first
}

// roomForRole measures all roles as they will be published, if it is larger than the one that it replaces.
func (d *Desk) roomForRole(ctx context.Context, c Caller, r resource.Resource) error {
	stored, err := d.config.Store.Roles(ctx)
	if err != nil {
		return err
	}
	role, _ := r.Role()
	more, err := published(role)
	if err != nil {
		return err
	}
	top := branch(r.Metadata.Scope)
	held, heldAt, had, hadAt := 0, 0, 0, 0
	for _, role := range stored {
		n, err := published(role)
		if err != nil {
			return err
		}
		at := 0
		if resource.Within(role.Metadata.Scope, top) {
			at = n
		}
		held, heldAt = held+n, heldAt+at
		if role.Metadata.Name == r.Metadata.Name {
			had, hadAt = n, at
		}
	}
	all := everywhere(c, r.Kind)
	if !all && top != "/" && more > hadAt && heldAt-hadAt+more > maxRolesOfScope {
		return fault.Newf(fault.TooLarge, "delete roles that are not needed, shorten them, or ask an administrator of / to add it: stile get roles",
			"the roles at %s and below take %d KiB, and there is no room for %d more bytes; you may fill %d KiB", top, heldAt>>10, more-hadAt, maxRolesOfScope>>10)
	}
	most := maxRoles
	if !all {
		most = delegated(maxRoles)
	}
	if more <= had || held-had+more <= most {
		return nil
	}
	return fault.Newf(fault.TooLarge, "delete roles that are not needed, or shorten them: stile get roles",
		"all roles together take %d KiB, and there is no room for %d more bytes; you may fill %d KiB", held>>10, more-had, most>>10)
}

// published returns how many bytes a role takes in the policy document.
func published(r resource.Role) (int, error) {
	r.Metadata.Revision = 0
	b, err := json.Marshal(r.Published())
	if err != nil {
		return 0, fmt.Errorf("measuring role %q: %w", r.Metadata.Name, err)
	}
	return len(b) + len(","), nil
}
