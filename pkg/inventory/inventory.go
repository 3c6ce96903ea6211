// Package inventory says what somebody may reach and whether it is there: targets by name, with their labels,
// the logins allowed on each node, and the proxies that hold a tunnel to it.
//
// It only lists; the agent decides about sessions. Its entry point is [New].
package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// Targets lists the targets of a kind whose names agents hold: those after a name, sorted by name and at most limit, or
// all with a limit of 0; more says whether others may follow.
type Targets interface {
	Page(ctx context.Context, kind, after string, limit int) (all []resource.Resource, more bool, err error)
}

// Presence is who is there at one moment.
type Presence struct {
	Proxies []string            // public addresses of the live proxies
	Agents  map[string][]string // by agent id: public addresses of the proxies that hold its tunnels
}

// Watch returns who is there.
type Watch interface {
	Presence(ctx context.Context, now time.Time) (Presence, error)
}

// Config is what the use case needs.
type Config struct {
	Targets Targets
	Watch   Watch
}

// Inventory lists. It may be used by several goroutines.
type Inventory struct{ config Config }

// New makes an inventory.
func New(c Config) *Inventory { return &Inventory{c} }

// Query is a question to an inventory.
type Query struct {
	User  identity.User
	Kind  string
	State document.State
	Now   time.Time
	After string // a name; what comes after it is listed
	Limit int    // at least how many targets to look at; 0 is all
}

// List returns the targets of a kind that the policy in force lets the user reach, sorted by name; for nodes, those
// where at least one login is allowed. Next is the name to continue after; "" when that was the end. An unknown kind is
// [fault.NotFound].
func (i *Inventory) List(ctx context.Context, q Query) (list wire.TargetList, next string, err error) {
	if !resource.IsTargetKind(q.Kind) {
		return wire.TargetList{}, "", fault.Newf(fault.NotFound, "run stile ls to list the nodes", "there is no kind of target %.32q", q.Kind)
	}
	there, err := i.config.Watch.Presence(ctx, q.Now)
	if err != nil {
		return wire.TargetList{}, "", err
	}
	list = wire.TargetList{Targets: []wire.Target{}, Proxies: there.Proxies}
	set, sub := q.State.Roles(), q.State.Subject(q.User, q.Now)
	reached, next, err := resource.Shown(q.After, q.Limit, func(after string, limit int) ([]resource.Resource, bool, error) {
		return i.config.Targets.Page(ctx, q.Kind, after, limit)
	}, func(r resource.Resource) (wire.Target, bool, error) {
		spec, ok := r.Spec.(*resource.TargetSpec)
		if !ok {
			return wire.Target{}, false, fmt.Errorf("listing targets: %s %q is not a target", q.Kind, r.Metadata.Name)
		}
		target := policy.Target{Kind: q.Kind, Name: r.Metadata.Name, Scope: r.Metadata.Scope, Labels: spec.Labels}
		if !set.Reaches(sub, target) {
			return wire.Target{}, false, nil
		}
		return entry(target, spec.Agent, set.Logins(sub, target), there.Agents[spec.Agent]), true, nil
	})
	if err != nil {
		return wire.TargetList{}, "", err
	}
	list.Targets = append(list.Targets, reached...)
	slices.SortFunc(list.Targets, func(a, b wire.Target) int { return strings.Compare(a.Name, b.Name) })
	return list, next, nil
}

func entry(t policy.Target, agent string, logins, proxies []string) wire.Target {
	labels := t.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return wire.Target{
		Kind: t.Kind, Name: t.Name, Labels: labels, Agent: agent, Online: len(proxies) > 0, Logins: logins, Proxies: proxies,
	}
}
