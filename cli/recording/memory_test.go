// The race detector takes memory of its own, so that what a reader takes is measured without it.

//go:build !race

package recording_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/recording"
	format "github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// readerEnv makes the test's program a reader of the recording at a URL, so that what it takes is measured alone.
const readerEnv = "STILE_TEST_READER"

func TestMain(m *testing.M) {
	if url := os.Getenv(readerEnv); url != "" {
		if err := read(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// read does to the recording at a URL what the arguments say.
func read(url string) error {
	ctx := context.Background()
	r := recording.Open(web(url), longSession, time.Now)
	warn := func(s string) { fmt.Fprintln(os.Stderr, s) }
	switch how := os.Args[1]; how {
	case "search":
		_, err := recording.Search(ctx, r, func(line string) bool { return strings.Contains(line, "a new piece") }, func(_ time.Duration, line string) error {
			_, err := fmt.Println(line)
			return err
		})
		return err
	case "play":
		_, err := recording.Play(ctx, r, os.Stdout, recording.Options{})
		return err
	default:
		return recording.Print(ctx, r, os.Stdout, recording.Format(how), 0, warn)
	}
}

// web is a source that a server has: a name a page, which is where the object is.
type web string

func (w web) Objects(_ context.Context, _, cursor string) (wire.RecordingObjects, error) {
	n := 0
	if cursor != "" {
		if _, err := fmt.Sscan(cursor, &n); err != nil {
			return wire.RecordingObjects{}, err
		}
	}
	p := wire.RecordingObjects{Next: fmt.Sprint(n + 1), ExpiresAt: time.Now().Add(time.Hour)}
	name := format.ChunkName(n)
	if n == longChunks {
		name, p.Next = format.ManifestName, ""
	}
	p.Objects = []wire.RecordingObject{{Name: name, Version: "1", URL: string(w) + "/" + name}}
	return p, nil
}

func (web) Fetch(ctx context.Context, o wire.RecordingObject, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return io.ReadAll(io.LimitReader(answer.Body, most+1))
}

// The long recording: 100 MiB of what was shown, in chunks such as agents make.
const (
	longSession = "ses_01h2xcejqtf2nbrexx3vqjhp41"
	longChunks  = 100
	longBytes   = longChunks << 20
)

// long serves the long recording. All chunks but the first have the same lines, and another header; nothing is held against the
// hash of the one before.
func long(t testing.TB) *httptest.Server {
	t.Helper()
	line := strings.Repeat("\x1b[32mword\x1b[0m ", 7) + strings.Repeat(".", 17) + "\r\n"
	seal := func(p format.Place, head *format.Head) []byte {
		c := format.NewChunk(p, head)
		for left := 1 << 20; left > 0; {
			text := "a new piece\r\n" + strings.Repeat(line, 256)
			text = text[:min(len(text), left)]
			left -= len(text)
			c.Output(time.Millisecond, format.Stdout, []byte(text))
		}
		object, _, err := c.Seal()
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	zero := strings.Repeat("0", 64)
	first := seal(format.Place{Session: longSession}, &format.Head{Session: longSession, Terminal: true, Started: started, Width: 80, Height: 24})
	other := seal(format.Place{Session: longSession, Seq: 1, Before: zero}, nil)
	magic, lines := other[:4], other[8+binary.LittleEndian.Uint32(other[4:]):]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _, err := format.ParseName(strings.TrimPrefix(r.URL.Path, "/"))
		object := first
		if n > 0 {
			header := fmt.Sprintf(`{"v":1,"session":%q,"seq":%d,"before":%q}`, longSession, n, zero)
			object = slices.Concat(magic, binary.LittleEndian.AppendUint32(nil, uint32(len(header))), []byte(header), lines)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(object) // a reader that went away says so itself
	}))
	t.Cleanup(s.Close)
	return s
}

// first counts what came, and when the first of it did.
type first struct {
	bytes int64
	begun time.Time
	after time.Duration
}

func (f *first) Write(p []byte) (int, error) {
	if f.bytes == 0 {
		f.after = time.Since(f.begun)
	}
	f.bytes += int64(len(p))
	return len(p), nil
}

func TestALongRecordingNeedsNoMoreMemoryThanAShortOne(t *testing.T) {
	const most = 64 << 20
	server := long(t)
	for how, bytes := range map[string]int64{"play": longBytes, "raw": longBytes, "text": longBytes / 3, "search": longChunks * int64(len("a new piece"))} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], how)
		var errs strings.Builder
		out := &first{begun: time.Now()}
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), readerEnv+"="+server.URL), out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", how, err, errs.String())
		}
		took := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 // KiB on Linux
		t.Logf("%s: %d bytes in %s, the first after %s, in %d MiB", how, out.bytes, time.Since(out.begun).Round(time.Millisecond), out.after, took>>20)
		if out.bytes < bytes || took > most || out.after > 5*time.Second {
			t.Errorf("%s: %d bytes of at least %d, the first after %s, in %d MiB of at most %d", how, out.bytes, bytes, out.after, took>>20, most>>20)
		}
	}
}
