// Package sshd is the service for nodes, an SSH server: it takes connections that a proxy handed on, believes nothing
// about them but what the user's certificate proves, and runs shells and commands as the login asked for.
//
// It doesn't know how connections arrive or how roles are evaluated; who may come in and what of it is journaled is
// package session's. Its entry point is [New].
package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/account"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ration"
)

// Limits on what one connection may take. How many sessions it may hold is package session's.
const (
	authTime  = 10 * time.Second // from the first byte to a proven and admitted user
	authTries = 6
)

// Config is what a server needs. HostKey, Documents and Sessions are required.
type Config struct {
	HostKey   func() (ssh.Signer, error) // the host certificate's signer, asked for each connection
	Documents interface{ State() document.State }
	Sessions  *session.Register
	Accounts  account.Tables
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil is time.Now
	AuthTime  time.Duration    // for a user to be admitted; 0 is 10 s

	euid func() int // whom the agent runs as; nil is os.Geteuid
}

// Server serves SSH connections. It is safe for concurrent use.
type Server struct {
	config Config
	told   sync.Once // that sessions' processes get no login user
	lines  ration.Lines
}

// New makes a server.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AuthTime == 0 {
		c.AuthTime = authTime
	}
	if c.euid == nil {
		c.euid = os.Geteuid
	}
	return &Server{config: c, lines: ration.NewLines()}
}

// unmarked logs once why the kernel's audit trail won't tell who began a process.
func (s *Server) unmarked(err error) {
	s.told.Do(func() {
		s.config.Log.Warn("The kernel doesn't let sessions' processes have a login user, so its own audit trail won't name who began them", "error", err)
	})
}

var _ session.Service = (*Server)(nil)

// Serve speaks SSH on conn until it ends, the context is cancelled or the user's access is taken back, and closes it. It
// returns when every session has ended; a process that ignored its user's leaving may live on.
func (s *Server) Serve(ctx context.Context, conn net.Conn, hint session.Hint) {
	defer conn.Close()
	c, err := s.handshake(ctx, conn, hint)
	if err != nil {
		if between, ok := s.lines.Take(hint.Source.Addr(), time.Now()); ok && !errors.Is(err, io.EOF) {
			s.config.Log.InfoContext(ctx, "SSH connection ended before login", "error", err, "source_hint", hint.Source.String(), "trace_id", hint.TraceID, "not_logged_before", between)
		}
		return
	}
	defer c.access.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c.serve()
}

// handshake proves and admits the user in time.
func (s *Server) handshake(ctx context.Context, conn net.Conn, hint session.Hint) (*connection, error) {
	limit := time.AfterFunc(s.config.AuthTime, func() { _ = conn.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := &connection{server: s, raw: conn, hint: hint}
	config, err := s.serverConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	c.ssh, c.channels, c.requests, err = ssh.NewServerConn(conn, config)
	if err != nil {
		if c.access != nil { // admitted, and gone before the server could say so
			c.access.Close()
		}
		return nil, fmt.Errorf("authenticating: %w", err)
	}
	who, ok := proven(c.ssh.Permissions)
	if !ok || c.access == nil || who.user.UID != c.access.User().UID {
		_ = c.ssh.Close()
		if c.access != nil {
			c.access.Close()
		}
		return nil, errors.New("authenticating: no user was proven")
	}
	c.login = c.ssh.User()
	return c, nil
}
