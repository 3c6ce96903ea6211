package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// Request is one command, or a shell, and what it is joined to.
type Request struct {
	Command string      // "" is a login shell
	TTY     bool        // whether the command gets a terminal
	Escapes bool        // whether ~. ~? and ~~ at the beginning of a line are ours, as they are for a person at a keyboard
	Term    string      // its type, TERM
	Env     [][2]string // offered to the node, which takes what its own list allows
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
}

// keepalive is how often we check that the other side is alive; three silences end the session.
const (
	keepalive    = 15 * time.Second
	keepaliveMax = 3
)

// OwnFailure is the exit status when the session itself failed, like OpenSSH's.
const OwnFailure = 255

// Run runs the command and gives its exit status. An error means that the status is not known: a fault, or
// the cause that ctx was cancelled with.
func Run(ctx context.Context, client *ssh.Client, r Request) (int, error) {
	session, err := client.NewSession()
	if err != nil {
		return 0, unopened(err)
	}
	defer func() { _ = session.Close() }()
	for _, v := range r.Env {
		if _, err := session.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{v[0], v[1]})); err != nil {
			return 0, broken("sending the environment", err)
		}
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		return 0, broken("opening a session", err)
	}
	if r.TTY {
		if err := askTerminal(session, r); err != nil {
			return 0, err
		}
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	session.Stdout, session.Stderr = sink{r.Out, "output", leave}, sink{r.Err, "error output", leave}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go relay{session, r.TTY, leave}.forward(done, caught())
	go watch(done, client)
	status, err := r.converse(session, stdin, leave)
	if why := context.Cause(ctx); why != nil {
		return 0, why
	}
	return status, err
}

// sink ends the session when its output can't be written here: nobody would see the rest, and the command would wait for
// ever for it to be read.
type sink struct {
	io.Writer
	name  string
	leave context.CancelCauseFunc
}

func (s sink) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil {
		s.leave(fault.Newf(fault.Unavailable, "check where its "+s.name+" goes (the disk may be full, or the file closed), then run it again",
			"the command's %s can't be written on this machine: %v", s.name, err).Because(err))
	}
	return n, err
}

// converse starts the command and carries the streams until it ends.
func (r Request) converse(session *ssh.Session, stdin io.WriteCloser, leave context.CancelCauseFunc) (int, error) {
	if err := start(session, r.Command); err != nil {
		return 0, err
	}
	if r.TTY {
		restore, err := raw(session, r)
		if err != nil {
			return 0, err
		}
		defer restore()
	}
	go func() {
		if !r.Escapes {
			_, _ = io.Copy(stdin, r.In)
		} else if errors.Is((&escapes{help: r.Err}).copy(stdin, r.In), errLeft) {
			leave(errLeft)
		}
		_ = stdin.Close()
	}()
	return status(session.Wait())
}

// unopened tells a node that refuses a session from a connection that was lost.
func unopened(err error) error {
	if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		return fault.New(fault.Denied, "the node refused a session: "+strings.TrimPrefix(refusal.Message, "stile: "),
			"run stile ls to see what you may use there; your administrator can find the reason in the audit events").Because(err)
	}
	return broken("opening a session", err)
}

func start(session *ssh.Session, command string) error {
	var err error
	if command == "" {
		err = session.Shell()
	} else {
		err = session.Start(command)
	}
	if err == nil {
		return nil
	}
	if !saidNo(err) {
		return broken("starting the command", err)
	}
	return fault.New(fault.Denied, "the node refused to run that",
		"run stile ls to see what you may use there; your administrator can find the reason in the audit events").Because(err)
}

// saidNo tells a refused request from a lost connection: the library words the first in its own way.
func saidNo(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "ssh: ") && (strings.HasSuffix(text, " failed") || strings.HasSuffix(text, "could not start shell"))
}

// status reads how the command ended: its own status, or 128 and the signal that killed it, as shells say it. A session
// that the node ended counts as our own failure; the node has said why on stderr.
func status(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		if exit.Signal() == names.SSHEnded {
			return OwnFailure, nil
		}
		name, _, _ := strings.Cut(exit.Signal(), "@")
		if number := unix.SignalNum("SIG" + name); number != 0 {
			return 128 + int(number), nil // the library numbers only some of them
		}
		return exit.ExitStatus(), nil
	}
	return 0, broken("waiting for the command", err)
}

func broken(what string, err error) error {
	return fault.New(fault.Unreachable, "the connection to the node was lost", "try again; run stile ls to see whether the node is online").
		Because(fmt.Errorf("%s: %w", what, err))
}

// watch closes a connection whose other side is gone, so that nobody is left at a dead terminal.
func watch(done <-chan struct{}, client *ssh.Client) {
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	answers := make(chan struct{}, 1)
	silent := 0
	for {
		select {
		case <-done:
			return
		case <-answers:
			silent = 0
		case <-tick.C:
			if silent++; silent > keepaliveMax {
				_ = client.Close()
				return
			}
			if silent == 1 {
				go func() {
					if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						answers <- struct{}{}
					}
				}()
			}
		}
	}
}

// file returns the terminal or file behind a stream, if it is one.
func file(stream any) *os.File {
	f, _ := stream.(*os.File)
	return f
}
