package document

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// How long a silent feed is trusted.
const (
	DefaultMaxPolicyAge = 24 * time.Hour
	FreshMaxPolicyAge   = 5 * time.Minute // for roles marked fresh
)

// Subject is something that a lock or revocation can name: an [identity.User] or [identity.Host].
type Subject interface {
	Refs() []identity.Ref
	IssuedWith() identity.Versions
	Population() string           // the list of revocations that it is judged by
	Again(by identity.Ref) string // how the subject gets another certificate when by ended its own, for a hint
}

// Revoked returns a list of what was revoked; empty when it isn't kept.
func (s State) Revoked(list string) revoked.Set { return s.lists[list] }

// Versions returns the documents' versions.
func (s State) Versions() identity.Versions {
	return identity.Versions{Trust: s.Trust.Version, Policy: s.Policy.Version, Revocations: s.Revocations.Version}
}

// ClockFloor returns the newest time that a document states: no true clock is earlier.
func (s State) ClockFloor() time.Time {
	return slices.MaxFunc([]time.Time{s.Trust.IssuedAt, s.Policy.IssuedAt, s.Revocations.IssuedAt}, time.Time.Compare)
}

// Now returns now, corrected if the clock is behind the documents.
func (s State) Now(now time.Time) time.Time {
	if floor := s.ClockFloor(); now.Before(floor) {
		return floor
	}
	return now
}

// Use is what somebody is about to do, as far as standing depends on it.
type Use struct {
	Now   time.Time
	Fresh bool           // one of the roles demands documents of the last minutes
	Also  []identity.Ref // what a lock can name beside the subject: a login, a target, a session
}

// ErrBehind is in the chain of a refusal that newer documents, which are on their way, would lift.
var ErrBehind = errors.New("the documents here are out of date")

// Standing reports whether a subject whose certificate was verified may act: no lock names it or what it uses, nothing
// revoked it, and these documents may judge it. It is asked wherever somebody is judged, and has one answer: locked is
// [fault.Denied], revoked [fault.Unauthenticated], documents that are missing, behind or silent [fault.Unavailable].
func (s State) Standing(who Subject, u Use) error {
	if l, locked := s.locked(append(who.Refs(), u.Also...), u.Now); locked {
		reason := ""
		if l.Reason != "" {
			reason = ": " + l.Reason
		}
		f := fault.Newf(fault.Denied, "ask an administrator about lock "+l.ID, "locked: %s %s%s", l.Target, l.Value, reason)
		f.RetryAfter = onlyPeople
		return f
	}
	list, kept := s.lists[who.Population()]
	if by, is := revokedBy(list, who.Refs(), who.IssuedWith()); is {
		return Revoked(who, by)
	}
	if err := s.judge(u.Now, who.IssuedWith(), u.Fresh); err != nil || kept {
		return err
	}
	return fault.Newf(fault.Internal, "ask a proxy or the API, which keep all lists", "this program does not keep the list of revoked %s", who.Population())
}

// onlyPeople is how long to wait before trying again what only a person can change.
const onlyPeople = time.Minute

// unread returns the first thing that a document calls critical and that is not known here, and whether there is one.
func (s State) unread() (kind Kind, path string, is bool) {
	if path, lacks := s.Trust.lacks(Trust{}); lacks {
		return KindTrust, path, true
	}
	if path, lacks := s.Policy.lacks(Policy{}); lacks {
		return KindPolicy, path, true
	}
	path, is = s.Revocations.lacks(Revocations{})
	return KindRevocations, path, is
}

// judge reports whether these documents may judge a certificate that was issued with the given versions: all three are
// here, none is older than at issue or than the newest one known, and the feed has not been silent for longer than
// the policy's max_policy_age, five minutes where a role is marked fresh.
func (s State) judge(now time.Time, versions identity.Versions, fresh bool) error {
	if s.Trust.IssuedAt.IsZero() || s.Policy.IssuedAt.IsZero() || s.Revocations.IssuedAt.IsZero() {
		return unavailable("the documents needed to decide have not all arrived here yet").Because(ErrBehind)
	}
	for _, need := range []struct {
		kind       Kind
		have, want identity.Version
	}{
		{KindTrust, s.Trust.Version, versions.Trust},
		{KindPolicy, s.Policy.Version, versions.Policy},
		{KindRevocations, s.Revocations.Version, versions.Revocations},
		{KindTrust, s.Trust.Version, s.Revocations.Trust},
		{KindPolicy, s.Policy.Version, s.Revocations.Policy},
	} {
		if need.have.Less(need.want) {
			return unavailable("the %s document here is %d.%d; %d.%d is needed to decide",
				need.kind, need.have.Epoch, need.have.Counter, need.want.Epoch, need.want.Counter).Because(ErrBehind)
		}
	}
	if kind, path, is := s.unread(); is {
		return fault.Newf(fault.Unavailable, "update this program: the cluster runs a newer release",
			"the %s document says something critical that is not known here: %.64q", kind, path)
	}
	age, limit := s.Now(now).Sub(s.Revocations.IssuedAt), s.maxAge(fresh)
	if age > limit {
		// The stamp is renewed once a minute, so it takes so long at most to be heard again.
		return fault.Newf(fault.Unavailable, "try again within a minute; if it keeps happening, tell an administrator that the agent or proxy is cut off from the control plane",
			"nothing has been heard from the control plane for %s; new sessions are refused after %s", age.Truncate(time.Second), limit)
	}
	return nil
}

func (s State) maxAge(fresh bool) time.Duration {
	limit := time.Duration(s.Policy.MaxPolicyAge)
	if limit <= 0 {
		limit = DefaultMaxPolicyAge
	}
	if fresh {
		limit = min(limit, FreshMaxPolicyAge)
	}
	return limit
}

func unavailable(format string, args ...any) *fault.Fault {
	f := fault.Newf(fault.Unavailable, "try again in a few seconds; if it keeps happening, tell an administrator that the agent or proxy is cut off from the control plane", format, args...)
	f.RetryAfter = 2 * time.Second
	return f
}

// locked returns the first lock in force that names one of refs.
func (s State) locked(refs []identity.Ref, now time.Time) (Lock, bool) {
	now = s.Now(now)
	for _, l := range s.Revocations.Locks {
		if l.Expires != nil && !now.Before(*l.Expires) {
			continue
		}
		if slices.Contains(refs, identity.Ref{Target: l.Target, Value: l.Value}) {
			return l, true
		}
	}
	return Lock{}, false
}

// Revoked is the refusal of a subject whose certificate was revoked by what it names.
func Revoked(who Subject, by identity.Ref) *fault.Fault {
	f := fault.Newf(fault.Unauthenticated, who.Again(by), "the certificate was revoked: %s %s was changed or deleted since it was issued", by.Target, by.Value)
	switch by.Target {
	case identity.RefEverybody:
		f.Message = "the certificate was revoked, as are all that were issued before: there was no way to revoke fewer"
	case "agent":
		f.Message = "the certificate was revoked: agent " + by.Value + " was removed since it was issued"
	case "token": // which is also revoked in place of its agents, when their list is full
		f.Message = "the certificate was revoked: token " + by.Value + " was deleted since it was issued, or too many of its agents were removed to list each"
	}
	f.RetryAfter = onlyPeople
	return f
}

// revokedBy returns what refuses, by a list, what was issued to one of refs with these versions.
func revokedBy(list revoked.Set, refs []identity.Ref, issued identity.Versions) (identity.Ref, bool) {
	for _, r := range refs {
		if k, ok := revoked.KeyOf(r); ok && issued.Revocations.Less(list.Before(k)) {
			return r, true
		}
	}
	return identity.Ref{}, false
}

// Grants lists a user's grants in force: not over, and neither locked nor revoked by their request or a role.
func (s State) Grants(u identity.User, now time.Time) []identity.Grant {
	now = s.Now(now)
	return slices.DeleteFunc(slices.Clone(u.Grants), func(g identity.Grant) bool {
		_, locked := s.locked(g.Refs(), now)
		_, is := revokedBy(s.lists[u.Population()], g.Refs(), u.Versions)
		return locked || is || !now.Before(g.Until)
	})
}

// Subject returns the subject of a decision: the user with the grants in force.
func (s State) Subject(u identity.User, now time.Time) policy.Subject {
	return policy.Of(u, s.Grants(u, now), s.Now(now))
}

// Roles returns the roles of the policy document, compiled.
func (s State) Roles() *policy.Set {
	if s.roles == nil {
		return policy.Compile(s.Policy.Roles)
	}
	return s.roles
}

// Record is how sessions are recorded where no role says it: the cluster's setting. One that this release doesn't know is strict.
func (s State) Record() string {
	if s.Policy.Record == "" {
		return resource.RecordBestEffort
	}
	return resource.Strictest(s.Policy.Record, resource.RecordOff)
}

// Feed is documents in force that newer ones replace.
type Feed interface {
	State() State
	Arrived() <-chan struct{} // closed when newer documents are in force
}

// Await asks about the documents in force and, while they are merely behind, asks again as newer ones arrive, until the
// context ends: somebody who has just logged in may be faster than the feed. It returns the state that answered last.
func Await(ctx context.Context, f Feed, ask func(State) error) (State, error) {
	for {
		arrived := f.Arrived() // before the state, so that no arrival is missed
		s := f.State()
		err := ask(s)
		if !errors.Is(err, ErrBehind) {
			return s, err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return s, err
		}
	}
}
