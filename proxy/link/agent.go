package link

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/route"
)

// link is one agent's tunnel.
type link struct {
	links       *Links
	agent       identity.Host
	session     tunnel.Session
	targets     *counted // the session, as seen by those who open streams to targets
	control     *tunnel.Control
	source      netip.AddrPort
	certificate *x509.Certificate // the agent's
	log         *slog.Logger

	instance       string    // of the agent's process; "" for agents of the first release
	since          time.Time // when it registered
	expired, ended bool      // guarded by links.mu

	mu         sync.Mutex
	registered bool
	remove     func() // from the routes
	progress   progress
	pushing    bool // a goroutine is at work
	again      bool // it should look once more
	told       *frame.Proxies
	away       bool // it has been told to go
	writing    sync.WaitGroup

	own        atomic.Int32 // streams that the agent opened beside the control stream
	delivering atomic.Bool  // one of them is for events
}

// run serves the control stream. At the end of the agent's certificate no more streams are opened; those that are
// open go on, as the agent has come back with a renewed one by then.
func (n *link) run(ctx context.Context) {
	end := time.AfterFunc(n.certificate.NotAfter.Sub(n.links.config.Now()), func() { n.links.expire(n) })
	defer end.Stop()
	register := time.AfterFunc(registerLimit, func() {
		if !n.isRegistered() {
			n.session.Abort()
		}
	})
	defer register.Stop()
	err := n.control.Run()
	n.unroute()
	n.links.leave(n)
	_ = n.session.Close()
	n.writing.Wait()
	if n.isRegistered() {
		n.log.InfoContext(ctx, "Tunnel ended", "error", err)
	} else {
		n.log.InfoContext(ctx, "Tunnel ended before it registered", "error", err)
	}
}

func (n *link) isRegistered() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.registered
}

func (n *link) unroute() {
	n.mu.Lock()
	remove := n.remove
	n.remove = nil
	n.mu.Unlock()
	if remove != nil {
		remove()
	}
}

// take handles one frame of the agent's.
func (n *link) take(ctx context.Context, m *frame.Control, c *edge.Conn) error {
	if register := m.GetRegister(); register != nil {
		return n.register(ctx, register, c)
	}
	if !n.isRegistered() {
		return fmt.Errorf("%w: the first frame does not register", frame.ErrMalformed)
	}
	if m.GetHeld() != nil {
		n.acknowledged(m.GetHeld())
	}
	return nil // frames of a later version
}

// register enters the tunnel into the routes. The agent's certificate says what it may serve.
func (n *link) register(ctx context.Context, r *frame.Register, c *edge.Conn) error {
	if n.isRegistered() {
		return fmt.Errorf("%w: registered twice", frame.ErrMalformed)
	}
	if err := n.welcome(r); err != nil {
		return errors.Join(err, n.control.Send(&frame.Control{Body: &frame.Control_Fault{Fault: frame.FromFault(fault.From(err))}}))
	}
	c.Admit()
	registered := &frame.Control{Body: &frame.Control_Registered{Registered: &frame.Registered{Proxy: n.links.config.Proxy().ID}}}
	if err := n.control.Send(registered); err != nil {
		return err
	}
	remove := n.links.config.Routes.Add(&route.Tunnel{Agent: n.agent, Session: n.targets, Since: n.links.config.Now()})
	n.mu.Lock()
	n.registered, n.progress.held, n.remove = true, versions(r.GetHeld()), remove
	n.mu.Unlock()
	n.writing.Go(func() { n.accept(ctx) })
	n.log.InfoContext(ctx, "Tunnel registered", "source", n.source.String(), "software", clip(r.GetSoftware()))
	n.judge() // documents may have come since the handshake, when Push didn't know of this agent yet
	return nil
}

// welcome enters the tunnel among the agent's, if it may register.
func (n *link) welcome(r *frame.Register) error {
	if r.GetVersion() != frame.Protocol {
		return fault.Newf(fault.BadInput, "update the agent or the cluster, whichever is older", "protocol version %d is not supported here", r.GetVersion())
	}
	if size := len(r.GetInstance()); size != 0 && size != instanceSize {
		return fault.Newf(fault.BadInput, "update the agent or the cluster, whichever is older", "an instance id has %d bytes, not %d", instanceSize, size)
	}
	n.instance = string(r.GetInstance())
	return n.links.enter(n)
}

// kick has the agent sent what it lacks, by one goroutine at a time, so that a slow agent doesn't hold up others.
func (n *link) kick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.again = true
	if n.pushing || !n.registered {
		return
	}
	n.pushing = true
	n.writing.Go(n.push)
}

func (n *link) push() {
	for {
		n.mu.Lock()
		if !n.again {
			n.pushing = false
			n.mu.Unlock()
			return
		}
		n.again = false
		n.mu.Unlock()
		if err := n.send(); err != nil {
			n.session.Abort()
		}
	}
}

// send writes the list of proxies, the documents and the request to leave, as far as the agent lacks them.
func (n *link) send() error {
	n.links.mu.Lock()
	list, away, grace := &frame.Proxies{Proxies: n.links.proxies}, n.links.away, n.links.draining
	n.links.mu.Unlock()
	n.mu.Lock()
	tell, leave := !proto.Equal(list, n.told) && len(list.GetProxies()) > 0, away && !n.away
	n.told, n.away = list, away
	n.mu.Unlock()
	if tell {
		if err := n.control.Send(&frame.Control{Body: &frame.Control_Proxies{Proxies: list}}); err != nil {
			return err
		}
	}
	if leave {
		if err := n.control.Send(&frame.Control{Body: &frame.Control_GoAway{GoAway: &frame.GoAway{Grace: grace}}}); err != nil {
			return err
		}
	}
	return n.documents()
}

// documents sends what is newer than what the agent holds, one batch at a time.
func (n *link) documents() error {
	n.mu.Lock()
	held, waiting := n.progress.held, n.progress.waiting
	n.mu.Unlock()
	if waiting {
		return nil // the acknowledgement kicks again
	}
	n.links.note()
	offered := n.links.config.Documents.State().Versions()
	newer, sent := n.newer(held)
	if len(newer) == 0 {
		return nil
	}
	b, err := json.Marshal(newer)
	if err != nil {
		return fmt.Errorf("encoding documents: %w", err)
	}
	n.mu.Lock()
	batch := n.progress.begin(sent, offered)
	n.mu.Unlock()
	for _, c := range frame.Cut(batch, b) {
		if err := n.control.Send(&frame.Control{Body: &frame.Control_Chunk{Chunk: c}}); err != nil {
			return err
		}
	}
	return nil
}

// newer returns the documents whose versions are above those held, and these versions. Agents
// judge users alone, so of the lists of what was revoked they get that one: what changed in it since theirs.
func (n *link) newer(held identity.Versions) (newer []document.Signed, sent identity.Versions) {
	have := map[document.Kind]identity.Version{
		document.KindTrust: held.Trust, document.KindPolicy: held.Policy, document.KindRevocations: held.Revocations,
	}
	for _, s := range n.links.config.Documents.Documents() {
		var body struct {
			Version identity.Version `json:"version"`
		}
		if json.Unmarshal(s.Body, &body) == nil && !have[s.Kind].Less(body.Version) {
			continue
		}
		switch s.Kind {
		case document.KindTrust:
			sent.Trust = body.Version
		case document.KindPolicy:
			sent.Policy = body.Version
		case document.KindRevocations:
			sent.Revocations = body.Version
			s.Lists = map[string]revoked.Records{revoked.Users: n.users(held.Revocations, body.Version, s.Lists[revoked.Users])}
		}
		newer = append(newer, s)
	}
	return newer, sent
}

// users returns what leads from the list of users that an agent holds to another: the change, or else the whole list.
func (n *link) users(held, to identity.Version, whole revoked.Records) revoked.Records {
	n.mu.Lock()
	insist := n.progress.whole
	n.mu.Unlock()
	change, known := n.links.trail.Since(held, to)
	if insist || !known {
		return whole
	}
	return change
}

// acknowledged notes what the agent holds, and sends it what it still lacks if that can help. One that refused what was sent
// isn't sent the same for ever: the next change of documents tries again.
func (n *link) acknowledged(h *frame.Held) {
	newest := n.links.config.Documents.State().Versions()
	n.mu.Lock()
	more := n.progress.acknowledge(h.GetBatch(), versions(h.GetVersions()), newest)
	n.mu.Unlock()
	if more {
		n.kick()
	}
}

func versions(v *frame.Versions) identity.Versions {
	one := func(v *frame.Version) identity.Version {
		return identity.Version{Epoch: v.GetEpoch(), Counter: v.GetCounter()}
	}
	return identity.Versions{Trust: one(v.GetTrust()), Policy: one(v.GetPolicy()), Revocations: one(v.GetRevocations())}
}
