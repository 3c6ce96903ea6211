package record_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// taken is how many bytes the files of sessions have, or those of one.
func taken(t *testing.T, dir string, session ...string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, append(session, "ses_*")[0], "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestTheSpoolSaysHowMuchItTakesAndWhatWaitsForS3(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 8 << 20 })
	if u := w.Usage(); u != (record.Usage{Limit: 8 << 20}) {
		t.Errorf("an empty one says %+v", u)
	}
	one, first := w.begin(resource.RecordBestEffort, nil)
	two, _ := w.begin(resource.RecordBestEffort, nil)
	show(t, one, noise(1000))
	show(t, two, noise(1000))
	if u := w.Usage(); u.Bytes < 2000 || u.Waiting != 0 || u.Full {
		t.Errorf("while both sessions last it says %+v", u)
	}
	one.End()
	<-one.Done()
	if u := w.Usage(); u.Waiting != 1 || u.Bytes < taken(t, w.config.Dir)-4<<10 || u.Bytes > taken(t, w.config.Dir) { // how far chunks have got isn't counted
		t.Errorf("when one has ended it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
	w.set(func() { w.free = 1 << 20 })
	until(t, "a look at the disk", func() bool { return w.Usage().Full })
	w.set(func() { w.free = 10 << 30 })
	until(t, "another look", func() bool { return !w.Usage().Full })

	w.reopen(w.config.Dir) // what an earlier run left waits as well
	if u := w.Usage(); u.Waiting != 2 || u.Bytes != taken(t, w.config.Dir) {
		t.Errorf("after a start it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
	for _, name := range []string{recording.ChunkName(0), recording.ManifestName} {
		if err := w.Held(first, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Forget(first); err != nil {
		t.Fatal(err)
	}
	if u := w.Usage(); u.Waiting != 1 || u.Bytes != taken(t, w.config.Dir) {
		t.Errorf("once S3 holds one it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
}

func TestASpoolWithoutRoomForAJournalIsFull(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 1<<20 + 500 })
	r, _ := w.begin(resource.RecordBestEffort, nil)
	show(t, r, noise(1000))
	if u := w.Usage(); !u.Full {
		t.Errorf("it says %+v", u)
	}
	if _, _, err := w.try(resource.RecordStrict, nil); err == nil {
		t.Error("and a strict session begins")
	}
}

// What takes more room in chunks than in a journal takes no more than it may all the same, and what takes less gets all of that.
func TestNoOutputMakesChunksThatTakeMoreThanTheyMay(t *testing.T) {
	const limit = 16 << 20
	among := func(n int, all ...string) []byte {
		var b []byte
		for _, x := range noise(n) {
			b = append(b, all[int(x)%len(all)]...)
		}
		return b[:n]
	}
	again := func(p []byte) []byte { return bytes.Repeat(p, 64<<10/len(p)) }
	behind := func(p []byte) []byte { return slices.Concat(make([]byte, 4<<10), p[4<<10:]) } // a beginning that packs well
	control := func(n int) []byte {
		return among(n, strings.Split("\x00\x01\x02\x03\x04\x05\x06\x07\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f", "")...)
	}
	mixed := func(n int) []byte {
		b := control(n)
		for i := 0; i < n; i += 16 {
			b[i] = 0xff
		}
		return b
	}
	high := func(n int) []byte {
		b := noise(n)
		for i := range b {
			b[i] |= 0x80
		}
		return b
	}
	for name, c := range map[string]struct {
		some  func() []byte
		fills bool // all that there is
		part  bool // each is behind a part of a character
	}{
		"text":                               {func() []byte { return text(64 << 10) }, true, false},
		"control characters":                 {func() []byte { return control(64 << 10) }, true, false},
		"control characters that are packed": {func() []byte { return again(control(300)) }, true, false},
		"many of those":                      {func() []byte { return behind(again(control(7000))) }, true, false},
		"quotes that are packed":             {func() []byte { return again(among(500, `"`, `\`)) }, false, false},
		"escapes that are packed":            {func() []byte { return again(among(510, "\u2028", "\u2029")) }, false, false},
		"what isn't text":                    {func() []byte { return noise(64 << 10) }, true, false},
		"control characters and such":        {func() []byte { return mixed(64 << 10) }, true, false},
		"what isn't text, again and again":   {func() []byte { return behind(again(high(7000))) }, true, false},
		"such as would be packed":            {func() []byte { return again(mixed(300)) }, false, false},
		"much of that":                       {func() []byte { return behind(again(mixed(7000))) }, true, false},
		"single bytes":                       {func() []byte { return control(1) }, false, false},
		"text behind a part of a character":  {func() []byte { return text(64 << 10) }, true, true},
		"such text as would be packed":       {func() []byte { return append(lines(4<<10), again(text(7000))[4<<10:]...) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *record.Config) { c.Limit = limit })
			some := make([][]byte, 40) // more than are in a chunk, in which they would repeat themselves
			for n := range some {
				some[n] = c.some()
			}
			var sessions sync.WaitGroup
			for range 5 { // more than have a quarter each
				r, session := w.begin(resource.RecordBestEffort, nil)
				sessions.Go(func() {
					for n := range 200 {
						if c.part {
							_ = r.Output(recording.Stderr, []byte("\xe2"))
						}
						if err := r.Output(recording.Stderr, some[n%len(some)]); err != nil {
							t.Error(err)
						}
					}
					r.End()
					<-r.Done()
					if n := taken(t, w.config.Dir, session); n > limit/4+8<<10 { // how far chunks have got isn't counted
						t.Errorf("one session takes %d bytes", n)
					}
				})
			}
			sessions.Wait()
			if n := taken(t, w.config.Dir); n > limit+40<<10 || c.fills && n < limit*7/8 {
				t.Errorf("they take %d of %d bytes", n, limit)
			}
		})
	}
}

func TestControlCharactersAreCountedWhateverIsBesideThem(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 1000} {
		p, want := noise(n), int64(0)
		for _, b := range p {
			if b < 0x20 {
				want++
			}
		}
		if got := record.Controls(p); got != want {
			t.Errorf("%d of %x, not %d", got, p, want)
		}
	}
}

// What is kept free for floods until they are sealed is nobody's: a session that shows little goes on, others begin, and the floods
// themselves wait for what they get.
func TestFloodsOfWhatTakesLittleOnceItIsSealedEndNoSessionAndKeepNoneFromBeginning(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 32 << 20 })
	fail := func(f *fault.Fault) { t.Error(f) }
	little, _ := w.begin(resource.RecordStrict, fail)
	var floods sync.WaitGroup
	defer floods.Wait()
	for range 5 { // more than have a quarter each
		r, _ := w.begin(resource.RecordStrict, fail)
		floods.Go(func() {
			for range 250 {
				if r.Output(recording.Stdout, make([]byte, 64<<10)) != nil {
					return
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { floods.Wait(); close(over) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for going := true; going; {
		select {
		case <-tick.C:
			show(t, little, []byte("a line\r\n"))
			r, _ := w.begin(resource.RecordStrict, fail)
			r.Discard()
		case <-over:
			going = false
		}
	}
}

// What is kept free for a session, and what its journal counts for, goes with it.
func TestSessionsWithoutNumberLeaveTheNextAllTheRoomThatTheyHad(t *testing.T) {
	for name, c := range map[string]struct {
		limit    int64
		sessions int
		p        []byte
		leave    func(r *record.Recording)
	}{
		"they never began":           {16 << 20, 200, make([]byte, 60<<10), (*record.Recording).Discard}, // for which 90 KiB are kept
		"they ended":                 {16 << 20, 200, make([]byte, 60<<10), (*record.Recording).End},
		"they filled a journal":      {1 << 30, 24, text(4200 << 10), (*record.Recording).Discard},
		"they showed several chunks": {1 << 30, 24, text(3500 << 10), (*record.Recording).Discard}, // of which three MiB are in a journal that isn't full; 64 are a crowd
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(config *record.Config) { config.Limit = c.limit })
				last := 0
				for range c.sessions {
					r, session := w.begin(resource.RecordStrict, func(f *fault.Fault) { t.Error(f) })
					show(t, r, c.p)
					files, err := filepath.Glob(filepath.Join(w.config.Dir, session, "*.journal"))
					if err != nil || last > 0 && len(files) != last {
						t.Fatalf("the journals of one are %d, and of the one before %d, %v", len(files), last, err)
					}
					last = len(files)
					c.leave(r)
					<-r.Done()
				}
				_ = w.Close()
			})
		})
	}
}
