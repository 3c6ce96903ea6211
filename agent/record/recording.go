package record

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
)

// Recording is that of one session. It is safe for concurrent use.
type Recording struct {
	spool   *Spool
	kept    *kept
	fail    func(*fault.Fault)
	begun   time.Time
	handed  chan struct{} // has a value when a journal is to be sealed, or no more will be
	waiting atomic.Int64  // what those weigh
	sealed  chan struct{} // has a value when one was
	done    chan struct{} // closed when all were

	file    atomic.Pointer[os.File] // the journal
	dirty   atomic.Bool             // something in it isn't synced
	due     atomic.Bool             // it is old enough to be sealed
	watched atomic.Bool
	urgent  atomic.Bool // the session waits for room that sealing may make
	last    atomic.Bool // no journal will be begun any more
	gone    atomic.Bool // the session never began

	came  sync.Mutex
	input *tally // what came in

	behind   sync.Mutex
	queue    []full // journals to be sealed, in their order
	all      bool   // no more of them come
	unsynced []int  // numbers of journals that wait to be sealed, and may not be synced yet

	mu     sync.Mutex
	seq    int           // of the journal
	chunks int           // in the journals, without the one that isn't full
	inside int           // of those in this journal
	size   int64         // of the journal
	from   int64         // where in the journal the chunk begins
	spare  int64         // what its chunks may take beyond its size
	whole  int64         // what those weigh that are whole
	shown  int64         // output in the journal
	plain  bool          // what the chunk shows doesn't pack well
	part   [2]bool       // stdout, and stderr, may end within a character
	cost   int64         // output in the chunk; what is no text counts twice, as it is written twice
	since  time.Time     // the journal's first entry's
	at     time.Duration // of the last entry: a clock that is set back makes no entry earlier than one before
	total  int64         // output in all journals
	buf    []byte
	failed *fault.Fault // strict, and it can't go on
	lost   *tally       // best effort, and it can't go on
	over   bool
	ended  time.Time
	closed bool

	telling sync.WaitGroup
}

// full is a journal that is to be sealed.
type full struct {
	began  time.Duration // when its first entry is of, since the session's start
	weight int64         // its size, or what sealing its output takes if that is more
}

// packedWeight is how many bytes of output weigh as much as one that is on disk: what is packed must be sealed all the same.
const packedWeight = 8

// A chunk may take more than its journal did: a control character is six there before it is compressed, and what isn't text is
// there twice. So that there is room for it as well, this is kept free until a journal is sealed, in percent of its bytes.
const (
	growth        = 50  // of text; at most 37 was seen
	growthElse    = 160 // of what isn't text; at most 148
	growthControl = 150 // of control characters that are packed: among their escapes zstd may miss what S2 finds among them
)

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

// mostAtOnce is how much of an output is one entry.
const mostAtOnce = 64 << 10

// Output keeps what the session is about to show on a stream. In a strict recording an error says that nobody may see it.
func (r *Recording) Output(stream byte, p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), mostAtOnce)
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
	n, text := int64(len(p)), r.isText(stream, p)
	err := r.within(n, text)
	for more := true; more && errors.Is(err, ErrFull); { // once more when nothing is left to wait for: it may just have been sealed
		more = r.catchUp()
		err = r.within(n, text)
	}
	if err != nil {
		return r.giveUp(err, p)
	}
	if err := r.append(stream, p, text); err != nil {
		return r.giveUp(err, p)
	}
	r.cost, r.shown, r.total = r.cost+n, r.shown+n, r.total+n
	r.spool.shown.Add(n)
	if !text {
		r.cost += n
	}
	if r.cost >= chunkSize || r.size-r.from >= 2*chunkSize || r.due.Load() {
		if err := r.turn(); err != nil {
			return r.giveUp(err, nil)
		}
	}
	return nil
}

// isText reports whether a chunk has output as text alone. What follows a part of a character on its stream isn't: the chunk shows
// it behind that, and has the exact bytes as well.
func (r *Recording) isText(stream byte, p []byte) bool {
	part := &r.part[0]
	if stream == recording.Stderr {
		part = &r.part[1]
	}
	behind := *part
	last, size := utf8.DecodeLastRune(p)
	*part = last == utf8.RuneError && size == 1
	return !behind && utf8.Valid(p)
}

// turn ends a chunk, and its journal unless much is shown. Then the next chunk is in the same one, which is sealed all the same
// before it is old.
func (r *Recording) turn() error {
	s := r.spool
	quick := s.config.Now().Sub(r.since) < time.Duration(r.inside+1)*chunkSize*lookEvery/much
	crowded := s.waiting.Load()+s.held.Load() > s.most/2 // by sessions without number, of which each may have such a journal
	if !quick || crowded || r.due.Load() || s.tight.Load() || r.inside+1 >= s.perJournal {
		return r.rotate()
	}
	if err := r.append(entryCut, nil, true); err != nil {
		return err
	}
	r.inside++
	r.chunks++
	now := r.full().weight
	s.held.Add(now - r.whole)
	r.from, r.whole, r.cost, r.plain = r.size, now, 0, false
	return nil
}

// beyond is how much chunks may take beyond so many bytes in a journal.
func beyond(n int64, text bool) int64 {
	if text {
		return n * growth / 100
	}
	return n * growthElse / 100
}

// within fails when more output would be more than the recording, the session or the spool may have.
func (r *Recording) within(n int64, text bool) error {
	c, takes := &r.spool.config, n+beyond(n, text)
	most := c.Limit
	if r.behindIt() {
		most -= c.Limit / shareOfOthers
	}
	switch {
	case r.total+n > c.Most:
		return fmt.Errorf("a recording has at most %d bytes of output", c.Most)
	case r.kept.weight.Load()+r.kept.spare.Load()+takes > c.Limit/shareOfOne:
		return fmt.Errorf("%w: this session's take %d bytes, and one session may take %d", ErrFull, r.kept.weight.Load(), c.Limit/shareOfOne)
	case r.spool.taken()+takes > most:
		return fmt.Errorf("%w: they take %d bytes of %d", ErrFull, r.spool.used.Load(), c.Limit)
	case r.spool.scarce.Load():
		return fmt.Errorf("%w: the disk has too little left", ErrFull)
	case r.chunks >= recording.MaxChunks-1:
		return fmt.Errorf("a recording has at most %d chunks", recording.MaxChunks)
	}
	return nil
}

// worthSealing is how much room sealing a journal before its time must promise at least: no flood of small chunks comes of it.
const worthSealing = chunkSize / 8

// shareOfOthers is the part of the spool, an eighth, that none gets who could make room by sealing first: what is kept free for
// floods ends no other session, and keeps none from beginning.
const shareOfOthers = 8

// behindIt reports whether sealing what the session showed makes room.
func (r *Recording) behindIt() bool { return r.waiting.Load() > 0 || r.spare >= worthSealing }

// catchUp waits until a journal is sealed, which takes less room then than was kept free for it. It reports false when none is
// left that would.
func (r *Recording) catchUp() bool {
	r.urgent.Store(true)
	defer r.urgent.Store(false)
	if r.waiting.Load() == 0 && (r.spare < worthSealing || r.rotate() != nil) {
		return false
	}
	<-r.sealed
	return true
}

// controls is how many control characters p has, eight bytes at a time.
func controls(p []byte) (n int64) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		x := binary.LittleEndian.Uint64(p)
		n += int64(bits.OnesCount64(high &^ (x | ((x | high) - ' '*ones)))) // what is below a space falls below 0x80 without it
	}
	for _, b := range p {
		if b < ' ' {
			n++
		}
	}
	return n
}

// append writes an entry.
func (r *Recording) append(kind byte, p []byte, text bool) error {
	now := r.spool.config.Now()
	r.at = max(r.at, now.Sub(r.begun))
	r.buf = appendEntry(r.buf[:0], kind, r.at, p, text && !r.plain)
	if len(p) >= leastTry {
		r.plain = r.buf[kindAt]&packed == 0
	}
	f := r.file.Load()
	if _, err := f.Write(r.buf); err != nil {
		return errors.Join(err, f.Truncate(r.size))
	}
	if r.size == 0 {
		r.since = now
	}
	n := int64(len(r.buf))
	spare := beyond(n, text)
	if r.buf[kindAt]&packed != 0 {
		spare += controls(p) * growthControl / 100
	}
	r.size, r.spare = r.size+n, r.spare+spare
	r.spool.weigh(r.kept, n)
	r.spool.keepFree(r.kept, spare)
	r.dirty.Store(true)
	return nil
}

// Resize keeps that the terminal has another size. What can't be kept of it is no reason to end anything.
func (r *Recording) Resize(width, height int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil && r.lost == nil && !r.over && !r.closed && r.within(0, true) == nil {
		err := r.append(entryResize, size(width, height), true)
		if err == nil && r.size-r.from >= 2*chunkSize { // a client may send as many as it likes
			err = r.rotate()
		}
		if err != nil {
			_ = r.giveUp(err, nil)
		}
	}
}

// Input counts and hashes what came in, of which nothing else is kept.
func (r *Recording) Input(p []byte) {
	r.came.Lock()
	defer r.came.Unlock()
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
	r.later(Event{Kind: Damaged, Head: r.kept.about.head(), Why: "the rest is not recorded: " + cause.Error()})
	if r.kept.strict() {
		r.failed = fault.New(fault.Unavailable, "the session can't be recorded any further, and it must be",
			"free disk space on the node, or restore the agent's way to the API and S3; then connect again").Because(cause)
		if r.fail != nil {
			r.fail(r.failed)
		}
		return r.failed
	}
	r.lost = &tally{hash: sha256.New(), why: cause.Error()}
	r.lost.add(p)
	return nil
}

// later tells without holding anybody up. The spool isn't closed before that is done: it waits for this recording.
func (r *Recording) later(e Event) { r.telling.Go(func() { r.spool.config.Told(e) }) }

// next begins a journal.
func (r *Recording) next() error {
	f, err := os.OpenFile(r.kept.journal(r.seq), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.file.Store(f)
	r.size, r.from, r.spare, r.whole, r.shown, r.cost, r.inside, r.plain = 0, 0, 0, 0, 0, 0, 0, false
	r.due.Store(false)
	return nil
}

func (k *kept) journal(seq int) string {
	return filepath.Join(k.dir, recording.ChunkName(seq)+journals)
}

// rotate hands the journal over to be sealed and begins another. A session that shows more than can be sealed is held up
// here, once many of its journals wait, and many of all sessions.
func (r *Recording) rotate() error {
	old := r.file.Load()
	j, more, spare, whole := r.full(), r.size > r.from, r.spare, r.whole
	r.seq++
	if err := r.next(); err != nil {
		r.seq--
		return err
	}
	r.leaves(r.seq-1, spare)
	r.spool.held.Add(-whole)
	if more {
		r.chunks++
	}
	for r.ahead(j.weight) {
		<-r.sealed
	}
	r.hand(j, false)
	return old.Close()
}

// leaves says that nothing more is written to a journal, whose chunks may take so much beyond its size.
func (r *Recording) leaves(number int, spare int64) {
	r.kept.mu.Lock()
	r.kept.spares[number] += spare // beside what the first has for the command
	r.kept.mu.Unlock()
	r.behind.Lock()
	defer r.behind.Unlock()
	r.unsynced = append(r.unsynced, number)
}

// sync has what was written survive a crash of the machine, the oldest first: what waits to be sealed as well.
func (r *Recording) sync() error {
	dirty, f := r.dirty.Swap(false), r.file.Load() // before the others: if f is among them, it is so now or the next time
	r.behind.Lock()
	old := r.unsynced
	r.unsynced = nil
	r.behind.Unlock()
	if !dirty && len(old) == 0 {
		return nil
	}
	if err := r.spool.settle(r.kept); err != nil {
		return err
	}
	for _, number := range old {
		if err := r.spool.syncFile(r.kept.journal(number)); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is in chunks, which are synced
			return err
		}
	}
	if !dirty {
		return nil
	}
	if err := r.spool.config.Sync(f); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// syncFile has a file survive a crash of the machine.
func (s *Spool) syncFile(path string) error {
	f, _, err := open(path)
	if err != nil {
		return err
	}
	return errors.Join(s.config.Sync(f), f.Close())
}

// full is the journal that is being written, as it is handed over.
func (r *Recording) full() full {
	return full{r.since.Sub(r.begun), max(r.size, r.shown/packedWeight)}
}

// ahead reports whether the session shows more than can be sealed: too much would wait if n more did.
func (r *Recording) ahead(n int64) bool {
	own := r.waiting.Load()
	return own > 0 && own+n > r.spool.own && r.spool.waiting.Load()+n > r.spool.most
}

// hand has a journal sealed; all says that it is the last.
func (r *Recording) hand(j full, all bool) {
	r.waiting.Add(j.weight)
	r.spool.waiting.Add(j.weight)
	r.behind.Lock()
	r.queue, r.all = append(r.queue, j), all
	r.behind.Unlock()
	signal(r.handed)
}

// take returns what is to be sealed next, if there is something, and whether there is or will be.
func (r *Recording) take() (j full, there, more bool) {
	r.behind.Lock()
	defer r.behind.Unlock()
	if len(r.queue) == 0 {
		return full{}, false, !r.all
	}
	j, r.queue = r.queue[0], r.queue[1:]
	return j, true, true
}

// signal leaves a value in a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// caughtUp says that a journal waits no more.
func (r *Recording) caughtUp(j full) {
	r.waiting.Add(-j.weight)
	r.spool.waiting.Add(-j.weight)
	signal(r.sealed)
}

// syncData has the bytes of a file survive a crash of the machine. Of one that is closed meanwhile it says so by [os.ErrClosed].
func syncData(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Fdatasync(int(fd)) }); err != nil {
		return errors.Join(os.ErrClosed, err) // which says it in other words
	}
	return failed
}

// tick is called each second.
func (r *Recording) tick() {
	if err := r.sync(); err != nil {
		r.mu.Lock()
		if r.failed == nil && r.lost == nil && !r.closed {
			_ = r.giveUp(fmt.Errorf("syncing it: %w", err), nil)
		}
		r.mu.Unlock()
		return
	}
	if !r.mu.TryLock() { // it is being written, and looks itself
		return
	}
	defer r.mu.Unlock()
	age := r.mostAge()
	if r.inside > 0 { // it has whole chunks
		age = syncEvery
	}
	now := r.spool.config.Now()
	if now.Before(r.since) { // the clock was set back
		r.since = now
	}
	if r.size == 0 || r.over || r.closed || r.failed != nil || now.Sub(r.since) < age {
		return
	}
	if r.ahead(r.full().weight) { // nobody waits here for one session
		r.due.Store(true)
		return
	}
	if err := r.rotate(); err != nil && r.lost == nil { // of what is counted alone, what is kept goes as well
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
	r.over, r.ended = true, r.spool.config.Now()
	r.close()
}

// Chunks is how many there will be, unless one has to be halved.
func (r *Recording) Chunks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size == r.from && r.chunks > 0 { // there is nothing in the last
		return r.chunks
	}
	return r.chunks + 1
}

// Told says that the session's end is journaled: the next start of the agent need not do it.
func (r *Recording) Told() {
	f, err := os.OpenFile(filepath.Join(r.kept.dir, endedName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.spool.config.Log.Warn("End of a session not marked", "session_id", r.kept.about.Head.Session, "error", err)
	}
}

// Began says that the session runs. The control plane is to know of its recording as soon as can be: from then on it misses
// one of which nothing comes.
func (r *Recording) Began() {
	r.kept.began.Store(true)
	r.spool.wake()
}

// Discard takes back a recording of a session that didn't begin.
func (r *Recording) Discard() {
	r.gone.Store(true)
	r.leave()
}

// leave seals what is there without an end.
func (r *Recording) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.close()
	}
}

func (r *Recording) close() {
	r.closed = true
	r.last.Store(true)
	_ = r.file.Load().Close()
	r.leaves(r.seq, r.spare)
	r.spool.held.Add(-r.whole)
	r.hand(r.full(), true)
}

// Done is closed when everything that was shown is in chunks.
func (r *Recording) Done() <-chan struct{} { return r.done }

// seal makes chunks of journals until the session is over, and then the manifest. Until then it must not lock mu, which a
// session that waits for it holds.
func (r *Recording) seal() {
	defer close(r.done)
	defer r.telling.Wait()
	owed := 0 // journals that are to be sealed; with more than the next, the disk didn't take one
	for {
		j, there, more := r.take()
		if !more {
			break
		}
		if there {
			if !r.gone.Load() {
				r.calm(j.began)
			}
			if !r.gone.Load() { // it may have been taken back meanwhile
				owed = r.drain(owed + 1)
			}
			r.caughtUp(j)
			continue
		}
		var retry <-chan time.Time
		if owed > 0 {
			retry = time.After(again)
		}
		select {
		case <-r.handed:
		case <-retry:
			owed = r.drain(owed)
		}
	}
	if r.gone.Load() {
		r.spool.discard(r.kept)
		return
	}
	for !r.spool.sealed(r.kept) { // the disk was full, say; it is tried until it works or the agent ends
		if !r.spool.drain(r.kept) && !r.spool.wait(again) {
			return // the next start tries again
		}
	}
	for {
		over, err := r.finished()
		if err != nil && r.spool.release() {
			over, err = r.finished()
		}
		if over && err == nil {
			r.spool.sign(r.kept)
		}
		if err == nil {
			break
		}
		// Only this run knows what was shown and not recorded: the next one would sign that nothing was.
		r.spool.config.Log.Error("Recording not finished", "session_id", r.kept.about.Head.Session, "error", err)
		if !r.spool.wait(again) {
			return
		}
	}
	r.spool.mu.Lock()
	delete(r.spool.open, r.kept.about.Head.Session)
	r.spool.mu.Unlock()
}

// drain seals so many journals, and returns how many of them are left: the one that is being written isn't theirs.
func (r *Recording) drain(n int) int {
	for n > 0 && r.spool.drain(r.kept) {
		n--
	}
	return n
}

// finished keeps how the session ended, and reports whether it did.
func (r *Recording) finished() (bool, error) {
	r.mu.Lock()
	over, unrecorded, lasted := r.over, r.lost.digest(), max(r.ended.Sub(r.begun), r.at)
	r.mu.Unlock()
	r.came.Lock()
	input := r.input.digest()
	r.came.Unlock()
	if !over {
		return false, nil
	}
	r.kept.mu.Lock()
	st := r.kept.state
	r.kept.mu.Unlock()
	st.Over, st.Ended, st.Unrecorded, st.Input = true, r.kept.about.Head.Started.Add(lasted), unrecorded, input
	return true, r.spool.save(r.kept, st)
}
