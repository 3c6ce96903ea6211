package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/names"
)

const (
	acts       = 200                    // sessions that are awaited in the list
	actEvery   = 300 * time.Millisecond // between two of them on average, so that they don't go in step with who asks
	actLimit   = time.Minute            // for the last of them to be listed
	delivering = 10 * time.Second       // how long an agent delivers as fast as it can
	delivered  = 40                     // events in one of its batches
)

// evidence is how fast an agent's events reach the ledger, and how soon what was done is listed.
func evidence(ctx context.Context, s *system) ([]row, error) {
	rate, err := sustained(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("delivering events: %w", err)
	}
	took, err := listedAfter(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("following events: %w", err)
	}
	return []row{
		{what: "events of one agent into the ledger", unit: "/s", stile: sample{rate}, more: true},
		{what: "from an act to its line in audit ls --follow, p50", unit: "ms", stile: sample{took.quantile(0.5)}},
		{what: "from an act to its line in audit ls --follow, p99", unit: "ms", stile: sample{took.quantile(0.99)}, budget: 2000},
	}, nil
}

// sustained is how many events a second the ledger acknowledges to one agent, which hands over a batch at a time as agents do.
func sustained(ctx context.Context, s *system) (float64, error) {
	const name = "bench-events"
	secret, err := s.admin.Secret(ctx, name, name, 1)
	if err != nil {
		return 0, err
	}
	api, err := s.engineer.API(client.Config{})
	if err != nil {
		return 0, err
	}
	a, err := stand.Join(ctx, api, name, secret, name, document.NewHolder("", ""))
	if err != nil {
		return 0, err
	}
	session, err := a.Open(ctx, func() {})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	reports, err := stand.OpenReports(ctx, session)
	if err != nil {
		return 0, err
	}
	began, seq := time.Now(), uint64(0)
	for batch := uint64(1); time.Since(began) < delivering; batch++ {
		var events []audit.Event
		for range delivered {
			seq++
			e := audit.New(audit.SessionStart, rand.Reader, time.Now())
			e.Actor, e.TargetKind, e.Target, e.SessionID = "user/bench", names.KindNode, name, "ses_"+e.ID
			e.Data = map[string]string{"certificate": "crt_bench", "login": "bench", "command": "true"}
			a.Report(&e, "bench", seq)
			events = append(events, e)
		}
		signed, err := a.Sign(batch, events...)
		if err == nil {
			err = reports.Deliver(signed)
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(seq) / time.Since(began).Seconds(), nil
}

// listedAfter is how many milliseconds pass from asking for a session until whoever follows the list has its line.
func listedAfter(ctx context.Context, s *system) (took sample, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	follow := s.admin.Command(ctx, "stile", "audit", "ls", "--follow", "--format", "ndjson", "--since", "1s", "--type", "session.start", "--actor", "alice")
	out, err := follow.StdoutPipe()
	if err != nil {
		return nil, err
	}
	follow.Stderr = os.Stderr
	if err := follow.Start(); err != nil {
		return nil, err
	}
	defer func() { _ = follow.Process.Signal(syscall.SIGINT); _ = follow.Wait() }()
	lines, all := &seen{at: map[string]time.Time{}}, make(chan struct{})
	go lines.read(out, acts, all)
	c, err := s.dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	began := map[string]time.Time{}
	for range acts {
		if err := pause(ctx, 2*actEvery); err != nil {
			return nil, err
		}
		session, err := c.NewSession()
		if err != nil {
			return nil, err
		}
		at := time.Now()
		id, err := session.Output(`echo "$STILE_SESSION_ID"`)
		if err != nil {
			return nil, err
		}
		began[strings.TrimSpace(string(id))] = at
	}
	limit := time.NewTimer(actLimit)
	defer limit.Stop()
	select {
	case <-all:
	case <-limit.C:
		return nil, errors.New("not all sessions were listed")
	}
	for id, at := range began {
		if listed := lines.of(id); !listed.IsZero() {
			took = append(took, ms(listed.Sub(at)))
		}
	}
	if len(took) != acts {
		return nil, fmt.Errorf("%d of %d sessions were listed", len(took), acts)
	}
	return took, nil
}

// pause waits for up to so long, by chance.
func pause(ctx context.Context, most time.Duration) error {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(most)))
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Duration(n.Int64()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seen is when sessions were listed.
type seen struct {
	mu sync.Mutex
	at map[string]time.Time
}

// read notes each line as it comes, and closes all when there were so many.
func (s *seen) read(out io.Reader, many int, all chan<- struct{}) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			SessionID string `json:"session_id"`
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		s.mu.Lock()
		s.at[e.SessionID] = time.Now()
		over := len(s.at) == many
		s.mu.Unlock()
		if over {
			close(all)
			return
		}
	}
}

func (s *seen) of(session string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[session]
}
