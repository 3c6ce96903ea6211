// Package link serves the tunnels of agents: it verifies who an agent is, enters its tunnel into the routes,
// pushes documents and the list of proxies to it, and takes its audit events.
//
// It doesn't fetch documents and doesn't write events; the feed does. Its entry point is [New].
package link

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/route"
)

// Documents are those in force, and what to push of them.
type Documents interface {
	document.Feed
	Documents() []document.Signed
}

// Config is what tunnels are served from. Documents, Routes, Proxy and Deliver are required.
type Config struct {
	Documents Documents
	Routes    *route.Table
	Proxy     func() identity.Host                        // this proxy, as its certificate says
	Deliver   func(context.Context, audit.Delivery) error // writes events into the ledger; a nil error means that they are stored
	Limited   func(audit.Event)                           // records what a limit ended, seldom enough; nil drops
	Record    func(audit.Event)                           // records that an agent was copied; nil drops
	Memory    *tunnel.Account                             // for all streams to targets; nil is one of its own
	Log       *slog.Logger                                // nil discards
	Now       func() time.Time                            // nil is time.Now
	Silence   time.Duration                               // of the control stream; 0 is the tunnel's default
	Dead      time.Duration                               //
	Together  time.Duration                               // for which two instances of an agent may both answer; 0 is ten seconds
	Alone     time.Duration                               // for which one must come alone after that to be let in; 0 is five minutes
}

// Links serves ALPN stile-tunnel/2. It is safe for concurrent use.
type Links struct {
	config Config
	trail  revoked.Trail

	budgets *tunnel.Accounts // of agents

	mu       sync.Mutex
	live     map[*link]struct{}
	agents   map[string][]*link // the same by agent, the oldest first
	proxies  []*frame.Proxies_Proxy
	draining uint32 // seconds of grace, when draining
	away     bool

	suspected map[string]bool     // agents that are to be compared
	copies    map[string]*callers // agents that were copied
}

// New makes a set of links.
func New(c Config) *Links {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Limited == nil {
		c.Limited = func(audit.Event) {}
	}
	if c.Record == nil {
		c.Record = func(audit.Event) {}
	}
	if c.Silence == 0 {
		c.Silence = tunnel.DefaultSilence
	}
	if c.Together == 0 {
		c.Together = together
	}
	if c.Alone == 0 {
		c.Alone = alone
	}
	if c.Memory == nil {
		c.Memory = tunnel.NewAccount("the proxy", tunnel.ProxyBudget)
	}
	return &Links{
		config: c, budgets: tunnel.NewAccounts(tunnel.AgentBudget), live: map[*link]struct{}{}, agents: map[string][]*link{},
		suspected: map[string]bool{}, copies: map[string]*callers{},
	}
}

// registerLimit is how long an agent may take from its handshake to its first frame.
const registerLimit = 10 * time.Second

// Serve verifies an agent and serves its tunnel until it ends.
func (l *Links) Serve(ctx context.Context, c *edge.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
	defer stop()
	agent, err := l.agent(ctx, c)
	n := &link{links: l, agent: agent, source: c.Source, log: l.config.Log.With("agent", agent.ID, "targets", agent.Targets)}
	session, sessionErr := tunnel.NewSession(c.Conn, tunnel.SessionConfig{
		Role: tunnel.Listened, Streams: maxOwn + 2, Small: true, Refused: n.refused, // with the control stream, and the one too many
	})
	if sessionErr != nil {
		l.config.Log.ErrorContext(ctx, "Tunnel not opened", "error", sessionErr)
		return
	}
	defer session.Close()
	first, cancel := context.WithTimeout(ctx, registerLimit)
	defer cancel()
	stream, openErr := session.Accept(first)
	if openErr != nil {
		l.config.Log.DebugContext(ctx, "Tunnel without control stream", "source", c.Source.String(), "error", openErr)
		return
	}
	if err != nil {
		l.refuse(ctx, stream, c, err)
		return
	}
	budget, release := l.budgets.Hold(agent.ID, "agent "+agent.ID)
	defer release()
	n.session, n.targets = session, &counted{Session: session, pays: []*tunnel.Account{budget, l.config.Memory}}
	n.certificate = c.ConnectionState().PeerCertificates[0]
	n.control = tunnel.NewControl(tunnel.ControlConfig{
		Stream: stream, Idle: session.Idle, Silence: l.config.Silence, Dead: l.config.Dead,
		Handle: func(m *frame.Control) error { return n.take(ctx, m, c) },
	})
	n.run(ctx)
}

// patience is how long an agent waits for documents that are as new as its certificate.
const patience = 3 * time.Second

// agent returns who is on the other side, if it may be.
func (l *Links) agent(ctx context.Context, c *edge.Conn) (identity.Host, error) {
	state := l.config.Documents.State()
	agent, err := tunnel.PeerHost(c.ConnectionState(), state.Trust, identity.KindAgent, state.Now(l.config.Now()))
	if err != nil {
		return agent, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = document.Await(ctx, l.config.Documents, func(s document.State) error {
		return s.Standing(agent, document.Use{Now: l.config.Now()})
	})
	return agent, err
}

// refuse tells an agent why, on its control stream, and waits for it to hang up.
func (l *Links) refuse(ctx context.Context, s tunnel.Stream, c *edge.Conn, err error) {
	f := fault.From(err)
	l.config.Log.InfoContext(ctx, "Tunnel refused", "source", c.Source.String(), "code", string(f.Code), "reason", f.Message, "cause", f.Unwrap())
	_ = s.SetDeadline(time.Now().Add(2 * time.Second))
	if frame.Write(s, &frame.Control{Body: &frame.Control_Fault{Fault: frame.FromFault(f)}}) == nil {
		for frame.Read(s, new(frame.Control)) == nil {
		}
	}
}

// Push offers the documents in force to every agent that lacks them, and ends the tunnels of agents that they shut out.
func (l *Links) Push() {
	l.note()
	for _, n := range l.all() {
		n.judge()
	}
}

// note remembers how the list of users changed, for agents that hold an earlier one.
func (l *Links) note() {
	state := l.config.Documents.State()
	l.trail.Note(state.Revocations.Version, state.Revoked(revoked.Users))
}

// judge offers the documents in force, or ends the tunnel if they shut the agent out. A silent feed ends none: the
// agent goes on with what it holds as well.
func (n *link) judge() {
	state := n.links.config.Documents.State()
	if err := state.Standing(n.agent, document.Use{Now: n.links.config.Now()}); err != nil && !fault.Is(err, fault.Unavailable) {
		n.cut(err.Error())
		return
	}
	n.kick()
}

// Proxies tells every agent which proxies are live.
func (l *Links) Proxies(list []*frame.Proxies_Proxy) {
	l.mu.Lock()
	l.proxies = list
	l.mu.Unlock()
	for _, n := range l.all() {
		n.kick()
	}
}

// Drain asks every agent to connect elsewhere, and refuses those that come later: they would look for another proxy at once,
// find this one again, and so on. Tunnels stay until their streams end.
func (l *Links) Drain(grace time.Duration) {
	l.mu.Lock()
	l.draining, l.away = uint32(grace/time.Second), true
	var beyond []map[*link]string
	for id := range l.agents {
		beyond = append(beyond, l.tooMany(id))
	}
	l.mu.Unlock()
	for _, tunnels := range beyond {
		end(tunnels)
	}
	for _, n := range l.all() {
		n.kick()
	}
}

// Streams returns how many streams to targets are open over all tunnels.
func (l *Links) Streams() int {
	total := 0
	for _, n := range l.all() {
		total += n.targets.Streams()
	}
	return total
}

// Agents returns the agents that are connected and what each of them last said it holds.
func (l *Links) Agents() map[string]identity.Versions {
	out := map[string]identity.Versions{}
	for _, n := range l.all() {
		n.mu.Lock()
		out[n.agent.ID] = n.progress.held
		n.mu.Unlock()
	}
	return out
}

func (l *Links) all() []*link {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*link, 0, len(l.live))
	for n := range l.live {
		out = append(out, n)
	}
	return out
}
