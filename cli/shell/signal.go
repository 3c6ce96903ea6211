package shell

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
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

// forward hands signals to the command until done. With a terminal the keys go through it as bytes, so that
// a signal to us means: leave. Without one, the second of the same kind means that too.
func forward(done <-chan struct{}, session *ssh.Session, tty bool, client *ssh.Client) {
	got := make(chan os.Signal, 4)
	for s := range forwarded {
		signal.Notify(got, s)
	}
	defer signal.Stop(got)
	seen := map[os.Signal]bool{}
	for {
		select {
		case <-done:
			return
		case s := <-got:
			leaves := s != syscall.SIGUSR1 && s != syscall.SIGUSR2
			if leaves && (tty || seen[s]) {
				_ = client.Close()
				return
			}
			seen[s] = true
			_ = session.Signal(forwarded[s])
		}
	}
}
