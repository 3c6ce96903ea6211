package bundle

import (
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// How long a silent feed is believed.
const (
	DefaultMaxPolicyAge = 24 * time.Hour
	FreshMaxPolicyAge   = 5 * time.Minute // for roles marked fresh
)

// Subject is somebody whom a lock or revocation can name: [identity.User] or [identity.Host].
type Subject interface {
	Refs() []identity.Ref
	IssuedWith() identity.Versions
}

// Versions gives the documents' versions.
func (s State) Versions() identity.Versions {
	return identity.Versions{Trust: s.Trust.Version, Policy: s.Policy.Version, Revocations: s.Revocations.Version}
}

// ClockFloor gives the newest time that a document states: no true clock is earlier.
func (s State) ClockFloor() time.Time {
	return slices.MaxFunc([]time.Time{s.Trust.IssuedAt, s.Policy.IssuedAt, s.Revocations.IssuedAt}, time.Time.Compare)
}

// Now corrects a clock that is behind the documents.
func (s State) Now(now time.Time) time.Time {
	if floor := s.ClockFloor(); now.Before(floor) {
		return floor
	}
	return now
}

// Judge says whether these documents may judge a certificate that was issued with the given versions: all
// three are here, none is older than at issue or than the newest one known of, and the feed has not been
// silent for longer than the policy's max_policy_age, five minutes where a role is marked fresh. A refusal is
// [fault.Unavailable].
func (s State) Judge(now time.Time, versions identity.Versions, fresh bool) error {
	if s.Trust.IssuedAt.IsZero() || s.Policy.IssuedAt.IsZero() || s.Revocations.IssuedAt.IsZero() {
		return unavailable("the documents to decide from have not all arrived here yet")
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
				need.kind, need.have.Epoch, need.have.Counter, need.want.Epoch, need.want.Counter)
		}
	}
	age, limit := s.Now(now).Sub(s.Revocations.IssuedAt), s.maxAge(fresh)
	if age > limit {
		return unavailable("nothing was heard from the control plane for %s; new sessions are refused after %s",
			age.Truncate(time.Second), limit)
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

func unavailable(format string, args ...any) error {
	f := fault.Newf(fault.Unavailable, "try again in a few seconds; if it stays, the agent or proxy is cut off from the control plane: ask an administrator", format, args...)
	f.RetryAfter = 2 * time.Second
	return f
}

// Locked gives the first lock in force that names the subject, or one of the further things it is about to use
// (a login, a resource, a session).
func (s State) Locked(who Subject, now time.Time, also ...identity.Ref) (Lock, bool) {
	now = s.Now(now)
	refs := append(who.Refs(), also...)
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

// Revoked gives the entry that refuses the subject's certificate, issued before the entry's policy version.
func (s State) Revoked(who Subject) (Before, bool) {
	refs, issued := who.Refs(), who.IssuedWith().Policy
	for _, b := range s.Revocations.Before {
		if issued.Less(b.Version) && slices.Contains(refs, identity.Ref{Target: b.Target, Value: b.Value}) {
			return b, true
		}
	}
	return Before{}, false
}
