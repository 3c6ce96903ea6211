package link

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// state is what is to become of a tunnel.
type state int

const (
	staying state = iota
	leaving       // its proxy asked us to go elsewhere
	retired       // a newer certificate replaces it
)

// openLimit is how long a proxy may take to say what a stream that it opened is for.
const openLimit = 10 * time.Second

// link is one tunnel.
type link struct {
	links   *Links
	session tunnel.Session
	control *tunnel.Control
	proxy   string
	self    identity.Host // as the certificate says that the tunnel was opened with
	key     crypto.Signer // of that certificate
	log     *slog.Logger

	state  state // guarded by links.mu, as is active
	active int   // streams being served

	registered chan struct{}
	once       sync.Once
	chunks     frame.Assembler // used only by the control stream's reader
	events     tunnel.Stream   // for audit events, opened when there are some; used only by the deliverer
}

// begin registers the tunnel and leaves it running. limit bounds the registration.
func (k *link) begin(ctx, limit context.Context) error {
	stream, err := k.session.Open(limit)
	if err != nil {
		_ = k.session.Close()
		return err
	}
	k.registered = make(chan struct{})
	k.control = tunnel.NewControl(tunnel.ControlConfig{
		Stream: stream, Handle: k.take, Idle: k.session.Idle, Silence: k.links.config.Silence, Dead: k.links.config.Dead,
	})
	over := make(chan error, 1)
	k.links.serving.Go(func() { over <- k.run(ctx) })
	err = k.control.Send(&frame.Control{Body: &frame.Control_Register{Register: &frame.Register{
		Version: frame.Protocol, Software: k.links.config.Software, Held: versions(k.links.config.Held()), Instance: k.links.instance[:],
	}}})
	if err == nil {
		select {
		case <-k.registered:
			return nil
		case err = <-over:
		case <-limit.Done():
			err = fault.New(fault.Unreachable, "the proxy did not register the tunnel in time", "check the proxy's log")
		}
	}
	_ = k.session.Close()
	return err
}

// run serves the tunnel until it ends.
func (k *link) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = k.session.Close() })
	defer stop()
	k.links.serving.Go(func() { k.accept(ctx) })
	err := k.control.Run()
	_ = k.session.Close()
	k.links.mu.Lock()
	_, was := k.links.held[k]
	delete(k.links.held, k)
	k.links.mu.Unlock()
	if was {
		k.log.InfoContext(ctx, "Tunnel ended", "error", err)
	}
	k.links.poke()
	return err
}

// take handles one frame of the proxy's.
func (k *link) take(m *frame.Control) error {
	switch {
	case m.GetRegistered() != nil:
		k.once.Do(k.up)
	case m.GetChunk() != nil:
		return k.chunk(m.GetChunk())
	case m.GetProxies() != nil:
		k.links.proxies(m.GetProxies())
	case m.GetGoAway() != nil:
		k.goAway()
	case m.GetFault() != nil:
		return m.GetFault().Err()
	}
	return nil // frames of a later version
}

func (k *link) up() {
	k.links.mu.Lock()
	k.links.held[k] = struct{}{}
	k.links.refusal = nil
	k.links.mu.Unlock()
	k.log.Info("Tunnel up")
	close(k.registered)
	k.links.poke()
}

func (k *link) goAway() {
	k.links.mu.Lock()
	k.state = leaving
	k.links.mu.Unlock()
	k.log.Info("Proxy is leaving")
	k.links.poke()
}

// chunk gathers documents and acknowledges with what is held after them.
func (k *link) chunk(c *frame.Chunk) error {
	b, done, err := k.chunks.Add(c)
	if err != nil || !done {
		return err
	}
	var documents []document.Signed
	if err := json.Unmarshal(b, &documents); err != nil {
		return errors.Join(frame.ErrMalformed, err)
	}
	k.links.config.Accept(documents)
	return k.control.Send(&frame.Control{Body: &frame.Control_Held{Held: &frame.Held{
		Batch: c.GetBatch(), Versions: versions(k.links.config.Held()),
	}}})
}

func versions(v identity.Versions) *frame.Versions {
	one := func(v identity.Version) *frame.Version { return &frame.Version{Epoch: v.Epoch, Counter: v.Counter} }
	return &frame.Versions{Trust: one(v.Trust), Policy: one(v.Policy), Revocations: one(v.Revocations)}
}

// accept serves the streams that the proxy opens.
func (k *link) accept(ctx context.Context) {
	for {
		s, err := k.session.Accept(ctx)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
				k.log.DebugContext(ctx, "No more streams", "error", err)
			}
			return
		}
		k.count(1)
		k.links.serving.Go(func() {
			defer k.count(-1)
			k.serve(ctx, s)
		})
	}
}

func (k *link) count(by int) {
	k.links.mu.Lock()
	k.active += by
	gone := k.state != staying
	k.links.mu.Unlock()
	if gone {
		k.links.poke()
	}
}

func (k *link) serve(ctx context.Context, s tunnel.Stream) {
	defer s.Close()
	_ = s.SetReadDeadline(time.Now().Add(openLimit))
	var open frame.Open
	if err := frame.Read(s, &open); err != nil {
		k.log.InfoContext(ctx, "Stream without a target", "error", err)
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	k.links.config.Serve(ctx, s, &open)
}
