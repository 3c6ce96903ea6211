package resource

import (
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/identity"
)

// slack is how much longer than any certificate lives a revocation is kept: for clocks that differ, and for what was
// being issued while the change was written.
const slack = time.Hour

// lives says how long at most what was issued to a target of a revocation lives.
var lives = map[string]time.Duration{"agent": certs.MaxHostLife, "user": certs.MaxUserLife}

// revoke has the certificates end with the change that were issued to the target before it.
func (d *Desk) revoke(change *Change, target, value string) {
	now := change.Event.Time
	until := now.Add(lives[target] + slack)
	change.Revoke = &bundle.Lock{ID: identity.NewID("lck", d.config.Entropy, now), Target: target, Value: value, Expires: &until}
	change.Event.Data["revoked"] = target + " " + value
}

// downgrades reports whether an update takes something away from somebody: a role, a trait's value, or all, by coming
// through another mapping. What is only added waits for the next login.
func downgrades(was, now access.Spec) bool {
	had, ok := was.(*access.UserSpec)
	if !ok {
		return false
	}
	has, ok := now.(*access.UserSpec)
	if !ok || had.Mapping != has.Mapping || lacks(has.Roles, had.Roles) {
		return true
	}
	for trait, values := range had.Traits {
		if lacks(has.Traits[trait], values) {
			return true
		}
	}
	return false
}

func lacks(has, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(has, w) })
}
