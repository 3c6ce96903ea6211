package recording

import (
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/escape"
)

// maxLine is how many characters a line of text has before it counts as ended, and maxColumn how far the cursor goes behind what
// is in it: no screen is wider, and a few bytes are no long line.
const (
	maxLine   = 16 << 10
	maxColumn = 1 << 10
)

// Renderer turns what a terminal was told into lines of plain text. Within a line it follows the cursor and what is erased;
// where the cursor goes to another place of the screen, a line begins. Nothing that a session concealed is left out, and
// what isn't printable is written as in a string.
type Renderer struct {
	emit   func(at time.Duration, line string)
	parser parser
	at     time.Duration // when the line's first character came
	line   []rune
	column int
}

// NewRenderer returns one that gives each line, and when its first character was shown.
func NewRenderer(emit func(at time.Duration, line string)) *Renderer {
	return &Renderer{emit: emit, parser: parser{lines: true}}
}

// Show takes what was shown at a time.
func (r *Renderer) Show(at time.Duration, text string) {
	r.parser.feed(text, func(q sequence) { r.take(at, q) })
}

// Flush ends the line that has begun.
func (r *Renderer) Flush() {
	if len(r.line) > 0 {
		r.end()
	}
}

func (r *Renderer) end() {
	r.emit(r.at, escape.Text(strings.TrimRight(string(r.line), " ")))
	r.line, r.column = r.line[:0], 0
}

func (r *Renderer) take(at time.Duration, q sequence) {
	if len(r.line) == 0 {
		r.at = at
	}
	switch {
	case q.run != "":
		r.show(at, q.run)
	case q.final == 0:
		r.character(q.rune)
	case !q.csi && strings.ContainsRune("DEMc8", q.final) && q.inter == "":
		r.Flush()
	case q.csi && q.prefix == "" && q.inter == "":
		r.order(q)
	case q.csi && q.prefix == "?" && (q.final == 'h' || q.final == 'l') && (strings.Contains(q.params, "47") || strings.Contains(q.params, "1049")):
		r.Flush() // the alternate screen
	}
}

// character obeys a control.
func (r *Renderer) character(c rune) {
	switch c {
	case '\n', '\v', '\f':
		r.end()
	case '\r':
		r.column = 0
	case '\b':
		r.column = max(r.column-1, 0)
	case '\t':
		r.to((r.column/8 + 1) * 8)
	}
}

// to moves the cursor to a column.
func (r *Renderer) to(column int) { r.column = min(column, max(len(r.line), maxColumn)) }

// show puts characters where the cursor is.
func (r *Renderer) show(at time.Duration, run string) {
	for _, c := range run {
		if r.column >= maxLine {
			r.end()
			r.at = at
		}
		r.pad()
		if r.column < len(r.line) {
			r.line[r.column] = c
		} else {
			r.line = append(r.line, c)
		}
		r.column++
	}
}

// pad fills the line with spaces as far as the cursor.
func (r *Renderer) pad() {
	for len(r.line) < r.column {
		r.line = append(r.line, ' ')
	}
}

func (r *Renderer) order(q sequence) {
	n, err := strconv.Atoi(q.params)
	count := min(max(n, 1), maxLine)
	switch q.final {
	case 'C', 'a':
		r.to(r.column + count)
	case 'D':
		r.column = max(r.column-count, 0)
	case 'G', '`':
		r.to(count - 1)
	case 'K':
		r.erase(n)
	case 'P':
		if from := min(r.column, len(r.line)); from < len(r.line) {
			r.line = append(r.line[:from], r.line[min(from+count, len(r.line)):]...)
		}
	case '@':
		r.pad()
		if len(r.line)+count <= maxLine && r.column <= len(r.line) {
			r.line = append(r.line[:r.column], append([]rune(strings.Repeat(" ", count)), r.line[r.column:]...)...)
		}
	case 'A', 'B', 'E', 'F', 'H', 'd', 'e', 'f', 'L', 'M', 'S', 'T', 'u', 'r':
		r.Flush()
	case 'J':
		if err == nil && n >= 2 {
			r.Flush()
		} else {
			r.erase(n)
		}
	}
}

// erase is EL: 0 from the cursor, 1 up to it, 2 all.
func (r *Renderer) erase(how int) {
	switch at := min(r.column, len(r.line)); how {
	case 0:
		r.line = r.line[:at]
	case 1:
		for i := range r.line[:min(r.column+1, len(r.line))] {
			r.line[i] = ' '
		}
	case 2:
		r.line = r.line[:0]
	}
}
