package sshd

import (
	"errors"
	"maps"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// provenKey marks the holder in the Permissions of an authentication.
type provenKey struct{}

// holder is a certificate and who it says that its holder is.
type holder struct {
	cert *ssh.Certificate
	user identity.User
}

// proven gives the holder whose key was proven, which need not be the last one offered (CVE-2024-45337).
func proven(p *ssh.Permissions) (holder, bool) {
	if p == nil {
		return holder{}, false
	}
	h, ok := p.ExtraData[provenKey{}].(holder)
	return h, ok
}

// serverConfig is made for each connection: its callbacks know the connection's hint, its key is the newest.
// Of ciphers only AES-GCM is offered: it has nothing for Terrapin (CVE-2023-48795) to cut, strict key
// exchange or not.
func (s *Server) serverConfig(hint Hint) (*ssh.ServerConfig, error) {
	key, err := s.config.HostKey()
	if err != nil {
		return nil, err
	}
	c := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM},
			MACs:         []string{ssh.HMACSHA256ETM},
		},
		PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoECDSA256},
		MaxAuthTries:            authTries,
		ServerVersion:           "SSH-2.0-Stile",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return s.offered(key)
		},
		VerifiedPublicKeyCallback: func(m ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			return s.admit(m.User(), p, hint)
		},
	}
	c.AddHostKey(key)
	return c, nil
}

// offered looks at a key that was offered but not proven: it must be a certificate of this cluster, in force. What it
// is offered for is judged by admit, so that a refusal of somebody who is known is an event, while nobody can have
// events written in the name of a certificate that he does not hold.
func (s *Server) offered(key ssh.PublicKey) (*ssh.Permissions, error) {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a plain key was offered; only certificates are taken")
	}
	user, err := s.config.Gate.Identify(cert)
	if err != nil {
		return nil, banner(err)
	}
	return &ssh.Permissions{ExtraData: map[any]any{provenKey{}: holder{cert, user}}}, nil
}

// admit decides, once the key was proven, and keeps the permissions of that very key.
func (s *Server) admit(login string, p *ssh.Permissions, hint Hint) (*ssh.Permissions, error) {
	who, ok := proven(p)
	if !ok {
		return nil, errors.New("nobody was proven")
	}
	err := s.config.Journal.Room()
	if err == nil {
		err = s.config.Gate.Admit(who.cert, login, hint.Source.Addr())
	}
	if err == nil {
		return p, nil
	}
	f := fault.From(err)
	event := s.event(audit.SessionDenied, who.user, hint)
	event.DecisionID, event.Outcome, event.Reason = f.DecisionID, audit.Denied, f.Message
	event.Data["login"] = clip(login, 64)
	if d, ok := errors.AsType[detailed](err); ok {
		maps.Copy(event.Data, d.Details())
	}
	s.record(event)
	s.config.Log.Info("Session denied", "decision_id", f.DecisionID, "user", who.user.Name, "login", clip(login, 64), "code", string(f.Code), "reason", f.Message)
	return nil, banner(f)
}

// detailed is an error that knows more than the user needs: what the decision rests on.
type detailed interface {
	error
	Details() map[string]string
}

// banner shows a fault to the user before the refusal, in the words of the command line.
func banner(err error) error {
	return &ssh.BannerError{Err: err, Message: sentence(fault.From(err))}
}

// sentence is a fault as a person reads it.
func sentence(f *fault.Fault) string {
	var b strings.Builder
	b.WriteString("stile: error: " + printable(f.Message))
	if f.DecisionID != "" {
		b.WriteString(" (" + f.DecisionID + ")")
	}
	b.WriteString("\r\n")
	if f.Hint != "" {
		b.WriteString("stile: hint: " + printable(f.Hint) + "\r\n")
	}
	return b.String()
}

// printable keeps a terminal from obeying what stands in a message.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
