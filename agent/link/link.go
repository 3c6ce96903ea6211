// Package link keeps an agent's tunnels: to up to two distinct proxies at once, opened again when they break,
// handed over when a proxy leaves or the agent's certificate was renewed. Over them come documents and the
// streams of users, and go audit events.
//
// It neither judges documents nor serves streams; its owner does. Its entry point is [New].
package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// most is how many tunnels an agent keeps, each to a different proxy.
const most = 2

// Back-off between attempts, with full jitter. When all proxies were away, an agent is back 5 s after them on
// average and 10 s at the latest. 10,000 agents that knock so are 2,000 connections a second over the whole fleet in
// vain, each refused with a reset where nobody listens; the proxies that come back bound the handshakes that they do
// at once, and whoever is turned away there waits as long again. The wait starts over with each tunnel that comes up.
const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 10 * time.Second
	// denied is how long to wait after a denial, or a fault that asks for such a wait: only a person can change that.
	denied = time.Minute
	// seekMost is the longest wait of one who has a tunnel and looks for another proxy behind an address that many
	// share: each attempt may end at the proxy that it has.
	seekMost = 5 * time.Second
)

// dialLimit bounds one attempt, from the first packet to the proxy's answer to Register.
const dialLimit = 10 * time.Second

// Spool is where audit events wait.
type Spool interface {
	Ready() <-chan struct{}
	Next(limit int) ([][]byte, spool.Position, error)
	Acknowledge(spool.Position) error
}

// Config is what links need. Addrs, Certificate, Trust, Accept and Serve are required.
type Config struct {
	Addrs       func() []string         // proxies to try, host:port
	Certificate func() *tls.Certificate // the newest
	Trust       func() document.Trust
	Held        func() identity.Versions                          // of the documents held
	Accept      func([]document.Signed)                           // takes documents that a proxy pushed; refusals are its to record
	Serve       func(context.Context, tunnel.Stream, *frame.Open) // serves one stream to its end
	Spool       Spool                                             // nil delivers nothing
	Software    string                                            // name and version, for the proxy's log
	Log         *slog.Logger                                      // nil discards
	Now         func() time.Time                                  // nil is time.Now
	Dial        tunnel.DialFunc
	Silence     time.Duration // of control streams; 0 is the tunnel's default
	Dead        time.Duration
	Look        time.Duration // between two looks for proxies that no proxy tells of, at most; 0 is 10 minutes
}

// Links keeps the tunnels. It is safe for concurrent use.
type Links struct {
	config  Config
	memory  *tunnel.Account // of all windows
	serving sync.WaitGroup

	instance [16]byte // tells this process from another with the same state directory

	mu      sync.Mutex
	held    map[*link]struct{}
	wanted  int             // how many proxies to hold tunnels to, as far as proxies told of so many
	stale   bool            // the tunnels bring no fresh documents: hold one more
	listing map[string]bool // ids of the proxies that the last list named
	vain    int             // attempts in a row that led to no other proxy than those held
	book    addresses
	wake    chan struct{}
	listed  chan struct{} // a proxy told of others: don't wait any longer
	refusal *fault.Fault  // why the last attempt failed, nil once there is a tunnel
	next    time.Time     // when the next attempt is
}

// New makes links; Run opens them.
func New(c Config) *Links {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Look == 0 {
		c.Look = lookMost
	}
	l := &Links{config: c, memory: tunnel.NewAccount("the agent", tunnel.HostBudget), held: map[*link]struct{}{}, wanted: 1, wake: make(chan struct{}, 1), listed: make(chan struct{}, 1)}
	_, _ = rand.Read(l.instance[:]) // never fails
	return l
}

// Refusal says why a tunnel is missing, nil when none is, and when the next proxy is tried.
func (l *Links) Refusal() (f *fault.Fault, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up() >= l.wanted {
		return nil, time.Time{}
	}
	return l.refusal, l.next
}

// Up is how many tunnels are registered with proxies that stay.
func (l *Links) Up() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up()
}

func (l *Links) up() (n int) {
	for k := range l.held {
		if k.state == staying {
			n++
		}
	}
	return n
}

// Renewed has every tunnel replaced by one with the newest certificate; sessions on the old ones go on.
func (l *Links) Renewed() {
	l.mu.Lock()
	for k := range l.held {
		if k.state == staying {
			k.state = retired
		}
	}
	l.mu.Unlock()
	l.poke()
}

func (l *Links) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run keeps tunnels open until the context ends, then closes them and waits for what runs on them.
func (l *Links) Run(ctx context.Context) {
	defer l.serving.Wait()
	defer l.closeAll()
	if l.config.Spool != nil {
		l.serving.Go(func() { l.deliver(ctx) })
	}
	wait := backoffFirst
	look := time.NewTimer(l.lookAfter())
	defer look.Stop()
	for ctx.Err() == nil {
		l.settle()
		if l.enough() && !l.rest(ctx, look) {
			wait = backoffFirst // all are up
			continue
		}
		err := l.open(ctx)
		look.Reset(l.lookAfter())
		l.tried(err)
		if err == nil {
			wait = backoffFirst
			continue
		}
		if ctx.Err() != nil {
			return
		}
		var most time.Duration
		wait, most = l.failed(err, wait)
		in := mathrand.N(wait)
		l.refused(ctx, err, in)
		if l.pause(ctx, in) {
			wait = backoffFirst
			continue
		}
		wait = min(2*wait, most)
	}
}

// refused keeps why an attempt was in vain, and when the next one is. It logs the same reason once.
func (l *Links) refused(ctx context.Context, err error, in time.Duration) {
	if errors.Is(err, errHeld) {
		return
	}
	f := fault.From(err)
	l.mu.Lock()
	seen := l.refusal != nil && l.refusal.Message == f.Message
	l.refusal, l.next = f, time.Now().Add(in)
	l.mu.Unlock()
	if !seen {
		l.config.Log.WarnContext(ctx, "No tunnel; trying the next proxy address that is known, or the same one if there is no other",
			"reason", f.Message, "hint", f.Hint, "retry_in", in.Round(100*time.Millisecond).String(), "cause", f.Unwrap())
	}
}

// failed says how long to wait after an attempt in vain, now and at most.
func (l *Links) failed(err error, wait time.Duration) (now, most time.Duration) {
	f := fault.From(err)
	if errors.Is(err, errHeld) {
		return min(wait, seekMost), seekMost
	}
	if f.Code == fault.Denied || f.RetryAfter >= denied {
		return denied, denied
	}
	return min(wait, backoffMost), backoffMost
}

// settle closes tunnels that were replaced and carry nothing any more.
func (l *Links) settle() {
	l.mu.Lock()
	var idle []*link
	for k := range l.held {
		if k.state != staying && k.active == 0 && l.up() > 0 {
			idle = append(idle, k)
		}
	}
	l.mu.Unlock()
	for _, k := range idle {
		_ = k.session.Close()
	}
}

func (l *Links) closeAll() {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	for _, k := range all {
		_ = k.session.Close()
	}
}

var (
	errHeld  = errors.New("there is already a tunnel to the proxy that answered, or it is leaving")
	errNoOne = fault.New(fault.Unreachable, "no proxy address is known", "set proxy in the agent's configuration, or have it join again")
)

// open dials the next address and registers.
func (l *Links) open(ctx context.Context) error {
	certificate, trust := l.config.Certificate(), l.config.Trust()
	self, key, err := own(certificate, trust)
	if err != nil {
		return err
	}
	addr, ok := l.address()
	if !ok {
		return errNoOne
	}
	reached := false
	defer func() { l.answered(addr, reached) }()
	limit, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	session, proxy, err := tunnel.Dial(limit, tunnel.DialConfig{
		Addr: addr, Certificate: certificate, Trust: trust, Now: l.config.Now, Dial: l.config.Dial,
		Pays: []*tunnel.Account{l.memory},
	})
	if err != nil {
		return err
	}
	reached = true
	if l.holds(proxy.ID) {
		_ = session.Close()
		return errHeld
	}
	k := &link{links: l, session: session, proxy: proxy.ID, self: self, key: key, log: l.config.Log.With("proxy", proxy.ID, "addr", addr)}
	return k.begin(ctx, limit)
}

// holds reports whether a new tunnel to this proxy would be useless.
func (l *Links) holds(proxy string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.held {
		if k.proxy == proxy && k.state != retired {
			return true
		}
	}
	return false
}

// pause waits and says whether a new list of proxies cut it short.
func (l *Links) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.listed:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
