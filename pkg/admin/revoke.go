package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// slack is how much longer a revocation is kept than any certificate lives: for clocks that differ, and for what was
// being issued while the change was written.
const slack = time.Hour

// lives returns how long, at most, something lives that was issued to a target of a revocation.
var lives = map[string]time.Duration{"agent": certs.MaxHostLife, "user": certs.MaxUserLife, "mapping": certs.MaxUserLife}

// roomFor is how large the revocations in force may be, in bytes, to take one more of a target. Deleting nodes leaves room
// for users, and users for what is being written at the same time: if it were too much, nothing could be published.
var roomFor = map[string]int{
	"agent": document.MaxRevocations * 3 / 4, "user": document.MaxRevocations * 15 / 16, "mapping": document.MaxRevocations * 15 / 16,
}

// revoke has the certificates that were issued to the target before the change end with it.
func (d *Desk) revoke(c Caller, change *Change, target, value string) error {
	held, err := json.Marshal(c.State.Revocations)
	if err != nil {
		return fmt.Errorf("measuring the revocations: %w", err)
	}
	if len(held) > roomFor[target] {
		return fault.Newf(fault.TooLarge, "remove locks that are not needed, or try again later: revocations leave the list by themselves within a day or so",
			"the list of revocations has no room for %s %s", target, value)
	}
	now := change.Event.Time
	until := now.Add(lives[target] + slack)
	change.Revoke = &document.Lock{ID: identity.NewID("lck", d.config.Entropy, now), Target: target, Value: value, Expires: &until}
	change.Event.Data["revoked"] = target + " " + value
	return nil
}

// maxRoles is how large the policy in force and an added role may be together, in bytes. The rest is for what is
// being written at the same time: if it were too much, no role could be published any more.
const maxRoles = document.MaxPolicy * 15 / 16

// room refuses a role for which the policy has no room.
func room(c Caller, r resource.Resource) error {
	if _, ok := r.Role(); !ok {
		return nil
	}
	held, err := json.Marshal(c.State.Policy)
	if err != nil {
		return fmt.Errorf("measuring the policy: %w", err)
	}
	more, err := r.SpecJSON()
	if err != nil {
		return err
	}
	if len(held)+len(more) > maxRoles {
		return fault.Newf(fault.TooLarge, "delete roles that are not needed, or shorten them: stile get roles",
			"all roles together take %d KiB, and there is no room for %d more; %d KiB are allowed", len(held)>>10, len(more)>>10, maxRoles>>10)
	}
	return nil
}

// downgraded returns whose certificates lose something by an update: a role, a trait's value, or everything, by being admitted
// in another way than before. "" when nobody loses anything: what is only added waits for the next login.
func downgraded(was, now resource.Spec) (target string) {
	switch had := was.(type) {
	case *resource.UserSpec:
		has, ok := now.(*resource.UserSpec)
		if !ok || had.Mapping != has.Mapping || lacks(has.Roles, had.Roles) || loses(has.Traits, had.Traits) {
			return "user"
		}
	case *resource.MappingSpec:
		has, ok := now.(*resource.MappingSpec)
		if !ok || had.Match != has.Match || had.User != has.User || lacks(has.Roles, had.Roles) || loses(has.Traits, had.Traits) {
			return "mapping"
		}
	}
	return ""
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
