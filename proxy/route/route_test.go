package route_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/route"
)

// session has as many streams as it says.
type session int

func (session) Open(context.Context, ...*tunnel.Account) (tunnel.Stream, error) { return nil, nil }
func (s session) Streams() int                                                  { return int(s) }
func (session) Close() error                                                    { return nil }

func agent(id string, targets ...string) identity.Host {
	h := identity.Host{ID: id}
	for _, s := range targets {
		t, err := identity.ParseTarget(s)
		if err != nil {
			panic(err)
		}
		h.Targets = append(h.Targets, t)
	}
	return h
}

func target(kind, name string) identity.Target { return identity.Target{Kind: kind, Name: name} }

func TestANodeAndADatabaseOfOneNameAreTwoThings(t *testing.T) {
	var table route.Table
	node := &route.Tunnel{Agent: agent("agt_1", "node/x"), Session: session(0)}
	db := &route.Tunnel{Agent: agent("agt_2", "db/x"), Session: session(0)}
	table.Add(node)
	removeDB := table.Add(db)
	for what, want := range map[identity.Target]*route.Tunnel{
		target("node", "x"): node, target("db", "x"): db, target("node", "agt_1"): node, target("db", "agt_2"): db,
		target("db", "agt_1"): nil, target("node", "agt_2"): nil, target("app", "x"): nil, target("node", "y"): nil, target("", "x"): nil,
	} {
		if got, ok := table.Find(what); got != want || ok != (want != nil) {
			t.Errorf("%s: %v", what, got)
		}
	}
	removeDB()
	removeDB()
	if _, ok := table.Find(target("db", "x")); ok {
		t.Error("what was removed is found")
	}
	if _, ok := table.Find(target("node", "x")); !ok {
		t.Error("the other was removed too")
	}
}

func TestTheNewestTunnelOfAnAgentAndTheLessBusyOfSeveralAreTaken(t *testing.T) {
	var table route.Table
	var changed []string
	table.Changed = func(id string) { changed = append(changed, id) }
	now := time.Now()
	old := &route.Tunnel{Agent: agent("agt_1", "node/x"), Session: session(0), Since: now}
	newer := &route.Tunnel{Agent: agent("agt_1", "node/x"), Session: session(9), Since: now.Add(time.Second)}
	table.Add(old)
	remove := table.Add(newer)
	if got, _ := table.Find(target("node", "x")); got != newer {
		t.Error("the old tunnel was taken")
	}
	idle := &route.Tunnel{Agent: agent("agt_2", "node/x"), Session: session(1), Since: now}
	table.Add(idle)
	for range 20 {
		if got, _ := table.Find(target("node", "x")); got != idle {
			t.Fatal("the busy one was taken")
		}
	}
	remove()
	if got, _ := table.Find(target("node", "agt_1")); got != old {
		t.Error("the agent's other tunnel is not found")
	}
	if !slices.Equal(changed, []string{"agt_1", "agt_1", "agt_2", "agt_1"}) || len(table.All()) != 2 {
		t.Errorf("%v, %d tunnels", changed, len(table.All()))
	}
}
