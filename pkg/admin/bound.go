package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
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
	// maxGrant is how large the body of a mapping or a user's record may be, in bytes: what they give goes into an
	// identity, and more has no room there.
	maxGrant = identity.MaxSize
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
		if err := fits(was, now); err != nil {
			return err
		}
		return d.roomForMapping(ctx, c, was, now)
	case names.User:
		return fits(was, now)
	}
	return nil
}

// fits refuses a body that is too large, unless it is smaller than the one that it replaces.
func fits(was *resource.Resource, now resource.Resource) error {
	body, err := now.SpecJSON()
	if err != nil || len(body) <= maxGrant {
		return err
	}
	if was != nil {
		if had, err := was.SpecJSON(); err != nil || len(body) < len(had) {
			return err
		}
	}
	return fault.Newf(fault.TooLarge, "remove roles and traits that its users don't need",
		"%s %s takes %d bytes, but %d are allowed: a certificate has no room for more", now.Kind, now.Metadata.Name, len(body), maxGrant)
}

// roomForMapping counts mappings.
func (d *Desk) roomForMapping(ctx context.Context, c Caller, was *resource.Resource, now resource.Resource) error {
	all := everywhere(c, now.Kind)
	top := branch(now.Metadata.Scope)
	if was != nil && (all || branch(was.Metadata.Scope) == top) {
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
	if all || top == "/" {
		return nil
	}
	in := 0
	for _, m := range stored {
		if resource.Within(m.Metadata.Scope, top) {
			in++
		}
	}
	if in >= maxMappingsOfScope {
		return fault.Newf(fault.TooLarge, "delete mappings that are not needed, or ask an administrator of / to add it: stile get iam_mappings",
			"there are %d iam_mappings at %s and below, and you may add one only while there are fewer than %d", in, top, maxMappingsOfScope)
	}
	return nil
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
	held, had := 0, 0
	for _, role := range stored {
		n, err := published(role)
		if err != nil {
			return err
		}
		held += n
		if role.Metadata.Name == r.Metadata.Name {
			had = n
		}
	}
	role, _ := r.Role()
	more, err := published(role)
	if err != nil {
		return err
	}
	most := maxRoles
	if !everywhere(c, r.Kind) {
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
	r.Metadata.Revision, r.Critical = 0, r.Limits()
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("measuring role %q: %w", r.Metadata.Name, err)
	}
	return len(b) + len(","), nil
}
