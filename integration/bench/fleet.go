package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// fleet is many agents in this process, each with a certificate and a tunnel of its own. They serve nothing.
type fleet struct {
	agents  []*stand.Agent
	mu      sync.Mutex
	tunnels []tunnel.Session
	live    atomic.Int64
}

// join enrols agents with a token's secret, as servers outside of AWS do.
func join(ctx context.Context, s *system, many int) (*fleet, error) {
	secret, err := s.admin.Secret(ctx, "bench", "bench-*", many)
	if err != nil {
		return nil, err
	}
	api, err := s.engineer.API(client.Config{})
	if err != nil {
		return nil, err
	}
	f, documents := &fleet{agents: make([]*stand.Agent, many)}, document.NewHolder("", "")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range many {
		group.Go(func() (err error) {
			f.agents[i], err = stand.Join(ctx, api, "bench", secret, fmt.Sprintf("bench-%d", i), documents)
			return err
		})
	}
	return f, group.Wait()
}

// connect opens a tunnel for each agent and returns when all are registered.
func (f *fleet) connect(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, a := range f.agents {
		group.Go(func() error { return f.open(ctx, a) })
	}
	return group.Wait()
}

func (f *fleet) open(ctx context.Context, a *stand.Agent) error {
	f.live.Add(1)
	session, err := a.Open(ctx, func() { f.live.Add(-1) })
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tunnels = append(f.tunnels, session)
	return nil
}

// alive counts the tunnels that stand.
func (f *fleet) alive() int { return int(f.live.Load()) }

func (f *fleet) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tunnels {
		_ = t.Close()
	}
}
