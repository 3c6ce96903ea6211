package recording_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/cli/recording"
	format "github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

func TestARecordingPlaysInTheTimeThatItTook(t *testing.T) {
	for name, c := range map[string]struct {
		options recording.Options
		keys    map[time.Duration]recording.Key
		want    time.Duration
	}{
		"as it was":     {recording.Options{}, nil, 20 * time.Second},
		"twice as fast": {recording.Options{Speed: 2}, nil, 10 * time.Second},
		"short pauses":  {recording.Options{Idle: 2 * time.Second}, nil, 4 * time.Second},
		"paused":        {recording.Options{}, map[time.Duration]recording.Key{time.Second: recording.Pause, 31 * time.Second: recording.Pause}, 50 * time.Second},
		"forward":       {recording.Options{}, map[time.Duration]recording.Key{time.Second: recording.Forward}, 15 * time.Second},
		"back":          {recording.Options{}, map[time.Duration]recording.Key{12 * time.Second: recording.Back}, 25 * time.Second},
		"forward, and back at once": {recording.Options{}, map[time.Duration]recording.Key{
			time.Second: recording.Forward, time.Second + 1: recording.Back,
		}, 20 * time.Second},
		"faster": {recording.Options{}, map[time.Duration]recording.Key{10*time.Second + 1: recording.Faster}, 15 * time.Second},
		"quit":   {recording.Options{}, map[time.Duration]recording.Key{3 * time.Second: recording.Quit}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, true, "one", "two", "\x1b]0;title\x07three")
			synctest.Test(t, func(t *testing.T) {
				keys := make(chan recording.Key, 8)
				for at, k := range c.keys {
					time.AfterFunc(at, func() { keys <- k })
				}
				c.options.Keys = keys
				var out bytes.Buffer
				begun := time.Now()
				if _, err := recording.Play(t.Context(), r.reader(), &out, c.options); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun).Round(time.Millisecond); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
				if shown := strings.TrimSuffix(out.String(), recording.NewFilter(nil).Restore()); name != "quit" && !strings.HasSuffix(shown, "onetwothree") {
					t.Errorf("it showed %q", out.String())
				}
			})
		})
	}
}

func TestKeysAreReadAsTerminalsSendThem(t *testing.T) {
	keys, quit := make(chan recording.Key, 16), false
	recording.ReadKeys(strings.NewReader(" .+-\x1b[C\x1bOD\x1b[Ax\x03"), keys, func() { quit = true })
	var got []recording.Key
	for k := range keys {
		got = append(got, k)
	}
	want := []recording.Key{recording.Pause, recording.Step, recording.Faster, recording.Slower, recording.Forward, recording.Back, recording.Quit}
	if !slices.Equal(got, want) || !quit {
		t.Errorf("got %v, want %v; quit %v", got, want, quit)
	}
}

// A person who has paused looks for a place with the arrows.
func TestWhoHasPausedSeesThePlaceThatTheyGoTo(t *testing.T) {
	r := record(t, true, "one", "two", "three")
	synctest.Test(t, func(t *testing.T) {
		keys := make(chan recording.Key, 8)
		var out bytes.Buffer
		ended := make(chan error)
		go func() {
			_, err := recording.Play(t.Context(), r.reader(), &out, recording.Options{Keys: keys})
			ended <- err
		}()
		for _, step := range []struct {
			keys []recording.Key
			want string
		}{
			{[]recording.Key{recording.Pause}, "one"},
			{[]recording.Key{recording.Forward}, "one"},
			{[]recording.Key{recording.Forward}, "onetwo"},
			{[]recording.Key{recording.Back}, "one"},
			{[]recording.Key{recording.Step}, "onetwo"},
			{[]recording.Key{recording.Forward, recording.Forward, recording.Back, recording.Back}, "onetwo"},
		} {
			for _, k := range step.keys {
				keys <- k
			}
			<-time.After(time.Second) // of synctest's clock: whatever isn't paused plays on
			synctest.Wait()
			shown := out.String()
			if at := strings.LastIndex(shown, "\x1b[2J"); at >= 0 {
				shown = shown[at+len("\x1b[2J"):]
			}
			if shown != step.want {
				t.Errorf("after %v it shows %q, want %q", step.keys, shown, step.want)
			}
		}
		keys <- recording.Quit
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// slow is a source whose objects don't come.
type slow struct{ *shelf }

func (slow) Fetch(ctx context.Context, _ wire.RecordingObject, _ int64) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestQuittingEndsAPlayThatWaitsForTheNetwork(t *testing.T) {
	r := record(t, true, "one")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	keys := make(chan recording.Key, 1)
	go recording.ReadKeys(strings.NewReader(strings.Repeat(" ", 100)+"\x03"), keys, cancel) // more than there is room for
	if _, err := recording.Play(ctx, recording.Open(slow{r.shelf}, r.session, time.Now), &bytes.Buffer{}, recording.Options{Keys: keys}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestATerminalIsLeftWithTheModesThatItHad(t *testing.T) {
	for shown, left := range map[string]string{
		"\x1b[?1049h\x1b[?1000hfull":        "\x1b[?1049l",
		"\x1b[?6h\x1b[?6l":                  "\x1b[r\x1b[?6l\x1b[9999;1H",
		"\x1b[?47h\x1b[?1049hfull":          "\x1b[?47l",
		"\x1b[?25;1049hfull":                "\x1b[?1049l",
		"\x1b[?1049hfull\x1b[?1049l done":   "",
		"\x1b[?1000h\x1b[?2004h\x1b[?1h":    "",
		"\x1b]0;\x1b[?1049h":                "\x1b[?1049l", // an ESC ends a string
		"no \x1b[1049h, and no \x1b[>1049h": "",
	} {
		r := record(t, true, shown)
		var out bytes.Buffer
		if _, err := recording.Play(t.Context(), r.reader(), &out, recording.Options{}); err != nil {
			t.Fatal(err)
		}
		_, end, _ := strings.Cut(out.String(), "\x18")
		if !strings.Contains(left, "?6l") { // then the cursor stays where it is
			left += "\x1b7\x1b[r\x1b8"
		}
		if !strings.HasPrefix(end, left) || !strings.Contains(end, "\x1b[?25h") || strings.Contains(end, "1000") || strings.Contains(end, "2004") {
			t.Errorf("%q leaves the terminal with %q", shown, end)
		}
	}
}

func TestARecordingOfALargerTerminalIsWarnedOf(t *testing.T) {
	grown := record(t, true, "one")
	grown.shelf.remove(format.ChunkName(0))
	p := format.Place{Session: grown.session}
	c := format.NewChunk(p, &format.Head{Session: grown.session, Terminal: true, Started: started, Width: 80, Height: 24})
	c.Resize(time.Second, 200, 50)
	c.Resize(2*time.Second, 201, 51)
	object, _, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	grown.shelf.put(format.ChunkName(0), object)
	for name, c := range map[string]struct {
		recording     *made
		width, height int
		warned, noted string
	}{
		"fits":        {record(t, true, "one"), 80, 24, "", ""},
		"unknown":     {record(t, true, "one"), 0, 0, "", ""},
		"too narrow":  {record(t, true, "one"), 79, 24, "80x24, and this one has 79x24", ""},
		"too low":     {record(t, true, "one"), 80, 23, "80x24, and this one has 80x23", ""},
		"grows later": {grown, 100, 30, "", "200x50 after 1s, and this one has 100x30"},
	} {
		var warned []string
		notes, err := recording.Play(t.Context(), c.recording.reader(), &bytes.Buffer{}, recording.Options{
			Width: c.width, Height: c.height, Speed: 1000, Warn: func(s string) { warned = append(warned, s) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for kind, said := range map[string]struct {
			got  []string
			want string
		}{"warned": {warned, c.warned}, "noted": {notes, c.noted}} {
			if said.want == "" && len(said.got) > 0 || said.want != "" && (len(said.got) != 1 || !strings.Contains(said.got[0], said.want)) {
				t.Errorf("%s: %s of %q, want %q", name, kind, said.got, said.want)
			}
		}
	}
}
