// Package record keeps what sessions show, on the agent's disk, before anybody sees it, until S3 provably holds it.
//
// Each session has a directory: about.json says whose it is; journals hold what was shown since the last chunk; chunks and the
// manifest are what goes to S3; state.json says how far the chain of chunks has got. A crash leaves journals, which
// the next start seals. Uploading is package upload's. Its entry point is [Open].
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// Names in a session's directory, beside chunks and the manifest, which have the names of their objects.
const (
	aboutName   = "about.json"
	stateName   = "state.json"
	journals    = ".journal"
	damaged     = ".damaged"
	endedName   = "ended" // the journal of events has the session's end
	reserveName = "reserve"
	newName     = ".new"  // behind the name of a file that is being written
	goneName    = ".gone" // behind the name of a directory that is being removed
)

// Bounds, where the configuration has none.
const (
	limit       = 2 << 30 // of the whole spool
	mostOfOne   = 4 << 30 // of output that one recording may have
	shareOfOne  = 4       // a session may take a quarter of the spool
	syncEvery   = time.Second
	syncsAtOnce = 8
	mendEvery   = 30 * time.Second
	freeShare   = 20       // a twentieth of the disk stays free,
	mostFree    = 1 << 30  // but not more than this
	leastFree   = 64 << 20 // and not less than this,
	smallShare  = 8        // but no more than an eighth
	chunkSize   = 1 << 20  // of output, which are one chunk
	mostJournal = 8        // chunks in the journal of a session that shows much, so that the disk makes fewer files,
	smallest    = 32       // but no more than one of so many parts of what may wait
	journalAge  = 10 * time.Second
	watchedAge  = 2 * time.Second
	backlog     = 2         // journals of all sessions that wait to be sealed take at most half of what one session may,
	mostWaiting = 512 << 20 // and at most this, unless
	mostOwn     = 4 << 20   // those of each take no more than this, or half of that
	reserveSize = 2 << 20   // held back for sealing when the disk is full
	headGrowth  = 3         // times its bytes are kept free for a command in the first chunk, until that is made
	maxMissing  = 200       // runs of damaged chunks that a manifest names one by one
)

// Config says where recordings are kept and who is told of them. Dir and Sign are required.
type Config struct {
	Dir   string
	Limit int64 // bytes of everything here; 0 is 2 GiB
	Most  int64 // bytes of output that one recording may have; 0 is 4 GiB
	// Sign signs a manifest with the agent's key and certificate of today.
	Sign func(recording.Manifest) ([]byte, error)
	// Told is told what happened to a recording. It is called without locks, maybe again after a crash.
	Told func(Event)
	// Free returns how many bytes of the disk under dir are free, and of how many; nil asks the disk.
	Free func(dir string) (free, all uint64, err error)
	Sync func(*os.File) error // has what a file has survive a crash of the machine; nil is fdatasync
	Now  func() time.Time     // nil is time.Now
	Log  *slog.Logger         // nil discards
}

// Kind is what happened to a recording.
type Kind string

// The kinds.
const (
	Sealed  Kind = "sealed"  // a chunk
	Ended   Kind = "ended"   // the recording has its manifest
	Torn    Kind = "torn"    // an earlier run of the agent left the session without an end
	Damaged Kind = "damaged" // something of it could not be kept, read or uploaded
)

// Event is something that happened to a recording.
type Event struct {
	Kind     Kind
	Head     recording.Head
	Chunk    int    // its number
	Hash     string // hex SHA-256 of the chunk
	Bytes    int64  // of the chunk's output
	Size     int64  // of the chunk; 0 when that isn't known any more
	Manifest recording.Manifest
	Why      string // it is damaged
}

// Spool is the directory of all recordings. It is safe for concurrent use, by one process.
type Spool struct {
	config     Config
	used       atomic.Int64 // bytes that are on the disk
	spare      atomic.Int64 // bytes that sealing may add to them
	ready      chan struct{}
	stop       chan struct{}
	ends       sync.WaitGroup
	waiting    atomic.Int64 // what journals weigh that wait to be sealed
	held       atomic.Int64 // bytes of whole chunks in journals that aren't full
	scarce     atomic.Bool  // the disk has too little room left
	tight      atomic.Bool  // it will have, if as many journals wait as may
	shown      atomic.Int64 // bytes of output that this run has kept
	perJournal int          // chunks at most
	most       int64        // what journals may weigh that wait to be sealed; sessions that show more are held up,
	own        int64        // unless no more of their own wait

	mu      sync.Mutex
	open    map[string]*Recording // by session
	kept    map[string]*kept      // sessions whose recording is on disk, open ones included
	closed  bool
	reserve spool.Reserve
	lent    atomic.Bool // the reserve's room is free on the disk, for sealing alone
}

// kept is a recording on disk.
type kept struct {
	dir     string
	about   about
	weight  atomic.Int64 // bytes of what is in the directory
	spare   atomic.Int64 // bytes that sealing may add to them
	began   atomic.Bool  // its session did
	durable atomic.Bool  // about.json is
	signing sync.Mutex   // of the manifest

	mu     sync.Mutex
	state  state
	spares map[int]int64 // which those are, by the number of a journal of this run that waits to be sealed
}

// about is written once, when the session begins.
type about struct {
	Head    recording.Head `json:"head"`
	Command string         `json:"command,omitempty"` // on disk alone: commands of many sessions would take much memory
	Exact   []byte         `json:"exact,omitempty"`   // its bytes, where they aren't UTF-8
	Term    string         `json:"term,omitempty"`
	Width   int            `json:"width"`
	Height  int            `json:"height"`
	Secret  []byte         `json:"secret"` // that the session's id was made from
	Mode    string         `json:"mode"`
}

// head is what the recording says of its session, without the command unless it was just read.
func (a about) head() recording.Head {
	h := a.Head
	h.Command, h.Term, h.Width, h.Height = a.Command, a.Term, a.Width, a.Height
	if a.Exact != nil {
		h.Command = string(a.Exact)
	}
	return h
}

// newAbout is what is written of a session that begins.
func newAbout(b Begin) about {
	a := about{Head: b.Head, Command: b.Head.Command, Term: b.Head.Term, Width: b.Head.Width, Height: b.Head.Height, Secret: b.Secret, Mode: b.Mode}
	a.Head.Command = "" // it stands beside
	if !utf8.ValidString(a.Command) {
		a.Exact = []byte(a.Command)
	}
	return a
}

// forget drops the command, which is on disk.
func (a *about) forget() { a.Command, a.Exact = "", nil }

// head reads what the first chunk says of the session.
func (k *kept) head() (recording.Head, error) {
	var a about
	if err := readJSON(filepath.Join(k.dir, aboutName), &a); err != nil {
		return recording.Head{}, fmt.Errorf("reading whose session it is: %w", err)
	}
	return a.head(), nil
}

// state is how far the chunks have got.
type state struct {
	Next       recording.Place     `json:"next"`           // of the chunk to come
	Journal    int                 `json:"journal"`        // the number of the journal that it will be of
	Cuts       int                 `json:"cuts,omitempty"` // how many cuts of it are behind the chunk before
	Made       []made              `json:"made,omitempty"` // of the journal before, or with cuts of this one so far
	Bytes      int64               `json:"bytes"`
	Last       time.Duration       `json:"last"` // when something was shown last
	Missing    []recording.Missing `json:"missing,omitempty"`
	Torn       bool                `json:"torn,omitempty"`
	Over       bool                `json:"over,omitempty"` // no more will be shown
	Ended      time.Time           `json:"ended,omitzero"`
	Unrecorded *recording.Digest   `json:"unrecorded,omitempty"`
	Input      *recording.Digest   `json:"input,omitempty"`
	Signed     bool                `json:"signed,omitempty"` // the manifest is there
}

// made is a chunk that was made.
type made struct {
	Seq   int    `json:"seq"`
	Hash  string `json:"hash"`
	Shown int64  `json:"shown"` // bytes of output
	Size  int64  `json:"size"`
}

// Open reads what an earlier run left behind. [Spool.Resume] seals it.
func Open(c Config) (*Spool, error) {
	if c.Limit == 0 {
		c.Limit = limit
	}
	if c.Most == 0 {
		c.Most = mostOfOne
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Free == nil {
		c.Free = free
	}
	if c.Sync == nil {
		c.Sync = syncData
	}
	if c.Told == nil {
		c.Told = func(Event) {}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the recordings' spool: %w", err)
	}
	most := min(c.Limit/shareOfOne/backlog, mostWaiting)
	s := &Spool{
		config: c, perJournal: int(max(1, min(mostJournal, most/smallest/chunkSize))), most: most, own: min(mostOwn, most/2),
		ready: make(chan struct{}, 1), stop: make(chan struct{}), open: map[string]*Recording{}, kept: map[string]*kept{},
		reserve: spool.Reserve{Path: filepath.Join(c.Dir, reserveName), Size: reserveSize, Allocate: spool.Allocate},
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the recordings' spool: %w", err)
	}
	for _, e := range entries {
		if e.Name() == reserveName {
			s.reserve.Held = true
			continue
		}
		if strings.HasSuffix(e.Name(), goneName) {
			if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
				c.Log.Error("Recording in the spool not removed", "directory", e.Name(), "error", err)
			}
			continue
		}
		if neverBegan(filepath.Join(c.Dir, e.Name())) {
			continue
		}
		k, err := s.find(e.Name())
		if err != nil { // one that can't be read holds up no other, and stays where somebody can look at it
			c.Log.Error("Recording in the spool not readable", "session_id", e.Name(), "error", err)
			continue
		}
		s.kept[k.about.Head.Session] = k
	}
	s.ends.Go(s.sync)
	return s, nil
}

// neverBegan removes the directory of a session that a crash kept from beginning, and reports whether it was one: it has nothing, or
// empty files alone.
func neverBegan(dir string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, failed := e.Info()
		if err == nil {
			err = failed
		}
		if err != nil || !info.Mode().IsRegular() || info.Size() > 0 {
			return false
		}
	}
	return err == nil && os.RemoveAll(dir) == nil
}

// Resume seals in the background what earlier runs left behind, and signs what could not be signed. It is for an agent that
// has its certificate.
func (s *Spool) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.ends.Go(s.mend)
	}
}

func (s *Spool) mend() {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	for {
		for _, k := range s.left() {
			select {
			case <-s.stop:
				return
			default:
				s.finish(k)
			}
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

// left are the recordings of sessions that have ended and have no manifest.
func (s *Spool) left() []*kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*kept
	for session, k := range s.kept {
		if s.open[session] == nil && !k.signed() {
			out = append(out, k)
		}
	}
	return out
}

func (k *kept) signed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Signed
}

// find reads the directory of one session.
func (s *Spool) find(name string) (*kept, error) {
	k := &kept{dir: filepath.Join(s.config.Dir, name), spares: map[int]int64{}}
	k.began.Store(true) // or a crash kept it from being told
	s.weigh(k, weight(k.dir))
	if err := readJSON(filepath.Join(k.dir, aboutName), &k.about); err != nil {
		return nil, err
	}
	k.about.forget()
	if k.about.Head.Session != name || !identity.ValidID("ses", name) {
		return nil, fmt.Errorf("it is that of %.64q", k.about.Head.Session)
	}
	k.state.Next.Session = name
	if err := readJSON(filepath.Join(k.dir, stateName), &k.state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return k, nil
}

// weigh counts bytes that came to a recording, or went.
func (s *Spool) weigh(k *kept, n int64) {
	k.weight.Add(n)
	s.used.Add(n)
}

// keepFree counts bytes that sealing may add to a recording, or that it may no longer.
func (s *Spool) keepFree(k *kept, n int64) {
	k.spare.Add(n)
	s.spare.Add(n)
}

// uncount is of a recording that goes.
func (s *Spool) uncount(k *kept) {
	s.used.Add(-k.weight.Swap(0))
	s.spare.Add(-k.spare.Swap(0))
}

// taken is how much of the limit is given away.
func (s *Spool) taken() int64 { return s.used.Load() + s.spare.Load() }

// weight is how much a directory takes.
func weight(dir string) (n int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// Begin is what a session says when it begins.
type Begin struct {
	Head   recording.Head
	Secret []byte
	Mode   string // resource.RecordBestEffort or RecordStrict
	// Fail is called at most once, before Output returns, when a strict recording can't go on. The session must end. It must
	// not wait.
	Fail func(*fault.Fault)
}

// ErrFull is wrapped by the fault of a session for which there is no room.
var ErrFull = errors.New("no room for recordings")

// Begin makes a recording. It fails with a fault when there is no room for one.
func (s *Spool) Begin(b Begin) (*Recording, error) {
	if len(b.Head.Command) > recording.MaxCommand { // it is never cut: what counts could be behind
		return nil, fault.Newf(fault.BadInput, "put what it does into a script on the node", "the command has %d bytes, and a recording can have one of at most %d", len(b.Head.Command), recording.MaxCommand)
	}
	command := int64(headGrowth * len(b.Head.Command))
	if err := s.room(command); err != nil {
		return nil, s.refusal(err)
	}
	if _, err := recording.Prefix(b.Head.Session); err != nil { // it is a directory's name, too
		return nil, s.refusal(err)
	}
	k := &kept{dir: filepath.Join(s.config.Dir, b.Head.Session), about: newAbout(b), spares: map[int]int64{0: command}}
	k.state.Next.Session = b.Head.Session
	r := &Recording{spool: s, kept: k, fail: b.Fail, begun: s.config.Now()}
	r.handed, r.sealed, r.done = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	err := os.Mkdir(k.dir, 0o700)
	if err == nil {
		if err = writeJSON(filepath.Join(k.dir, aboutName), k.about, quickly); err == nil {
			err = r.next()
		}
		if err != nil {
			_ = os.RemoveAll(k.dir)
		}
	}
	if err != nil {
		return nil, s.refusal(err)
	}
	k.about.forget()
	s.weigh(k, weight(k.dir))
	s.keepFree(k, command)
	s.mu.Lock()
	if s.closed {
		err = os.ErrClosed
	} else {
		s.open[b.Head.Session], s.kept[b.Head.Session] = r, k
	}
	s.mu.Unlock()
	if err != nil {
		s.uncount(k)
		_ = os.RemoveAll(k.dir)
		return nil, s.refusal(err)
	}
	s.ends.Go(r.seal)
	return r, nil
}

// settle has whose session it is survive a crash of the machine, once. It comes with what the session shows first, since no session
// waits for the disk.
func (s *Spool) settle(k *kept) error {
	if k.durable.Load() {
		return nil
	}
	if err := errors.Join(s.syncFile(filepath.Join(k.dir, aboutName)), durable.SyncDir(k.dir), durable.SyncDir(s.config.Dir)); err != nil {
		return err
	}
	k.durable.Store(true)
	return nil
}

func (s *Spool) refusal(cause error) error {
	return fault.Newf(fault.Unavailable, "restore the agent's way to the API and S3, or free disk space on the node where "+s.config.Dir+" lies; the agent's log has the cause",
		"the node has no room to record this session").Because(cause)
}

// room fails when the spool, or its disk, is full for a session that takes so much before it shows anything.
func (s *Spool) room(n int64) error {
	if s.taken()+n+chunkSize > s.config.Limit {
		return fmt.Errorf("%w: they take %d bytes of %d", ErrFull, s.used.Load(), s.config.Limit)
	}
	free, all, err := s.look()
	if err != nil {
		return err
	}
	if s.scarce.Load() {
		return fmt.Errorf("%w: the disk has %d of %d bytes left", ErrFull, free, all)
	}
	return s.hold()
}

// hold takes the reserve's room on the disk, unless it has it.
func (s *Spool) hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.reserve.Hold()
	if err == nil {
		s.lent.Store(false)
	}
	return err
}

// look finds out whether the disk has room.
func (s *Spool) look() (free, all uint64, err error) {
	free, all, err = s.config.Free(s.config.Dir)
	least := keep(all)
	if s.lent.Load() {
		least += reserveSize
	}
	s.scarce.Store(err == nil && free < least)
	s.tight.Store(err == nil && free < least+uint64(s.most))
	return free, all, err
}

// keep is how much of a disk recordings leave free: on a small one, of their own, an eighth.
func keep(all uint64) uint64 {
	return min(max(min(all/freeShare, mostFree), leastFree), all/smallShare)
}

// free asks the disk under a directory what is free for others than root, and how large it is.
func free(dir string) (free, all uint64, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, 0, err
	}
	return disk.Bavail * uint64(disk.Bsize), disk.Blocks * uint64(disk.Bsize), nil
}

// release gives up the disk space that sealing falls back on, and reports whether there was any: a chunk is written before its
// journals go. Sessions get none of it: those that show much would have it before sealing does, and nothing would make room
// again.
func (s *Spool) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reserve.Held {
		return false
	}
	s.lent.Store(true)
	_, _, _ = s.look()
	return s.reserve.Release()
}

// wait waits, and reports false when the spool is closed meanwhile.
func (s *Spool) wait(d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-limit.C:
		return true
	case <-s.stop:
		return false
	}
}

// sync has what was shown survive a crash of the machine, each second, and seals what is old enough.
func (s *Spool) sync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
		if _, _, err := s.look(); err == nil && s.lent.Load() && !s.scarce.Load() {
			_ = s.hold() // or it is tried again
		}
		var ticks errgroup.Group
		ticks.SetLimit(syncsAtOnce)
		for _, r := range s.running() {
			ticks.Go(func() error { r.tick(); return nil })
		}
		_ = ticks.Wait()
	}
}

func (s *Spool) running() []*Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Recording, 0, len(s.open))
	for _, r := range s.open {
		all = append(all, r)
	}
	return all
}

// Ready has a value when there may be something to upload.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

func (s *Spool) wake() { signal(s.ready) }

// Close seals what is there and stops. Sessions should have ended.
func (s *Spool) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.stop)
	for _, r := range s.running() {
		r.leave()
	}
	s.ends.Wait()
	return nil
}

// Pending is a recording that S3 doesn't hold whole.
type Pending struct {
	Session string
	Secret  []byte
	Head    recording.Head
	Names   []string // chunks in their order, and then the manifest, when all chunks were sealed
	Done    bool     // the manifest is there or was sent: nothing more will come
}

// Pending lists the recordings of which S3 doesn't hold everything yet, the oldest first, also those of sessions that have shown
// nothing so far.
func (s *Spool) Pending() []Pending {
	s.mu.Lock()
	all := make([]*kept, 0, len(s.kept))
	for _, k := range s.kept {
		all = append(all, k)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *kept) int { return strings.Compare(a.dir, b.dir) })
	var out []Pending
	for _, k := range all {
		if !k.began.Load() {
			continue
		}
		k.mu.Lock()
		p := Pending{Session: k.about.Head.Session, Secret: k.about.Secret, Head: k.about.head(), Done: k.state.Signed}
		next := k.state.Next.Seq
		k.mu.Unlock()
		entries, err := os.ReadDir(k.dir)
		if err != nil {
			s.config.Log.Error("Recording in the spool not readable", "session_id", p.Session, "error", err)
			continue
		}
		for _, e := range entries {
			seq, manifest, err := recording.ParseName(e.Name())
			if err == nil && (!manifest && seq < next || manifest && p.Done) {
				p.Names = append(p.Names, e.Name()) // digits sort before letters
			}
		}
		out = append(out, p)
	}
	return out
}

// Read returns the bytes of something that is to be uploaded.
func (s *Spool) Read(session, name string) ([]byte, error) {
	return read(filepath.Join(s.config.Dir, session, name))
}

// open opens a file of the spool and says how long it is. What isn't one, such as a pipe that nobody writes into, is an error: it
// would hold up who reads it.
func open(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// read reads a file of the spool, of which none but journals is larger than a chunk.
func read(path string) ([]byte, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > recording.MaxChunk {
		return nil, fmt.Errorf("%s has %d bytes, more than it can have", path, size)
	}
	return io.ReadAll(io.LimitReader(f, recording.MaxChunk))
}

// Held says that S3 provably holds an object, which is then deleted here.
func (s *Spool) Held(session, name string) error {
	path := filepath.Join(s.config.Dir, session, name)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	s.mu.Lock()
	k := s.kept[session]
	s.mu.Unlock()
	if k != nil {
		s.weigh(k, -info.Size())
	}
	return nil
}

// Forget removes what is left of a recording of which S3 holds everything.
func (s *Spool) Forget(session string) error {
	s.mu.Lock()
	k := s.kept[session]
	delete(s.kept, session)
	s.mu.Unlock()
	if k == nil {
		return nil
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	for _, e := range entries { // damaged journals stay
		if e.Name() != aboutName && e.Name() != stateName && e.Name() != endedName {
			return nil
		}
	}
	s.uncount(k)
	return k.remove()
}

// remove removes the directory, under another name first: of one that a crash left half the next start would take what is still
// there for a recording of its own.
func (k *kept) remove() error {
	gone := k.dir + goneName
	if err := os.Rename(k.dir, gone); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(k.dir)); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// discard removes the recording of a session that never began.
func (s *Spool) discard(k *kept) {
	s.mu.Lock()
	delete(s.open, k.about.Head.Session)
	delete(s.kept, k.about.Head.Session)
	s.mu.Unlock()
	s.uncount(k)
	if err := k.remove(); err != nil {
		s.config.Log.Error("Recording of a session that never began not removed", "session_id", k.about.Head.Session, "error", err)
	}
}

// Failed reports what could not be uploaded, once.
func (s *Spool) Failed(p Pending, name, why string) {
	s.config.Told(Event{Kind: Damaged, Head: p.Head, Why: name + " could not be uploaded: " + why})
}

func writeJSON(path string, v any, how func(path string, b []byte) error) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return how(path, b)
}

// quickly writes a file that a crash of the machine may take.
func quickly(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }

// write makes a file whole or not at all, and durable.
func write(path string, b []byte) error {
	if err := place(path, b); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// place is write of a file whose name need not be durable yet. What a crash leaves of it has the same name the next time.
func place(path string, b []byte) error { return durable.Place(path, path+newName, b) }

func readJSON(path string, v any) error {
	b, err := read(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// strict reports whether the session must end with its recording.
func (k *kept) strict() bool { return k.about.Mode == resource.RecordStrict }
