// Package frame holds the messages that clients, proxies and agents exchange beside a session's bytes,
// and their framing: a big-endian u32 length of at most [Max] and that many bytes of protobuf.
//
// It knows nothing of connections, TLS or time. Its entry points are [Read], [Write] and [ReadAnswer].
package frame

//go:generate ./generate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Max is how many bytes of protobuf a frame may have.
const Max = 64 << 10

// Protocol is the version in ConnectRequest and Register.
const Protocol = 1

const headerSize = 4

// ErrTooLarge is returned for a frame longer than Max, before any of it is read or sent.
var ErrTooLarge = errors.New("frame is larger than 64 KiB")

// ErrMalformed is returned for a frame whose bytes are not the message expected.
var ErrMalformed = errors.New("malformed frame")

// Append adds m's frame to b.
func Append(b []byte, m proto.Message) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		return b[:start], fmt.Errorf("encoding frame: %w", err)
	}
	size := len(b) - start - headerSize
	if size > Max {
		return b[:start], ErrTooLarge
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, nil
}

// Write sends m as one frame in one call of w.Write.
func Write(w io.Writer, m proto.Message) error {
	b, err := Append(nil, m)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing frame: %w", err)
	}
	return nil
}

// Read takes exactly one frame from r into m, which it resets. It returns io.EOF when r ends before a frame
// begins, io.ErrUnexpectedEOF when r ends inside one, ErrTooLarge or ErrMalformed. It never allocates more
// than the frame's announced and permitted size, and it never reads past the frame.
func Read(r io.Reader, m proto.Message) error {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("reading frame: %w", err)
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > Max {
		return ErrTooLarge
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading frame: %w", err)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
