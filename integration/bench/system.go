package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// node is the one that every system is started with.
const node = "node-1"

// system is a whole Stile with a state directory of its own.
type system struct {
	*stand.System
	engineer, admin *stand.Person
	user            credential
}

// credential is what the engineer's login left.
type credential struct {
	login   string
	ssh     ssh.Signer
	tls     *tls.Certificate
	trust   document.Trust
	proxies []string
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
	s.user, err = load(s.engineer.Home)
	return err
}

// load reads what a login left in STILE_HOME.
func load(home string) (credential, error) {
	found, err := filepath.Glob(filepath.Join(home, "*", "credential.json"))
	if err != nil || len(found) != 1 {
		return credential{}, errors.Join(fmt.Errorf("%d credentials in %s", len(found), home), err)
	}
	var stored struct {
		Logins         []string `json:"logins"`
		SSHCertificate []byte   `json:"ssh_certificate"`
		TLSCertificate []byte   `json:"tls_certificate"`
		SSHKey         []byte   `json:"ssh_key"`
		TLSKey         []byte   `json:"tls_key"`
	}
	var c credential
	if err := readJSON(found[0], &stored); err != nil {
		return c, err
	}
	if err := readJSON(filepath.Join(filepath.Dir(found[0]), "proxies.json"), &c.proxies); err != nil {
		return c, err
	}
	documents, err := shelf.Open(filepath.Join(filepath.Dir(found[0]), "trust"), "", "")
	if err != nil {
		return c, err
	}
	c.trust = documents.Trust()
	if len(stored.Logins) == 0 || len(c.proxies) == 0 {
		return c, errors.New("the login gave no logins or no proxies")
	}
	c.login = stored.Logins[0]
	sshKey, err1 := x509.ParsePKCS8PrivateKey(stored.SSHKey)
	tlsKey, err2 := x509.ParsePKCS8PrivateKey(stored.TLSKey)
	certificate, err3 := ssh.ParsePublicKey(stored.SSHCertificate)
	if err := errors.Join(err1, err2, err3); err != nil {
		return c, err
	}
	c.tls = &tls.Certificate{Certificate: [][]byte{stored.TLSCertificate}, PrivateKey: tlsKey}
	plain, err := ssh.NewSignerFromSigner(sshKey.(*ecdsa.PrivateKey))
	if err != nil {
		return c, err
	}
	c.ssh, err = ssh.NewCertSigner(certificate.(*ssh.Certificate), plain)
	return c, err
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
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
	return tunnel.DialConnect(ctx, tunnel.ConnectConfig{
		Addrs: s.user.proxies, Certificate: s.user.tls, Trust: s.user.trust, Target: identity.Target{Kind: names.KindNode, Name: node}, TraceID: "bench", Dial: dial,
	})
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
		User: s.user.login, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.user.ssh)}, HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			cert, ok := key.(*ssh.Certificate)
			if !ok {
				return errors.New("no certificate")
			}
			_, err := certs.VerifySSHHost(cert, s.user.trust.CA(names.KeyHostSSH), node, time.Now())
			return err
		},
	}
}
