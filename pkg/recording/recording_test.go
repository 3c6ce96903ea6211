package recording_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
)

var started = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

func newSession() string {
	id, _ := identity.NewSession(rand.Reader, started)
	return id
}

func head(session string) *recording.Head {
	return &recording.Head{
		Session: session, Cluster: "c", Agent: "agt_1", Target: "node/web-1", User: "ada", Login: "root", Terminal: true,
		Started: started, Command: "htop", Term: "xterm", Width: 80, Height: 24,
	}
}

// write is one output.
type write struct {
	stream byte
	bytes  []byte
}

// chunks makes a recording with so many writes in each chunk.
func chunks(t testing.TB, writes []write, each int) (all [][]byte) {
	t.Helper()
	p := recording.Place{Session: newSession()}
	for first := true; first || len(writes) > 0; first = false {
		var h *recording.Head
		if first {
			h = head(p.Session)
		}
		c := recording.NewChunk(p, h)
		for _, w := range writes[:min(each, len(writes))] {
			c.Output(time.Second, w.stream, w.bytes)
		}
		writes = writes[min(each, len(writes)):]
		object, next, err := c.Seal()
		if err != nil {
			t.Fatal(err)
		}
		all, p = append(all, object), next
	}
	return all
}

// read returns what each stream showed, and all that was shown as text.
func read(t testing.TB, chunks [][]byte) (raw map[byte]string, text string) {
	t.Helper()
	raw = map[byte]string{}
	before := ""
	for n, object := range chunks {
		h, lines, err := recording.OpenChunk(object)
		if err != nil {
			t.Fatal(err)
		}
		if h.Seq != n || h.Before != before {
			t.Fatalf("chunk %d says %+v", n, h)
		}
		before = recording.Hash(object)
		if n == 0 {
			if _, lines, err = recording.ReadHead(lines); err != nil {
				t.Fatal(err)
			}
		}
		for l, err := range recording.Lines(lines) {
			if err != nil {
				t.Fatal(err)
			}
			if l.Kind == 'o' {
				raw[l.Stream] += string(l.Raw)
				text += l.Text
			}
		}
	}
	return raw, text
}

func TestWhatIsNotUTF8ComesBackByteForByte(t *testing.T) {
	random := mrand.New(mrand.NewPCG(1, 2))
	var writes []write
	want := map[byte]string{}
	for range 300 {
		b := make([]byte, 1+random.IntN(4000))
		for i := range b {
			b[i] = byte(random.IntN(256))
		}
		w := write{recording.Stdout, b}
		if random.IntN(3) == 0 {
			w.stream = recording.Stderr
		}
		writes, want[w.stream] = append(writes, w), want[w.stream]+string(b)
	}
	for _, each := range []int{1, 7, 300} {
		got, _ := read(t, chunks(t, writes, each))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d writes a chunk: it isn't what was shown", each)
		}
	}
}

func TestACharacterSplitOverWritesAndChunksIsShownWhole(t *testing.T) {
	const shown = "a😀é\u2028z"
	for each := 1; each < 5; each++ {
		var writes []write
		for _, b := range []byte(shown) {
			writes = append(writes, write{recording.Stdout, []byte{b}})
		}
		raw, text := read(t, chunks(t, writes, each))
		if raw['o'] != shown || text != shown {
			t.Errorf("%d writes a chunk: %q, shown as %q", each, raw['o'], text)
		}
	}
	// Two streams' halves are not mixed.
	raw, text := read(t, chunks(t, []write{{'o', []byte("\xf0\x9f")}, {'e', []byte("é")}, {'o', []byte("\x98\x80")}}, 1))
	if raw['o'] != "😀" || raw['e'] != "é" || text != "é😀" {
		t.Errorf("%q, shown as %q", raw, text)
	}
}

// One file of all chunks is what players take: zstd passes over the frames that are ours.
func TestAllChunksAreOneFileThatPlays(t *testing.T) {
	all := chunks(t, []write{{'o', []byte("one\r\n")}, {'o', []byte("two \xff\r\n")}, {'e', []byte("three")}}, 1)
	r, err := zstd.NewReader(bytes.NewReader(bytes.Join(all, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := r.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], `{"version":2,"width":80,"height":24,"timestamp":1795773600,"command":"htop","title":"root@node/web-1","env":{"TERM":"xterm"},"stile":{`) {
		t.Errorf("begins %s", lines[0])
	}
	want := []string{`[1.000000,"o","one\r\n"]`, `[1.000000,"x","o:dHdvIP8NCg=="]`, "[1.000000,\"o\",\"two \uFFFD\\r\\n\"]", `[1.000000,"x","e"]`, `[1.000000,"o","three"]`, ""}
	if d := cmp.Diff(want, lines[1:]); d != "" {
		t.Error(d)
	}
}

func TestTheHeadComesBack(t *testing.T) {
	want := head(newSession())
	object, _, err := recording.NewChunk(recording.Place{Session: want.Session}, want).Seal()
	if err != nil {
		t.Fatal(err)
	}
	_, lines, err := recording.OpenChunk(object)
	if err != nil {
		t.Fatal(err)
	}
	got, rest, err := recording.ReadHead(lines)
	if d := cmp.Diff(*want, got); d != "" || err != nil || len(rest) != 0 {
		t.Error(d, err, rest)
	}
}

func TestAChunkThatIsCutAnywhereIsRefused(t *testing.T) {
	object := chunks(t, []write{{'o', []byte(strings.Repeat("abc", 50))}}, 1)[0]
	for n := range object {
		if _, _, err := recording.OpenChunk(object[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a chunk", n, len(object))
		}
	}
	for name, bad := range map[string][]byte{
		"two chunks":    append(bytes.Clone(object), object...),
		"a byte more":   append(bytes.Clone(object), 0),
		"another frame": object[8+binary.LittleEndian.Uint32(object[4:]):],
	} {
		if _, _, err := recording.OpenChunk(bad); err == nil {
			t.Errorf("%s are taken for a chunk", name)
		}
	}
	for n := range object { // the frame's checksum, the header's form: a flipped byte is found, or changes a header that is compared elsewhere
		bad := bytes.Clone(object)
		bad[n] ^= 0x40
		if h, lines, err := recording.OpenChunk(bad); err == nil {
			h0, lines0, _ := recording.OpenChunk(object)
			if h == h0 && !bytes.Equal(lines, lines0) {
				t.Errorf("byte %d is flipped and the lines are others", n)
			}
		}
	}
}

func TestSec_S52_AChunkThatUnpacksToMoreThanAChunkIsRefused(t *testing.T) {
	good := chunks(t, nil, 1)[0]
	header := good[:8+binary.LittleEndian.Uint32(good[4:])]
	for name, options := range map[string][]zstd.EOption{
		"that says how much":  {zstd.WithSingleSegment(false)},
		"in one segment":      {zstd.WithSingleSegment(true)},
		"with a large window": {zstd.WithWindowSize(64 << 20)},
	} {
		w, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderConcurrency(1))...)
		if err != nil {
			t.Fatal(err)
		}
		bomb := w.EncodeAll(make([]byte, 256<<20), bytes.Clone(header))
		var stream bytes.Buffer // without its size
		stream.Write(header)
		w.Reset(&stream)
		for range 256 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, object := range [][]byte{bomb, stream.Bytes()} {
			if _, lines, err := recording.OpenChunk(object); err == nil {
				t.Errorf("%s: %d bytes were unpacked to %d", name, len(object), len(lines))
			}
		}
	}
}

func TestALineThatIsNoneIsRefused(t *testing.T) {
	for _, lines := range []string{
		"{}\n", "[1,\"o\"]\n", "[\"1\",\"o\",\"\"]\n", "[-1,\"o\",\"\"]\n", "[1e300,\"o\",\"\"]\n", "[1,\"r\",\"80\"]\n", "[1,\"r\",\"80x99999\"]\n", "[1,\"r\",\"-1x5\"]\n",
		"[1,\"x\",\"o\"]\n", "[1,\"x\",\"o\"]\n[1,\"r\",\"80x24\"]\n", "[1,\"x\",\"i\"]\n[1,\"o\",\"\"]\n", "[1,\"x\",\"o:%\"]\n[1,\"o\",\"\"]\n", "[1,\"x\",\"\"]\n[1,\"o\",\"\"]\n", "\n",
	} {
		var err error
		for _, e := range recording.Lines([]byte(lines)) {
			err = e
		}
		if err == nil {
			t.Errorf("%q is taken", lines)
		}
	}
	for l, err := range recording.Lines([]byte("[1,\"i\",\"input\"]\n[2,\"m\",\"a\"]\n")) { // of a later release
		if err != nil || l.Kind != 'm' || l.At != 2*time.Second {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

// What is signed may be anything: an agent's host is its root user's.
func TestAManifestOfMoreThanARecordingHasIsRefused(t *testing.T) {
	session, last := newSession(), strings.Repeat("a", 64)
	manifest := func(rest string) []byte {
		return []byte(`{"manifest":{"v":1,"session":"` + session + `","started":"2026-11-27T10:00:00Z","ended":"2026-11-27T10:01:00Z","last":"` + last + `",` + rest + `}}`)
	}
	if _, err := recording.OpenManifest(manifest(`"chunks":200000`)); err != nil {
		t.Fatal(err)
	}
	for name, rest := range map[string]string{
		"a million chunks":     `"chunks":1000000`,
		"fewer than none":      `"chunks":-1`,
		"more than are missed": `"chunks":3,"missing":[{"first":1,"last":999999}]`,
		"missed twice":         `"chunks":3,"missing":[{"first":1,"last":1},{"first":1,"last":1}]`,
		"a large one":          `"chunks":3,"login":"` + strings.Repeat("a", recording.MaxManifest) + `"`,
	} {
		if got, err := recording.OpenManifest(manifest(rest)); err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: %+v, %.400v", name, got.Manifest, err)
		}
	}
}

func TestNamesOfObjects(t *testing.T) {
	if seq, manifest, err := recording.ParseName(recording.ChunkName(17)); seq != 17 || manifest || err != nil {
		t.Error(seq, manifest, err)
	}
	if _, manifest, err := recording.ParseName("manifest.json"); !manifest || err != nil {
		t.Error(manifest, err)
	}
	for _, name := range []string{"", "1.zst", "00000000.zst\n", "../00000000.zst", "00200000.zst", "00000000.ZST", "manifest.json/"} {
		if _, _, err := recording.ParseName(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	session := newSession()
	if p, err := recording.Prefix(session); p != "recordings/2026-11-27/"+session+"/" || err != nil {
		t.Error(p, err)
	}
	if p, err := recording.Prefix("ses_../x"); err == nil {
		t.Error(p)
	}
}

func FuzzOpenChunk(f *testing.F) {
	for _, object := range chunks(f, []write{{'o', []byte("a\xff")}, {'e', []byte("b")}}, 1) {
		f.Add(object)
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		_, lines, err := recording.OpenChunk(object)
		if err != nil {
			return
		}
		if len(lines) > recording.MaxText {
			t.Fatalf("%d bytes of lines", len(lines))
		}
		for _, err := range recording.Lines(lines) {
			_ = err
		}
	})
}

// first is the first line of a recording with a command, and what a reader makes of it.
func first(t *testing.T, command string) (line string, h recording.Head) {
	t.Helper()
	begun := head(newSession())
	begun.Command = command
	object, _, err := recording.NewChunk(recording.Place{Session: begun.Session}, begun).Seal()
	if err != nil {
		t.Fatal(err)
	}
	_, lines, err := recording.OpenChunk(object)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err = recording.ReadHead(lines)
	if err != nil {
		t.Fatal(err)
	}
	return string(lines), h
}

// A command that isn't text stands there as players show it, and beside it byte for byte.
func TestACommandComesBackByteForByteAndPlayersShowText(t *testing.T) {
	for name, c := range map[string]struct{ command, shown, exact string }{
		"text":                 {"echo ü", `"command":"echo ü"`, ""},
		"what isn't UTF-8":     {"echo \xff\xfe!", `"command":"echo ` + "\uFFFD" + `!"`, `"command":"ZWNobyD//iE="`},
		"what looks like it":   {"echo \uFFFD!", `"command":"echo ` + "\uFFFD" + `!"`, ""},
		"lines and colours":    {"a\n\x1b[31m", `"command":"a\n\u001b[31m"`, ""},
		"the longest":          {strings.Repeat("\x01", recording.MaxCommand), `"command":"\u0001`, ""},
		"the longest of bytes": {strings.Repeat("\x01\xff", recording.MaxCommand/2), `"command":"\u0001` + "\uFFFD", `"command":"Af8B`},
		"none":                 {"", "", ""},
	} {
		line, h := first(t, c.command)
		if h.Command != c.command {
			t.Errorf("%s: %d of %d bytes come back", name, len(h.Command), len(c.command))
		}
		want := 0
		for _, part := range []string{c.shown, c.exact} {
			if part != "" {
				want++
			}
			if !strings.Contains(line, part) {
				t.Errorf("%s: no %s in %.300s", name, part, line)
			}
		}
		if n := strings.Count(line, `"command":`); n != want || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: %d commands, not %d, in %.300s", name, n, want, line)
		}
	}
}

func TestAHeadWhoseCommandIsNoneIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ command, exact string }{
		"two commands":         {"ls", "rm"},
		"one byte too long":    {strings.Repeat("a", recording.MaxCommand+1), ""},
		"bytes, one too long":  {strings.Repeat("a", recording.MaxCommand) + "\uFFFD", strings.Repeat("a", recording.MaxCommand) + "\xff"},
		"bytes of no command":  {"", "rm"},
		"what isn't base64":    {"rm", "\x00"},
		"longer than any line": {strings.Repeat("a", 1<<20), ""},
	} {
		exact := `"` + base64.StdEncoding.EncodeToString([]byte(c.exact)) + `"`
		switch c.exact {
		case "":
			exact = "null"
		case "\x00":
			exact = `"?"`
		}
		line := `{"version":2,"width":80,"height":24,"command":"` + c.command + `","stile":{"session":"s","command":` + exact + "}}\n"
		if _, _, err := recording.ReadHead([]byte(line)); err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: %.400v", name, err)
		}
	}
}
