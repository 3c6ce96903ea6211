package stand

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
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// Agent is an agent in this process, with a certificate of its own. It serves nothing: it holds tunnels, and reports what it is
// told to.
type Agent struct {
	Documents  *document.Holder
	Credential *joiner.Credential
}

// Secret creates a token as the person, who is an administrator, by which nodes of some names join, and returns its secret.
func (p *Person) Secret(ctx context.Context, token, nodes string, uses int) (string, error) {
	text := fmt.Sprintf("kind: token\nmetadata: {name: %s}\nspec: {method: token, resources: [node], names: ['%s'], uses: %d, expires: %s}\n",
		token, nodes, uses, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	var out, errs bytes.Buffer
	cmd := p.Command(ctx, "stile", "create", "-f", "-", "--format", "json")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("creating the token %s: %w: %s", token, err, errs.Bytes())
	}
	var made []struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(out.Bytes(), &made); err != nil || len(made) != 1 || made[0].Secret == "" {
		return "", errors.Join(errors.New("no secret was printed for the token"), err)
	}
	return made[0].Secret, nil
}

// API calls the person's API as whom the configuration says, or without a name, and trusts the root of the local AWS.
func (p *Person) API(c client.Config) (*client.Client, error) {
	roots := x509.NewCertPool()
	b, err := os.ReadFile(p.Env["SSL_CERT_FILE"])
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(b)
	c.URL = p.Env["STILE_API"]
	c.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return client.New(c)
}

// Join enrols an agent for a node by a token's secret, as servers outside of AWS do. Several may share their documents.
func Join(ctx context.Context, api *client.Client, token, secret, node string, documents *document.Holder) (*Agent, error) {
	sshKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tlsKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	keys := joiner.Keys{SSH: sshKey, TLS: tlsKey}
	answer, err := joiner.Join(ctx, api, joiner.Claim{
		Kind: identity.KindAgent, Method: resource.MethodToken, Token: token,
		Targets: []identity.Target{{Kind: names.KindNode, Name: node}}, Secret: func() (string, error) { return secret, nil },
	}, keys, nil)
	if err != nil {
		return nil, fmt.Errorf("joining as %s: %w", node, err)
	}
	credential, err := joiner.Open(answer, identity.KindAgent, keys, documents, time.Now(), false)
	if err != nil {
		return nil, fmt.Errorf("joining as %s: %w", node, err)
	}
	return &Agent{documents, credential}, nil
}

// held is what the agent claims to hold: what the joins brought.
func (a *Agent) held() *frame.Versions {
	one := func(v identity.Version) *frame.Version { return &frame.Version{Epoch: v.Epoch, Counter: v.Counter} }
	v := a.Documents.Versions()
	return &frame.Versions{Trust: one(v.Trust), Policy: one(v.Policy), Revocations: one(v.Revocations)}
}

// Open opens a tunnel to a proxy and returns once it is registered. Ended is told when it is over.
func (a *Agent) Open(ctx context.Context, ended func()) (tunnel.Session, error) {
	session, _, err := tunnel.Dial(ctx, tunnel.DialConfig{Addr: a.Credential.Proxies[0], Certificate: a.Credential.TLS, Trust: a.Documents.Trust()})
	if err != nil {
		return nil, err
	}
	if err := a.register(ctx, session, ended); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

func (a *Agent) register(ctx context.Context, session tunnel.Session, ended func()) error {
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
			return control.Send(&frame.Control{Body: &frame.Control_Held{Held: &frame.Held{Batch: m.GetChunk().GetBatch(), Versions: a.held()}}})
		case m.GetFault() != nil:
			return m.GetFault().Err()
		}
		return nil
	}})
	over := make(chan error, 1)
	go func() {
		defer ended()
		over <- control.Run()
	}()
	if err := control.Send(&frame.Control{Body: &frame.Control_Register{Register: &frame.Register{
		Version: frame.Protocol, Software: "stand", Held: a.held(),
	}}}); err != nil {
		return err
	}
	select {
	case <-registered:
		return nil
	case err := <-over:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Report makes an event one of this agent: what its certificate says of it, and the number it has in an epoch.
func (a *Agent) Report(e *audit.Event, epoch string, seq uint64) {
	host := a.Credential.Host
	e.Source, e.Cluster, e.Scope, e.SourceEpoch, e.Seq = "agent/"+host.ID, host.Cluster, host.Scope, epoch, seq
}

// Sign makes a batch of events, each signed by the agent.
func (a *Agent) Sign(batch uint64, events ...audit.Event) (*frame.Events, error) {
	m := &frame.Events{Batch: batch}
	for _, e := range events {
		body, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		signature, err := audit.Sign(rand.Reader, a.Credential.TLS.PrivateKey.(*ecdsa.PrivateKey), a.Credential.Host.ID, body)
		if err != nil {
			return nil, err
		}
		m.Events, m.Signatures = append(m.Events, body), append(m.Signatures, signature)
	}
	return m, nil
}

// Reports is an agent's stream of events to a proxy.
type Reports struct{ stream tunnel.Stream }

// OpenReports opens one in a tunnel. A proxy serves one of an agent at once.
func OpenReports(ctx context.Context, session tunnel.Session) (*Reports, error) {
	s, err := session.Open(ctx)
	if err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(until)
	}
	if err = frame.Write(s, &frame.Purpose{Name: names.StreamEvents}); err == nil {
		err = frame.ReadAnswer(s)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Reports{s}, nil
}

// Send hands over a batch, and doesn't wait until it is held.
func (r *Reports) Send(batch *frame.Events) error { return frame.Write(r.stream, batch) }

// Deliver hands over a batch and waits until the proxy says that the ledger holds it.
func (r *Reports) Deliver(batch *frame.Events) error {
	if err := r.Send(batch); err != nil {
		return err
	}
	for {
		var held frame.EventsHeld
		if err := frame.Read(r.stream, &held); err != nil {
			return err
		}
		if held.GetBatch() == batch.GetBatch() {
			return nil
		}
	}
}

// Close ends the stream.
func (r *Reports) Close() error { return r.stream.Close() }
