package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// fleet is many agents in this process, each with a certificate and a tunnel of its own. They serve nothing.
type fleet struct {
	documents   *document.Holder
	credentials []*joiner.Credential
	mu          sync.Mutex
	tunnels     []tunnel.Session
	live        atomic.Int64
}

// join enrols agents with a token's secret, as servers outside of AWS do.
func join(ctx context.Context, s *system, many int) (*fleet, error) {
	secret, err := s.token(ctx, many)
	if err != nil {
		return nil, err
	}
	api, err := s.api(client.Config{})
	if err != nil {
		return nil, err
	}
	f := &fleet{documents: document.NewHolder("", ""), credentials: make([]*joiner.Credential, many)}
	var taking sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range many {
		group.Go(func() error {
			keys, err := newKeys()
			if err != nil {
				return err
			}
			answer, err := joiner.Join(ctx, api, joiner.Claim{
				Kind: identity.KindAgent, Method: resource.MethodToken, Token: "bench",
				Targets: []identity.Target{{Kind: names.KindNode, Name: fmt.Sprintf("bench-%d", i)}}, Secret: func() (string, error) { return secret, nil },
			}, keys, nil)
			if err != nil {
				return err
			}
			taking.Lock()
			defer taking.Unlock()
			f.credentials[i], err = joiner.Open(answer, identity.KindAgent, keys, f.documents, time.Now(), false)
			return err
		})
	}
	return f, group.Wait()
}

// token creates the fleet's token as the administrator and gives its secret.
func (s *system) token(ctx context.Context, uses int) (string, error) {
	text := fmt.Sprintf("kind: token\nmetadata: {name: bench}\nspec: {method: token, resources: [node], names: ['bench-*'], uses: %d, expires: %s}\n",
		uses, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	var out bytes.Buffer
	cmd := s.admin.Command(ctx, "stile", "create", "-f", "-", "--format", "json")
	cmd.Stdin, cmd.Stdout = strings.NewReader(text), &out
	if _, err := whole(cmd); err != nil {
		return "", err
	}
	var made []struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(out.Bytes(), &made); err != nil || len(made) != 1 || made[0].Secret == "" {
		return "", errors.Join(errors.New("no secret was printed for the token"), err)
	}
	return made[0].Secret, nil
}

// api calls as whom the configuration says, or without a name, and trusts the root of the local AWS.
func (s *system) api(c client.Config) (*client.Client, error) {
	roots := x509.NewCertPool()
	b, err := os.ReadFile(s.engineer.Env["SSL_CERT_FILE"])
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(b)
	c.URL = s.engineer.Env["STILE_API"]
	c.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return client.New(c)
}

func newKeys() (joiner.Keys, error) {
	sshKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tlsKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return joiner.Keys{SSH: sshKey, TLS: tlsKey}, errors.Join(err1, err2)
}

// connect opens a tunnel for each agent and returns when all are registered.
func (f *fleet) connect(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, c := range f.credentials {
		group.Go(func() error { return f.open(ctx, c) })
	}
	return group.Wait()
}

func (f *fleet) open(ctx context.Context, c *joiner.Credential) error {
	session, _, err := tunnel.Dial(ctx, tunnel.DialConfig{Addr: c.Proxies[0], Certificate: c.TLS, Trust: f.documents.Trust()})
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.tunnels = append(f.tunnels, session)
	f.mu.Unlock()
	stream, err := session.Open(ctx)
	if err != nil {
		return err
	}
	registered := make(chan struct{})
	var once sync.Once
	var control *tunnel.Control
	control = tunnel.NewControl(tunnel.ControlConfig{Stream: stream, Handle: func(m *frame.Control) error {
		switch {
		case m.GetRegistered() != nil:
			once.Do(func() { close(registered) })
		case m.GetChunk().GetLast():
			return control.Send(&frame.Control{Body: &frame.Control_Held{Held: &frame.Held{Batch: m.GetChunk().GetBatch(), Versions: f.held()}}})
		case m.GetFault() != nil:
			return m.GetFault().Err()
		}
		return nil
	}})
	ended := make(chan error, 1)
	f.live.Add(1)
	go func() {
		defer f.live.Add(-1)
		ended <- control.Run()
	}()
	if err := control.Send(&frame.Control{Body: &frame.Control_Register{Register: &frame.Register{
		Version: frame.Protocol, Software: "bench", Held: f.held(),
	}}}); err != nil {
		return err
	}
	select {
	case <-registered:
		return nil
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// held is what all agents claim to hold: what the joins brought.
func (f *fleet) held() *frame.Versions {
	one := func(v identity.Version) *frame.Version { return &frame.Version{Epoch: v.Epoch, Counter: v.Counter} }
	v := f.documents.Versions()
	return &frame.Versions{Trust: one(v.Trust), Policy: one(v.Policy), Revocations: one(v.Revocations)}
}

// alive counts the tunnels that stand.
func (f *fleet) alive() int { return int(f.live.Load()) }

func (f *fleet) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tunnels {
		_ = t.Close()
	}
}
