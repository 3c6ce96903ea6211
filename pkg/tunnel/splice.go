package tunnel

import (
	"errors"
	"io"
	"sync"
)

// HalfCloser is a connection whose writing side closes alone: a stream, a TLS or a TCP connection.
type HalfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// spliceBuffer is one TLS record's worth of plain text, doubled: reads rarely return more.
const spliceBuffer = 32 << 10

var buffers = sync.Pool{New: func() any { return new([spliceBuffer]byte) }}

// Copy moves bytes from src to dst until src ends or either breaks, in a pooled buffer. It returns how many.
func Copy(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[spliceBuffer]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
}

// Splice joins a and b until both directions have ended, handing on half-closes, and closes both. When one
// direction breaks, the other is cut too. It returns the bytes that went from a to b and from b to a.
func Splice(a, b HalfCloser) (sent, received int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		received = oneWay(a, b)
	}()
	sent = oneWay(b, a)
	<-done
	_ = a.Close()
	_ = b.Close()
	return sent, received
}

func oneWay(dst, src HalfCloser) int64 {
	n, err := Copy(dst, src)
	if err != nil && !errors.Is(err, io.EOF) || dst.CloseWrite() != nil {
		_ = dst.Close()
		_ = src.Close()
	}
	return n
}
