package tunnel

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Frames of yamux: version, type, flags, stream and length, and the body after a header of data.
const (
	muxHeader = 12

	muxData   = 0
	muxWindow = 1
	muxGoAway = 3

	muxSYN = 1
	muxACK = 2
	muxFIN = 4
	muxRST = 8
)

type header [muxHeader]byte

func (h *header) kind() byte         { return h[1] }
func (h *header) flags() uint16      { return binary.BigEndian.Uint16(h[2:]) }
func (h *header) stream() uint32     { return binary.BigEndian.Uint32(h[4:]) }
func (h *header) length() uint32     { return binary.BigEndian.Uint32(h[8:]) }
func (h *header) setFlags(f uint16)  { binary.BigEndian.PutUint16(h[2:], f) }
func (h *header) setLength(n uint32) { binary.BigEndian.PutUint32(h[8:], n) }

const (
	// readAhead is for headers; the bodies of frames pass by it.
	readAhead = 1 << 10
	// piece is the largest body that the multiplexer sees. It takes memory for a frame before the frame has come, in
	// powers of two: whole ones waste nothing, and one that is announced and never sent costs no more than this.
	piece = 16 << 10
	// least is the smallest part of a body that is made a piece of its own.
	least = 4 << 10
)

// wire is the connection as the multiplexer sees it. It hands on frames as described at session, and notes when bytes
// came and went. One goroutine of the multiplexer reads, another one writes, one frame at a time.
type wire struct {
	net.Conn
	session *session
	in      *bufio.Reader
	head    header
	left    int    // of head, to be handed on
	body    int    // of the piece, to be handed on
	rest    uint32 // of the frame, after this piece
	last    uint16 // flags that belong to the frame's last piece
	syn     uint32 // the stream that the header handed on last begins
	fresh   *span  // and its memory

	began       time.Time
	heard, said atomic.Int64 // nanoseconds since began
	sent        atomic.Int64 // bytes of bodies, and one for each end of a stream
	wrote       chan struct{}

	writing sync.Mutex // one frame at a time, or the end of all
	parted  bool       // this side has ended
}

func newWire(conn net.Conn, s *session) *wire {
	w := &wire{Conn: conn, session: s, began: time.Now(), wrote: make(chan struct{}, 1)}
	w.in = bufio.NewReaderSize(heard{w}, readAhead)
	return w
}

// heard notes when bytes came.
type heard struct{ *wire }

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.wire.heard.Store(int64(time.Since(h.began)))
	}
	return n, err
}

// Read hands on a header or a part of a body.
func (w *wire) Read(p []byte) (int, error) {
	w.syn = 0
	if w.fresh != nil {
		w.session.begun(w.fresh)
		w.fresh = nil
	}
	if w.left == 0 && w.body > 0 {
		n, err := w.in.Read(p[:min(len(p), w.body)])
		w.body -= n
		return n, err
	}
	if w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.head[muxHeader-w.left:])
	w.left -= n
	return n, nil
}

// next makes the next header.
func (w *wire) next() error {
	for {
		if w.rest == 0 {
			if _, err := io.ReadFull(w.in, w.head[:]); err != nil {
				return err
			}
			if w.head.kind() == muxGoAway && w.head.length() == 0 {
				w.session.drained.Store(true) // the multiplexer would end the session
				continue
			}
			w.begin()
		} else {
			w.head.setFlags(0)
		}
		if w.head.kind() == muxData {
			w.cut()
			if w.body > 0 && !w.session.arrives(w.head.stream(), w.body) {
				if _, err := w.in.Discard(w.body); err != nil {
					return err
				}
				w.body = 0
				continue
			}
		}
		w.left = muxHeader
		return nil
	}
}

// begin looks at a frame's flags.
func (w *wire) begin() {
	flags := w.head.flags()
	if flags&muxRST != 0 && w.session.early(w.head.stream()) {
		flags &^= muxRST
		if w.head.kind() == muxWindow {
			w.head.setLength(0) // it was the reason
		}
	}
	if flags&muxSYN != 0 {
		w.syn = w.head.stream()
	}
	w.head.setFlags(flags)
	if w.head.kind() == muxData {
		w.rest, w.last = w.head.length(), flags&(muxFIN|muxRST)
		w.head.setFlags(flags &^ w.last)
	}
}

// cut makes the next piece of what is left of a frame.
func (w *wire) cut() {
	if w.body = int(w.rest); w.rest > least {
		w.body = piece
		for uint32(w.body) > w.rest {
			w.body /= 2
		}
	}
	if w.rest -= uint32(w.body); w.rest == 0 {
		w.head.setFlags(w.head.flags() | w.last)
	}
	w.head.setLength(uint32(w.body))
}

// Write sends one frame. After part it leaves out what still comes, such as a stream's reset or the answer to a ping: an
// error would have the multiplexer close the connection before the other side has read what was sent.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.parted {
		return len(p), nil
	}
	n, err := w.Conn.Write(p)
	if n > 0 {
		w.said.Store(int64(time.Since(w.began)))
	}
	w.sent.Add(weight(p))
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return n, err
}

// part ends the connection's writing side when no frame is under way, which may take as long as one is stuck.
func (w *wire) part(end func() error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.parted = true
	_ = end()
}

// weight is how much of what streams have handed over is in a frame.
func weight(p []byte) (n int64) {
	if len(p) < muxHeader {
		return 0
	}
	h := header(p[:muxHeader])
	if h.kind() == muxData {
		n = int64(len(p) - muxHeader)
	}
	if h.flags()&muxFIN != 0 {
		n++
	}
	return n
}

// closeLimit is how long TLS may take to say goodbye to a side that doesn't read.
const closeLimit = time.Second

func (w *wire) Close() error {
	t := time.AfterFunc(closeLimit, w.abort)
	defer t.Stop()
	return w.Conn.Close()
}

// abort closes what is below TLS, which doesn't wait.
func (w *wire) abort() {
	if below, ok := w.Conn.(interface{ NetConn() net.Conn }); ok {
		_ = below.NetConn().Close()
		return
	}
	_ = w.Conn.Close()
}
