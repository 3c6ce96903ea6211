package cmd

import (
	"context"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

// lookup is how long a command waits for the API when it can do without the answer; sessions work without.
const lookup = 3 * time.Second

// nodes asks the API what may be reached, and goes on without an answer that doesn't come at once. The proxies that
// it lists are kept.
func (s session) nodes(ctx context.Context) (wire.TargetList, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	list, err := s.client.ListTargets(ctx, names.KindNode)
	if err == nil {
		_ = s.profile.SetProxies(list.Proxies) // what was known before will do
	}
	return list, err
}

// find returns the node of that name, if it is among those that may be reached.
func find(list wire.TargetList, name string) (wire.Target, bool) {
	i := slices.IndexFunc(list.Targets, func(n wire.Target) bool { return n.Kind == names.KindNode && n.Name == name })
	if i < 0 {
		return wire.Target{}, false
	}
	return list.Targets[i], true
}

// unknown tells no more than stile ls does: a node that may not be reached looks like one that doesn't exist.
func unknown(node string) error {
	return fault.Newf(fault.NotFound, "run stile ls to see what you may reach; for another node, ask an administrator for a role",
		"there is no node %s that you may reach", node)
}

// missing tells a node that is offline from one that isn't there, since no proxy knows that. Without the API
// it leaves it at what the proxy said.
func (s session) missing(ctx context.Context, node string, err error) error {
	list, asked := s.nodes(ctx)
	if asked != nil {
		return err
	}
	switch n, ok := find(list, node); {
	case !ok:
		return unknown(node)
	case !n.Online:
		return fault.Newf(fault.Unreachable, "wait until stile ls shows it online; if it stays offline, check its agent", "node %s is offline", node).Because(err)
	default:
		return fault.Newf(fault.Unreachable, "try again in a few seconds", "node %s is online, but no proxy that can be reached from here has a tunnel to it", node).Because(err)
	}
}

// proxies returns the proxies known here, or else those that the API lists.
func (s session) proxies(ctx context.Context) ([]string, error) {
	if known := s.profile.Proxies(); len(known) > 0 {
		return known, nil
	}
	list, err := s.nodes(ctx)
	if len(list.Proxies) > 0 {
		return list.Proxies, nil
	}
	return nil, fault.New(fault.Unreachable, "no proxy is known on this machine", "log in again: stile login --iam").Because(err)
}
