package recording_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
)

// BenchmarkSeal makes a chunk of 1 MiB of output, as it comes through a pipe.
func BenchmarkSeal(b *testing.B) {
	noise := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	line := []byte("Nov 27 12:00:00 node-1 sshd[4711]: a line of a log as there are many\n")
	for name, output := range map[string][]byte{
		"text": bytes.Repeat(line, 1<<20/len(line)), "zeros": make([]byte, 1<<20), "noise": noise[:1<<19],
	} {
		b.Run(name, func(b *testing.B) {
			session, _ := identity.NewSession(bytes.NewReader(make([]byte, 16)), time.Unix(1_800_000_000, 0))
			b.SetBytes(int64(len(output)))
			for b.Loop() {
				c := recording.NewChunk(recording.Place{Session: session}, &recording.Head{})
				for at := 0; at < len(output); at += 32 << 10 {
					c.Output(time.Second, recording.Stdout, output[at:min(at+32<<10, len(output))])
				}
				if _, _, err := c.Seal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
