package link_test

import (
	"fmt"
	"io"
	"testing"
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
