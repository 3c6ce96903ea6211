package sshd

import (
	"context"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// connection is one user's SSH connection, with the sessions on it.
type connection struct {
	server   *Server
	ssh      *ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
	user     identity.User
	login    string
	hint     Hint

	mu       sync.Mutex
	sessions map[*session]struct{}
	cut      *fault.Fault // set once barred: no further session begins
}

// serve takes channels until the connection ends, and waits for its sessions.
func (c *connection) serve() {
	var running sync.WaitGroup
	running.Go(func() { ssh.DiscardRequests(c.requests) }) // no global request is served: no forwarding
	for offer := range c.channels {
		if s := c.accept(offer); s != nil {
			running.Go(func() {
				defer c.forget(s)
				s.serve()
			})
		}
	}
	_ = c.ssh.Close()
	running.Wait()
}

// accept opens a session, or refuses the channel and returns nil. Each kind of channel that is not named
// here is refused: forwarding, agents and X11 are capabilities of their own.
func (c *connection) accept(offer ssh.NewChannel) *session {
	if offer.ChannelType() != "session" {
		_ = offer.Reject(ssh.Prohibited, "stile: channels of type "+printable(clip(offer.ChannelType(), 64))+" are not allowed on this node")
		return nil
	}
	s := &session{connection: c, id: identity.NewID("ses", c.server.config.Entropy, c.server.config.Now())}
	if reason := c.keep(s); reason != "" {
		_ = offer.Reject(ssh.ResourceShortage, reason)
		return nil
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		c.forget(s)
		return nil
	}
	s.channel, s.requests = channel, requests
	return s
}

// keep counts the session in, or says why not.
func (c *connection) keep(s *session) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cut != nil:
		return "stile: " + c.cut.Message
	case len(c.sessions) >= maxChannels:
		return "stile: too many sessions on one connection; close one"
	}
	if c.sessions == nil {
		c.sessions = map[*session]struct{}{}
	}
	c.sessions[s] = struct{}{}
	return ""
}

func (c *connection) forget(s *session) {
	c.mu.Lock()
	delete(c.sessions, s)
	c.mu.Unlock()
}

// recheck ends the connection, telling its sessions why, if the user is barred by now.
func (c *connection) recheck() {
	err := c.server.config.Gate.Barred(c.user, c.login, "")
	if err == nil {
		c.recheckSessions()
		return
	}
	f := fault.From(err)
	c.mu.Lock()
	c.cut = f
	c.mu.Unlock()
	for _, s := range c.open() {
		s.end(f)
	}
	c.server.config.Log.InfoContext(context.Background(), "Connection cut", "user", c.user.Name, "reason", f.Message)
	_ = c.ssh.Close()
}

func (c *connection) recheckSessions() {
	for _, s := range c.open() {
		if err := c.server.config.Gate.Barred(c.user, c.login, s.id); err != nil {
			s.end(fault.From(err))
		}
	}
}

func (c *connection) open() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*session, 0, len(c.sessions))
	for s := range c.sessions {
		out = append(out, s)
	}
	return out
}

// event begins an audit event about a user on this node.
func (s *Server) event(kind audit.Type, user identity.User, hint Hint) audit.Event {
	node := s.config.Node()
	e := audit.New(kind, s.config.Entropy, s.config.Now())
	e.Actor, e.ActorRoles = "user/"+user.Name, user.Roles
	e.TargetKind, e.Target, e.Scope = "node", nodeName(node, hint.Target), node.Scope
	e.Data = map[string]string{"certificate": user.Certificate}
	if hint.Source.IsValid() {
		e.SourceIP = hint.Source.Addr().Unmap().String()
	}
	return e
}

// record keeps an event; one that can't be kept is logged, as there is nobody left to tell.
func (s *Server) record(e audit.Event) {
	if err := s.config.Journal.Record(e); err != nil {
		s.config.Log.Error("Audit event not kept", "type", string(e.Type), "session_id", e.SessionID, "error", err)
	}
}

// nodeName gives the name that a target stands for: an agent reached by its id goes by its first name.
func nodeName(node identity.Host, target string) string {
	for _, n := range node.Names {
		if n == target {
			return n
		}
	}
	if len(node.Names) > 0 {
		return node.Names[0]
	}
	return node.ID
}

func clip(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
