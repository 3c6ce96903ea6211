// Package inner serves every protocol but SSH: it ends the second TLS between a client and this agent, in which the
// user's certificate proves who it is, has the use that the client names admitted, and hands the session and its plain
// bytes to the protocol's handler.
//
// It knows no protocol. Its entry point is [New].
package inner

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"time"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/ration"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// authTime is how long a client may take from its first byte until its use is admitted.
const authTime = 10 * time.Second

// maxUses and maxUse bound what a client says about a use before anyone looks at it.
const (
	maxUses = 8
	maxUse  = 256
)

// Handler serves one session of a protocol until it ends, and says how it ended. The stream is closed after it, or under
// it when the session is cut.
type Handler func(ctx context.Context, s *session.Session, stream net.Conn) session.Result

// Config is what a service needs. Documents, Certificate, Sessions and Handle are required.
type Config struct {
	Documents   document.Feed
	Certificate func() *tls.Certificate // this agent's newest
	Sessions    *session.Register
	Handle      Handler
	Log         *slog.Logger     // nil discards
	Now         func() time.Time // nil is time.Now
	AuthTime    time.Duration    // 0 is 10 s
}

// Service serves one kind of target. It is safe for concurrent use.
type Service struct {
	config Config
	lines  ration.Lines // of the log, by address
}

// New makes a service.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AuthTime == 0 {
		c.AuthTime = authTime
	}
	return &Service{config: c, lines: ration.NewLines()}
}

var _ session.Service = (*Service)(nil)

// Serve implements [session.Service].
func (s *Service) Serve(ctx context.Context, stream net.Conn, hint session.Hint) {
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	limit, cancel := context.WithTimeout(ctx, s.config.AuthTime)
	defer cancel()
	// The deadline is the stream's own, so that a client that stops reading or writing can't outwait it.
	_ = stream.SetDeadline(time.Now().Add(s.config.AuthTime))
	state := s.config.Documents.State()
	conn, user, cert, err := tunnel.AcceptInner(limit, stream, s.config.Certificate, state, state.Now(s.config.Now()))
	if conn == nil {
		if between, ok := s.lines.Take(hint.Source.Addr(), time.Now()); ok {
			s.config.Log.InfoContext(ctx, "Connection ended before its user was known", "error", err, "source_hint", hint.Source.String(),
				"trace_id", hint.TraceID, "not_logged_before", between)
		}
		return
	}
	if err == nil {
		err = certs.SourceAllowed(user.SourceAddress, hint.Source.Addr())
	}
	if err != nil {
		_ = frame.WriteRefusal(conn, err)
		return
	}
	access, opened, err := s.admit(limit, conn, stream, user, cert, hint)
	if err != nil {
		_ = frame.WriteRefusal(conn, err)
		return
	}
	defer access.Close()
	_ = stream.SetDeadline(time.Time{})
	if frame.WriteOpen(conn) != nil {
		opened.End(session.Result{Outcome: audit.Failure, Reason: "the client disconnected before the session began"})
		return
	}
	result := s.config.Handle(ctx, opened, conn)
	opened.Output().End()
	opened.End(result)
	_ = conn.Close()
}

// admit reads the use, has it decided, and begins a session.
func (s *Service) admit(ctx context.Context, conn *tls.Conn, stream net.Conn, user identity.User, cert *x509.Certificate, hint session.Hint) (*session.Access, *session.Session, error) {
	var f frame.Use
	if err := frame.Read(conn, &f); err != nil {
		return nil, nil, malformed().Because(err)
	}
	use := policy.Use{}
	for name, value := range f.GetUse() {
		if len(f.GetUse()) > maxUses || len(name) > maxUse || len(value) > maxUse {
			return nil, nil, malformed()
		}
		use[name] = value
	}
	access, err := s.config.Sessions.Admit(ctx, session.Request{
		User: user, Expires: cert.NotAfter, Hint: hint, Use: use, Cut: func(*fault.Fault) { _ = stream.Close() },
	})
	if err != nil {
		return nil, nil, err
	}
	opened, err := access.Open()
	if err == nil {
		// A cut may find a session between two bytes: closing what it reads from ends it.
		opened.OnKill(func(*fault.Fault) { _ = stream.Close() })
		if err = opened.Start(map[string]string{"kind": hint.Target.Kind}, session.Show{}); err != nil {
			err = opened.Deny(err)
			opened.End(session.Result{})
		}
	}
	if err != nil {
		access.Close()
		return nil, nil, err
	}
	return access, opened, nil
}

func malformed() *fault.Fault {
	return fault.New(fault.BadInput, "the client's description of the session can't be read", "update the client")
}
