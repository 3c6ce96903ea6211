package tunnel

import (
	"errors"
	"io"
	"sync"
	"time"
)

// HalfCloser is a connection whose writing side closes alone: a stream, a TLS or a TCP connection.
type HalfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetWriteDeadline(time.Time) error
}

// spliceBuffer is one TLS record's worth of plain text, doubled: reads rarely return more.
const spliceBuffer = 32 << 10

// Unread is how long a side of a splice may take nothing of what is written to it. Who pauses output stops its own
// protocol, not the connection; this ends connections of machines that hang or are gone.
const Unread = 5 * time.Minute

var buffers = sync.Pool{New: func() any { return new([spliceBuffer]byte) }}

// Copy moves bytes from src to dst until src ends or either breaks, in a pooled buffer. It returns how many.
func Copy(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[spliceBuffer]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
}

// Splice joins a and b until both directions have ended, handing on half-closes, and closes both. When one
// direction breaks, or a write is stuck for as long as unread says, both are reset. It returns the bytes that went
// from a to b and from b to a.
func Splice(a, b HalfCloser, unread time.Duration) (sent, received int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		received = oneWay(a, b, unread)
	}()
	sent = oneWay(b, a, unread)
	<-done
	_ = a.Close()
	_ = b.Close()
	return sent, received
}

func oneWay(dst, src HalfCloser, unread time.Duration) int64 {
	n, err := Copy(&bounded{HalfCloser: dst, limit: unread}, src)
	if err != nil && !errors.Is(err, io.EOF) || dst.CloseWrite() != nil {
		giveUp(dst)
		giveUp(src)
	}
	return n
}

// giveUp resets what can be reset, so that the other side doesn't take what came for all.
func giveUp(c HalfCloser) {
	if s, ok := c.(interface{ Reset() error }); ok {
		_ = s.Reset()
		return
	}
	_ = c.Close()
}

// bounded gives each write at least half of the limit and at most all of it: a deadline for each would cost as much as
// the write.
type bounded struct {
	HalfCloser
	limit time.Duration
	until time.Time
}

func (b *bounded) Write(p []byte) (int, error) {
	if now := time.Now(); b.until.Sub(now) < b.limit/2 {
		b.until = now.Add(b.limit)
		if err := b.SetWriteDeadline(b.until); err != nil {
			return 0, err
		}
	}
	return b.HalfCloser.Write(p)
}
