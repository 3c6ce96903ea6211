// Package inventory says what somebody may reach and whether it is there: targets by name, with their labels,
// the logins allowed on each node, and the proxies that hold a tunnel to it.
//
// It lists, it doesn't decide about sessions: the agent does. Its entry point is [New].
package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/wire"
)

// Targets lists the targets of a kind whose names agents hold.
type Targets interface {
	List(ctx context.Context, kind string) ([]access.Resource, error)
}

// Presence is who is there at one moment.
type Presence struct {
	Proxies []string            // public addresses of the live proxies
	Agents  map[string][]string // by agent id: public addresses of the proxies that hold its tunnels
}

// Watch tells who is there.
type Watch interface {
	Presence(ctx context.Context, now time.Time) (Presence, error)
}

// Config is what the use case is given.
type Config struct {
	Targets Targets
	Watch   Watch
}

// Inventory lists. It may be used by several goroutines.
type Inventory struct{ config Config }

// New makes an inventory.
func New(c Config) *Inventory { return &Inventory{c} }

// List returns the targets of a kind that the policy in force lets the user reach, sorted by name; of nodes those
// where at least one login is allowed. An unknown kind is [fault.NotFound].
func (i *Inventory) List(ctx context.Context, user identity.User, kind string, state bundle.State, now time.Time) (wire.TargetList, error) {
	if !access.IsTargetKind(kind) {
		return wire.TargetList{}, fault.Newf(fault.NotFound, "run stile ls for the nodes", "there is no kind of target %.32q", kind)
	}
	held, err := i.config.Targets.List(ctx, kind)
	if err != nil {
		return wire.TargetList{}, err
	}
	there, err := i.config.Watch.Presence(ctx, now)
	if err != nil {
		return wire.TargetList{}, err
	}
	set, sub := state.Roles(), state.Subject(user, now)
	list := wire.TargetList{Targets: []wire.Target{}, Proxies: there.Proxies}
	for _, h := range held {
		spec, ok := h.Spec.(*access.TargetSpec)
		if !ok {
			return wire.TargetList{}, fmt.Errorf("listing targets: %s %q is none", kind, h.Metadata.Name)
		}
		target := policy.Target{Kind: kind, Name: h.Metadata.Name, Scope: h.Metadata.Scope, Labels: spec.Labels}
		if !set.Reaches(sub, target) {
			continue
		}
		list.Targets = append(list.Targets, entry(target, spec.Agent, set.Logins(sub, target), there.Agents[spec.Agent]))
	}
	slices.SortFunc(list.Targets, func(a, b wire.Target) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
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
