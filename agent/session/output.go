package session

import (
	"io"
	"sync"
	"sync/atomic"
)

// Stream says which of a session's outputs some bytes belong to.
type Stream byte

// The streams. A terminal has one.
const (
	Stdout Stream = 'o'
	Stderr Stream = 'e'
)

// Recorder is told everything that a session shows, before anyone sees it. An error keeps it from being shown.
type Recorder interface {
	Output(s Stream, p []byte) error
}

// ringSize is how far a joiner may be behind before it is cut.
const ringSize = 256 << 10

// Output hands on what a session shows: to the recorder first, which may hold the process up, then to the owner, then
// to those who joined, who are never waited for. Its zero value has neither recorder nor joiners. It is safe for
// concurrent use.
type Output struct {
	plain    atomic.Int32 // 0 while there is neither recorder nor joiner: then only the owner's write is to be done
	mu       sync.Mutex
	recorder Recorder
	joiners  map[*Joiner]struct{}
}

// Record has a recorder told from now on. There is at most one.
func (o *Output) Record(r Recorder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recorder = r
	o.plain.Store(1)
	o.watch()
}

// watch tells a recorder that wants to know whether somebody is watching.
func (o *Output) watch() {
	if r, ok := o.recorder.(interface{ Watch(on bool) }); ok {
		r.Watch(len(o.joiners) > 0)
	}
}

// Writer returns where a service writes one stream of what the session shows; the owner sees what is written without error.
func (o *Output) Writer(owner io.Writer, s Stream) io.Writer { return &writer{o, owner, s} }

type writer struct {
	output *Output
	owner  io.Writer
	stream Stream
}

func (w *writer) Write(p []byte) (int, error) {
	if w.output.plain.Load() == 0 {
		return w.owner.Write(p)
	}
	w.output.mu.Lock()
	recorder := w.output.recorder
	w.output.mu.Unlock()
	if recorder != nil {
		if err := recorder.Output(w.stream, p); err != nil {
			return 0, err
		}
	}
	n, err := w.owner.Write(p)
	w.output.pass(p[:n])
	return n, err
}

func (o *Output) pass(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for j := range o.joiners {
		if !j.put(p) {
			delete(o.joiners, j)
			o.watch()
		}
	}
}

// Joiner sees what a session shows from the moment it joined. It reads; one that falls behind by more than 256 KiB is
// cut: its Read fails with [io.ErrShortBuffer].
type Joiner struct {
	output *Output
	mu     sync.Mutex
	wake   sync.Cond
	buf    []byte
	err    error
}

// Join adds a joiner until it is closed.
func (o *Output) Join() *Joiner {
	j := &Joiner{output: o}
	j.wake.L = &j.mu
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.joiners == nil {
		o.joiners = map[*Joiner]struct{}{}
	}
	o.joiners[j] = struct{}{}
	o.plain.Store(1)
	o.watch()
	return j
}

func (j *Joiner) put(p []byte) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.wake.Broadcast()
	if j.err == nil && len(j.buf)+len(p) > ringSize {
		j.buf, j.err = nil, io.ErrShortBuffer
	}
	if j.err != nil {
		return false
	}
	j.buf = append(j.buf, p...)
	return true
}

// Read waits for something to be shown.
func (j *Joiner) Read(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.buf) == 0 && j.err == nil {
		j.wake.Wait()
	}
	if len(j.buf) == 0 {
		return 0, j.err
	}
	n := copy(p, j.buf)
	j.buf = j.buf[n:]
	return n, nil
}

// Close leaves; a pending Read fails with io.EOF.
func (j *Joiner) Close() error { j.leave(io.EOF); return nil }

func (j *Joiner) leave(err error) {
	j.output.mu.Lock()
	delete(j.output.joiners, j)
	j.output.watch()
	j.output.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
	j.wake.Broadcast()
}

// End lets all joiners see the rest and then the end.
func (o *Output) End() {
	o.mu.Lock()
	joiners := make([]*Joiner, 0, len(o.joiners))
	for j := range o.joiners {
		joiners = append(joiners, j)
	}
	o.mu.Unlock()
	for _, j := range joiners {
		j.leave(io.EOF)
	}
}
