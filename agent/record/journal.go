package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/stile-dev/stile/pkg/recording"
)

// A journal is what a session shows until it is sealed into chunks: entries of
//
//	4 bytes  how long the rest is, big-endian, in 17 bits below 15 that check it
//	4 bytes  CRC-32C of the rest
//	1 byte   kind, and whether the bytes are packed
//	8 bytes  when, in microseconds since the session's start
//	         the bytes, or a block of S2 that has them
const (
	kindAt    = 4 + 4
	entryHead = kindAt + 1 + 8
	maxEntry  = mostAtOnce // bytes of an entry's own, unpacked
)

// Output that repeats itself is packed, as that takes less of the processor than the pages of a file that it saves. For most
// other text it would take more.
const (
	packed   = 1 << 7  // beside the kind
	packing  = 8       // times smaller is what is packed
	leastTry = 4 << 10 // bytes that say whether it is
)

// Kinds of entries, beside the streams of output.
const (
	entryResize = 'r'
	entryCut    = 'c' // what follows is another chunk's
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendEntry writes an entry behind b, packed where that is wanted and p packs well.
func appendEntry(b []byte, kind byte, at time.Duration, p []byte, pack bool) []byte {
	start := len(b)
	b = append(b, make([]byte, 8)...)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Microseconds()))
	if small := packAfter(b, p, pack); small != nil {
		b = small
		b[start+kindAt] |= packed
	} else {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b[start:], checked(uint32(len(b)-start-8)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], castagnoli))
	return b
}

// lengthBits are those of an entry's length, without its check.
const lengthBits = 17

// checked is a length with its check. With a wrong length all that follows would pass for an entry that a crash cut off.
func checked(n uint32) uint32 {
	return n | crc32.Checksum(binary.BigEndian.AppendUint32(nil, n), castagnoli)<<lengthBits
}

// packAfter writes p behind b, packed, or returns nil where that isn't wanted or p doesn't pack well, as its beginning shows.
func packAfter(b, p []byte, wanted bool) []byte {
	if !wanted || len(p) < leastTry {
		return nil
	}
	b = slices.Grow(b, s2.MaxEncodedLen(len(p)))
	free := b[len(b):cap(b)]
	if len(s2.Encode(free, p[:leastTry])) > leastTry/packing {
		return nil
	}
	n := len(s2.Encode(free, p))
	if n > len(p)/packing {
		return nil
	}
	return b[:len(b)+n]
}

// unpack returns the kind and the bytes of an entry.
func unpack(kind byte, p []byte) (byte, []byte, error) {
	if kind&packed == 0 {
		return kind, p, nil
	}
	if n, err := s2.DecodedLen(p); err != nil || n > maxEntry {
		return 0, nil, errDamaged
	}
	p, err := s2.Decode(nil, p)
	if err != nil { // it is none
		return 0, nil, errDamaged
	}
	return kind &^ packed, p, nil
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
		length := binary.BigEndian.Uint32(head[:])
		n := int64(length & (1<<lengthBits - 1))
		if length != checked(uint32(n)) || n < entryHead-8 || n > maxEntry+entryHead {
			return errDamaged // such an entry was never written
		}
		if left -= 8; n > left {
			return errTorn
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
		kind, p, err := unpack(body[0], body[9:])
		if err != nil {
			return err
		}
		if !take(entry{kind, time.Duration(binary.BigEndian.Uint64(body[1:])) * time.Microsecond, p}) {
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
