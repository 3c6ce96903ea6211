// Package serve puts a proxy together: credential, documents, the port and the feed.
//
// It decides nothing itself. Its entry point is [Run].
package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/config"
	"github.com/stile-dev/stile/proxy/connect"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/feed"
	"github.com/stile-dev/stile/proxy/link"
	"github.com/stile-dev/stile/proxy/passthrough"
	"github.com/stile-dev/stile/proxy/route"
)

// handOver is how long agents may take to connect to other proxies before the port closes. It is also how long the last
// events may take, after [config.DrainLimit].
const handOver = 5 * time.Second

// proxy is all the parts.
type proxy struct {
	config   config.Config
	log      *slog.Logger
	holder   *document.Holder
	keeper   *joiner.Renewer
	routes   *route.Table
	links    *link.Links
	edge     *edge.Edge
	events   *feed.Events
	presence *feed.Presence
	head     *feed.Head
	started  time.Time
}

// Run runs a proxy until stop ends, then drains it: agents are sent elsewhere, sessions may finish within a limit.
func Run(stop context.Context, c config.Config, log *slog.Logger) error {
	p := &proxy{config: c, log: log, started: time.Now()}
	if err := p.open(stop); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop))
	defer cancel()
	return p.run(ctx, stop)
}

func (p *proxy) open(ctx context.Context) error {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("reading the AWS configuration: %w", err)
	}
	api, err := client.New(client.Config{URL: p.config.API, HTTP: &http.Client{Transport: own{func() bool { return p.certificate() != nil }, p.vouch, http.DefaultTransport}}})
	if err != nil {
		return err
	}
	keys, err := newKeys()
	if err != nil {
		return err
	}
	p.holder = document.NewHolder(p.config.Cluster, "") // its first documents come over the API's TLS
	p.keeper, err = joiner.NewRenewer(joiner.Config{
		API: api, Keys: keys, Documents: p.holder, Log: p.log,
		Claim: joiner.Claim{
			Kind: identity.KindProxy, Method: resource.MethodIAM, Token: resource.FleetToken,
			AWS: func(context.Context) (aws.Config, error) { return cfg, nil },
		},
	})
	if err != nil {
		return err
	}
	db := dynamodb.NewFromConfig(cfg)
	books := ledger.New(ledger.Config{DynamoDB: db, Table: p.config.Ledger, Pace: ledger.ProxyPace})
	p.events = &feed.Events{Append: books.Append, Source: func() (string, string) { return p.config.Cluster, p.id() }, Log: p.log}
	p.routes = &route.Table{}
	p.links = link.New(link.Config{
		Documents: p.holder, Routes: p.routes, Proxy: p.host, Deliver: books.Deliver, Limited: p.events.Limited, Record: p.events.Record, Log: p.log,
	})
	p.head = &feed.Head{
		Store: head.New(head.Config{
			DynamoDB: db, S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), Table: p.config.State, Bucket: p.config.Documents,
		}),
		Documents: p.holder, Changed: p.links.Push, Refused: p.events.Refused, Log: p.log,
	}
	p.presence = &feed.Presence{
		Table: presence.New(presence.Config{DynamoDB: db, Table: p.config.Presence}), Log: p.log,
		Lease: p.lease, Tunnels: p.tunnels, Proxies: p.proxies,
	}
	p.routes.Changed = p.presence.Changed
	p.edge = p.newEdge()
	return nil
}

// newKeys makes keys that live as long as this process. The first one names no use of a proxy's, but a join
// is always for two.
func newKeys() (joiner.Keys, error) {
	one, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return joiner.Keys{}, fmt.Errorf("making keys: %w", err)
	}
	two, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return joiner.Keys{}, fmt.Errorf("making keys: %w", err)
	}
	return joiner.Keys{SSH: one, TLS: two}, nil
}

func (p *proxy) newEdge() *edge.Edge {
	connects := connect.New(connect.Config{
		Documents: p.holder, Routes: p.routes, Proxy: p.host, Record: p.events.Record, Limited: p.events.Limited, Log: p.log,
	})
	exit := passthrough.New(passthrough.Config{Addr: p.config.APIHost(), Vouch: p.vouch, Log: p.log})
	return edge.New(edge.Config{
		TLS: tunnel.ServerTLS(p.certificate, names.ALPNTunnel, names.ALPNConnect, names.ALPNAPI, names.ALPNAPI1),
		Handlers: map[string]edge.Handler{
			names.ALPNTunnel: p.links.Serve, names.ALPNConnect: connects.Serve, names.ALPNAPI: exit.Serve, names.ALPNAPI1: exit.Serve,
		},
		Proxied: p.config.Proxied, Log: p.log,
	})
}

func (p *proxy) certificate() *tls.Certificate {
	if c := p.keeper.Current(); c != nil {
		return c.TLS
	}
	return nil
}

func (p *proxy) host() identity.Host {
	if c := p.keeper.Current(); c != nil {
		return c.Host
	}
	return identity.Host{}
}

func (p *proxy) id() string { return p.host().ID }

func (p *proxy) lease() presence.Lease {
	return presence.Lease{Proxy: p.id(), Addr: p.config.PublicAddr, Started: p.started, Key: p.vouchKey()}
}

// tunnels returns what presence says about the routes: each agent once.
func (p *proxy) tunnels() []presence.Tunnel {
	newest := map[string]presence.Tunnel{}
	for _, t := range p.routes.All() {
		if old, ok := newest[t.Agent.ID]; !ok || t.Since.After(old.Since) {
			newest[t.Agent.ID] = presence.Tunnel{Agent: t.Agent.ID, Targets: t.Agent.Targets, Since: t.Since}
		}
	}
	out := make([]presence.Tunnel, 0, len(newest))
	for _, t := range newest {
		out = append(out, t)
	}
	return out
}

func (p *proxy) proxies(live []presence.Lease) {
	list := make([]*frame.Proxies_Proxy, len(live))
	for i, l := range live {
		list[i] = &frame.Proxies_Proxy{Id: l.Proxy, Addr: l.Addr}
	}
	p.links.Proxies(list)
}

// run joins first and only then listens: without a certificate to show it could serve nobody.
func (p *proxy) run(ctx, stop context.Context) error {
	p.log.InfoContext(ctx, "Proxy is starting", "api", p.config.API, "public_addr", p.config.PublicAddr)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	keep, halt := context.WithCancel(ctx)
	defer halt()
	keeping.Go(func() { p.keeper.Run(keep) })
	if !p.awaitCredential(stop) {
		return nil
	}
	l, err := net.Listen("tcp", p.config.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", p.config.Listen, err)
	}
	p.log.InfoContext(ctx, "Proxy is listening", "addr", l.Addr().String(), "proxy", p.id())
	lease, release := context.WithCancel(keep)
	defer release()
	leased := make(chan struct{})
	keeping.Go(func() { defer close(leased); p.presence.Run(lease) })
	keeping.Go(func() { p.head.Run(keep) })
	keeping.Go(func() { p.events.Run(keep) })
	serving, cut := context.WithCancel(ctx)
	defer cut()
	served := make(chan error, 1)
	go func() { served <- p.edge.Serve(serving, l) }()
	select {
	case err := <-served:
		return err
	case <-stop.Done():
	}
	p.drain(release, leased, l)
	cut()
	p.edge.Wait()
	last, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	return p.events.Flush(last)
}

func (p *proxy) awaitCredential(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !p.keeper.Live() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// drain hands the agents over, closes the port once nobody is sent here any more, and waits for the sessions, all within the
// limit. Agents come first: the new proxies may be all that people reach, and have no tunnels before.
func (p *proxy) drain(release func(), leased <-chan struct{}, l net.Listener) {
	began := time.Now()
	p.log.Info("Proxy is draining", "streams", p.links.Streams())
	p.links.Drain(config.DrainLimit)
	release()
	<-leased
	ctx, cancel := context.WithTimeout(context.Background(), handOver)
	defer cancel()
	if err := p.presence.Withdraw(ctx); err != nil {
		p.log.Warn("Lease not withdrawn; it will expire by itself", "error", err)
	}
	while(func() bool { return listening(p.config.Linger, time.Since(began), len(p.links.Agents())) })
	_ = l.Close()
	p.log.Info("Proxy takes nobody any more", "streams", p.links.Streams())
	while(func() bool { return p.links.Streams() > 0 && time.Since(began) < config.DrainLimit })
	p.log.Info("Proxy drained", "streams", p.links.Streams())
}

// listening reports whether a proxy that was told to end so long ago keeps its port open: while people are sent to it, and
// for a moment while agents have no other way.
func listening(linger, ago time.Duration, agents int) bool {
	return ago < linger || agents > 0 && ago < handOver
}

func while(on func() bool) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for on() {
		<-tick.C
	}
}
