// Package serve puts an agent together: state, credential, documents, tunnels, sessions and services.
//
// It decides nothing itself. Its entry point is [Run].
package serve

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/agent/link"
	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/agent/state"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Parts are what services are made of. They are ready when an agent asks for its services, and live as long as it.
type Parts struct {
	Documents   document.Feed
	Sessions    *session.Register
	HostKey     func() (ssh.Signer, error) // the newest SSH host certificate's
	Certificate func() *tls.Certificate    // the newest X.509 certificate, for the inner TLS
	Log         *slog.Logger
}

// Services makes an agent's services, by the kind of target that each of them serves.
type Services func(Parts) map[string]session.Service

// Product are the services of stile-agent. A new kind of target gets its line here.
func Product(p Parts) map[string]session.Service {
	return map[string]session.Service{
		names.KindNode: sshd.New(sshd.Config{HostKey: p.HostKey, Documents: p.Documents, Sessions: p.Sessions, Log: p.Log}),
	}
}

// Options are what a program adds to its configuration.
type Options struct {
	Software string   // name and version
	Services Services // nil is Product
	Log      *slog.Logger
}

// agent is all the parts.
type agent struct {
	config   config.Config
	options  Options
	log      *slog.Logger
	dir      *state.Dir
	shelf    *shelf.Shelf
	keeper   *joiner.Renewer
	spool    *spool.Spool
	records  *record.Spool
	sessions *session.Register
	services map[string]session.Service
	links    *link.Links
	refusals refusals
	fresh    *freshness
}

// Run runs an agent until the context ends. It fails when its state can't be opened, or it is to serve what it has no
// service for, or has neither a credential nor the secret that it joins by; what fails later is retried.
func Run(ctx context.Context, c config.Config, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Services == nil {
		o.Services = Product
	}
	syscall.Umask(0o022) // what a login starts with; our own files state their modes
	dir, err := state.Open(c.State)
	if err != nil {
		return err
	}
	defer dir.Close()
	a := &agent{config: c, options: o, log: o.Log, dir: dir}
	if err := a.open(); err != nil {
		return err
	}
	defer a.spool.Close()
	defer a.records.Close()
	defer a.sessions.Close()
	return a.run(ctx)
}

func (a *agent) open() error {
	keys, err := a.dir.Keys()
	if err != nil {
		return err
	}
	if a.shelf, err = shelf.Open(a.dir.Path(state.Documents), "", a.config.CAPin, revoked.Users); err != nil {
		return err
	}
	api, err := client.New(client.Config{URL: a.config.API, HTTP: &http.Client{Transport: transport(a.config.Proxy)}})
	if err != nil {
		return err
	}
	a.keeper, err = joiner.NewRenewer(joiner.Config{
		API: api, Claim: a.claim(), Keys: keys, Documents: a.shelf, Store: a.dir, Changed: a.renewed, Log: a.log,
	})
	if err != nil {
		return err
	}
	if a.config.Method == resource.MethodToken && a.keeper.Current() == nil { // it can't join otherwise, and not without a person
		if _, err := secret(a.config.SecretFile); err != nil {
			return err
		}
	}
	a.spool, err = spool.Open(spool.Config{
		Dir: a.dir.Path(state.Spool), Epoch: strings.ToLower(rand.Text()[:13]), Stamp: a.stamp,
		OnError: func(err error) { a.log.Error("Audit spool not synced", "error", err) },
	})
	if err != nil {
		return err
	}
	if err := a.openRecords(); err != nil {
		return err
	}
	a.sessions = session.New(session.Config{
		Gate: decide.New(decide.Config{Documents: a.shelf, Host: a.host}), Journal: a.spool, Records: records{a.records}, Host: a.host, Cages: newCages(a.log), Log: a.log,
	})
	if err := a.offer(); err != nil {
		return err
	}
	a.links = link.New(link.Config{
		Addrs: a.addrs, Certificate: a.certificate, Trust: a.shelf.Trust,
		Held: a.shelf.Versions, Accept: a.accept, Serve: switchboard{a.services, a.host}.serve, Spool: a.spool, Software: a.options.Software, Log: a.log,
	})
	a.fresh = &freshness{
		newest: func() time.Time { return a.shelf.State().Revocations.IssuedAt }, tell: a.links.Stale,
		record: a.spool.Record, self: func() string { return a.host().ID }, log: a.log,
	}
	return nil
}

// offer makes the services and compares the configuration with them.
func (a *agent) offer() error {
	a.services = a.options.Services(Parts{
		Documents: a.shelf, Sessions: a.sessions, HostKey: a.hostKey, Certificate: a.certificate, Log: a.log,
	})
	return switchboard{a.services, a.host}.unserved(a.config.Serves())
}

// transport reaches the API directly, or through a proxy's port; TLS to the API is verified either way.
func transport(proxy string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.IdleConnTimeout = 5 * time.Second // calls are a day apart
	if proxy != "" {
		return newWay(proxy, t)
	}
	return t
}

func (a *agent) claim() joiner.Claim {
	c := a.config
	return joiner.Claim{
		Kind: identity.KindAgent, Method: c.Method, Token: c.Token, Targets: c.Serves(), Labels: c.Labels, TTL: c.Life(),
		AWS:    func(ctx context.Context) (aws.Config, error) { return ownAWS(ctx, c.Region) },
		Secret: func() (string, error) { return secret(c.SecretFile) },
	}
}

// secret reads a join token's secret; it stays in the file and is kept nowhere else.
func secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.Newf(fault.BadInput, "put the join token's secret there", "the secret file %s can't be read", path).Because(err)
	}
	s := strings.TrimSpace(string(b))
	if !resource.IsSecret(s) {
		return "", fault.Newf(fault.BadInput, "put the join token's secret there as stile create printed it: "+resource.SecretPrefix+" and 43 characters",
			"the secret file %s does not hold a join token's secret", path)
	}
	return s, nil
}

// run waits for a credential, then keeps tunnels until the context ends.
func (a *agent) run(ctx context.Context) error {
	a.log.InfoContext(ctx, "Agent is starting", "software", a.options.Software, "api", a.config.API, "targets", a.config.Serves(), "state", a.config.State, "root", os.Geteuid() == 0)
	for _, w := range warnings(os.Geteuid()) {
		a.log.WarnContext(ctx, "The agent runs with less protection than it could have", "warning", w)
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts.Go(func() { a.keeper.Run(ctx) })
	failed := make(chan error, 1)
	parts.Go(func() { failed <- status.Serve(ctx, a.config.State, a.status) })
	joined := make(chan struct{})
	parts.Go(func() { defer close(joined); a.awaitCredential(ctx) })
	select {
	case <-joined:
	case err := <-failed:
		return err
	}
	parts.Go(func() { a.links.Run(ctx) })
	parts.Go(func() { a.fresh.watch(ctx) })
	a.records.Resume()
	parts.Go(func() { a.uploader().Run(ctx) })
	select {
	case <-ctx.Done():
		a.log.Info("Agent is stopping", "users", a.sessions.Users())
		return nil
	case err := <-failed:
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// warnings says what is weaker than it could be when the agent runs as a user.
func warnings(euid int) []string {
	if euid == 0 {
		return nil
	}
	return []string{"the agent doesn't run as root: it serves only its own user, and its sessions' commands can read its keys and write its audit spool"}
}

// awaitCredential returns when there is a credential that has not expired.
func (a *agent) awaitCredential(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !a.keeper.Live() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// renewed has the tunnels opened again with the new certificate.
func (a *agent) renewed(*joiner.Credential) {
	if a.links != nil {
		a.links.Renewed()
	}
	a.documentsArrived()
}

func (a *agent) documentsArrived() {
	if a.sessions != nil {
		a.sessions.Recheck()
	}
}

// addrs are the proxies known from the configuration and from the last join.
func (a *agent) addrs() []string {
	out := append([]string{}, a.keeper.Current().Proxies...)
	if a.config.Proxy != "" {
		out = append(out, a.config.Proxy)
	}
	return out
}

// hostKey is the newest host certificate's signer.
func (a *agent) hostKey() (ssh.Signer, error) {
	c := a.keeper.Current()
	if c == nil || c.SSH == nil {
		return nil, errors.New("serving SSH: the agent has not joined")
	}
	return c.SSH, nil
}

// certificate is the newest X.509 certificate, nil before the first join.
func (a *agent) certificate() *tls.Certificate {
	if c := a.keeper.Current(); c != nil {
		return c.TLS
	}
	return nil
}

func (a *agent) host() identity.Host {
	if c := a.keeper.Current(); c != nil {
		return c.Host
	}
	return identity.Host{}
}

func (a *agent) stamp() spool.Stamp {
	h := a.host()
	return spool.Stamp{Cluster: h.Cluster, Source: "agent/" + h.ID}
}
