package sshd

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
)

// provenKey marks the holder in the Permissions of an authentication.
type provenKey struct{}

// holder is a certificate and the user that it says its holder is.
type holder struct {
	cert *ssh.Certificate
	user identity.User
}

// proven returns the holder whose key was proven, which need not be the last one offered (CVE-2024-45337).
func proven(p *ssh.Permissions) (holder, bool) {
	if p == nil {
		return holder{}, false
	}
	h, ok := p.ExtraData[provenKey{}].(holder)
	return h, ok
}

// serverConfig is made for each connection: its callbacks know the connection, its key is the newest.
// Of ciphers only AES-GCM is offered: it has nothing for Terrapin (CVE-2023-48795) to cut, strict key
// exchange or not.
func (s *Server) serverConfig(ctx context.Context, c *connection) (*ssh.ServerConfig, error) {
	key, err := s.config.HostKey()
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM},
			MACs:         []string{ssh.HMACSHA256ETM},
		},
		PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoECDSA256},
		MaxAuthTries:            authTries,
		ServerVersion:           "SSH-2.0-Stile",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return c.offered(key)
		},
		VerifiedPublicKeyCallback: func(m ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			return c.admit(ctx, m.User(), p)
		},
	}
	config.AddHostKey(key)
	return config, nil
}

// offered looks at a key that was offered but not proven: it must be a certificate of this cluster, in force. What it
// is offered for is judged by admit, so that a refusal of somebody who is known is an event, while nobody can have
// events written in the name of a certificate that he does not hold.
func (c *connection) offered(key ssh.PublicKey) (*ssh.Permissions, error) {
	if c.refused {
		return nil, errRefused
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a plain key was offered; only certificates are accepted")
	}
	state := c.server.config.Documents.State()
	user, err := certs.IdentifySSHUser(cert, state.Trust.CA(names.KeyUserSSH), state.Now(c.server.config.Now()))
	if err != nil {
		return nil, banner(err)
	}
	return &ssh.Permissions{ExtraData: map[any]any{provenKey{}: holder{cert, user}}}, nil
}

// admit decides, once the key was proven, and keeps the permissions of that very key. The address that a certificate
// may be pinned to is only a hint here: a proxy that lies about it can only refuse or let through what holds everywhere
// else. One refusal a connection is judged: each further one costs its sender a connection.
func (c *connection) admit(ctx context.Context, login string, p *ssh.Permissions) (*ssh.Permissions, error) {
	who, ok := proven(p)
	if !ok {
		return nil, errors.New("no user was proven")
	}
	if c.refused {
		return nil, errRefused
	}
	request := session.Request{
		User: who.user, Expires: time.Unix(int64(who.cert.ValidBefore), 0), Hint: c.hint,
		Use: policy.Login(clip(login, 64)), Cut: c.end,
	}
	state := c.server.config.Documents.State()
	_, err := certs.VerifySSHUser(who.cert, state.Trust.CA(names.KeyUserSSH),
		certs.SSHUse{Login: login, Source: c.hint.Source.Addr(), Now: state.Now(c.server.config.Now())})
	if err != nil {
		err = c.server.config.Sessions.Refuse(request, err)
	} else {
		c.access, err = c.server.config.Sessions.Admit(ctx, request)
	}
	if err != nil {
		c.refused = true
		return nil, banner(err)
	}
	return p, nil
}

var errRefused = errors.New("a user was refused on this connection, so no other is looked at")

// banner shows a fault to the user before the refusal, in the words of the command line.
func banner(err error) error {
	return &ssh.BannerError{Err: err, Message: sentence(fault.From(err))}
}

// sentence is a fault as a person reads it.
func sentence(f *fault.Fault) string {
	var b strings.Builder
	b.WriteString("stile: error: " + escape.Text(f.Message))
	if f.DecisionID != "" {
		b.WriteString(" (" + f.DecisionID + ")")
	}
	b.WriteString("\r\n")
	if f.Hint != "" {
		b.WriteString("stile: hint: " + escape.Text(f.Hint) + "\r\n")
	}
	return b.String()
}
