package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// Line is one line of a recording, together with the line of ours that belongs to it.
type Line struct {
	At     time.Duration // since the session's start
	Kind   byte          // 'o' output, 'r' resize, 'm' marker
	Stream byte          // of output: Stdout or Stderr
	Text   string        // what is shown; of a resize COLUMNSxROWS
	Raw    []byte        // of output: the exact bytes
}

// ReadHead reads the first line of the first chunk's lines, and returns the others.
func ReadHead(lines []byte) (Head, []byte, error) {
	first, rest, ok := bytes.Cut(lines, []byte("\n"))
	if !ok {
		return Head{}, nil, errors.New("reading a recording's head: there is none")
	}
	if len(first) > maxLine {
		return Head{}, nil, fmt.Errorf("reading a recording's head: %d bytes are more than one has", len(first))
	}
	var c cast
	if err := json.Unmarshal(first, &c); err != nil {
		return Head{}, nil, fmt.Errorf("reading a recording's head: %.200s", err.Error()) // it may repeat what it can't read
	}
	if c.Version != 2 || c.Stile == nil {
		return Head{}, nil, errors.New("reading a recording's head: it isn't that of a session's recording")
	}
	h, exact := c.Stile.Head, c.Stile.Exact
	if exact != nil {
		if shown(string(exact)) != c.Command {
			return Head{}, nil, errors.New("reading a recording's head: it has two commands")
		}
		c.Command = string(exact)
	}
	if len(c.Command) > MaxCommand {
		return Head{}, nil, fmt.Errorf("reading a recording's head: a command of %d bytes is more than one has", len(c.Command))
	}
	h.Command, h.Width, h.Height, h.Term = c.Command, c.Width, c.Height, c.Env["TERM"]
	return h, rest, nil
}

// Lines reads the lines of a chunk, those of the first without its head. An error ends them. Kinds that this release doesn't
// know are left out.
func Lines(lines []byte) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		exact, number := "", 0
		for len(lines) > 0 {
			line, rest, _ := bytes.Cut(lines, []byte("\n"))
			lines, number = rest, number+1
			l, kind, err := parse(line, exact)
			if err != nil {
				yield(Line{}, fmt.Errorf("reading line %d: %.200s", number, err.Error())) // it may repeat what it can't read
				return
			}
			if kind == kindExact {
				exact = l.Text
				continue
			}
			if l.Kind != 0 && !yield(l, nil) {
				return
			}
			exact = ""
		}
		if exact != "" {
			yield(Line{}, errors.New("reading the last line: the output that it is about is missing"))
		}
	}
}

// parse reads one line; exact is what the line before says of it.
func parse(line []byte, exact string) (l Line, kind string, err error) {
	if len(line) > maxLine {
		return l, "", fmt.Errorf("%d bytes are more than one has", len(line))
	}
	var fields [4]json.RawMessage // what is more is left out and takes no memory
	if err := json.Unmarshal(line, &fields); err != nil {
		return l, "", err
	}
	if fields[2] == nil || fields[3] != nil {
		return l, "", errors.New("it doesn't have 3 fields")
	}
	var seconds float64
	if err := errors.Join(json.Unmarshal(fields[0], &seconds), json.Unmarshal(fields[1], &kind), json.Unmarshal(fields[2], &l.Text)); err != nil {
		return l, "", err
	}
	if seconds < 0 || seconds > math.MaxInt64/1e10 {
		return l, "", fmt.Errorf("%g seconds are no time", seconds)
	}
	l.At = time.Duration(math.Round(seconds*1e6)) * time.Microsecond
	if exact != "" && kind != kindOutput {
		return l, "", errors.New("the line before says of what stream an output is, but this is not one")
	}
	switch kind {
	case kindOutput:
		l.Kind = 'o'
		l.Stream, l.Raw, err = whence(exact, l.Text)
	case kindResize:
		l.Kind = 'r'
		if _, _, ok := Size(l.Text); !ok {
			err = fmt.Errorf("%.32q is not a size", l.Text)
		}
	case kindMarker:
		l.Kind = 'm'
	case kindExact:
		if l.Text == "" {
			err = errors.New("it says nothing of the output after it")
		}
	}
	return l, kind, err
}

// whence says of which stream an output is, and its bytes.
func whence(exact, text string) (stream byte, raw []byte, err error) {
	if exact == "" {
		return Stdout, []byte(text), nil
	}
	name, encoded, given := strings.Cut(exact, ":")
	if name != string(Stdout) && name != string(Stderr) {
		return 0, nil, fmt.Errorf("%.32q is not a stream", name)
	}
	raw = []byte(text)
	if given {
		raw, err = base64.StdEncoding.DecodeString(encoded)
	}
	return name[0], raw, err
}

// Size reads the text of a resize.
func Size(text string) (width, height int, ok bool) {
	w, h, found := strings.Cut(text, "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	return width, height, found && err1 == nil && err2 == nil && width >= 0 && height >= 0 && width <= math.MaxUint16 && height <= math.MaxUint16
}
