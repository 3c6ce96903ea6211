package sshd

import (
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// connection is one user's SSH connection, with the channels on it.
type connection struct {
	server   *Server
	raw      net.Conn // under ssh
	ssh      *ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
	access   *session.Access // set when the user was admitted
	refused  bool            // a proven user was; only the handshake touches it
	login    string
	hint     session.Hint

	mu   sync.Mutex
	open map[*channel]struct{}
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
func (c *connection) accept(offer ssh.NewChannel) *channel {
	if offer.ChannelType() != "session" {
		_ = offer.Reject(ssh.Prohibited, "stile: channels of type "+escape.Text(clip(offer.ChannelType(), 64))+" are not allowed on this node")
		return nil
	}
	opened, err := c.access.Open()
	if err != nil {
		_ = offer.Reject(ssh.ResourceShortage, "stile: "+fault.From(err).Message)
		return nil
	}
	ch, requests, err := offer.Accept()
	if err != nil {
		opened.End(session.Result{})
		return nil
	}
	s := &channel{connection: c, session: opened, ssh: ch, requests: requests}
	c.mu.Lock()
	if c.open == nil {
		c.open = map[*channel]struct{}{}
	}
	c.open[s] = struct{}{}
	c.mu.Unlock()
	opened.OnKill(s.cut)
	return s
}

func (c *connection) forget(s *channel) {
	c.mu.Lock()
	delete(c.open, s)
	c.mu.Unlock()
}

// farewell is how long telling a user why the access was withdrawn may take.
const farewell = 200 * time.Millisecond

// end says what can be said in a moment and then closes the transport itself, whatever is stuck in it: SSH's own way
// of closing waits for its turn to write. Nobody waits for end.
func (c *connection) end(f *fault.Fault) {
	time.AfterFunc(farewell, func() { _ = c.raw.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.open {
		go s.tell(f)
	}
}

func clip(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
