package feed_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/feed"
)

var quiet = slog.New(slog.DiscardHandler)

// pass lets time pass in a bubble and everything come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// published is a store of documents that can be away.
type published struct {
	mu        sync.Mutex
	documents []document.Signed
	versions  identity.Versions
	away      error
	looks     int
	fetched   int
	log       said
	torn      bool // the lists are not those that the document names
}

func (p *published) set(c *tunneltest.Cluster) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.documents, p.versions = c.Documents(), c.Versions()
}

func (p *published) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = err
}

// looked is how often it was looked at the head.
func (p *published) looked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

func (p *published) Glance(context.Context) (head.Head, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	return head.Head{Trust: p.versions.Trust, Policy: p.versions.Policy, Revocations: p.versions.Revocations}, p.away
}

func (p *published) Trust(context.Context, head.Head) ([]document.Signed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.documents[:1], p.away
}

func (p *published) Policy(context.Context, head.Head) (document.Signed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched++
	return p.documents[1], p.away
}

func (p *published) Revocations(context.Context) (document.Signed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.documents[2], p.away
}

func (p *published) Lists(_ context.Context, _ head.Lacking, s document.Signed) (document.Signed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.torn {
		s.Lists = nil
	}
	return s, nil // a cluster's document comes with its lists
}

func (p *published) tear(torn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.torn = torn
}

// following runs a head feed in a bubble of time for the length of do.
func following(t *testing.T, do func(t *testing.T, c *tunneltest.Cluster, p *published, holder *document.Holder, refused *[]error, changed *int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := tunneltest.New(t)
		p, holder := &published{}, c.Holder()
		p.set(c)
		var refused []error
		changed := 0
		h := &feed.Head{
			Store: p, Documents: holder, Log: slog.New(slog.NewTextHandler(&p.log, nil)), Changed: func() { changed++ }, Refused: func(err error) { refused = append(refused, err) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); h.Run(ctx) }()
		do(t, c, p, holder, &refused, &changed)
		cancel()
		<-over
	})
}

func TestNewerDocumentsArriveWithinAThirdOfASecond(t *testing.T) {
	following(t, func(t *testing.T, c *tunneltest.Cluster, p *published, holder *document.Holder, refused *[]error, changed *int) {
		c.SetRoles()
		c.Lock(document.Lock{ID: "lck_1", Target: "user", Value: "ada"})
		p.set(c)
		pass(300 * time.Millisecond)
		if holder.Versions() != c.Versions() || *changed != 1 || len(*refused) != 0 {
			t.Errorf("holds %+v of %+v, changed %d, refused %v", holder.Versions(), c.Versions(), *changed, *refused)
		}
		p.mu.Lock()
		before := p.fetched
		p.mu.Unlock()
		pass(10 * time.Second)
		if p.fetched != before || p.looked() < 40 {
			t.Errorf("%d documents fetched without a change, %d looks", p.fetched-before, p.looked())
		}
	})
}

func TestTheFeedGoesOnWithWhatItHoldsAndComesBack(t *testing.T) {
	following(t, func(t *testing.T, c *tunneltest.Cluster, p *published, holder *document.Holder, refused *[]error, _ *int) {
		p.fail(errors.New("throttled"))
		pass(time.Minute)
		if p.looked() > 90 {
			t.Errorf("%d looks in a minute at a store that is away", p.looked())
		}
		c.Lock()
		p.set(c)
		p.fail(nil)
		pass(2 * time.Second)
		if holder.Versions() != c.Versions() || len(*refused) != 0 {
			t.Errorf("holds %+v, refused %v", holder.Versions(), *refused)
		}
	})
}

func TestOlderAndUnsignedDocumentsAreRefusedAndReported(t *testing.T) {
	following(t, func(t *testing.T, c *tunneltest.Cluster, p *published, holder *document.Holder, refused *[]error, _ *int) {
		before := c.Versions()
		c.SetRoles()
		p.set(c)
		p.mu.Lock()
		p.documents[1].Signature = []byte("none")
		p.mu.Unlock()
		pass(2 * time.Second)
		if len(*refused) == 0 || !errors.Is((*refused)[0], document.ErrSignature) || holder.Versions().Policy != before.Policy {
			t.Errorf("refused %v, holds %+v", *refused, holder.Versions())
		}
		p.set(c)
		pass(2 * time.Second)
		*refused = nil
		p.mu.Lock()
		p.versions.Policy = before.Policy // somebody put the table back
		p.mu.Unlock()
		pass(2 * time.Second)
		if len(*refused) == 0 || !errors.Is((*refused)[0], document.ErrOlder) || holder.Versions().Policy != c.Versions().Policy {
			t.Errorf("refused %v, holds %+v", *refused, holder.Versions())
		}
	})
}

// tables is presence in memory, with the time of each write.
type tables struct {
	mu     sync.Mutex
	leases map[string]presence.Lease
	sets   map[int][]presence.Tunnel
	when   time.Time // of the last set written
	writes int
	away   error
}

func (m *tables) PutLease(_ context.Context, l presence.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away == nil {
		m.leases[l.Proxy] = l
	}
	return m.away
}

func (m *tables) DropLease(_ context.Context, proxy string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.leases, proxy)
	return nil
}

func (m *tables) PutTunnels(_ context.Context, _ string, shard int, set []presence.Tunnel, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return m.away
	}
	m.sets[shard], m.when = slices.Clone(set), time.Now()
	m.writes++
	return nil
}

func (m *tables) Leases(context.Context, time.Time) ([]presence.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []presence.Lease
	for _, l := range m.leases {
		out = append(out, l)
	}
	return out, m.away
}

func (m *tables) agents() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, set := range m.sets {
		for _, t := range set {
			out = append(out, t.Agent)
		}
	}
	slices.Sort(out)
	return out
}

func TestPresenceFollowsTheTunnels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &tables{leases: map[string]presence.Lease{"prx_2": {Proxy: "prx_2", Expires: time.Now().Add(time.Hour)}}, sets: map[int][]presence.Tunnel{}}
		var mu sync.Mutex
		var up []presence.Tunnel
		told := 0
		p := &feed.Presence{
			Table: m, Log: quiet, Lease: func() presence.Lease { return presence.Lease{Proxy: "prx_1", Addr: "a:1"} },
			Tunnels: func() []presence.Tunnel { mu.Lock(); defer mu.Unlock(); return slices.Clone(up) },
			Proxies: func(l []presence.Lease) { told = len(l) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); p.Run(ctx) }()
		change := func(agents ...string) {
			mu.Lock()
			up = nil
			for _, a := range agents {
				up = append(up, presence.Tunnel{Agent: a})
			}
			mu.Unlock()
		}
		for range 50 { // a crowd costs few writes
			change("agt_a", "agt_b")
			p.Changed("agt_a")
			p.Changed("agt_b")
		}
		pass(250 * time.Millisecond)
		if got := m.agents(); !slices.Equal(got, []string{"agt_a", "agt_b"}) || m.writes > 4 || told != 2 {
			t.Errorf("agents %v after %d writes, %d proxies", got, m.writes, told)
		}
		change("agt_b")
		lost := time.Now()
		p.Changed("agt_a")
		pass(time.Second)
		if got := m.agents(); !slices.Equal(got, []string{"agt_b"}) || m.when.Sub(lost) > 250*time.Millisecond {
			t.Errorf("agents %v, %s after the loss", got, m.when.Sub(lost))
		}
		m.mu.Lock()
		m.away = errors.New("throttled")
		m.mu.Unlock()
		change()
		p.Changed("agt_b")
		pass(20 * time.Second)
		m.mu.Lock()
		m.away = nil
		m.mu.Unlock()
		pass(5 * time.Second)
		m.mu.Lock()
		left := time.Until(m.leases["prx_1"].Expires)
		m.mu.Unlock()
		if got := m.agents(); len(got) != 0 || left < 7*time.Second || left > presence.LeaseFor {
			t.Errorf("after an outage: agents %v, the lease is good for %s", got, left)
		}
		cancel()
		<-over
		if err := p.Withdraw(context.Background()); err != nil || len(m.leases) != 1 {
			t.Errorf("after withdrawal %d leases, %v", len(m.leases), err)
		}
	})
}

func TestTheProxysEventsReachTheLedgerOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var held []audit.Event
		away := errors.New("throttled")
		e := &feed.Events{
			Log: quiet, Source: func() (string, string) { return "c", "prx_1" },
			Append: func(_ context.Context, events ...audit.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if away == nil {
					held = append(held, events...)
				}
				return away
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); e.Run(ctx) }()
		denied := audit.New(audit.SessionDenied, rand.Reader, time.Now())
		denied.Actor, denied.Outcome, denied.Reason = "user/ada", audit.Denied, "locked"
		denied.Data = map[string]string{"certificate": "crt_1"}
		e.Record(denied)
		for range 100 {
			e.Refused(document.ErrOlder)
		}
		pass(30 * time.Second)
		mu.Lock()
		away = nil
		mu.Unlock()
		pass(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(held) != 2 || held[0].Source != "proxy/prx_1" || held[0].Seq != 1 || held[1].Type != audit.DocumentRefused || held[1].Seq != 2 {
			t.Errorf("the ledger holds %+v", held)
		}
		cancel()
		<-over
	})
}

// A peer that runs into a limit all the time fills neither the ledger nor the log, and yet shows.
func TestSec_S60_ALimitIsRecordedSeldomAndWithHowOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held []audit.Event
		e := &feed.Events{
			Log: quiet, Source: func() (string, string) { return "c", "prx_1" },
			Append: func(_ context.Context, events ...audit.Event) error { held = append(held, events...); return nil },
		}
		limited := func(actor string) {
			one := audit.New(audit.LimitReached, rand.Reader, time.Now())
			one.Actor, one.Outcome, one.Reason = actor, audit.Denied, "too much"
			e.Limited(one)
		}
		for range 100 {
			limited("agent/one")
			limited("agent/two")
		}
		pass(time.Minute)
		limited("agent/one")
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(held) != 3 || held[0].Actor != "agent/one" || held[1].Actor != "agent/two" || held[2].Data["unrecorded"] != "99" {
			t.Errorf("the ledger holds %+v", held)
		}
	})
}

// lasting notes until when each shard counts.
type lasting struct {
	*tables
	at    sync.Mutex
	until map[int]time.Time
}

func (l *lasting) PutTunnels(ctx context.Context, proxy string, shard int, set []presence.Tunnel, until time.Time) error {
	l.at.Lock()
	l.until[shard] = until
	l.at.Unlock()
	return l.tables.PutTunnels(ctx, proxy, shard, set, until)
}

func TestAgentsOfAQuietProxyDoNotVanishFromTheInventoryAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &lasting{tables: &tables{leases: map[string]presence.Lease{}, sets: map[int][]presence.Tunnel{}}, until: map[int]time.Time{}}
		p := &feed.Presence{
			Table: m, Log: quiet, Lease: func() presence.Lease { return presence.Lease{Proxy: "prx_1", Addr: "a:1"} },
			Tunnels: func() []presence.Tunnel { return []presence.Tunnel{{Agent: "agt_a"}} }, Proxies: func([]presence.Lease) {},
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); p.Run(ctx) }()
		p.Changed("agt_a")
		pass(30 * time.Hour)
		m.at.Lock()
		for shard, until := range m.until {
			if left := time.Until(until); left < 22*time.Hour {
				t.Errorf("shard %d counts for %s", shard, left)
			}
		}
		if len(m.until) != presence.Shards || !slices.Equal(m.agents(), []string{"agt_a"}) {
			t.Errorf("%d shards, agents %v", len(m.until), m.agents())
		}
		m.at.Unlock()
		cancel()
		<-over
	})
}
