package shell

import (
	"errors"
	"io"
)

// Escaped copies what is typed to a node and reports whether the user left: a terminal's keys without the terminal.
func Escaped(node io.Writer, typed io.Reader, help io.Writer) bool {
	return errors.Is((&escapes{help: help}).copy(node, typed), errLeft)
}
