package tunnel

import (
	"errors"
	"sync"
	"sync/atomic"
)

// span is the memory of one stream: the part of its accounts that its receive window takes. It is given back when
// both the multiplexer and the stream's owner have let go of the stream: what was received before stays until then.
type span struct {
	session *session
	pays    []*Account
	small   bool // the window doesn't grow
	arrived unread

	mu     sync.Mutex
	id     uint32 // 0 until it is known
	taken  int64
	gone   bool    // the multiplexer has let go
	owned  bool    // somebody holds the stream
	stream *stream // its owner's, once there is one
	reset  bool    // by the other side, before anybody accepted it
}

var errSmall = errors.New("this window doesn't grow")

// ReserveMemory is asked for the first window, which is taken already, and for each growth.
func (m *span) ReserveMemory(size int, priority uint8) error {
	if priority == toBegin {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.small || m.gone {
		return errSmall
	}
	if err := takeAll(m.pays, int64(size), toGrow); err != nil {
		return err
	}
	m.taken += int64(size)
	return nil
}

// ReleaseMemory is part of go-yamux's interface; windows don't shrink.
func (m *span) ReleaseMemory(int) {}

// Done is called when both sides have closed or reset the stream, and may be called again.
func (m *span) Done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.gone {
		m.gone = true
		m.session.count.Add(-1)
		m.session.forget(m.id, m)
	}
	m.settle()
}

func (m *span) isGone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

// name notes which stream it is for, so that it can be found by it.
func (m *span) name(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id = id; !m.gone {
		m.session.know(id, m)
	}
}

// own notes who holds the stream, and reports whether the other side has reset it meanwhile.
func (m *span) own(s *stream) (reset bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owned, m.stream = true, s
	return m.reset
}

// owner returns who holds the stream, or nil.
func (m *span) owner() *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream
}

// early notes a reset of a stream that nobody has accepted yet, and reports whether it is such a one.
func (m *span) early() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reset = m.reset || m.stream == nil
	return m.stream == nil
}

// disown is called when the owner will read no more.
func (m *span) disown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owned = false
	m.settle()
}

func (m *span) settle() {
	if m.gone && !m.owned {
		for _, a := range m.pays {
			a.give(m.taken)
		}
		m.taken = 0
	}
}

// mostPieces is how many frames of a stream may wait to be read. Each takes some 40 bytes beside its own, so that a
// window full of single bytes would cost forty times what it is counted for; with 16 bytes a frame, none gets here.
const mostPieces = FirstWindow / 16

// unread estimates how many frames of a stream wait to be read, never too few. Frames are counted in two heaps; the
// older is dropped once all of it was read.
type unread struct {
	read atomic.Int64 // bytes that the owner has read

	received   int64 // bytes; this and what follows belongs to the session's reader
	until      int64 // where the older heap ends
	older, new int
}

// add counts a frame and reports whether there are too many.
func (u *unread) add(n int64) bool {
	if u.read.Load() >= u.until {
		u.older, u.new, u.until = u.new, 0, u.received
	}
	u.received += n
	u.new++
	return u.older+u.new > mostPieces
}
