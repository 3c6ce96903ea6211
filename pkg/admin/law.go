package admin

import (
	"context"
	"slices"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// law is what a caller is judged by: the policy in force and, for a change, the caller's own roles as they are stored. What
// either denies is denied. A role that was narrowed a moment ago gives nothing more, though it is not published yet, and
// one that was widened gives nothing before it is.
type law []*policy.Set

func (l law) all(decide func(*policy.Set) policy.Decision) (d policy.Decision) {
	for _, set := range l {
		if d = decide(set); !d.Allowed {
			return d
		}
	}
	return d
}

func (l law) May(sub policy.Subject, kind, verb, scope string) policy.Decision {
	return l.all(func(s *policy.Set) policy.Decision { return s.May(sub, kind, verb, scope) })
}

func (l law) MaySomewhere(sub policy.Subject, kind, verb string) bool {
	return !slices.ContainsFunc(l, func(s *policy.Set) bool { return !s.MaySomewhere(sub, kind, verb) })
}

func (l law) Administers(sub policy.Subject, r resource.Role) policy.Decision {
	return l.all(func(s *policy.Set) policy.Decision { return s.Administers(sub, r) })
}

func (l law) Frees(sub policy.Subject, r resource.Role) policy.Decision {
	return l.all(func(s *policy.Set) policy.Decision { return s.Frees(sub, r) })
}

func (l law) Gives(sub policy.Subject, r resource.Role) policy.Decision {
	return l.all(func(s *policy.Set) policy.Decision { return s.Gives(sub, r) })
}

func (l law) Rewrites(sub policy.Subject, was, now resource.Role) policy.Decision {
	return l.all(func(s *policy.Set) policy.Decision { return s.Rewrites(sub, was, now) })
}

// law returns what the caller is judged by.
func (c Caller) law() law {
	l := law{c.State.Roles()}
	if c.stored != nil {
		l = append(l, c.stored)
	}
	return l
}

// bind has the caller judged by their own roles as well, as they are after each change that was counted before. A change that
// is then made only while nothing else changed is made under these.
func (d *Desk) bind(ctx context.Context, c Caller) (Caller, error) {
	k, _ := resource.KindOf(names.Role)
	own := slices.Clone(c.User.Roles)
	for _, g := range c.User.Grants {
		own = append(own, g.Roles...)
	}
	slices.Sort(own)
	own = slices.DeleteFunc(slices.Compact(own), func(name string) bool { return !k.ValidName(name) })
	presets := slices.DeleteFunc(resource.Presets(), func(r resource.Role) bool { return !slices.Contains(own, r.Metadata.Name) })
	if own = slices.DeleteFunc(own, k.Reserved); len(own) == 0 {
		return c, nil // presets never change
	}
	stored, err := d.config.Store.Held(ctx, own)
	if err != nil {
		return Caller{}, err
	}
	c.stored = policy.Compile(append(presets, stored...))
	return c, nil
}
