package shell

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/fault"
)

// forwarded are the signals that a command without a terminal gets from us; RFC 4254 names them.
var forwarded = map[os.Signal]ssh.Signal{
	syscall.SIGINT:  ssh.SIGINT,
	syscall.SIGTERM: ssh.SIGTERM,
	syscall.SIGHUP:  ssh.SIGHUP,
	syscall.SIGQUIT: ssh.SIGQUIT,
	syscall.SIGUSR1: ssh.SIGUSR1,
	syscall.SIGUSR2: ssh.SIGUSR2,
}

// relay is between our signals and a session.
type relay struct {
	session *ssh.Session
	tty     bool // whether the session has a terminal
	leave   context.CancelCauseFunc
}

// caught gets the signals from now on; forward gives them back.
func caught() chan os.Signal {
	got := make(chan os.Signal, 4)
	for s := range forwarded {
		signal.Notify(got, s)
	}
	return got
}

// forward hands signals to the command until done. With a terminal the keys go through it as bytes, so that
// a signal to us means: leave. Without one, the second of the same kind means that too.
func (r relay) forward(done <-chan struct{}, got chan os.Signal) {
	defer signal.Stop(got)
	seen := map[os.Signal]bool{}
	for {
		select {
		case <-done:
			return
		case s := <-got:
			leaves := s != syscall.SIGUSR1 && s != syscall.SIGUSR2
			if leaves && (r.tty || seen[s]) {
				r.leave(fault.Newf(fault.Unreachable, "connect again with stile ssh", "stile was ended by SIG%s", forwarded[s]))
				return
			}
			seen[s] = true
			_ = r.session.Signal(forwarded[s])
		}
	}
}
