package recording

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/recording"
)

// Format is how a recording is printed.
type Format string

// The formats.
const (
	Text Format = "text" // what was shown, as lines of plain text
	JSON Format = "json" // one object per event and line
	Cast Format = "cast" // asciicast v2 for players: without a terminal, what was shown with the carriage returns that they need
	Raw  Format = "raw"  // the bytes that the client got
)

// Print prints a recording. Stream is what Raw prints, [recording.Stdout] or [recording.Stderr]; 0 is both. What is missing
// or damaged is told to warn, in words that need escaping.
func Print(ctx context.Context, r *Reader, w io.Writer, f Format, stream byte, warn func(string)) error {
	var failed error
	lines := NewRenderer(func(_ time.Duration, line string) {
		if failed == nil {
			_, failed = fmt.Fprintln(w, line)
		}
	})
	var returns *recording.Returns // of a session without a terminal
	for p, err := range r.Pieces(ctx) {
		if err != nil {
			return err
		}
		for _, note := range p.Notes {
			warn(note)
		}
		if f == Cast {
			if p.Head != nil && !p.Head.Terminal {
				returns = new(recording.Returns)
			}
			if err := writeCast(w, p.Text, returns); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			continue
		}
		for l, err := range recording.Lines(p.Lines) {
			if err != nil {
				warn(fmt.Sprintf("chunk %d has a line that can't be read, and what follows there is left out: %v", p.Seq, err))
				break
			}
			switch f {
			case JSON:
				err = printEvent(w, l)
			case Raw:
				if l.Kind == 'o' && (stream == 0 || stream == l.Stream) {
					_, err = w.Write(l.Raw)
				}
			default:
				switch l.Kind {
				case 'o':
					lines.Show(l.At, l.Text)
				case 'm':
					warn(fmt.Sprintf("the agent noted: %.512s", l.Text))
				}
				err = failed
			}
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
		}
	}
	lines.Flush()
	if failed != nil {
		return fmt.Errorf("printing: %w", failed)
	}
	return nil
}

// writeCast writes a chunk's lines for players, through returns if there is one.
func writeCast(w io.Writer, text []byte, returns *recording.Returns) error {
	if returns != nil {
		return returns.Write(w, text)
	}
	_, err := w.Write(text)
	return err
}

// Seconds is a time since a session's start as JSON has it: the number of seconds that is written with as many digits as its
// microseconds have, and no more.
func Seconds(at time.Duration) float64 { return float64(at.Microseconds()) / 1e6 }

// event is a line of a recording for programs.
type event struct {
	At     float64 `json:"at"`               // seconds since the session's start
	Kind   string  `json:"kind"`             // output, resize, note
	Stream string  `json:"stream,omitempty"` // of output: stdout, stderr
	Text   string  `json:"text"`             // of a resize COLUMNSxROWS
	Bytes  []byte  `json:"bytes,omitempty"`  // of output that isn't UTF-8: as it was
}

var kinds = map[byte]string{'o': "output", 'r': "resize", 'm': "note"}

func printEvent(w io.Writer, l recording.Line) error {
	e := event{At: Seconds(l.At), Kind: kinds[l.Kind], Text: l.Text}
	if l.Kind == 'o' {
		e.Stream = map[byte]string{recording.Stdout: "stdout", recording.Stderr: "stderr"}[l.Stream]
		if string(l.Raw) != l.Text {
			e.Bytes = l.Raw
		}
	}
	return output.Line(w, e)
}

// Search gives the lines of a recording that match, and when they were shown. It reports whether all of it could be read.
func Search(ctx context.Context, r *Reader, match func(string) bool, found func(at time.Duration, line string) error) (whole bool, err error) {
	whole = true
	var failed error
	lines := NewRenderer(func(at time.Duration, line string) {
		if failed == nil && match(line) {
			failed = found(at, line)
		}
	})
	for p, err := range r.Pieces(ctx) {
		if err != nil {
			return false, err
		}
		whole = whole && len(p.Notes) == 0
		for l, err := range recording.Lines(p.Lines) {
			if err != nil {
				whole = false
				break
			}
			if l.Kind == 'o' {
				lines.Show(l.At, l.Text)
			}
			if failed != nil {
				return false, failed
			}
		}
	}
	lines.Flush()
	return whole, failed
}
