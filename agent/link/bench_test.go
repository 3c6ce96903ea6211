package link_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// BenchmarkDown moves bytes from a command on the node through agent, tunnel and proxy to a client, all in this
// process, so that -cpuprofile shows where the whole way spends its time.
func BenchmarkDown(b *testing.B) {
	const size = 32 << 20
	l := newLine(b, 1)
	l.up(1)
	c := l.login()
	b.SetBytes(size)
	for b.Loop() {
		s, err := c.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		out, err := s.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Start(fmt.Sprintf("head -c %d /dev/zero", size)); err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, out); err != nil || n != size {
			b.Fatal(n, err)
		}
		_ = s.Close()
	}
}

// BenchmarkIdleTunnels holds tunnels of agents that serve nothing and reports what one takes, both of its sides in this
// process: live heap and stacks.
func BenchmarkIdleTunnels(b *testing.B) {
	const many = 300
	l := newLine(b, 1)
	l.up(1)
	held := func() float64 {
		runtime.GC()
		runtime.GC() // stacks shrink at the first, and are given back
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	var credentials []*tls.Certificate
	for range many {
		_, c := l.cluster.Agent(nil, "idle")
		credentials = append(credentials, c.TLS)
	}
	before, tunnels := held(), []tunnel.Session{}
	for _, c := range credentials {
		s, _, err := tunnel.Dial(b.Context(), tunnel.DialConfig{Addr: l.proxies[0].addr, Certificate: c, Trust: l.holder.Trust()})
		if err != nil {
			b.Fatal(err)
		}
		tunnels = append(tunnels, s)
		stream, err := s.Open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		control := tunnel.NewControl(tunnel.ControlConfig{Stream: stream, Handle: func(*frame.Control) error { return nil }})
		go func() { _ = control.Run() }()
		if err := control.Send(&frame.Control{Body: &frame.Control_Register{Register: &frame.Register{Version: frame.Protocol, Held: heldBy(l)}}}); err != nil {
			b.Fatal(err)
		}
	}
	until(b, "the tunnels registered", func() bool { return len(l.proxies[0].routes.All()) > many })
	after := held()
	for b.Loop() { // it is not time that is measured
	}
	b.ReportMetric((after-before)/many/1024, "KiB/tunnel")
	for _, s := range tunnels {
		_ = s.Close()
	}
}

func heldBy(l *line) *frame.Versions {
	one := func(v identity.Version) *frame.Version { return &frame.Version{Epoch: v.Epoch, Counter: v.Counter} }
	v := l.holder.Versions()
	return &frame.Versions{Trust: one(v.Trust), Policy: one(v.Policy), Revocations: one(v.Revocations)}
}
