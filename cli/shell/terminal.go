package shell

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/stile-dev/stile/pkg/fault"
)

// The size that a command sees when we have no terminal.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// iutf8 is the terminal mode of RFC 8160.
const iutf8 = 42

// IsTerminal reports whether a stream is one.
func IsTerminal(stream any) bool {
	f := file(stream)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// askTerminal asks the node for a terminal for the command.
func askTerminal(session *ssh.Session, r Request) error {
	width, height := size(r)
	kind := r.Term
	if kind == "" {
		kind = "dumb"
	}
	modes := ssh.TerminalModes{ssh.ECHO: 1, ssh.TTY_OP_ISPEED: 38400, ssh.TTY_OP_OSPEED: 38400, iutf8: 1}
	if err := session.RequestPty(kind, height, width, modes); err != nil {
		if !saidNo(err) {
			return broken("asking for a terminal", err)
		}
		return fault.New(fault.Denied, "the node refused a terminal", "run the command without a terminal: stile ssh -T").Because(err)
	}
	return nil
}

// raw puts our terminal into raw mode and keeps the node's terminal at its size. It comes last, because until
// then Ctrl-C is ours. The caller calls restore when the command is over.
func raw(session *ssh.Session, r Request) (restore func(), err error) {
	if !IsTerminal(r.In) {
		return func() {}, nil
	}
	in := file(r.In)
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("setting the terminal to raw mode: %w", err)
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-stopped:
				return
			case <-changes:
				width, height := size(r)
				_ = session.WindowChange(height, width)
			}
		}
	}()
	return func() {
		signal.Stop(changes)
		close(stopped)
		_ = term.Restore(int(in.Fd()), before)
	}, nil
}

// size returns the size of the terminal that shows the output, or else that takes the input.
func size(r Request) (width, height int) {
	for _, stream := range []any{r.Out, r.In} {
		if f := file(stream); f != nil {
			if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
				return w, h
			}
		}
	}
	return defaultWidth, defaultHeight
}
