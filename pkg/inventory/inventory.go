// Package inventory says what somebody may reach and whether it is there: nodes by name, with their labels,
// the logins allowed on each, and the proxies that hold a tunnel to it.
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
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/wire"
)

// Nodes gives the nodes that agents hold the names of.
type Nodes interface {
	Nodes(context.Context) ([]Node, error)
}

// Node is a node as the tables know it.
type Node struct {
	Name  string
	Scope string
	Spec  access.NodeSpec
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
	Nodes Nodes
	Watch Watch
}

// Inventory lists. It may be used by several goroutines.
type Inventory struct{ config Config }

// New makes an inventory.
func New(c Config) *Inventory { return &Inventory{c} }

// List gives the nodes on which the policy in force lets the user use at least one login, sorted by name.
func (i *Inventory) List(ctx context.Context, user identity.User, in bundle.Policy, now time.Time) (wire.NodeList, error) {
	set, err := policy.Compile(in.Roles)
	if err != nil {
		return wire.NodeList{}, fmt.Errorf("compiling the policy in force: %w", err)
	}
	nodes, err := i.config.Nodes.Nodes(ctx)
	if err != nil {
		return wire.NodeList{}, err
	}
	there, err := i.config.Watch.Presence(ctx, now)
	if err != nil {
		return wire.NodeList{}, err
	}
	sub := policy.Subject{Roles: user.Roles, Traits: user.Traits, Resources: user.Resources}
	list := wire.NodeList{Nodes: []wire.Node{}, Proxies: there.Proxies}
	for _, n := range nodes {
		logins := set.Logins(sub, policy.Node{Name: n.Name, Scope: n.Scope, Labels: n.Spec.Labels})
		if len(logins) == 0 {
			continue
		}
		list.Nodes = append(list.Nodes, entry(n, logins, there.Agents[n.Spec.Agent]))
	}
	slices.SortFunc(list.Nodes, func(a, b wire.Node) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func entry(n Node, logins, proxies []string) wire.Node {
	labels := n.Spec.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return wire.Node{
		Kind: "node", Name: n.Name, Labels: labels, Agent: n.Spec.Agent, Online: len(proxies) > 0, Logins: logins, Proxies: proxies,
	}
}
