// Package shell works on a node over SSH: it dials through a proxy, makes sure that the node is the one
// that was asked for, and joins this process's streams, terminal and signals to one remote command.
//
// It reads no profile and calls no API, so that it works while the control plane is down. Its entry points
// are [Dial] and [Run].
package shell

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// Config says where to go and as whom.
type Config struct {
	Node           string
	Login          string
	SSHKey         *ecdsa.PrivateKey
	SSHCertificate []byte // wire format
	TLSKey         *ecdsa.PrivateKey
	TLSCertificate []byte // DER
	Trust          document.Trust
	Proxies        []string         // host:port, tried in order, as [Dial] says
	Timeout        time.Duration    // for connecting and authenticating through each proxy; 0 is 15 s
	Now            func() time.Time // nil: time.Now
	Banner         io.Writer        // where a node's banner goes, made safe for a terminal; nil drops it
	Warn           func(string)     // told of each address that is not the cluster's, when there is more to tell than that; may be nil
}

// through makes one attempt through one proxy. It returns a client or a failure.
func (c Config) through(ctx context.Context, addr string, auth ssh.Signer) (*ssh.Client, *failure) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	raw, err := tunnel.DialConnect(ctx, tunnel.ConnectConfig{
		Addrs:       []string{addr},
		Certificate: &tls.Certificate{Certificate: [][]byte{c.TLSCertificate}, PrivateKey: c.TLSKey},
		Trust:       c.Trust,
		Target:      identity.Target{Kind: names.KindNode, Name: c.Node},
		TraceID:     traceID(),
		Now:         c.Now,
	})
	if err != nil {
		return nil, unconnected(err)
	}
	conn := &watched{Conn: raw}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	var said banner
	sc, chans, reqs, err := ssh.NewClientConn(conn, c.Node, &ssh.ClientConfig{
		User:              c.Login,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(auth)},
		HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
		HostKeyCallback:   c.verifyHost,
		BannerCallback:    said.add,
		ClientVersion:     "SSH-2.0-stile",
	})
	if err != nil {
		_ = raw.Close()
		return nil, c.explain(ctx, conn, err, said.String())
	}
	if c.Banner != nil {
		said.show(c.Banner)
	}
	return ssh.NewClient(sc, chans, reqs), nil
}

// verifyHost accepts the node only by a host certificate of the cluster for exactly the name asked for.
func (c Config) verifyHost(_ string, _ net.Addr, key ssh.PublicKey) error {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return fault.Newf(fault.Unauthenticated, "tell your administrator: something else is answering in the node's place",
			"node %s showed a bare key instead of a certificate", c.Node)
	}
	if _, err := certs.VerifySSHHost(cert, c.Trust.CA(names.KeyHostSSH), c.Node, c.Now()); err != nil {
		return fault.Newf(fault.Unauthenticated, "log in again if the cluster's keys were rotated; otherwise something else is answering in the node's place",
			"node %s could not prove its name: %v", c.Node, err).Because(err)
	}
	return nil
}

// explain finds the fault behind a failed handshake: the proxy's refusal, our own refusal of the host, the
// node's words, or what the failure means.
func (c Config) explain(ctx context.Context, conn *watched, err error, said string) *failure {
	if refusal := conn.refusal(); refusal != nil {
		return refused(refusal)
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return &failure{f, wrongNode}
	}
	if ctx.Err() != nil {
		return &failure{fault.Newf(fault.Unreachable, "try again; run stile ls to see whether it is online",
			"node %s did not answer within %s", c.Node, c.Timeout).Because(err), silent}
	}
	if _, ok := errors.AsType[*ssh.ServerAuthError](err); ok || strings.Contains(err.Error(), "unable to authenticate") {
		return &failure{c.refusedLogin(said).Because(err), final}
	}
	return &failure{fault.Newf(fault.Unreachable, "try again; if it keeps happening, ask your administrator to check the agent's log",
		"the SSH connection to node %s broke", c.Node).Because(err), silent}
}

// signer returns a signer for the SSH key's certificate.
func signer(key *ecdsa.PrivateKey, certificate []byte) (ssh.Signer, error) {
	relogin := func(err error) error {
		return fault.New(fault.Unauthenticated, "the SSH certificate on this machine is damaged", "run: stile login --iam").Because(err)
	}
	pub, err := ssh.ParsePublicKey(certificate)
	if err != nil {
		return nil, relogin(err)
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return nil, relogin(errors.New("not a certificate"))
	}
	plain, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, relogin(err)
	}
	s, err := ssh.NewCertSigner(cert, plain)
	if err != nil {
		return nil, relogin(err)
	}
	return s, nil
}

// watched remembers the fault that a read ended with, since the SSH library keeps only its text.
type watched struct {
	net.Conn
	mu    sync.Mutex
	fault *fault.Fault
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		w.mu.Lock()
		w.fault = f
		w.mu.Unlock()
	}
	return n, err
}

func (w *watched) refusal() *fault.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}
