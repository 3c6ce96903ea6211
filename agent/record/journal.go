package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/recording"
)

// A journal is what a session shows until it is sealed into chunks: entries of
//
//	4 bytes  how long the rest is, big-endian
//	4 bytes  CRC-32C of the rest
//	1 byte   kind
//	8 bytes  when, in microseconds since the session's start
//	         the bytes
const (
	entryHead = 4 + 4 + 1 + 8
	maxEntry  = mostAtOnce // bytes of an entry's own
)

// Kinds of entries, beside the streams of output.
const (
	entryResize = 'r'
	entryCut    = 'c' // what follows is another chunk's
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendEntry writes an entry behind b.
func appendEntry(b []byte, kind byte, at time.Duration, p []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, 8)...)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Microseconds()))
	b = append(b, p...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-8))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], castagnoli))
	return b
}

// entry is one that was read.
type entry struct {
	kind byte
	at   time.Duration
	p    []byte
}

var (
	errTorn    = errors.New("the journal's last entry is not whole")
	errEmpty   = errors.New("a journal with others behind it is empty")
	errDamaged = errors.New("an entry in the journal's middle is damaged")
)

// readJournal yields the entries of a journal. It ends with errTorn when the last one is cut off, as by a crash, and with
// errDamaged when one is not what was written though more follows it.
func readJournal(path string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		if err := eachEntry(path, func(e entry) bool { return yield(e, nil) }); err != nil {
			yield(entry{}, err)
		}
	}
}

// eachEntry passes on entries until one isn't taken, which is no error.
func eachEntry(path string, take func(entry) bool) error {
	f, left, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for left > 0 {
		var head [8]byte
		if left < 8 {
			return errTorn
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if left -= 8; n > left {
			if n > maxEntry+entryHead {
				return errDamaged // such an entry was never written
			}
			return errTorn
		}
		if n < entryHead-8 || n > maxEntry+entryHead {
			return errDamaged
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if left -= n; crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			if left == 0 {
				return errTorn
			}
			return errDamaged
		}
		if !take(entry{body[0], time.Duration(binary.BigEndian.Uint64(body[1:])) * time.Microsecond, body[9:]}) {
			return nil
		}
	}
	return nil
}

// fill puts entries into a chunk, and returns how much output they have and when the last was.
func fill(c *recording.Chunk, entries []entry) (shown int64, last time.Duration) {
	for _, e := range entries {
		last = max(last, e.at)
		switch e.kind {
		case recording.Stdout, recording.Stderr:
			c.Output(e.at, e.kind, e.p)
			shown += int64(len(e.p))
		case entryResize:
			if w, h, ok := recording.Size(string(e.p)); ok {
				c.Resize(e.at, w, h)
			}
		}
	}
	return shown, last
}

func size(width, height int) []byte { return []byte(strconv.Itoa(width) + "x" + strconv.Itoa(height)) }
