package record_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// BenchmarkMuchOutput keeps what a session shows through a pipe, 192 MiB at a time, on the disk where tests have their files.
func BenchmarkMuchOutput(b *testing.B) {
	line := []byte("Nov 27 12:00:00 node-1 sshd[4711]: a line of a log as there are many\n")
	output := bytes.Repeat(line, 32<<10/len(line))
	const many = 192 << 20
	spool, err := record.Open(record.Config{Dir: b.TempDir(), Limit: 4 << 30, Sign: func(recording.Manifest) ([]byte, error) { return []byte("{}"), nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer spool.Close()
	b.SetBytes(many)
	for b.Loop() {
		session, secret := identity.NewSession(rand.Reader, time.Now())
		r, err := spool.Begin(record.Begin{Head: recording.Head{Session: session, Started: time.Now(), Width: 80, Height: 24}, Secret: secret, Mode: resource.RecordStrict})
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < many; n += len(output) {
			if err := r.Output(recording.Stdout, output); err != nil {
				b.Fatal(err)
			}
		}
		r.End()
		<-r.Done()
	}
}

// BenchmarkHundredSessions shows a line in each of a hundred sessions ten times a second, and counts how often the disk is made
// to keep it: journals alone, without what sealing a chunk every ten seconds takes.
func BenchmarkHundredSessions(b *testing.B) {
	var syncs atomic.Int64
	spool, err := record.Open(record.Config{
		Dir: b.TempDir(), Sign: func(recording.Manifest) ([]byte, error) { return []byte("{}"), nil },
		Sync: func(f *os.File) error { syncs.Add(1); return f.Sync() },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer spool.Close()
	var all []*record.Recording
	for range 100 {
		session, secret := identity.NewSession(rand.Reader, time.Now())
		r, err := spool.Begin(record.Begin{Head: recording.Head{Session: session, Started: time.Now(), Width: 80, Height: 24}, Secret: secret, Mode: resource.RecordStrict})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, r)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for b.Loop() {
		<-tick.C
		for _, r := range all {
			if err := r.Output(recording.Stdout, []byte("a line that a session shows\r\n")); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(syncs.Load())/time.Since(began).Seconds(), "fsyncs/s")
}
