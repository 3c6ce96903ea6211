package tunnel_test

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// candidate is a multiplexer as the benchmark sees it.
type candidate struct {
	name string
	// pair gives the opening and the accepting side over a joined pair of connections, and what closes both.
	pair func(testing.TB, net.Conn, net.Conn) (open, accept func() (io.ReadWriteCloser, error), end func())
}

var candidates = []candidate{
	{"ours=yamux", func(t testing.TB, a, b net.Conn) (open, accept func() (io.ReadWriteCloser, error), end func()) {
		dialled, err := tunnel.NewSession(a, tunnel.SessionConfig{Role: tunnel.Dialled})
		if err != nil {
			t.Fatal(err)
		}
		listened, err := tunnel.NewSession(b, tunnel.SessionConfig{Role: tunnel.Listened})
		if err != nil {
			t.Fatal(err)
		}
		return func() (io.ReadWriteCloser, error) { return dialled.Open(t.Context()) },
			func() (io.ReadWriteCloser, error) { return listened.Accept(t.Context()) },
			func() { _ = dialled.Close(); _ = listened.Close() }
	}},
	{"smux", func(t testing.TB, a, b net.Conn) (open, accept func() (io.ReadWriteCloser, error), end func()) {
		config := smux.DefaultConfig()
		config.Version, config.KeepAliveDisabled = 2, true
		config.MaxStreamBuffer, config.MaxReceiveBuffer = 16<<20, 64<<20
		dialled, err := smux.Client(a, config)
		if err != nil {
			t.Fatal(err)
		}
		listened, err := smux.Server(b, config)
		if err != nil {
			t.Fatal(err)
		}
		return func() (io.ReadWriteCloser, error) { return dialled.OpenStream() },
			func() (io.ReadWriteCloser, error) { return listened.AcceptStream() },
			func() { _ = dialled.Close(); _ = listened.Close() }
	}},
}

// secure puts TLS, as tunnels have it, over a loopback pair; delay is added to each direction.
func secure(t testing.TB, credential *tls.Certificate, delay time.Duration) (client, server net.Conn) {
	t.Helper()
	a, b := loopback(t)
	if delay > 0 {
		a, b = late(a, delay), late(b, delay)
	}
	s := tls.Server(b, tunnel.ServerTLS(func() *tls.Certificate { return credential }, "x"))
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, s
}

func proxyCertificate(t testing.TB) *tls.Certificate {
	_, c := tunneltest.New(t).Proxy()
	return c.TLS
}

// BenchmarkMux compares multiplexers over TLS on loopback, in one run: bytes through one stream, streams opened
// and closed with one byte each way, and what an idle session costs on one side.
func BenchmarkMux(b *testing.B) {
	credential := proxyCertificate(b)
	for name, delay := range map[string]time.Duration{"throughput": 0, "throughput-100ms": 50 * time.Millisecond} {
		for _, c := range candidates {
			b.Run(name+"-there/"+c.name, func(b *testing.B) { throughput(b, c, credential, delay, false) })
			b.Run(name+"-back/"+c.name, func(b *testing.B) { throughput(b, c, credential, delay, true) })
		}
	}
	for _, c := range candidates {
		b.Run("open/"+c.name, func(b *testing.B) { opening(b, c, credential) })
	}
	for _, c := range candidates {
		b.Run("idle/"+c.name, func(b *testing.B) { idle(b, c, credential) })
	}
}

// throughput moves bytes the way of whoever opened the stream, or back.
func throughput(b *testing.B, c candidate, credential *tls.Certificate, delay time.Duration, back bool) {
	client, server := secure(b, credential, delay)
	open, accept, end := c.pair(b, client, server)
	defer end()
	w, err := open()
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 32<<10)
	if _, err := w.Write(block[:1]); err != nil { // some multiplexers tell of a stream with its first bytes
		b.Fatal(err)
	}
	r, err := accept()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(r, block[:1]); err != nil {
		b.Fatal(err)
	}
	if back {
		w, r = r, w
	}
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, struct{ io.Reader }{r}, int64(b.N)*int64(len(block))); err != nil {
		b.Fatal(err)
	}
	b.StopTimer() // closing isn't what is measured
}

func opening(b *testing.B, c candidate, credential *tls.Certificate) {
	client, server := secure(b, credential, 0)
	open, accept, end := c.pair(b, client, server)
	defer end()
	go func() {
		for {
			s, err := accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(s, s); _ = s.Close() }()
		}
	}()
	var one [1]byte
	b.ReportAllocs()
	for b.Loop() {
		s, err := open()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(one[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, one[:]); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// idle reports the bytes of heap and stack that a session with one quiet stream takes on one side.
func idle(b *testing.B, c candidate, credential *tls.Certificate) {
	const sessions = 200
	before := memory()
	for range sessions {
		client, server := secure(b, credential, 0)
		open, accept, end := c.pair(b, client, server)
		b.Cleanup(end)
		s, err := open()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write([]byte{1}); err != nil {
			b.Fatal(err)
		}
		r, err := accept()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(memory()-before)/sessions/2/1024, "KiB/side")
	b.ReportMetric(0, "ns/op")
}

func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// lateConn delays what is written by a fixed time, without limiting how much is under way.
type lateConn struct {
	net.Conn
	queue chan packet
}

type packet struct {
	due  time.Time
	data []byte
}

func late(c net.Conn, delay time.Duration) net.Conn {
	l := &delayed{lateConn: lateConn{Conn: c, queue: make(chan packet, 1<<16)}, delay: delay, closed: make(chan struct{})}
	go l.run()
	return l
}

type delayed struct {
	lateConn
	delay  time.Duration
	once   sync.Once
	closed chan struct{}
}

func (d *delayed) Write(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, net.ErrClosed
	case d.queue <- packet{time.Now().Add(d.delay), append([]byte(nil), p...)}:
		return len(p), nil
	}
}

func (d *delayed) run() {
	for {
		select {
		case <-d.closed:
			return
		case p := <-d.queue:
			<-time.After(time.Until(p.due))
			if _, err := d.Conn.Write(p.data); err != nil {
				return
			}
		}
	}
}

func (d *delayed) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}
