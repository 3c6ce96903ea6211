package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// lines repeat themselves.
func lines(n int) []byte { return bytes.Repeat([]byte("all work and no play\r\n"), n/22+1)[:n] }

func TestWhatRepeatsItselfTakesLittleOfTheJournalAndIsRecordedByteForByte(t *testing.T) {
	t.Parallel()
	half := slices.Concat(lines(32<<10), noise(32<<10))
	for name, c := range map[string]struct {
		shown    [][]byte
		at, most float64 // of a journal's size to what was shown
	}{
		"zeros":                            {slices.Repeat([][]byte{make([]byte, 32<<10)}, 30), 0, 0.01},
		"lines":                            {slices.Repeat([][]byte{lines(32 << 10)}, 30), 0, 0.05},
		"noise":                            {slices.Repeat([][]byte{noise(32 << 10)}, 15), 1, 1.01},
		"text":                             {slices.Repeat([][]byte{text(32 << 10)}, 30), 1, 1.01},
		"little at once":                   {slices.Repeat([][]byte{lines(1000)}, 30), 1, 1.05},
		"lines, then noise":                {slices.Concat(slices.Repeat([][]byte{lines(32 << 10)}, 8), slices.Repeat([][]byte{noise(32 << 10)}, 8)), 0.5, 0.52},
		"noise, then lines":                {slices.Concat([][]byte{noise(32 << 10)}, slices.Repeat([][]byte{lines(32 << 10)}, 15)), 1, 1.01},
		"what packs well in its beginning": {[][]byte{half, half}, 1, 1.01},
		"much at once":                     {[][]byte{lines(900 << 10)}, 0, 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, session := w.begin(resource.RecordStrict, nil)
			for i, p := range c.shown {
				stream := recording.Stdout
				if i%2 == 1 {
					stream = recording.Stderr
				}
				if err := r.Output(stream, p); err != nil {
					t.Fatal(err)
				}
			}
			left, want := killed(t, w), bytes.Join(c.shown, nil)
			r.End()
			_, journal := journalOf(t, left, session)
			if ratio := float64(len(journal)) / float64(len(want)); ratio < c.at || ratio > c.most {
				t.Errorf("the journal takes %.3f of what was shown", ratio)
			}
			if raw, _, _ := w.read(w.finished(session)); !bytes.Equal(raw, want) {
				t.Errorf("%d bytes are not the %d that were shown", len(raw), len(want))
			}
			w.reopen(left)
			w.Resume()
			if raw, _, _ := w.read(w.finished(session)); !bytes.Equal(raw, want) {
				t.Errorf("after a kill %d bytes are not the %d that were shown", len(raw), len(want))
			}
		})
	}
}

// What can't be packed keeps only the rest of its own chunk from being packed.
func TestWhatRepeatsItselfLaterIsPackedFromTheNextChunkOn(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordStrict, nil)
	show(t, r, text(64<<10))
	for range 17 { // a chunk, and the beginning of the next
		show(t, r, lines(64<<10))
	}
	left := killed(t, w)
	r.End()
	_, journal := journalOf(t, left, session)
	if n := len(journal); n < 1<<20 || n > 1<<20+8<<10 {
		t.Errorf("the journal has %d bytes", n)
	}
}

// What takes little of the disk must be sealed all the same: no more of it waits than is sealed soon.
func TestASessionThatShowsWhatTakesLittleOfTheDiskFasterThanIsSealedIsHeldUpAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *record.Config) { c.Limit = 16 << 20 }) // two MiB wait at most, which are sixteen shown
	r, session := w.begin(resource.RecordStrict, nil)
	for range 30 {
		show(t, r, lines(1<<20))
		if all, err := filepath.Glob(filepath.Join(w.config.Dir, session, "*.journal")); err != nil || len(all) > 20 {
			t.Fatalf("%d journals of a MiB wait, %v", len(all), err)
		}
	}
	r.End()
	if _, m, _ := w.read(w.finished(session)); m.Bytes != 30<<20 {
		t.Errorf("%d bytes", m.Bytes)
	}
}

// packed is an entry of output that claims to be packed.
func packed(block []byte) []byte {
	b := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 'o' | 0x80}, make([]byte, 8)...)
	b = append(b, block...)
	binary.BigEndian.PutUint32(b, record.Checked(uint32(len(b)-8)))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// What an entry unpacks to is never more than was shown at once, and one that doesn't unpack is damaged.
func TestAPackedEntryThatIsNoneIsDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		block []byte
		shown int
	}{
		"as it should be": {s2.Encode(nil, make([]byte, 64<<10)), 5 + 64<<10},
		"a bomb":          {s2.Encode(nil, make([]byte, 64<<10+1)), 5},
		"a larger bomb":   {s2.Encode(nil, make([]byte, 1<<20)), 5},
		"no length":       {bytes.Repeat([]byte{0xff}, 12), 5},
		"half of it":      {s2.Encode(nil, text(9000))[:4000], 5},
		"nothing":         {nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, session := w.begin(resource.RecordBestEffort, nil)
			show(t, r, []byte("hello"))
			left := killed(t, w)
			r.End()
			path, journal := journalOf(t, left, session)
			if err := os.WriteFile(path, append(journal, packed(c.block)...), 0o600); err != nil {
				t.Fatal(err)
			}
			w.reopen(left)
			w.Resume()
			raw, m, _ := w.read(w.finished(session))
			if len(raw) != c.shown || (len(m.Missing) > 0) != (c.shown == 5) {
				t.Errorf("%d bytes, missing: %v", len(raw), m.Missing)
			}
		})
	}
}

// A length that is wrong would have all behind it pass for what a crash cut off, which is much where a journal is packed.
func TestAByteOfALengthThatIsAnotherIsToldOf(t *testing.T) {
	w := newWorld(t)
	r, session := w.begin(resource.RecordBestEffort, nil)
	for _, p := range [][]byte{lines(64 << 10), []byte("and now for something else\r\n"), make([]byte, 64<<10), lines(30_000), []byte("the end\r\n")} {
		show(t, r, p)
	}
	left := killed(t, w)
	r.End()
	path, whole := journalOf(t, left, session)
	rel, err := filepath.Rel(left, path)
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := w.read(w.finished(session))
	sealed := func(journal []byte) ([]byte, recording.Manifest) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "hurt")
		if err := errors.Join(os.CopyFS(dir, os.DirFS(left)), os.WriteFile(filepath.Join(dir, rel), journal, 0o600)); err != nil {
			t.Fatal(err)
		}
		w.reopen(dir)
		w.Resume()
		raw, m, _ := w.read(w.finished(session))
		return raw, m
	}
	for at := 0; at < len(whole); at += 8 + lengthOf(whole[at:]) {
		for n, flip := range []byte{0x80, 0x01, 0x80, 0x40} {
			b := bytes.Clone(whole)
			b[at+n] ^= flip
			if raw, m := sealed(b); len(m.Missing) != 1 || !bytes.HasPrefix(want, raw) {
				t.Errorf("byte %d of the length at %d: %d of %d bytes are there, missing: %v", n, at, len(raw), len(want), m.Missing)
			}
		}
	}
}

// lengthOf reads how long an entry is behind its first eight bytes.
func lengthOf(entry []byte) int { return int(binary.BigEndian.Uint32(entry) & (1<<17 - 1)) }
