// Package sshd is the SSH server of an agent: it takes connections that a proxy handed on, believes nothing
// about them but what the user's certificate proves, and runs shells and commands as the login asked for.
//
// It doesn't know how connections arrive, where documents come from or how roles are evaluated; those are the
// [Gate]'s. Its entry point is [New].
package sshd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/account"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
)

// Limits on what one connection may take.
const (
	authTime    = 10 * time.Second // from the first byte to a proven and admitted user
	authTries   = 6
	maxChannels = 64 // sessions open at once on one connection
)

// Gate judges users. Its errors are faults whose sentences the user sees.
type Gate interface {
	// Identify says whose certificate this is, whatever it is offered for. Nothing is proven yet.
	Identify(cert *ssh.Certificate) (identity.User, error)
	// Admit decides whether the user, who has proven to hold the certificate, may use the login on this node, from an
	// address that is only a hint. A denial carries a decision id.
	Admit(cert *ssh.Certificate, login string, source netip.Addr) error
	// Barred says whether a lock or revocation now ends what was admitted.
	Barred(user identity.User, login, session string) error
}

// Journal keeps audit events until they are delivered. The sequence, source and cluster are its to fill.
type Journal interface {
	// Room fails when no new session's events could be kept.
	Room() error
	// Record keeps an event.
	Record(audit.Event) error
}

// Config is what a server needs. HostKey, Gate, Journal and Node are required.
type Config struct {
	HostKey  func() (ssh.Signer, error) // the host certificate's signer, asked for each connection
	Gate     Gate
	Journal  Journal
	Node     func() identity.Host // this agent, as its certificate says
	Accounts account.Tables
	Log      *slog.Logger     // nil discards
	Now      func() time.Time // nil is time.Now
	Entropy  io.Reader        // nil is crypto/rand
	AuthTime time.Duration    // for a user to be admitted; 0 is 10 s
}

// Server serves SSH connections. It is safe for concurrent use.
type Server struct {
	config Config
	mu     sync.Mutex
	live   map[*connection]struct{}
}

// New makes a server.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.AuthTime == 0 {
		c.AuthTime = authTime
	}
	return &Server{config: c, live: map[*connection]struct{}{}}
}

// Hint is what a proxy says about a connection. None of it is proven.
type Hint struct {
	Target  string         // the name that the client asked for
	Source  netip.AddrPort // the client's address
	TraceID string
	Proxy   string // proxy id
}

// Serve speaks SSH on conn until it ends, the context is cancelled or a lock cuts it, and closes it. It returns
// after every process that it started has gone.
func (s *Server) Serve(ctx context.Context, conn net.Conn, hint Hint) {
	defer conn.Close()
	c, err := s.handshake(ctx, conn, hint)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.config.Log.InfoContext(ctx, "SSH connection ended before login", "error", err, "source_hint", hint.Source.String(), "trace_id", hint.TraceID)
		}
		return
	}
	s.add(c)
	defer s.remove(c)
	stop := context.AfterFunc(ctx, func() { _ = c.ssh.Close() })
	defer stop()
	c.serve()
}

// handshake proves and admits the user in time.
func (s *Server) handshake(ctx context.Context, conn net.Conn, hint Hint) (*connection, error) {
	limit := time.AfterFunc(s.config.AuthTime, func() { _ = conn.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	config, err := s.serverConfig(hint)
	if err != nil {
		return nil, err
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return nil, fmt.Errorf("authenticating: %w", err)
	}
	who, ok := proven(sc.Permissions)
	if !ok {
		_ = sc.Close()
		return nil, errors.New("authenticating: nobody was proven")
	}
	return &connection{server: s, ssh: sc, channels: channels, requests: requests, user: who.user, login: sc.User(), hint: hint}, nil
}

func (s *Server) add(c *connection) {
	s.mu.Lock()
	s.live[c] = struct{}{}
	s.mu.Unlock()
	c.recheck() // a lock may have arrived between the decision and now
}

func (s *Server) remove(c *connection) {
	s.mu.Lock()
	delete(s.live, c)
	s.mu.Unlock()
}

// Recheck ends the connections that new documents bar. Call it whenever documents arrived.
func (s *Server) Recheck() {
	for _, c := range s.connections() {
		c.recheck()
	}
}

// Connections is how many users are connected.
func (s *Server) Connections() int { return len(s.connections()) }

func (s *Server) connections() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*connection, 0, len(s.live))
	for c := range s.live {
		out = append(out, c)
	}
	return out
}
