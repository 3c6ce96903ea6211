// Package connect serves the connections of users: it verifies who connects, finds the tunnel of the target's
// agent and splices the two. It neither reads what passes nor decides about logins; the agent does.
//
// Its entry point is [Handler.Serve].
package connect

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ration"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/route"
)

// answerLimit is how long an agent may take to answer an opened stream.
const answerLimit = 10 * time.Second

// maxTrace is how long the client's trace id may be.
const maxTrace = 255

// patience is how long a user waits for documents that are as new as its certificate.
const patience = 3 * time.Second

// Config is what connections are served from. Documents, Routes and Proxy are required.
type Config struct {
	Documents document.Feed
	Routes    interface {
		Find(identity.Target) (*route.Tunnel, bool)
	}
	Proxy  func() identity.Host // this proxy, as its certificate says
	Record func(audit.Event)    // nil drops
	// Limited records that a budget was used up, seldom enough; nil drops.
	Limited func(audit.Event)
	Log     *slog.Logger     // nil discards
	Now     func() time.Time // nil is time.Now
	Answer  time.Duration    // 0 is answerLimit
}

// Handler serves ALPN stile-connect/1.
type Handler struct {
	config  Config
	users   *tunnel.Accounts
	denials *ration.Ration[string] // by user
	lines   ration.Lines           // of the log, by address
}

// New makes a handler.
func New(c Config) *Handler {
	if c.Record == nil {
		c.Record = func(audit.Event) {}
	}
	if c.Limited == nil {
		c.Limited = func(audit.Event) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Answer == 0 {
		c.Answer = answerLimit
	}
	return &Handler{
		config: c, users: tunnel.NewAccounts(tunnel.UserBudget), denials: ration.NewDenials(),
		lines: ration.NewLines(),
	}
}

// Serve verifies the user, reads one request and joins the connection to the target until either ends.
func (h *Handler) Serve(ctx context.Context, c *edge.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
	defer stop()
	user, err := h.user(c)
	if err != nil {
		h.refuse(ctx, c, err)
		return
	}
	var request frame.ConnectRequest
	if err := frame.Read(c, &request); err != nil {
		h.refuse(ctx, c, fault.New(fault.BadInput, "the connect request is malformed", "update stile").Because(err))
		return
	}
	c.Admit()
	target := identity.Target{Kind: request.GetTarget().GetKind(), Name: request.GetTarget().GetName()}
	budget, release := h.users.Hold(user.UID, "user "+user.Name)
	defer release()
	stream, err := h.open(ctx, c, user, target, &request, budget)
	if err != nil {
		h.refuse(ctx, c, err)
		return
	}
	began := h.config.Now()
	sent, received := tunnel.Splice(c.Conn, &answered{Stream: stream, limit: h.config.Answer, target: target}, tunnel.Unread)
	h.config.Log.DebugContext(ctx, "Connection ended", "user", user.Name, "target", target.String(), "trace_id", request.GetTraceId(),
		"bytes_in", sent, "bytes_out", received, "seconds", h.config.Now().Sub(began).Seconds())
}

// user verifies the client's certificate. What the user may do is for the agent to decide.
func (h *Handler) user(c *edge.Conn) (identity.User, error) {
	state := h.config.Documents.State()
	user, _, err := tunnel.PeerUser(c.ConnectionState(), state.Trust, state.Now(h.config.Now()))
	if err == nil {
		err = certs.SourceAllowed(user.SourceAddress, c.Source.Addr())
	}
	return user, err
}

// standing asks the documents whether a known user is in good standing. A refusal becomes an event; documents that
// are on their way are waited for.
func (h *Handler) standing(ctx context.Context, c *edge.Conn, user identity.User, target identity.Target) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := document.Await(ctx, h.config.Documents, func(s document.State) error {
		return s.Standing(user, document.Use{Now: h.config.Now(), Also: target.Refs()})
	})
	if err == nil || fault.Is(err, fault.Unavailable) {
		return err
	}
	return h.denied(c, user, target, fault.From(err))
}

// denied gives the denial of a known user an id and records it. Each record is a write to the ledger, so they are rationed,
// and each says how many before it were left out.
func (h *Handler) denied(c *edge.Conn, user identity.User, target identity.Target, f *fault.Fault) error {
	left, ok := h.denials.Take(user.UID, h.config.Now())
	if !ok {
		return f
	}
	f.DecisionID = identity.NewID("dec", rand.Reader, h.config.Now())
	e := audit.New(audit.SessionDenied, rand.Reader, h.config.Now())
	e.Actor, e.ActorRoles, e.Outcome, e.Reason, e.DecisionID = "user/"+user.Name, user.Roles, audit.Denied, f.Message, f.DecisionID
	e.TargetKind, e.Target = target.Kind, target.Name
	e.SourceIP = c.Source.Addr().String()
	e.Data = map[string]string{"certificate": user.Certificate, "uid": user.UID}
	if left > 0 {
		e.Data["denied_between"] = strconv.Itoa(left)
	}
	h.config.Record(e)
	return f
}

// open begins a stream to the target's agent.
func (h *Handler) open(ctx context.Context, c *edge.Conn, user identity.User, target identity.Target, r *frame.ConnectRequest, budget *tunnel.Account) (tunnel.Stream, error) {
	if r.GetVersion() != frame.Protocol {
		return nil, fault.Newf(fault.BadInput, "update stile or the cluster, whichever is older", "protocol version %d is not supported here", r.GetVersion())
	}
	if !identity.ValidTargetKind(target.Kind) || !validName(target.Name) || len(r.GetTraceId()) > maxTrace {
		return nil, fault.New(fault.BadInput, "the connect request names no target", "use a name that stile ls shows")
	}
	if err := h.standing(ctx, c, user, target); err != nil {
		return nil, err
	}
	found, ok := h.config.Routes.Find(target)
	if !ok {
		return nil, offline(target)
	}
	stream, err := found.Session.Open(ctx, budget)
	if full, ok := errors.AsType[*tunnel.FullError](err); ok {
		return nil, h.full(c, user, target, full)
	}
	if err != nil {
		return nil, offline(target).Because(err)
	}
	open := &frame.Open{
		Target: &frame.Target{Kind: target.Kind, Name: target.Name}, TraceId: r.GetTraceId(), Source: c.Source.String(),
		Proxy: h.config.Proxy().ID, User: user.Name, Capabilities: r.GetCapabilities(),
	}
	if err := frame.Write(stream, open); err != nil {
		_ = stream.Close()
		return nil, offline(target).Because(err)
	}
	return stream, nil
}

// full refuses a connection for which a budget has no room, and records that.
func (h *Handler) full(c *edge.Conn, user identity.User, target identity.Target, full *tunnel.FullError) *fault.Fault {
	f := fault.Newf(fault.RateLimited, "end some connections, or try again later", "%s at this proxy", full)
	e := audit.New(audit.LimitReached, rand.Reader, h.config.Now())
	e.Actor, e.ActorRoles, e.Outcome, e.Reason = "user/"+user.Name, user.Roles, audit.Denied, f.Message
	e.TargetKind, e.Target, e.SourceIP = target.Kind, target.Name, c.Source.Addr().String()
	h.config.Limited(e)
	return f
}

// validName accepts a target's name or an agent's id.
func validName(name string) bool {
	return identity.ValidTargetName(name) || identity.ValidID("agt", name)
}

// offline says all that a proxy knows: it can't tell whether there is such a target, and another proxy may have its tunnel.
func offline(t identity.Target) *fault.Fault {
	return fault.Newf(fault.NoTunnel, "run stile ls to see whether it exists and is online",
		"no tunnel for %s %s at this proxy: it is offline, or there is no such %s", t.Kind, t.Name, t.Kind)
}

// lastWords is how long a refused client may take to read the reason.
const lastWords = 2 * time.Second

// refuse answers with the fault and waits for the client to hang up: closing with its bytes unread would take the
// answer away from it.
func (h *Handler) refuse(ctx context.Context, c *edge.Conn, err error) {
	f := fault.From(err)
	if between, ok := h.lines.Take(c.Source.Addr(), time.Now()); ok {
		h.config.Log.InfoContext(ctx, "Connection refused", "source", c.Source.String(), "code", string(f.Code), "reason", f.Message,
			"cause", f.Unwrap(), "not_logged_before", between)
	}
	_ = c.SetDeadline(time.Now().Add(lastWords))
	if frame.WriteRefusal(c, f) == nil && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, 1<<20)
	}
}

// answered is a stream whose first byte must come in time; otherwise the client reads a refusal instead.
type answered struct {
	tunnel.Stream
	limit   time.Duration
	target  identity.Target
	waited  bool
	instead *bytes.Reader
}

func (a *answered) Read(p []byte) (int, error) {
	if a.instead != nil {
		return a.instead.Read(p)
	}
	if a.waited {
		return a.Stream.Read(p)
	}
	a.waited = true
	_ = a.SetReadDeadline(time.Now().Add(a.limit))
	n, err := a.Stream.Read(p)
	if err == nil || n > 0 {
		_ = a.SetReadDeadline(time.Time{})
		return n, err
	}
	var b bytes.Buffer
	cause := fault.Newf(fault.Unreachable, "try again; if it keeps happening, restart the agent there", "the agent of %s did not answer", a.target.Name).Because(err)
	if frame.WriteRefusal(&b, cause) == nil {
		a.instead = bytes.NewReader(b.Bytes())
		return a.instead.Read(p)
	}
	return 0, err
}
