package shell

import (
	"errors"
	"io"

	"github.com/stile-dev/stile/pkg/fault"
)

// errLeft is how a session ends when its user leaves it with ~.
var errLeft = fault.New(fault.Unreachable, "you left the session with ~.", "run stile ssh to open a new session; what you started may still be running")

const escapeHelp = "~?\r\n" +
	"At the beginning of a line:\r\n" +
	"  ~.  leave the session, even if the node is silent\r\n" +
	"  ~?  show this\r\n" +
	"  ~~  send one ~\r\n"

// escapes takes OpenSSH's escapes out of what is typed in a terminal: a ~ that begins a line isn't sent before
// the key behind it says what is meant.
type escapes struct {
	inLine bool      // the line has something in it already
	tilde  bool      // a ~ is held back
	help   io.Writer // where ~? is answered
}

// filter returns those of the keys that go to the node; left says that the user wants out.
func (e *escapes) filter(keys []byte) (out []byte, left bool) {
	for _, k := range keys {
		if !e.tilde {
			if e.tilde = !e.inLine && k == '~'; !e.tilde {
				out = e.pass(out, k)
			}
			continue
		}
		e.tilde = false
		switch k {
		case '.':
			return out, true
		case '?':
			_, _ = io.WriteString(e.help, escapeHelp)
		case '~':
			out = e.pass(out, k)
		default:
			out = e.pass(append(out, '~'), k)
		}
	}
	return out, false
}

func (e *escapes) pass(out []byte, k byte) []byte {
	e.inLine = k != '\r' && k != '\n'
	return append(out, k)
}

// copy sends what is typed until it ends; errLeft says that the user left.
func (e *escapes) copy(node io.Writer, typed io.Reader) error {
	keys := make([]byte, 4<<10)
	for {
		n, err := typed.Read(keys)
		out, left := e.filter(keys[:n])
		if errors.Is(err, io.EOF) && e.tilde {
			out = append(out, '~')
		}
		if len(out) > 0 {
			if _, err := node.Write(out); err != nil {
				return err
			}
		}
		if left {
			return errLeft
		}
		if err != nil {
			return err
		}
	}
}
