package sshd

// RunAs makes a server believe that it runs as a user.
func RunAs(euid int) func(*Config) { return func(c *Config) { c.euid = func() int { return euid } } }

// AskTerminal reads a pty-req's payload and gives TERM, the size as columns and rows, and how many modes there are.
func AskTerminal(payload []byte) (term string, columns, rows uint16, modes int, ok bool) {
	t, ok := parseTerminal(payload)
	if !ok {
		return "", 0, 0, 0, false
	}
	return t.name, t.size.Col, t.size.Row, len(t.modes), true
}

// AskSize reads a window-change's payload.
func AskSize(payload []byte) (columns, rows uint16, ok bool) {
	w, ok := parseSize(payload)
	return w.Col, w.Row, ok
}

// AllowedEnv reports whether a client may set a variable.
func AllowedEnv(name string) bool { return allowedEnv(name) }

// Sentence is for tests.
var Sentence = sentence
