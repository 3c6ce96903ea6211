package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/recording"
)

// Key is what a person presses while a recording plays.
type Key int

// The keys.
const (
	Pause Key = iota + 1
	Step      // shows the next output, and pauses
	Forward
	Back
	Faster
	Slower
	Quit
)

const (
	leap      = 5 * time.Second
	fastest   = 64
	slowest   = 1.0 / 16
	mostNotes = 100
)

// Options are how a recording plays.
type Options struct {
	Speed         float64       // 1 is as it was
	Idle          time.Duration // the longest pause; 0 is as it was
	Width, Height int           // of the terminal; 0 is unknown
	Keys          <-chan Key    // nil: none
	Warn          func(string)  // is given words that need escaping, before the first output
}

// Play plays a recording to a terminal in raw mode, and returns what was missing or damaged, at most [mostNotes] of it. The
// way back is a replay from the start. However it ends, the terminal's modes are those that it had.
func Play(ctx context.Context, r *Reader, w io.Writer, o Options) ([]string, error) {
	p := &player{Options: o, reader: r, w: w, filter: NewFilter(w)}
	if p.Speed <= 0 {
		p.Speed = 1
	}
	for {
		again, err := p.run(ctx)
		end := p.filter.Restore()
		if again = again && err == nil; again {
			end += clean
		}
		if _, failed := io.WriteString(w, end); failed != nil && err == nil {
			err = fmt.Errorf("playing: %w", failed)
		}
		if err != nil || !again {
			return p.notes, err
		}
		p.at, p.notes, p.filter = 0, nil, NewFilter(w)
	}
}

type player struct {
	Options
	reader *Reader
	w      io.Writer
	filter *Filter
	at     time.Duration // where it is
	until  time.Duration // up to here it shows at once
	paused bool
	step   bool
	back   bool // it is to begin again
	quit   bool
	warned bool
	notes  []string
}

// run plays from the start, and reports whether to do that again.
func (p *player) run(ctx context.Context) (again bool, err error) {
	p.back = false
	for chunk, err := range p.reader.Pieces(ctx) {
		if err != nil {
			return false, err
		}
		p.note(chunk.Notes...)
		if chunk.Head != nil {
			p.begin(*chunk.Head)
		}
		for l, err := range recording.Lines(chunk.Lines) {
			if err != nil {
				p.note(fmt.Sprintf("chunk %d has a line that can't be read, and what follows there is left out: %v", chunk.Seq, err))
				break
			}
			if err := p.wait(ctx, l.At); err != nil {
				return false, err
			}
			if p.back || p.quit {
				return p.back && !p.quit, nil
			}
			if err := p.show(l); err != nil {
				return false, fmt.Errorf("playing: %w", err)
			}
		}
	}
	return false, nil
}

func (p *player) begin(h recording.Head) {
	p.filter.column = !h.Terminal
	p.fits(h.Width, h.Height)
}

// fits warns once of a recording that is larger than the terminal.
func (p *player) fits(width, height int) {
	if p.warned || p.Width <= 0 || p.Height <= 0 || width <= p.Width && height <= p.Height {
		return
	}
	p.warned = true
	p.Warn(fmt.Sprintf("the recording is of a terminal of %dx%d, and this one has %dx%d: it won't look as it did", width, height, p.Width, p.Height))
}

// grows notes once that a recorded terminal became larger than this one: by then something else is on the screen.
func (p *player) grows(l recording.Line) {
	width, height, _ := recording.Size(l.Text) // Lines refuses what is none
	if p.warned || p.Width <= 0 || p.Height <= 0 || width <= p.Width && height <= p.Height {
		return
	}
	p.warned = true
	p.note(fmt.Sprintf("the recorded terminal became one of %dx%d after %s, and this one has %dx%d: from there it didn't look as it did", width, height, l.At.Round(time.Second), p.Width, p.Height))
}

func (p *player) show(l recording.Line) error {
	switch l.Kind {
	case 'o':
		return p.filter.WriteString(l.Text)
	case 'r':
		p.grows(l)
	case 'm':
		p.note(fmt.Sprintf("the agent noted %s after the start: %.512s", l.At.Round(time.Second), l.Text))
	}
	return nil
}

func (p *player) note(notes ...string) {
	for _, n := range notes {
		if len(p.notes) < mostNotes {
			p.notes = append(p.notes, n)
		}
	}
}

// place is where it is, as far as keys are concerned: what they skip over may still have to be shown.
func (p *player) place() time.Duration { return max(p.at, p.until) }

// wait waits until it is time for what was shown at a time, and obeys keys.
func (p *player) wait(ctx context.Context, next time.Duration) error {
	for idle := p.Idle; ; {
		if err := p.obeyNow(ctx); err != nil || p.back || p.quit {
			return err
		}
		if p.step {
			p.step, p.at = false, next
			return nil
		}
		if next <= p.until || next <= p.at && !p.paused {
			p.at = max(p.at, next)
			return nil
		}
		if p.paused {
			if p.Keys == nil {
				return errors.New("playing: it is paused, and there are no keys")
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case k, ok := <-p.Keys:
				p.obey(k, ok)
			}
			continue
		}
		left := next - p.place()
		if p.Idle > 0 && left > idle {
			p.at, left = next-idle, idle // the rest of the pause is left out
		}
		begun, timer := time.Now(), time.NewTimer(time.Duration(float64(left)/p.Speed))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			p.at = next
			return nil
		case k, ok := <-p.Keys:
			timer.Stop()
			passed := min(time.Duration(float64(time.Since(begun))*p.Speed), left)
			p.at, idle = p.place()+passed, max(idle-passed, 0)
			p.obey(k, ok)
		}
	}
}

// obeyNow obeys the keys that were pressed while something was shown.
func (p *player) obeyNow(ctx context.Context) error {
	for {
		select {
		case k, ok := <-p.Keys:
			p.obey(k, ok)
		default:
			return ctx.Err()
		}
	}
}

func (p *player) obey(k Key, ok bool) {
	if !ok { // the keyboard is gone
		p.Keys = nil
		p.paused = false
		return
	}
	switch k {
	case Pause:
		p.paused = !p.paused
	case Step:
		p.step, p.paused = true, true
	case Forward:
		p.until = p.place() + leap
	case Back:
		p.until, p.back = max(p.place()-leap, 0), true
	case Faster:
		p.Speed = min(p.Speed*2, fastest)
	case Slower:
		p.Speed = max(p.Speed/2, slowest)
	case Quit:
		p.quit = true
	}
}

// ReadKeys reads keys as a terminal in raw mode sends them, until it ends. It closes the channel. A key for which the channel
// has no room is lost, but for Quit: that calls quit, so that it ends also who waits for the network and reads no keys.
func ReadKeys(r io.Reader, keys chan<- Key, quit func()) {
	defer close(keys)
	var b [1]byte
	before := ""
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return
		}
		before += string(b[:])
		k, more := key(before)
		if !more {
			before = ""
		}
		if k == 0 {
			continue
		}
		if k == Quit {
			quit()
		}
		select {
		case keys <- k:
		default:
		}
	}
}

// key reads the bytes of a key, and reports whether more may belong to it.
func key(s string) (k Key, more bool) {
	switch s {
	case " ":
		return Pause, false
	case ".":
		return Step, false
	case "+", "=":
		return Faster, false
	case "-", "_":
		return Slower, false
	case "q", "Q", "\x03", "\x04":
		return Quit, false
	case "\x1b", "\x1b[", "\x1bO":
		return 0, true
	case "\x1b[C", "\x1bOC":
		return Forward, false
	case "\x1b[D", "\x1bOD":
		return Back, false
	case "\x1b\x03", "\x1bq":
		return Quit, false
	}
	return 0, false
}
