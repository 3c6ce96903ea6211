package tunnel_test

import (
	"io"
	"testing"

	"github.com/stile-dev/stile/pkg/tunnel"
)

// piece is what one SSH packet carries.
const piece = 32 << 10

// BenchmarkStream moves bytes over one stream, without TLS.
func BenchmarkStream(b *testing.B) {
	from, to := streams(b)
	move(b, from, to)
}

// BenchmarkSplice moves bytes over two streams that are joined, as in a proxy, without TLS.
func BenchmarkSplice(b *testing.B) {
	from, left := streams(b)
	right, to := streams(b)
	go tunnel.Splice(left, right, tunnel.Unread)
	move(b, from, to)
}

func move(b *testing.B, from io.WriteCloser, to io.Reader) {
	b.Helper()
	over := make(chan int64, 1)
	go func() {
		n, _ := io.CopyBuffer(io.Discard, struct{ io.Reader }{to}, make([]byte, piece))
		over <- n
	}()
	buf := make([]byte, piece)
	b.SetBytes(piece)
	b.ReportAllocs()
	var sent int64
	for b.Loop() {
		n, err := from.Write(buf)
		if err != nil {
			b.Fatal(err)
		}
		sent += int64(n)
	}
	_ = from.Close()
	if got := <-over; got != sent {
		b.Fatalf("%d of %d bytes came", got, sent)
	}
}

// BenchmarkOpen opens a stream and sees one byte come through.
func BenchmarkOpen(b *testing.B) {
	s, r := pair(b)
	go func() {
		for {
			one, err := r.Accept(b.Context())
			if err != nil {
				return
			}
			_, _ = one.Write([]byte{0})
			_ = one.Close()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		one, err := s.Open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(one, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		_ = one.Close()
	}
}
