package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/stile-dev/stile/pkg/identity"
)

// Kinds of lines. Players show the first two and leave out what they don't know.
const (
	kindOutput = "o"
	kindResize = "r"
	kindMarker = "m"
	kindExact  = "x" // ours: of which stream the output line after it is and, behind a colon, its exact bytes in base64
)

// magic begins the skippable frame, one of those that are anybody's (RFC 8878 section 3.1.2).
const magic = 0x184D2A53

// Header is what a chunk's skippable frame says.
type Header struct {
	V       int    `json:"v"` // 1
	Session string `json:"session"`
	Seq     int    `json:"seq"`
	Before  string `json:"before"` // hex SHA-256 of the chunk before; "" for the first
}

// Chunk is one that is being made, until it is sealed. It is not safe for concurrent use.
type Chunk struct {
	place Place
	text  []byte
	carry Carry
}

// texts are buffers of chunks that were sealed.
var texts sync.Pool

// encoder is for all chunks: it keeps what it works with, a few MiB for each that are sealed at once.
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true), zstd.WithSingleSegment(false))
})

// NewChunk begins a chunk. The first of a recording, and no other, has the head.
func NewChunk(p Place, head *Head) *Chunk {
	c := &Chunk{place: p, carry: Carry{bytes.Clone(p.Carry.Stdout), bytes.Clone(p.Carry.Stderr)}}
	if kept, ok := texts.Get().(*[]byte); ok {
		c.text = (*kept)[:0]
	}
	if head != nil {
		c.head(*head)
	}
	return c
}

// cast is the first line of an asciicast v2.
type cast struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Command   string            `json:"command,omitempty"` // as players show it
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Stile     *ours             `json:"stile"`
}

// ours is what players leave out.
type ours struct {
	Head
	Exact []byte `json:"command,omitempty"` // the command's bytes, where they aren't UTF-8
}

func (c *Chunk) head(h Head) {
	line := cast{Version: 2, Width: h.Width, Height: h.Height, Timestamp: h.Started.Unix(), Command: shown(h.Command), Title: h.Login + "@" + h.Target, Stile: &ours{Head: h}}
	if line.Command != h.Command {
		line.Stile.Exact = []byte(h.Command)
	}
	if h.Term != "" {
		line.Env = map[string]string{"TERM": h.Term}
	}
	c.text = append(append(c.text, marshal(line)...), '\n')
}

// shown is a command as the first line has it for players: with one U+FFFD for what isn't UTF-8 in a row.
func shown(command string) string { return strings.ToValidUTF8(command, "\uFFFD") }

// marshal is json.Marshal of what can't fail, without escapes for HTML.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("recording: writing a line: %v", err)) // strings, numbers and times alone
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Output adds what the session showed on a stream, [Stdout] or [Stderr], at a time since its start. A character that isn't
// complete is shown by the output that completes it.
func (c *Chunk) Output(at time.Duration, stream byte, p []byte) {
	if len(p) == 0 {
		return
	}
	carry := &c.carry.Stdout
	if stream == Stderr {
		carry = &c.carry.Stderr
	}
	all := p
	if len(*carry) > 0 {
		all = append(*carry, p...)
	}
	whole := len(all) - incomplete(all)
	text := all[:whole]
	if exact := len(text) == len(p) && len(*carry) == 0 && utf8.Valid(text); !exact || stream != Stdout {
		c.begin(at, kindExact)
		c.text = append(c.text, '"', stream)
		if !exact {
			c.text = base64.StdEncoding.AppendEncode(append(c.text, ':'), p)
		}
		c.text = append(c.text, "\"]\n"...)
	}
	c.begin(at, kindOutput)
	c.text = append(appendText(c.text, text), "]\n"...)
	*carry = bytes.Clone(all[whole:])
}

// incomplete is how many bytes at the end begin a character that more bytes may complete.
func incomplete(p []byte) int {
	for n := 1; n <= min(len(p), utf8.UTFMax-1); n++ {
		if b := p[len(p)-n]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// Resize adds that the terminal has another size.
func (c *Chunk) Resize(at time.Duration, width, height int) {
	c.line(at, kindResize, strconv.Itoa(width)+"x"+strconv.Itoa(height))
}

// Note adds a marker: what happened to the recording itself.
func (c *Chunk) Note(at time.Duration, text string) {
	c.line(at, kindMarker, text)
}

func (c *Chunk) line(at time.Duration, kind, text string) {
	c.begin(at, kind)
	c.text = append(appendText(c.text, []byte(text)), "]\n"...)
}

func (c *Chunk) begin(at time.Duration, kind string) {
	c.text = strconv.AppendFloat(append(c.text, '['), max(at, 0).Seconds(), 'f', 6, 64)
	c.text = append(c.text, `,"`+kind+`",`...)
}

// plain are the bytes that stand in a JSON string as they are, whatever is beside them.
var plain = func() (out [256]bool) {
	for b := range out {
		out[b] = b >= ' ' && b != '"' && b != '\\' && b < utf8.RuneSelf
	}
	return out
}()

// allPlain reports whether eight bytes are all plain, as most are beside one that is.
func allPlain(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	none := func(v uint64) uint64 { return (v - ones) &^ v } // has the high bit of a byte if one of v's is 0
	return (x|(x-' '*ones)|none(x^'"'*ones)|none(x^'\\'*ones))&high == 0
}

// appendText appends a JSON string, byte for byte as package json does without escapes for HTML, with one U+FFFD for what isn't
// UTF-8 in a row.
func appendText(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from, bad := 0, -1
	for i := 0; i < len(text); i++ {
		one := text[i]
		if plain[one] {
			for len(text)-i > 8 && allPlain(binary.LittleEndian.Uint64(text[i+1:])) {
				i += 8
			}
			continue
		}
		if one >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				if b = append(b, text[from:i]...); bad != i {
					b = append(b, "\uFFFD"...)
				}
				from, bad = i+1, i+1
			case r == '\u2028' || r == '\u2029': // JavaScript takes them for ends of lines
				b = append(append(b, text[from:i]...), '\\', 'u', '2', '0', '2', hex[r&0xF])
				i += size - 1
				from = i + 1
			default:
				i += size - 1
			}
			continue
		}
		b = append(b, text[from:i]...)
		switch one {
		case '"', '\\':
			b = append(b, '\\', one)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[one>>4], hex[one&0xF])
		}
		from = i + 1
	}
	return append(append(b, text[from:]...), '"')
}

// Seal compresses the chunk and says where the next one is. The same input gives the same bytes with the same release. The chunk
// is of no more use.
func (c *Chunk) Seal() (object []byte, next Place, err error) {
	defer func() {
		text := c.text
		c.text = nil
		texts.Put(&text)
	}()
	if len(c.text) > MaxText {
		return nil, Place{}, fmt.Errorf("sealing chunk %d: %d bytes of lines are more than %d", c.place.Seq, len(c.text), MaxText)
	}
	header := marshal(Header{V: 1, Session: c.place.Session, Seq: c.place.Seq, Before: c.place.Before})
	object = binary.LittleEndian.AppendUint32(make([]byte, 0, len(c.text)/4+1024), magic)
	object = binary.LittleEndian.AppendUint32(object, uint32(len(header)))
	object = append(object, header...)
	w, err := encoder()
	if err != nil {
		return nil, Place{}, fmt.Errorf("sealing chunk %d: %w", c.place.Seq, err)
	}
	object = w.EncodeAll(c.text, object)
	if len(object) > MaxChunk {
		return nil, Place{}, fmt.Errorf("sealing chunk %d: %d bytes are more than %d", c.place.Seq, len(object), MaxChunk)
	}
	return object, Place{Session: c.place.Session, Seq: c.place.Seq + 1, Before: Hash(object), Carry: c.carry}, nil
}

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// OpenChunk reads a chunk's header and its lines. It refuses what is more than one chunk, or takes more than [MaxText] bytes
// when it is unpacked; a reader needs no more memory than that, whatever it is given.
func OpenChunk(object []byte) (Header, []byte, error) {
	h, body, err := openHeader(object)
	if err != nil {
		return Header{}, nil, fmt.Errorf("reading a chunk: %w", err)
	}
	lines, err := unpack(body)
	if err != nil {
		return Header{}, nil, fmt.Errorf("reading chunk %d: %w", h.Seq, err)
	}
	return h, lines, nil
}

var errShort = errors.New("it ends before its end")

func openHeader(object []byte) (h Header, body []byte, err error) {
	switch {
	case len(object) > MaxChunk:
		return h, nil, fmt.Errorf("%d bytes are more than a chunk has", len(object))
	case len(object) < 8:
		return h, nil, errShort
	case binary.LittleEndian.Uint32(object) != magic:
		return h, nil, errors.New("it doesn't begin as a chunk does")
	}
	n := binary.LittleEndian.Uint32(object[4:])
	if n > maxHeader {
		return h, nil, fmt.Errorf("a header of %d bytes is none", n)
	}
	if len(object) < 8+int(n) {
		return h, nil, errShort
	}
	d := json.NewDecoder(bytes.NewReader(object[8 : 8+n]))
	if err := d.Decode(&h); err != nil {
		return h, nil, fmt.Errorf("its header can't be read: %w", err)
	}
	switch {
	case h.V != 1:
		return h, nil, fmt.Errorf("it has the form %d, which this release doesn't know: update stile", h.V)
	case !identity.ValidID("ses", h.Session):
		return h, nil, fmt.Errorf("it names no session but %.64q", h.Session)
	case h.Seq < 0 || h.Seq >= MaxChunks:
		return h, nil, fmt.Errorf("%d is no chunk's number", h.Seq)
	case h.Seq == 0 && h.Before != "", h.Seq > 0 && !hexHash.MatchString(h.Before):
		return h, nil, errors.New("it doesn't say what the chunk before hashes to")
	}
	return h, object[8+n:], nil
}

// unpack reads the one zstd frame that a chunk ends with.
func unpack(body []byte) ([]byte, error) {
	var frame zstd.Header
	if err := frame.Decode(body); err != nil {
		return nil, fmt.Errorf("%w: %w", errShort, err)
	}
	if frame.Skippable || frame.HasFCS && frame.FrameContentSize > MaxText || frame.WindowSize > MaxText {
		return nil, errors.New("its lines take more room than a chunk's may")
	}
	end, err := frameEnd(body, frame)
	if err != nil {
		return nil, err
	}
	if end != len(body) {
		return nil, errors.New("something follows it")
	}
	r, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxText))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	lines, err := io.ReadAll(io.LimitReader(r, MaxText+1))
	if err != nil {
		return nil, err
	}
	if len(lines) > MaxText {
		return nil, errors.New("its lines take more room than a chunk's may")
	}
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		return nil, errors.New("its last line has no end")
	}
	return lines, nil
}

// frameEnd finds where a frame ends, by the headers of its blocks (RFC 8878 section 3.1.1).
func frameEnd(body []byte, frame zstd.Header) (int, error) {
	at := frame.HeaderSize
	for {
		if len(body) < at+3 {
			return 0, errShort
		}
		block := uint32(body[at]) | uint32(body[at+1])<<8 | uint32(body[at+2])<<16
		size, rle := int(block>>3), block>>1&3 == 1
		if rle {
			size = 1
		}
		at += 3 + size
		if block&1 == 1 {
			break
		}
	}
	if frame.HasCheckSum {
		at += 4
	}
	if len(body) < at {
		return 0, errShort
	}
	return at, nil
}
