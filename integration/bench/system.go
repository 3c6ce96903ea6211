package main

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// node is the one that every system is started with.
const node = "node-1"

// system is a whole Stile with a state directory of its own.
type system struct {
	*stand.System
	engineer, admin *stand.Person
	user            *stand.Credential
}

// localstack runs a command of the local AWS and gives how long it took.
func (s *system) localstack(ctx context.Context, command string) (time.Duration, error) {
	began := time.Now()
	_, err := s.Localstack(ctx, command)
	return time.Since(began), err
}

// login logs both people in and loads the engineer's credential.
func (s *system) login(ctx context.Context) error {
	var err error
	if s.engineer, err = s.Person(stand.Engineer, ""); err != nil {
		return err
	}
	if s.admin, err = s.Person(stand.Admin, ""); err != nil {
		return err
	}
	for _, who := range []*stand.Person{s.engineer, s.admin} {
		if _, err := whole(who.Command(ctx, "stile", "login", "--iam")); err != nil {
			return err
		}
	}
	s.user, err = s.engineer.Credential()
	return err
}

// way is the way through the proxy and the agent's tunnel.
func (s *system) way() (*way, error) {
	agent, err := s.PID(node)
	if err != nil {
		return nil, err
	}
	proxy, err := s.PID("stile-proxy-0")
	if err != nil {
		return nil, err
	}
	return &way{
		name: "stile", pid: agent, aside: proxy,
		command: func(ctx context.Context, command string) *exec.Cmd {
			return s.engineer.Command(ctx, "stile", "ssh", node, "--", command)
		},
		dial: func(ctx context.Context) (*ssh.Client, error) { return s.dial(ctx, nil) },
	}, nil
}

// connect opens the bytes to the node through the proxy; dial may lead them over something slow.
func (s *system) connect(ctx context.Context, dial tunnel.DialFunc) (net.Conn, error) {
	return s.user.Connect(ctx, node, dial)
}

// dial connects and authenticates as stile does, with the node's certificate verified.
func (s *system) dial(ctx context.Context, dial tunnel.DialFunc) (*ssh.Client, error) {
	conn, err := s.connect(ctx, dial)
	if err != nil {
		return nil, err
	}
	return handshake(conn, s.config())
}

func (s *system) config() *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: s.user.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.user.SSH)}, HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			cert, ok := key.(*ssh.Certificate)
			if !ok {
				return errors.New("no certificate")
			}
			_, err := certs.VerifySSHHost(cert, s.user.Trust.CA(names.KeyHostSSH), node, time.Now())
			return err
		},
	}
}
