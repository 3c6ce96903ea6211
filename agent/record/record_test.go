package record_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// All chunks are compressed by one encoder, whose channels would be those of the first bubble that uses it.
func TestMain(m *testing.M) {
	if _, _, err := recording.NewChunk(recording.Place{}, nil).Seal(); err != nil {
		panic(err)
	}
	m.Run()
}

// world is a spool whose events and signing the test holds in its hand.
type world struct {
	*record.Spool
	t      *testing.T
	config record.Config

	mu     sync.Mutex
	events []record.Event
	unable error // to sign
	free   uint64
}

func newWorld(t *testing.T, changes ...func(*record.Config)) *world {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, free: 10 << 30}
	w.config = record.Config{
		Dir: filepath.Join(t.TempDir(), "recordings"),
		Told: func(e record.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Sign: func(m recording.Manifest) ([]byte, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.unable != nil {
				return nil, w.unable
			}
			return m.Sign(rand.Reader, key, []byte("certificate"))
		},
		Free: func(string) (uint64, uint64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.free, 20 << 30, nil
		},
	}
	for _, change := range changes {
		change(&w.config)
	}
	w.reopen(w.config.Dir)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// reopen is another start of the agent on a directory.
func (w *world) reopen(dir string) {
	w.t.Helper()
	if w.Spool != nil {
		_ = w.Close()
	}
	c := w.config
	c.Dir = dir
	s, err := record.Open(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Spool = s
}

func (w *world) of(kind record.Kind) []record.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e record.Event) bool { return e.Kind != kind })
}

func (w *world) set(change func()) { w.mu.Lock(); defer w.mu.Unlock(); change() }

func (w *world) begin(mode string, fail func(*fault.Fault)) (*record.Recording, string) {
	w.t.Helper()
	r, session, err := w.try(mode, fail)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Began()
	return r, session
}

func (w *world) try(mode string, fail func(*fault.Fault)) (*record.Recording, string, error) {
	session, secret := identity.NewSession(rand.Reader, time.Now())
	r, err := w.Begin(record.Begin{
		Head: recording.Head{
			Session: session, Cluster: "c", Agent: "agt_01hv0000000000000000000000", Target: "node/web-1", User: "ada", Login: "root",
			Terminal: true, Started: time.Now(), Command: "top", Term: "xterm", Width: 80, Height: 24,
		},
		Secret: secret, Mode: mode, Fail: fail,
	})
	return r, session, err
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited in vain: " + what)
		}
	}
}

// finished waits for a session's manifest.
func (w *world) finished(session string) record.Pending {
	w.t.Helper()
	var found record.Pending
	until(w.t, "a manifest", func() bool {
		for _, p := range w.Pending() {
			if p.Session == session && p.Done {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// end ends a session, waits for its manifest and closes the spool.
func (w *world) end(r *record.Recording, session string) {
	w.t.Helper()
	r.End()
	<-r.Done()
	w.finished(session)
	_ = w.Close()
}

// showMuch shows something 500 times at once in a session, and checks that all is recorded.
func (w *world) showMuch(p []byte) {
	w.t.Helper()
	r, session := w.begin(resource.RecordStrict, nil)
	for range 500 {
		show(w.t, r, p)
	}
	r.End()
	if _, m, _ := w.read(w.finished(session)); m.Bytes != int64(500*len(p)) {
		w.t.Errorf("%d bytes", m.Bytes)
	}
}

// read returns what a recording shows, and checks that its chunks are a chain that ends as the manifest says.
func (w *world) read(p record.Pending) (raw []byte, m recording.Manifest, lines []recording.Line) {
	w.t.Helper()
	before := ""
	for i, name := range p.Names {
		b, err := w.Read(p.Session, name)
		if err != nil {
			w.t.Fatal(err)
		}
		if name == recording.ManifestName {
			signed, err := recording.OpenManifest(b)
			if err != nil {
				w.t.Fatal(err)
			}
			m = signed.Manifest
			continue
		}
		h, text, err := recording.OpenChunk(b)
		if err != nil {
			w.t.Fatal(err)
		}
		if h.Seq != i || h.Before != before || h.Session != p.Session {
			w.t.Fatalf("chunk %d says %+v", i, h)
		}
		before = recording.Hash(b)
		if i == 0 {
			_, text, _ = bytes.Cut(text, []byte("\n"))
		}
		for l, err := range recording.Lines(text) {
			if err != nil {
				w.t.Fatal(err)
			}
			lines = append(lines, l)
			raw = append(raw, l.Raw...)
		}
	}
	if m.Last != before || m.Chunks != len(p.Names)-1 || m.Bytes != int64(len(raw)) {
		w.t.Errorf("the manifest counts %d chunks, %d bytes, last %.8s; there are %d, %d, %.8s", m.Chunks, m.Bytes, m.Last, len(p.Names)-1, len(raw), before)
	}
	return raw, m, lines
}

func show(t *testing.T, r *record.Recording, p []byte) {
	t.Helper()
	if err := r.Output(recording.Stdout, p); err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// text is noise that is text: it compresses to three quarters.
func text(n int) []byte {
	return []byte(base64.StdEncoding.EncodeToString(noise(n))[:n])
}

// plain is text that is not packed in a journal, though it repeats itself and makes small chunks.
func plain(n int) []byte { return bytes.Repeat(text(8000), n/8000+1)[:n] }

func TestWhatIsShownIsInAChainOfChunksByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	var want []byte
	for range 40 {
		p := noise(100_000)
		want = append(want, p...)
		show(t, r, p)
	}
	r.Resize(100, 30)
	r.Input([]byte("typed"))
	r.End()
	raw, m, lines := w.read(w.finished(session))
	if !bytes.Equal(raw, want) {
		t.Errorf("%d bytes are not the %d that were shown", len(raw), len(want))
	}
	sum := sha256.Sum256([]byte("typed"))
	if m.Torn || m.Unrecorded != nil || m.Input == nil || m.Input.SHA256 != hex.EncodeToString(sum[:]) || m.Input.Bytes != 5 {
		t.Errorf("%+v", m)
	}
	if last := lines[len(lines)-1]; last.Kind != 'r' || last.Text != "100x30" {
		t.Errorf("%+v", last)
	}
	if got := w.of(record.Sealed); len(got) != m.Chunks || got[len(got)-1].Hash != m.Last || got[0].Size == 0 || r.Chunks() != m.Chunks {
		t.Errorf("%d chunks were told of, %d are there, %d were expected", len(got), m.Chunks, r.Chunks())
	}
	if len(w.of(record.Ended)) != 1 || len(w.of(record.Damaged)) != 0 || len(w.of(record.Torn)) != 0 {
		t.Error("the end was not told once, or something else was")
	}
	if err := r.Output(recording.Stdout, []byte("late")); err == nil {
		t.Error("something is shown after the end")
	}
}

// What compresses worst, and what takes the most lines, still is in chunks of their size.
func TestNoJournalIsTooLargeForChunks(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string][]int{"single bytes": {1}, "some bytes": {1, 2, 3, 5, 7}, "large": {64 << 10}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, session := w.begin(resource.RecordStrict, nil)
			want := noise(1 << 20)
			if len(sizes) > 1 || sizes[0] == 1 {
				want = want[:150_000]
			}
			for i, at := 0, 0; at < len(want); i++ {
				n := min(sizes[i%len(sizes)], len(want)-at)
				stream := recording.Stdout
				if i%2 == 1 {
					stream = recording.Stderr
				}
				if err := r.Output(stream, want[at:at+n]); err != nil {
					t.Fatal(err)
				}
				at += n
			}
			r.End()
			raw, m, _ := w.read(w.finished(session))
			if !bytes.Equal(raw, want) {
				t.Error("it is not what was shown")
			}
			if m.Chunks != r.Chunks() {
				t.Errorf("%d chunks are of %d journals", m.Chunks, r.Chunks())
			}
		})
	}
}

// killed copies the spool as it is while sessions run: what a SIGKILL leaves.
func killed(t *testing.T, w *world) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(dir, os.DirFS(w.config.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAfterAKillTheNextStartSealsAndTellsOfTheEndOnce(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	want := noise(2_500_000)
	for p := range slices.Chunk(want[:2_000_000], 30_000) {
		show(t, r, p)
	}
	until(t, "chunks", func() bool { return len(w.of(record.Sealed)) > 0 })
	show(t, r, want[2_000_000:])
	left := killed(t, w)
	r.End()
	w.finished(session)
	w.reopen(left)
	w.set(func() { w.events = nil })
	w.Resume()
	raw, m, _ := w.read(w.finished(session))
	if !bytes.Equal(raw, want) || !m.Torn {
		t.Errorf("%d of %d bytes, torn %v", len(raw), len(want), m.Torn)
	}
	for range 2 {
		w.reopen(left)
		w.Resume()
		w.finished(session)
	}
	if n := len(w.of(record.Torn)); n != 1 {
		t.Errorf("the session's end was told of %d times", n)
	}
	if n := len(w.of(record.Ended)); n != 1 {
		t.Errorf("the recording's end was told of %d times", n)
	}
}

// What is shown at once is in one journal of several chunks, which a kill at any step of its sealing leaves to the next start.
func TestAJournalOfSeveralChunksIsSealedOnceWhateverInterrupts(t *testing.T) {
	for name, interrupted := range map[string]func(t *testing.T, dir, journal string, whole []byte){
		"after some chunks": func(t *testing.T, dir, _ string, _ []byte) {
			for _, n := range []int{0, 1} {
				if err := os.WriteFile(filepath.Join(dir, recording.ChunkName(n)), []byte("half a chunk"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"before the journal goes": func(t *testing.T, dir, journal string, whole []byte) {
			w := newWorld(t)
			w.reopen(filepath.Dir(dir))
			w.Resume()
			w.finished(filepath.Base(dir))
			_ = w.Close()
			if err := errors.Join(os.Remove(filepath.Join(dir, recording.ManifestName)), os.WriteFile(journal, whole, 0o600)); err != nil {
				t.Fatal(err)
			}
			state := filepath.Join(dir, "state.json")
			b, err := os.ReadFile(state)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`"over":true`), []byte(`"over":false`)), []byte(`"signed":true`), []byte(`"signed":false`))
			if err := os.WriteFile(state, b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, session := w.begin(resource.RecordBestEffort, nil)
			want := text(5_300_000)
			for p := range slices.Chunk(want, 30_000) {
				show(t, r, p)
			}
			left := killed(t, w)
			journal, whole := journalOf(t, left, session)
			if len(whole) < len(want) {
				t.Fatalf("%d of %d bytes are in one journal", len(whole), len(want))
			}
			r.End()
			w.finished(session)
			interrupted(t, filepath.Join(left, session), journal, whole)
			w.set(func() { w.events = nil })
			w.reopen(left)
			w.Resume()
			raw, m, _ := w.read(w.finished(session))
			if !bytes.Equal(raw, want) || m.Chunks != r.Chunks() || m.Chunks != 6 {
				t.Errorf("%d of %d bytes, %d chunks, %d were expected", len(raw), len(want), m.Chunks, r.Chunks())
			}
			told := map[int]bool{}
			for _, e := range w.of(record.Sealed) {
				told[e.Chunk] = true
			}
			if len(told) != m.Chunks {
				t.Errorf("%d of %d chunks were told of", len(told), m.Chunks)
			}
		})
	}
}

// A disk that takes some chunks of a journal and no more has them go to S3, which may free their room.
func TestAJournalOfSeveralChunksIsSealedAsFarAsTheDiskTakesIt(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	want := text(5_300_000)
	for p := range slices.Chunk(want, 30_000) {
		show(t, r, p)
	}
	left := killed(t, w)
	r.End()
	w.finished(session)
	blocked := filepath.Join(left, session, recording.ChunkName(3)+".new")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.events = nil })
	var early [][]byte
	for range 2 { // a start after that makes neither another chunk of what is in one, nor the same
		w.reopen(left)
		before := w.Usage().Bytes
		w.Resume()
		until(t, "three chunks", func() bool { p := w.Pending(); return len(p) == 1 && len(p[0].Names) == 3 && !p[0].Done })
		if len(early) > 0 {
			continue
		}
		for i := range 3 {
			b, err := w.Read(session, recording.ChunkName(i))
			if err != nil {
				t.Fatal(err)
			}
			early = append(early, b)
			before += int64(len(b))
		}
		until(t, "their weight", func() bool { return w.Usage().Bytes == before })
	}
	_ = w.Close()
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	w.reopen(left)
	w.Resume()
	p := w.finished(session)
	raw, m, _ := w.read(p)
	if !bytes.Equal(raw, want) || m.Chunks != 6 || len(m.Missing) != 0 {
		t.Errorf("%d of %d bytes, %d chunks", len(raw), len(want), m.Chunks)
	}
	for i, b := range early {
		if now, err := w.Read(session, recording.ChunkName(i)); err != nil || !bytes.Equal(b, now) {
			t.Errorf("chunk %d could be put into S3, and is another: %v", i, err)
		}
	}
	told := map[int]bool{}
	for _, e := range w.of(record.Sealed) {
		told[e.Chunk] = true
	}
	if len(told) != 6 {
		t.Errorf("%d of 6 chunks were told of", len(told))
	}
}

// A chunk that the disk didn't take is made later though the session shows nothing more.
func TestWhatTheDiskDidNotTakeIsSealedWhileTheSessionIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
		blocked := filepath.Join(w.config.Dir, session, recording.ChunkName(0)+".new")
		if err := os.Mkdir(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		show(t, r, []byte("hello"))
		<-time.After(13 * time.Second)
		if n := len(w.of(record.Sealed)); n != 0 {
			t.Fatalf("%d are sealed", n)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		if n := len(w.of(record.Sealed)); n != 1 {
			t.Errorf("%d are sealed", n)
		}
		show(t, r, []byte(", world"))
		<-time.After(12 * time.Second)
		synctest.Wait()
		if n := len(w.of(record.Sealed)); n != 2 {
			t.Errorf("%d are sealed", n)
		}
		r.End()
		<-r.Done()
		if raw, m, _ := w.read(w.finished(session)); string(raw) != "hello, world" || m.Chunks != 2 {
			t.Errorf("%q in %d chunks", raw, m.Chunks)
		}
		_ = w.Close()
	})
}

// The room that sealing falls back on when a disk is full is no session's, until the disk has that much more.
func TestWhatWasKeptFreeForSealingIsNotShownInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var failed atomic.Bool
		r, session := w.begin(resource.RecordStrict, func(*fault.Fault) { failed.Store(true) })
		reserve := filepath.Join(w.config.Dir, "reserve")
		if _, err := os.Stat(reserve); err != nil {
			t.Fatal(err)
		}
		blocked := filepath.Join(w.config.Dir, session, recording.ChunkName(0)+".new")
		if err := os.Mkdir(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		show(t, r, []byte("hello"))
		w.set(func() { w.free = 1<<30 + 1<<20 }) // of twenty, one of which is for others
		until(t, "sealing that finds no room", func() bool { _, err := os.Stat(reserve); return err != nil })
		if err := r.Output(recording.Stdout, []byte("x")); !errors.Is(err, record.ErrFull) || !failed.Load() {
			t.Errorf("what is free for sealing is taken: %v", err)
		}
		if _, _, err := w.try(resource.RecordStrict, nil); !errors.Is(err, record.ErrFull) {
			t.Errorf("a session begins in it: %v", err)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.free = 1<<30 + 3<<20 })
		<-time.After(2 * time.Second)
		if _, err := os.Stat(reserve); err != nil {
			t.Error("it isn't kept again")
		}
		other, ended := w.begin(resource.RecordStrict, nil)
		show(t, other, []byte("hello"))
		w.end(other, ended)
	})
}

// What was kept before a bound is sealed in its time, though the session goes on for days.
func TestWhatIsKeptIsSealedThoughTheRestIsCountedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *record.Config) { c.Most = 10 })
		r, session := w.begin(resource.RecordBestEffort, nil)
		show(t, r, []byte("0123456789"))
		show(t, r, []byte("and more"))
		<-time.After(12 * time.Second)
		synctest.Wait()
		if n := len(w.of(record.Sealed)); n != 1 {
			t.Errorf("%d are sealed", n)
		}
		r.End()
		<-r.Done()
		if raw, m, _ := w.read(w.finished(session)); string(raw) != "0123456789" || m.Unrecorded == nil || len(w.of(record.Damaged)) != 1 {
			t.Errorf("%q, %+v", raw, m)
		}
		_ = w.Close()
	})
}

// After a crash of the machine a journal may have lost its end though one behind it is there. Then something that was shown is
// missing, and the recording says so.
func TestAJournalThatLostItsEndBeforeOthersIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 30 })
		r, session := w.begin(resource.RecordStrict, nil)
		stop := flood(t, r, plain(160<<10))
		<-time.After(1500 * time.Millisecond)
		stop()
		left := killed(t, w)
		r.Discard()
		for name, size := range map[string]int64{"a part": 2_000_000, "all of it": 0} {
			dir := filepath.Join(t.TempDir(), "cut")
			if err := os.CopyFS(dir, os.DirFS(left)); err != nil {
				t.Fatal(err)
			}
			all, err := filepath.Glob(filepath.Join(dir, session, "*.journal"))
			if err != nil || len(all) < 3 {
				t.Fatalf("%d journals, %v", len(all), err)
			}
			if err := os.Truncate(all[1], size); err != nil {
				t.Fatal(err)
			}
			w.reopen(dir)
			w.Resume()
			var p record.Pending
			for range 100 {
				<-time.After(time.Second)
				if all := w.Pending(); len(all) == 1 && all[0].Done {
					p = all[0]
					break
				}
			}
			if _, m, lines := w.read(p); len(m.Missing) != 1 || !slices.ContainsFunc(lines, func(l recording.Line) bool { return l.Kind == 'm' }) {
				t.Errorf("%s: missing is %+v", name, m.Missing)
			} else if !slices.IsSortedFunc(lines, func(a, b recording.Line) int { return int(a.At - b.At) }) {
				t.Errorf("%s: lines are not in their order", name)
			}
		}
		_ = w.Close()
	})
}

// Whatever happens to a byte of a journal of several chunks: all entries before it are in the recording, and that something is
// missing is told, unless it is of what was written last.
func TestADamagedJournalOfSeveralChunksGivesAllBeforeTheDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	const each, head = 30_000, 17
	want := text(70 * each)
	for p := range slices.Chunk(want, each) {
		show(t, r, p)
	}
	left := killed(t, w)
	r.End()
	path, whole := journalOf(t, left, session)
	var starts []int // of entries, with cuts
	for at := 0; at < len(whole); at += 8 + lengthOf(whole[at:]) {
		starts = append(starts, at)
	}
	var offsets []int
	for i, at := range starts {
		switch {
		case i+1 < len(starts) && starts[i+1]-at == head: // before a cut, in it and behind it
			for n := range head + 1 {
				offsets = append(offsets, starts[i+1]+n)
			}
		case i%18 == 0:
			offsets = append(offsets, at+1, at+2, at+3, at+5, at+head+i)
		}
	}
	rel, _ := filepath.Rel(left, path)
	for _, cut := range []bool{false, true} {
		for _, offset := range offsets {
			dir := filepath.Join(t.TempDir(), "hurt")
			if err := os.CopyFS(dir, os.DirFS(left)); err != nil {
				t.Fatal(err)
			}
			b := bytes.Clone(whole)
			if b[offset] ^= 0x0a; cut {
				b = b[:offset]
			}
			if err := os.WriteFile(filepath.Join(dir, rel), b, 0o600); err != nil {
				t.Fatal(err)
			}
			w.reopen(dir)
			w.Resume()
			raw, m, _ := w.read(w.finished(session))
			shown := 0
			for i, at := range starts {
				if at > offset || i+1 < len(starts) && starts[i+1] > offset || i+1 == len(starts) {
					break
				}
				shown += starts[i+1] - at - head
			}
			if !bytes.Equal(raw, want[:shown]) {
				t.Errorf("byte %d, cut %v: %d bytes are there, want %d", offset, cut, len(raw), shown)
			}
			if told := len(m.Missing) == 1; told == cut && len(whole)-offset > 64<<10+head {
				t.Errorf("byte %d, cut %v: missing is %+v", offset, cut, m.Missing)
			}
		}
	}
}

func TestAKillAfterTheEndWasJournaledIsNoOtherEnd(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	show(t, r, []byte("hello"))
	r.Told()
	left := killed(t, w)
	r.End()
	w.reopen(left)
	w.set(func() { w.events = nil })
	w.Resume()
	if _, m, _ := w.read(w.finished(session)); m.Torn || len(w.of(record.Torn)) != 0 {
		t.Error("it is told as torn")
	}
}

func journalOf(t *testing.T, dir, session string) (string, []byte) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, session, "*.journal"))
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	b, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	return all[0], b
}

// A journal that is cut anywhere gives all entries before the cut.
func TestATornJournalKeepsWhatIsWhole(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	show(t, r, []byte("first"))
	show(t, r, []byte("second"))
	left := killed(t, w)
	r.End()
	path, whole := journalOf(t, left, session)
	for n := range len(whole) {
		dir := filepath.Join(t.TempDir(), "cut")
		if err := os.CopyFS(dir, os.DirFS(left)); err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(left, path)
		if err := os.WriteFile(filepath.Join(dir, rel), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		w.reopen(dir)
		w.Resume()
		raw, m, _ := w.read(w.finished(session))
		want := ""
		if n >= 17+5 {
			want = "first"
		}
		if string(raw) != want || len(m.Missing) > 0 {
			t.Errorf("cut at %d: %q, missing %v", n, raw, m.Missing)
		}
	}
}

func TestADamagedJournalIsKeptAsideAndHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	other, another := w.begin(resource.RecordBestEffort, nil)
	for _, word := range []string{"first", "second", "third"} {
		show(t, r, []byte(word))
		show(t, other, []byte(word))
	}
	left := killed(t, w)
	r.End()
	other.End()
	path, b := journalOf(t, left, session)
	b[17+5+17] ^= 1
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Mkdir(filepath.Join(left, "ses_nonsense"), 0o700)); err != nil {
		t.Fatal(err)
	}
	w.reopen(left)
	w.set(func() { w.events = nil })
	w.Resume()
	raw, m, lines := w.read(w.finished(session))
	if string(raw) != "first" || len(m.Missing) != 1 || lines[len(lines)-1].Kind != 'm' || len(w.of(record.Damaged)) != 1 {
		t.Errorf("%q %+v %d events", raw, m.Missing, len(w.of(record.Damaged)))
	}
	if all, _ := filepath.Glob(filepath.Join(left, session, "*.damaged")); len(all) != 1 {
		t.Error("it wasn't kept")
	}
	if raw, _, _ := w.read(w.finished(another)); string(raw) != "firstsecondthird" {
		t.Errorf("the other shows %q", raw)
	}
}

func TestAStrictRecordingThatIsFullEndsItsSessionAndShowsNothingMore(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Most = 1000 })
	failed := make(chan *fault.Fault, 2)
	r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { failed <- f })
	show(t, r, noise(999))
	for range 2 {
		if err := r.Output(recording.Stdout, []byte("xx")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
	}
	if len(failed) != 1 {
		t.Fatal("nobody was told before the output was refused")
	}
	if f := <-failed; f.Hint == "" || !strings.Contains(f.Message, "must be") {
		t.Errorf("%+v", f)
	}
	r.End()
	raw, m, _ := w.read(w.finished(session))
	if len(raw) != 999 || m.Unrecorded != nil || len(w.of(record.Damaged)) != 1 || len(failed) != 0 {
		t.Errorf("%d bytes, %+v", len(raw), m)
	}
}

func TestOfABestEffortRecordingThatIsFullTheRestIsCountedAndHashed(t *testing.T) {
	for name, bound := range map[string]func(*world){
		"the recording": func(w *world) { w.config.Most = 1000 },
		"the disk":      func(w *world) { w.set(func() { w.free = 1 << 20 }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if name == "the recording" {
				w = newWorld(t, func(c *record.Config) { c.Most = 1000 })
			}
			r, session := w.begin(resource.RecordBestEffort, func(*fault.Fault) { t.Error("the session is ended") })
			kept := noise(1000)
			show(t, r, kept)
			bound(w)
			if name == "the disk" {
				until(t, "the disk's being full to be seen", func() bool {
					show(t, r, []byte("."))
					return len(w.of(record.Damaged)) > 0
				})
			} else {
				show(t, r, []byte("over"))
				show(t, r, []byte("all"))
			}
			r.End()
			_, m, _ := w.read(w.finished(session))
			if m.Unrecorded == nil || m.Unrecorded.Why == "" || len(w.of(record.Damaged)) != 1 {
				t.Fatalf("%+v", m)
			}
			if sum := sha256.Sum256([]byte("overall")); name == "the recording" && (m.Unrecorded.Bytes != 7 || m.Unrecorded.SHA256 != hex.EncodeToString(sum[:])) {
				t.Errorf("%+v", m.Unrecorded)
			}
		})
	}
}

func TestOneSessionLeavesOthersRoomAndWhatS3HoldsCountsNoMore(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 20 })
	r, session := w.begin(resource.RecordBestEffort, nil)
	for range 3 { // three quarters of its share each time
		sealed := len(w.of(record.Sealed))
		for range 3 {
			show(t, r, text(1<<20))
		}
		until(t, "three chunks", func() bool { return len(w.of(record.Sealed)) == sealed+3 })
		for _, p := range w.Pending() {
			for _, name := range p.Names {
				if err := w.Held(session, name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if len(w.of(record.Damaged)) != 0 {
		t.Error("what is held elsewhere counts against the session")
	}
	for range 6 {
		show(t, r, text(1<<20))
	}
	if len(w.of(record.Damaged)) != 1 {
		t.Error("one session takes more than its share")
	}
	strict, _ := w.begin(resource.RecordStrict, nil)
	show(t, strict, text(1<<20))
	strict.End()
	r.End()
}

func TestWithoutRoomNoRecordingBegins(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 20 })
	w.set(func() { w.free = 1 << 20 })
	_, _, err := w.try(resource.RecordStrict, nil)
	if f := fault.From(err); f == nil || f.Code != fault.Unavailable || f.Hint == "" || !errors.Is(err, record.ErrFull) {
		t.Errorf("%v", err)
	}
	w.set(func() { w.free = 10 << 30 })
	for range 20 {
		r, _, err := w.try(resource.RecordBestEffort, nil)
		if err != nil {
			break
		}
		for range 4 {
			show(t, r, text(1<<20))
		}
		r.End()
		<-r.Done()
	}
	if _, _, err := w.try(resource.RecordStrict, nil); !errors.Is(err, record.ErrFull) {
		t.Errorf("the spool is full: %v", err)
	}
}

// The control plane knows of a session's recording as soon as the session runs, whatever happens to the agent's disk then.
func TestASessionThatBeganIsToldOfAtOnce(t *testing.T) {
	w := newWorld(t)
	r, session, err := w.try(resource.RecordStrict, nil)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.Ready():
	default:
	}
	if all := w.Pending(); len(all) != 0 {
		t.Errorf("it is told of before it began: %+v", all)
	}
	r.Began()
	select {
	case <-w.Ready():
	default:
		t.Error("nobody is told that it began")
	}
	if all := w.Pending(); len(all) != 1 || all[0].Session != session || len(all[0].Names) != 0 || all[0].Done {
		t.Errorf("%+v", all)
	}
}

func TestASessionThatNeverBeganLeavesNothing(t *testing.T) {
	w := newWorld(t)
	r, session, err := w.try(resource.RecordStrict, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Discard()
	<-r.Done()
	if _, err := os.Stat(filepath.Join(w.config.Dir, session)); !errors.Is(err, os.ErrNotExist) || len(w.Pending()) != 0 || len(w.of(record.Ended)) != 0 {
		t.Errorf("%v", err)
	}
}

func TestWhatS3HoldsIsForgotten(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, []byte("hello"))
	r.End()
	for _, name := range w.finished(session).Names {
		if err := w.Held(session, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Forget(session); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.config.Dir, session)); !errors.Is(err, os.ErrNotExist) || len(w.Pending()) != 0 {
		t.Errorf("%v", err)
	}
}

func TestAManifestWaitsForACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(func() { w.unable = errors.New("no certificate") })
		w.Resume()
		r, session := w.begin(resource.RecordBestEffort, nil)
		show(t, r, []byte("hello"))
		r.End()
		<-r.Done()
		if p := w.Pending(); len(p) != 1 || p[0].Done || len(p[0].Names) != 1 {
			t.Errorf("%+v", p)
		}
		w.set(func() { w.unable = nil })
		<-time.After(time.Minute)
		synctest.Wait()
		if p := w.Pending(); len(p) != 1 || !p[0].Done {
			t.Fatalf("%+v", p)
		}
		if _, m, _ := w.read(w.finished(session)); m.Torn || len(w.of(record.Torn)) != 0 {
			t.Error("it is torn")
		}
		_ = w.Close()
	})
}

func TestChunksAreSealedInTimeAndSoonerWhileWatched(t *testing.T) {
	for name, c := range map[string]struct {
		watched bool
		after   time.Duration
	}{"alone": {false, 10 * time.Second}, "watched": {true, 2 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r, _ := w.begin(resource.RecordBestEffort, nil)
				r.Watch(c.watched)
				show(t, r, []byte("hello"))
				<-time.After(c.after - 100*time.Millisecond)
				synctest.Wait()
				if n := len(w.of(record.Sealed)); n != 0 {
					t.Errorf("%d sealed already", n)
				}
				<-time.After(1200 * time.Millisecond)
				synctest.Wait()
				if n := len(w.of(record.Sealed)); n != 1 {
					t.Errorf("%d sealed", n)
				}
				<-time.After(time.Minute)
				synctest.Wait()
				if n := len(w.of(record.Sealed)); n != 1 {
					t.Errorf("%d sealed though nothing was shown since", n)
				}
				r.End()
				_ = w.Close()
			})
		})
	}
}

func TestASessionThatShowsFasterThanIsSealedIsHeldUpAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.showMuch(plain(60_000)) // some thirty journals
}

// flood shows 16 MiB a second in a session until it is told to stop: some of it again and again.
func flood(t *testing.T, r *record.Recording, some []byte) (stop func()) {
	p := bytes.Repeat(some, 16<<20/100/len(some))
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			show(t, r, p)
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); done.Wait() }
}

func TestWhatIsShownFastIsSealedInAPauseOrWhenItIsOldOrTooMuch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit    int64
		free     uint64
		watched  bool
		packs    bool          // what is shown
		unsealed time.Duration // how long nothing is sealed while it goes on
		pause    bool          // whether it stops then
	}{
		"a pause":      {limit: 16 << 30, free: 10 << 30, unsealed: 3 * time.Second, pause: true},
		"its age":      {limit: 16 << 30, free: 10 << 30, unsealed: 9800 * time.Millisecond},
		"a watcher":    {limit: 16 << 30, free: 10 << 30, watched: true, unsealed: 1800 * time.Millisecond},
		"how much":     {limit: 256 << 20, free: 10 << 30, unsealed: 1200 * time.Millisecond},
		"a small disk": {limit: 16 << 30, free: 1200 << 20},
		"how much, of what takes little of the disk": {limit: 64 << 20, free: 10 << 30, packs: true, unsealed: 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(config *record.Config) { config.Limit = c.limit })
				w.set(func() { w.free = c.free })
				r, _ := w.begin(resource.RecordStrict, nil)
				r.Watch(c.watched)
				some := plain(160 << 10)
				if c.packs {
					some = lines(11_000)
				}
				stop := flood(t, r, some)
				if c.unsealed > 0 {
					<-time.After(c.unsealed)
					if n := len(w.of(record.Sealed)); n != 0 {
						t.Errorf("%d are sealed while much is shown", n)
					}
				}
				if c.pause {
					stop()
				}
				<-time.After(time.Second)
				if n := len(w.of(record.Sealed)); n == 0 {
					t.Error("nothing is sealed")
				}
				if !c.pause {
					stop()
				}
				r.Discard()
				_ = w.Close()
			})
		})
	}
}

// What waits to be sealed survives a crash of the machine as what is being written does.
func TestWhatWaitsToBeSealedIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		synced := map[string]int64{}
		w := newWorld(t, func(c *record.Config) {
			c.Limit = 16 << 30
			c.Sync = func(f *os.File) error {
				info, err := f.Stat()
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				synced[filepath.Base(f.Name())] = info.Size()
				return nil
			}
		})
		r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
		stop := flood(t, r, plain(160<<10))
		<-time.After(3 * time.Second)
		full, err := filepath.Glob(filepath.Join(w.config.Dir, session, "*.journal"))
		if err != nil || len(full) < 3 {
			t.Fatalf("%d journals wait, %v", len(full), err)
		}
		<-time.After(2500 * time.Millisecond)
		for _, path := range full {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			if n := synced[filepath.Base(path)]; n != info.Size() {
				t.Errorf("of %s %d of %d bytes are synced", filepath.Base(path), n, info.Size())
			}
			mu.Unlock()
		}
		stop()
		r.Discard()
		_ = w.Close()
	})
}

// The journals that wait don't take a session's whole share of a small spool.
func TestASmallSpoolHoldsUpWhatIsShownFast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(config *record.Config) { config.Limit = 16 << 20 })
	w.showMuch(plain(60_000)) // thirty MB, of which four may be on the disk
}

// One session's flood keeps no other's chunks waiting beyond their time.
func TestWhatIsOldIsSealedWhateverOthersShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(config *record.Config) { config.Limit = 16 << 30 })
		loud, _ := w.begin(resource.RecordStrict, nil)
		quiet, session := w.begin(resource.RecordStrict, nil)
		show(t, quiet, []byte("hello"))
		stop := flood(t, loud, plain(160<<10))
		<-time.After(11500 * time.Millisecond)
		if !slices.ContainsFunc(w.of(record.Sealed), func(e record.Event) bool { return e.Head.Session == session }) {
			t.Error("it waits although it is old")
		}
		stop()
		quiet.End()
		loud.Discard()
		_ = w.Close()
	})
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 20 {
		r, session := w.begin(resource.RecordStrict, nil)
		all.Go(func() {
			want := strings.Repeat(fmt.Sprintf("session %d\n", i), 20_000)
			for p := range slices.Chunk([]byte(want), 4096) {
				if err := r.Output(recording.Stdout, p); err != nil {
					t.Error(err)
				}
			}
			r.End()
			<-r.Done()
			if raw, _, _ := w.read(w.finished(session)); string(raw) != want {
				t.Errorf("session %d shows something else", i)
			}
		})
	}
	all.Wait()
}

func BenchmarkOutput(b *testing.B) {
	s, err := record.Open(record.Config{Dir: b.TempDir(), Limit: 1 << 40, Most: 1 << 40, Sign: func(recording.Manifest) ([]byte, error) { return nil, errors.New("none") }})
	if err != nil {
		b.Fatal(err)
	}
	session, secret := identity.NewSession(rand.Reader, time.Now())
	r, err := s.Begin(record.Begin{Head: recording.Head{Session: session, Started: time.Now()}, Secret: secret, Mode: resource.RecordStrict})
	if err != nil {
		b.Fatal(err)
	}
	p := plain(1489 * 22)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := r.Output(recording.Stdout, p); err != nil {
			b.Fatal(err)
		}
	}
	r.End()
	_ = s.Close()
}

// A disk that takes its time to keep what is written holds up neither what a session shows nor another session.
func TestASlowDiskHoldsUpNoSession(t *testing.T) {
	slow, free := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(c *record.Config) {
		c.Sync = func(*os.File) error {
			select {
			case slow <- struct{}{}:
			case <-free:
			}
			<-free
			return nil
		}
	})
	r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
	show(t, r, []byte("before"))
	<-slow // the disk is at work
	show(t, r, []byte(" and while it is"))
	other, another := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
	show(t, other, []byte("beside it"))
	close(free)
	r.End()
	other.End()
	<-r.Done()
	<-other.Done()
	for session, want := range map[string]string{session: "before and while it is", another: "beside it"} {
		if raw, _, _ := w.read(w.finished(session)); string(raw) != want {
			t.Errorf("it shows %q, want %q", raw, want)
		}
	}
}

// A machine that crashes after something of a session is in S3 still has what it needs to bring the rest.
func TestWhoseSessionItIsIsDurableBeforeAnythingIsSealed(t *testing.T) {
	var durable atomic.Bool
	w := newWorld(t, func(c *record.Config) {
		told := c.Told
		c.Told = func(e record.Event) {
			if e.Kind == record.Sealed && !durable.Load() {
				t.Error("a chunk is made, and about.json may be lost")
			}
			told(e)
		}
		c.Sync = func(f *os.File) error {
			if filepath.Base(f.Name()) == "about.json" {
				durable.Store(true)
			}
			return f.Sync()
		}
	})
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, []byte("something"))
	r.End()
	w.finished(session)
	if !durable.Load() {
		t.Error("it never was")
	}
}

// A disk that fails ends a strict session.
func TestADiskThatKeepsNothingEndsStrictSessions(t *testing.T) {
	var mended atomic.Bool
	w := newWorld(t, func(c *record.Config) {
		c.Sync = func(*os.File) error {
			if mended.Load() {
				return nil
			}
			return errors.New("input/output error")
		}
	})
	failed := make(chan *fault.Fault, 1)
	r, _ := w.begin(resource.RecordStrict, func(f *fault.Fault) { failed <- f })
	show(t, r, []byte("something"))
	if f := <-failed; !strings.Contains(f.Message, "can't be recorded any further") || f.Hint == "" {
		t.Errorf("%+v", f)
	}
	mended.Store(true)
	r.End()
	<-r.Done()
}

// A clock that is set back and forth changes no byte, puts no line before one that was shown earlier, and keeps no chunk waiting.
func TestAClockThatJumpsChangesNothingThatWasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var jumped atomic.Int64
		w := newWorld(t, func(c *record.Config) {
			c.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(jumped.Load())) }
		})
		r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
		want := ""
		for i, jump := range []time.Duration{0, -time.Hour, 30 * time.Hour, -48 * time.Hour, time.Millisecond} {
			jumped.Add(int64(jump))
			text := fmt.Sprintf("after jump %d\r\n", i)
			show(t, r, []byte(text))
			want += text
			before := len(w.of(record.Sealed))
			<-time.After(25 * time.Second)
			synctest.Wait()
			if len(w.of(record.Sealed)) == before {
				t.Errorf("after jump %d nothing is sealed in 25 s", i)
			}
		}
		r.End()
		<-r.Done()
		raw, m, lines := w.read(w.finished(session))
		if string(raw) != want {
			t.Errorf("it shows %q", raw)
		}
		last := time.Duration(0)
		for _, l := range lines {
			if l.At < last {
				t.Errorf("%q at %v is before %v", l.Raw, l.At, last)
			}
			last = max(last, l.At)
		}
		if m.Ended.Before(m.Started) {
			t.Errorf("it ended at %v and began at %v", m.Ended, m.Started)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAKillWhileARecordingIsForgottenBringsNothingOfItBack(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, []byte("hello"))
	r.End()
	r.Told()
	dir := filepath.Join(w.config.Dir, session)
	for _, name := range w.finished(session).Names {
		if err := w.Held(session, name); err != nil {
			t.Fatal(err)
		}
	}
	about, err := os.ReadFile(filepath.Join(dir, "about.json"))
	if err != nil {
		t.Fatal(err)
	}
	name := session + ".gone" // as which it is removed, file by file
	if err := os.WriteFile(filepath.Join(w.config.Dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Forget(session); err == nil {
		t.Error("files were removed under a name that the next start reads")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
	w.reopen(w.config.Dir)
	if err := w.Forget(session); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(w.config.Dir, name), 0o700); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.config.Dir, name, "about.json"), about, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := len(w.of(record.Ended))
	w.reopen(w.config.Dir)
	w.Resume()
	if entries, err := os.ReadDir(w.config.Dir); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), session) }) {
		t.Errorf("%v, %v", entries, err)
	}
	if p := w.Pending(); len(p) != 0 || len(w.of(record.Torn)) != 0 || len(w.of(record.Ended)) != ended {
		t.Errorf("%+v, %+v", p, w.of(record.Torn))
	}
}

func TestHowASessionEndedIsKeptOnceTheDiskTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := ""
		w := newWorld(t, func(c *record.Config) {
			c.Most = 10
			told := c.Told
			c.Told = func(e record.Event) {
				if e.Kind == record.Sealed { // what comes next is the end
					blocked = filepath.Join(c.Dir, e.Head.Session, "state.json.new")
					_ = os.Mkdir(blocked, 0o700) // what isn't there is found below
				}
				told(e)
			}
		})
		w.Resume()
		r, _ := w.begin(resource.RecordBestEffort, nil)
		show(t, r, []byte("0123456789"))
		show(t, r, []byte("and more"))
		r.End()
		r.Told()
		<-time.After(2 * time.Minute)
		if p := w.Pending(); len(p) != 1 || p[0].Done {
			t.Errorf("%+v", p)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		p := w.Pending()
		if len(p) != 1 || !p[0].Done {
			t.Fatalf("%+v", p)
		}
		if _, m, _ := w.read(p[0]); m.Unrecorded == nil || m.Unrecorded.Bytes != int64(len("and more")) || m.Torn {
			t.Errorf("%+v", m)
		}
		_ = w.Close()
	})
}

func TestSizesOfATerminalAreNoEndlessJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	dir := filepath.Join(w.config.Dir, session)
	for n := range 300_000 {
		r.Resize(80+n%2, 24)
		if n%20_000 != 0 {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Size() > 3<<20 {
				t.Fatalf("%s has %d bytes", e.Name(), info.Size())
			}
		}
	}
	r.End()
	if _, _, lines := w.read(w.finished(session)); len(lines) != 300_000 {
		t.Errorf("%d sizes", len(lines))
	}
}

func TestACrashBeforeASessionBeganLeavesNothing(t *testing.T) {
	w := newWorld(t)
	for name, files := range map[string][]string{"ses_01h2xcejqtf2nbrexx3vqjhp41": nil, "ses_01h2xcejqtf2nbrexx3vqjhp42": {"about.json=", "00000000.zst.journal="}, "ses_01h2xcejqtf2nbrexx3vqjhp43": {"about.json=", "00000000.zst.journal=x"}} {
		if err := os.Mkdir(filepath.Join(w.config.Dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			file, text, _ := strings.Cut(file, "=")
			if err := os.WriteFile(filepath.Join(w.config.Dir, name, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reopen(w.config.Dir)
	left, err := filepath.Glob(filepath.Join(w.config.Dir, "ses_*"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "43") { // what has something in it stays where somebody can look at it
		t.Errorf("%v, %v", left, err)
	}
}

func TestADamagedJournalIsKeptAsideAlsoAfterAKill(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, bytes.Repeat([]byte("something "), 10))
	show(t, r, []byte("more"))
	dir := killed(t, w)
	path, journal := journalOf(t, dir, session)
	journal[20]++
	if err := os.WriteFile(path, journal, 0o600); err != nil {
		t.Fatal(err)
	}
	w.reopen(dir)
	w.Resume()
	w.finished(session)
	kept := strings.TrimSuffix(path, ".journal") + ".damaged"
	if err := os.Rename(kept, path); err != nil { // as a kill just before leaves it
		t.Fatal(err)
	}
	state, err := os.ReadFile(filepath.Join(dir, session, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	state = bytes.Replace(bytes.Replace(state, []byte(`"signed":true`), []byte(`"signed":false`), 1), []byte(`"over":true`), []byte(`"over":false`), 1)
	if err := os.WriteFile(filepath.Join(dir, session, "state.json"), state, 0o600); err != nil {
		t.Fatal(err)
	}
	w.reopen(dir)
	w.Resume()
	until(t, "the journal", func() bool { _, err := os.Stat(kept); return err == nil })
}

func TestAPipeInTheSpoolHoldsUpNobody(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, []byte("hello"))
	r.End()
	p := w.finished(session)
	path := filepath.Join(w.config.Dir, session, p.Names[0])
	for name, put := range map[string]func() error{
		"a pipe":      func() error { return unix.Mkfifo(path, 0o600) },
		"a link":      func() error { return os.Symlink("/dev/zero", path) },
		"a huge file": func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
		"a directory": func() error { return os.Mkdir(path, 0o700) },
		"no file":     func() error { return nil },
	} {
		if err := errors.Join(os.Remove(path), put()); err != nil {
			t.Fatal(err)
		}
		if b, err := w.Read(session, p.Names[0]); err == nil {
			t.Errorf("%s has %d bytes", name, len(b))
		}
		if name == "no file" {
			_ = os.WriteFile(path, nil, 0o600)
		}
	}
}

// A journal may be closed just when it is to be synced, which is no trouble of the disk.
func TestAFileThatIsClosedWhileItIsSyncedIsNoFailure(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := record.SyncData(f); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := record.SyncData(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file is synced with %v", err)
	}
}

// Sessions without number that show much at once don't fill the spool with journals that aren't full.
func TestManyFloodsLeaveOthersRoom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p        []byte
		sessions int
		most     int64 // of output that may be in those
	}{
		"plain":  {plain(60 << 10), 40, 115 << 20},
		"packed": {lines(60 << 10), 250, 790 << 20}, // of which eight bytes count as one
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(config *record.Config) { config.Limit = 1 << 30 }) // 128 MiB may wait, and a journal have four chunks
				var all []*record.Recording
				var dirs []string
				for range c.sessions {
					r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
					all, dirs = append(all, r), append(dirs, filepath.Join(w.config.Dir, session))
				}
				newest := func(dir string) int64 {
					path, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
					info, err := os.Stat(path[len(path)-1])
					if err != nil {
						t.Fatal(err)
					}
					return info.Size()
				}
				one := int64(0)
				for range 3_500_000 / len(c.p) {
					for _, r := range all {
						show(t, r, c.p)
						if one == 0 {
							one = newest(dirs[0])
						}
					}
				}
				open := int64(0)
				for _, dir := range dirs {
					open += newest(dir) / one * int64(len(c.p))
				}
				if open > c.most {
					t.Errorf("%d bytes of output are in journals that aren't full", open)
				}
				for _, r := range all {
					r.Discard()
				}
				_ = w.Close()
			})
		})
	}
}

// What sealing may add counts before a session begins as it does while one shows something.
func TestASessionThatBeginsHasRoomToShowSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 20 })
		began := 0
		for ; ; began++ {
			r, _, err := w.try(resource.RecordStrict, nil)
			if errors.Is(err, record.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			r.Began()
			show(t, r, noise(1<<10))
			show(t, r, noise(250<<10)) // which isn't sealed yet
		}
		if began < 16 {
			t.Errorf("%d sessions fill it", began)
		}
	})
}

// A session that has its whole share waits for its own sealing alone, not for others to show less.
func TestASessionThatNeedsRoomIsSealedWhateverOthersShow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *record.Config) { c.Limit = 128 << 20 })
		r, session := w.begin(resource.RecordBestEffort, nil)
		part := noise(256 << 10)
		for range 12 << 20 / len(part) { // seven eighths of its share, once they are sealed
			show(t, r, part)
		}
		<-time.After(time.Second)
		loud, _ := w.begin(resource.RecordStrict, nil)
		stop := flood(t, loud, plain(160<<10))
		<-time.After(200 * time.Millisecond)
		sealed := len(w.of(record.Sealed))
		for len(w.of(record.Damaged)) == 0 {
			before := time.Now()
			show(t, r, part)
			if waited := time.Since(before); waited > 100*time.Millisecond {
				t.Fatalf("it waited %v for room", waited)
			}
		}
		if len(w.of(record.Sealed)) == sealed {
			t.Error("it was ended before it was sealed")
		}
		stop()
		loud.Discard()
		w.end(r, session)
	})
}

// A session that shows little at a time doesn't fill the last of its share with chunks that are all frame.
func TestTheLastOfAShareIsNoFloodOfSmallChunks(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 20 })
	r, session := w.begin(resource.RecordBestEffort, nil)
	for len(w.of(record.Damaged)) == 0 {
		show(t, r, noise(100))
	}
	w.end(r, session)
	var sizes []int64
	for _, e := range w.of(record.Sealed) {
		sizes = append(sizes, e.Bytes)
	}
	if len(sizes) < 3 || slices.Min(sizes[:len(sizes)-1]) < 50<<10 {
		t.Errorf("chunks have %d bytes of output", sizes)
	}
}
