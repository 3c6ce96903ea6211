package iam

import (
	"maps"
	"slices"
	"time"
)

// effective is what a role's policies are worth at that time: new ones take a while.
func (r *roleEntry) effective(now time.Time) policies {
	own := r.policies
	if now.Before(r.until) {
		own.inline = r.earlier
	}
	return own
}

// PutRoleSlowly is [Authority.PutRole], after which new or changed inline policies take effect only when they have
// settled. That is how a role of a template is made.
func (a *Authority) PutRoleSlowly(r Role) (Role, error) {
	a.mu.RLock()
	now := a.now()
	before := a.roles[a.owner(r.Name)]
	var earlier []*Policy
	if before != nil {
		earlier = before.effective(now).inline
	}
	a.mu.RUnlock()
	made, err := a.PutRole(r)
	if err != nil {
		return made, err
	}
	until := now.Add(a.config.Settle)
	if before != nil && maps.EqualFunc(before.Inline, made.Inline, sameInline) {
		until = before.until
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry := a.roles[a.owner(made.ARN)]; entry != nil {
		entry.earlier, entry.until = earlier, until
	}
	return made, nil
}

func sameInline(a, b Inline) bool { return slices.Equal(a.Document, b.Document) }

// Unsettled returns how long it takes until a role's policies take effect; 0 if they do.
func (a *Authority) Unsettled(nameOrARN string) time.Duration {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if r := a.roles[a.owner(nameOrARN)]; r != nil {
		return max(0, r.until.Sub(a.now()))
	}
	return 0
}
