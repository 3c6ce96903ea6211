package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
)

// Recording is that of one session. It is safe for concurrent use.
type Recording struct {
	spool *Spool
	kept  *kept
	fail  func(*fault.Fault)
	begun time.Time
	seals chan int      // journals to be sealed, in their order
	done  chan struct{} // closed when all were

	file    atomic.Pointer[os.File] // the journal
	dirty   atomic.Bool             // something in it isn't synced
	due     atomic.Bool             // it is old enough to be sealed
	watched atomic.Bool
	weight  atomic.Int64 // of what is in the session's directory and counts against its share

	mu     sync.Mutex
	seq    int       // of the journal
	size   int64     // of the journal
	shown  int64     // output in the journal
	since  time.Time // its first entry's
	total  int64     // output in all journals
	buf    []byte
	failed *fault.Fault // strict, and it can't go on
	lost   *tally       // best effort, and it can't go on
	input  *tally
	over   bool
	closed bool
}

// tally counts and hashes bytes that are kept nowhere.
type tally struct {
	hash  hash.Hash
	bytes int64
	why   string
}

func (t *tally) add(p []byte) { t.hash.Write(p); t.bytes += int64(len(p)) }

func (t *tally) digest() *recording.Digest {
	if t == nil {
		return nil
	}
	return &recording.Digest{Bytes: t.bytes, SHA256: hex.EncodeToString(t.hash.Sum(nil)), Why: t.why}
}

// again is when sealing is tried again.
const again = 5 * time.Second

// piece is how much of an output is one entry.
const piece = 64 << 10

// Output keeps what the session is about to show on a stream. In a strict recording an error says that nobody may see it.
func (r *Recording) Output(stream byte, p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), piece)
		if err := r.output(stream, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (r *Recording) output(stream byte, p []byte) error {
	switch {
	case r.failed != nil:
		return r.failed
	case r.lost != nil:
		r.lost.add(p)
		return nil
	case r.over || r.closed:
		return os.ErrClosed
	}
	if err := r.within(int64(len(p))); err != nil {
		return r.giveUp(err, p)
	}
	if err := r.append(stream, p); err != nil {
		return r.giveUp(err, p)
	}
	r.shown, r.total = r.shown+int64(len(p)), r.total+int64(len(p))
	return nil
}

// within fails when more output would be more than the recording, the session or the spool may have.
func (r *Recording) within(n int64) error {
	c := &r.spool.config
	switch {
	case r.total+n > c.Most:
		return fmt.Errorf("a recording has at most %d bytes of output", c.Most)
	case r.weight.Load()+n > c.Limit/shareOfOne:
		return fmt.Errorf("%w: this session's take %d bytes, and one session may take %d", ErrFull, r.weight.Load(), c.Limit/shareOfOne)
	case r.spool.used.Load()+n > c.Limit:
		return fmt.Errorf("%w: they take %d bytes of %d", ErrFull, r.spool.used.Load(), c.Limit)
	case r.seq >= recording.MaxChunks-1:
		return fmt.Errorf("a recording has at most %d pieces", recording.MaxChunks)
	}
	return nil
}

// append writes an entry, and begins another journal when this one is full.
func (r *Recording) append(kind byte, p []byte) error {
	now := r.spool.config.Now()
	r.buf = appendEntry(r.buf[:0], kind, max(now.Sub(r.begun), 0), p)
	f := r.file.Load()
	if _, err := f.Write(r.buf); err != nil {
		return errors.Join(err, f.Truncate(r.size))
	}
	if r.size == 0 {
		r.since = now
	}
	n := int64(len(r.buf))
	r.size += n
	r.count(n)
	r.dirty.Store(true)
	if r.shown+int64(len(p)) >= journalSize || r.size >= 2*journalSize || r.due.Load() {
		return r.rotate()
	}
	return nil
}

func (r *Recording) count(n int64) {
	r.weight.Add(n)
	r.spool.used.Add(n)
}

// Resize keeps that the terminal has another size. What can't be kept of it is no reason to end anything.
func (r *Recording) Resize(width, height int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil && r.lost == nil && !r.over && !r.closed && r.within(0) == nil {
		if err := r.append(entryResize, size(width, height)); err != nil {
			_ = r.giveUp(err, nil)
		}
	}
}

// Input counts and hashes what came in, of which nothing else is kept.
func (r *Recording) Input(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.input == nil {
		r.input = &tally{hash: sha256.New()}
	}
	r.input.add(p)
}

// Watch says whether somebody is watching: then chunks are sealed sooner.
func (r *Recording) Watch(on bool) { r.watched.Store(on) }

// giveUp ends a strict recording, and its session; of another the rest is counted.
func (r *Recording) giveUp(cause error, p []byte) error {
	r.spool.config.Log.Error("Recording can't go on", "session_id", r.kept.about.Head.Session, "strict", r.kept.strict(), "error", cause)
	go r.spool.config.Told(Event{Kind: Damaged, Head: r.kept.about.head(), Why: "the rest is not recorded: " + cause.Error()})
	if r.kept.strict() {
		r.failed = fault.New(fault.Unavailable, "the session can't be recorded any further, and it must be",
			"free disk space on the node, or restore the agent's way to the API and S3; then connect again").Because(cause)
		if r.fail != nil {
			go r.fail(r.failed)
		}
		return r.failed
	}
	r.lost = &tally{hash: sha256.New(), why: cause.Error()}
	r.lost.add(p)
	return nil
}

// next begins a journal.
func (r *Recording) next() error {
	f, err := os.OpenFile(r.kept.journal(r.seq), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.file.Store(f)
	r.size, r.shown = 0, 0
	r.due.Store(false)
	return nil
}

func (k *kept) journal(seq int) string {
	return filepath.Join(k.dir, recording.ChunkName(seq)+journals)
}

// rotate hands the journal over to be sealed and begins another. A session that shows more than can be sealed is held up
// here.
func (r *Recording) rotate() error {
	old := r.file.Load()
	r.seals <- r.seq
	r.seq++
	if err := r.next(); err != nil {
		r.seq--
		return err
	}
	return old.Close()
}

// tick is called each second.
func (r *Recording) tick() {
	if r.dirty.Swap(false) {
		if err := r.file.Load().Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // a closed one is being sealed, which syncs
			r.spool.config.Log.Error("Recording not synced", "session_id", r.kept.about.Head.Session, "error", err)
			r.dirty.Store(true)
		}
	}
	if !r.mu.TryLock() { // it is being written, and looks itself
		return
	}
	defer r.mu.Unlock()
	age := journalAge
	if r.watched.Load() {
		age = watchedAge
	}
	if r.size == 0 || r.over || r.closed || r.lost != nil || r.failed != nil || r.spool.config.Now().Sub(r.since) < age {
		return
	}
	if len(r.seals) == cap(r.seals) { // nobody waits here for one session
		r.due.Store(true)
		return
	}
	if err := r.rotate(); err != nil {
		_ = r.giveUp(err, nil)
	}
}

// End says that nothing more will be shown. It doesn't wait until all is sealed.
func (r *Recording) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.over = true
	r.hand()
}

// leave seals what is there without an end.
func (r *Recording) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.hand()
	}
}

func (r *Recording) hand() {
	r.closed = true
	_ = r.file.Load().Sync()
	_ = r.file.Load().Close()
	r.seals <- r.seq
	close(r.seals)
}

// Done is closed when everything that was shown is in chunks.
func (r *Recording) Done() <-chan struct{} { return r.done }

// seal makes chunks of journals until the session is over, and then the manifest.
func (r *Recording) seal() {
	defer close(r.done)
	for range r.seals {
		before := r.spool.used.Load()
		r.spool.drain(r.kept)
		r.weight.Add(r.spool.used.Load() - before)
	}
	for !r.spool.sealed(r.kept) { // the disk was full, say; it is tried until it works or the agent ends
		limit := time.NewTimer(again)
		select {
		case <-limit.C:
			r.spool.drain(r.kept)
		case <-r.spool.stop:
			limit.Stop()
			return
		}
	}
	r.mu.Lock()
	over, unrecorded, input := r.over, r.lost.digest(), r.input.digest()
	r.mu.Unlock()
	r.spool.mu.Lock()
	delete(r.spool.open, r.kept.about.Head.Session)
	r.spool.mu.Unlock()
	if !over {
		return
	}
	r.kept.mu.Lock()
	r.kept.state.Over, r.kept.state.Ended = true, r.begun.Add(max(r.spool.config.Now().Sub(r.begun), 0))
	r.kept.state.Unrecorded, r.kept.state.Input = unrecorded, input
	r.kept.mu.Unlock()
	r.spool.sign(r.kept)
}
