package sshd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/cgroup"
	"github.com/stile-dev/stile/pkg/tunnel"
)

const (
	// grace is how long a process that was hung up may take to end by itself, and what it left behind may go on holding
	// the session's output, before the session ends without it.
	grace = 3 * time.Second
	// quiet is how long a terminal must have been silent after its process ended.
	quiet = 50 * time.Millisecond
)

// process is a started shell or command. The child leads its own session and process group; it isn't
// reaped before its output has ended, so that its number cannot become another's while it may be signalled.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File // our end of the pipe, or the terminal
	stdout *os.File // our end, or the terminal
	stderr *os.File // nil with a terminal
	pty    bool
	user   uint32 // whose rights signals from the client have, if the agent is root; 0 is the agent's own

	exited  chan struct{} // closed when the child has ended
	left    chan struct{} // closed when the child is left to itself
	over    chan struct{} // closed when it has been reaped
	hanging sync.Once
}

// status is how a process ended and how much went through it.
type status struct {
	code           int
	signal         string // without SIG; "" when it exited
	core           bool
	left           bool  // it is still running without its client
	received, sent int64 // bytes from and to the client
}

// begin starts cmd with pipes or, given a terminal, on it.
func begin(cmd *exec.Cmd, t *terminal, own *owner, start func(*exec.Cmd) error) (*process, error) {
	p := &process{cmd: cmd, pty: t != nil, exited: make(chan struct{}), left: make(chan struct{}), over: make(chan struct{})}
	theirs, err := p.connect(t, own)
	if err == nil {
		err = start(cmd)
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		p.closeFiles()
		return nil, err
	}
	go p.watch()
	return p, nil
}

// connect makes the files on both sides and gives those that only the child keeps.
func (p *process) connect(t *terminal, own *owner) ([]*os.File, error) {
	if t != nil {
		master, slave, err := openTerminal(t, own)
		if err != nil {
			return nil, err
		}
		p.stdin, p.stdout = master, master
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
		p.cmd.SysProcAttr.Setctty, p.cmd.SysProcAttr.Ctty = true, 0
		p.cmd.Env = append(p.cmd.Env, "SSH_TTY="+slave.Name())
		return []*os.File{slave}, nil
	}
	var theirs []*os.File
	pipe := os.Pipe
	in, stdin, err := pipe()
	if err != nil {
		return nil, err
	}
	p.stdin, theirs = stdin, append(theirs, in)
	stdout, out, err := pipe()
	if err != nil {
		return theirs, err
	}
	p.stdout, theirs = stdout, append(theirs, out)
	stderr, errors, err := pipe()
	if err != nil {
		return theirs, err
	}
	p.stderr, theirs = stderr, append(theirs, errors)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errors
	return theirs, nil
}

// watch waits for the child to end without reaping it.
func (p *process) watch() {
	defer close(p.exited)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// streams are the client's ends of a process's.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run moves bytes between the client and the process until the process has ended and all that it and its
// children wrote has been passed on; then it reaps it. A process that is left to itself is reaped whenever it ends.
func (p *process) run(client streams) status {
	var received atomic.Int64
	go func() { // ends at the latest when the channel does
		n, _ := tunnel.Copy(p.stdin, client.in)
		received.Store(n)
		if !p.pty {
			_ = p.stdin.Close() // end-of-file says that the client has no more
		}
	}()
	var sent atomic.Int64
	var output sync.WaitGroup
	output.Go(func() { sent.Add(p.pass(client.out, p.stdout)) })
	if p.stderr != nil {
		output.Go(func() { sent.Add(p.pass(client.err, p.stderr)) })
	}
	select {
	case <-p.exited:
	case <-p.left:
		output.Wait()
		go func() { <-p.exited; p.reap() }()
		return status{received: received.Load(), sent: sent.Load(), left: true, code: ownFailure}
	}
	if p.pty {
		_ = p.stdout.SetReadDeadline(time.Now().Add(quiet)) // wakes a pending read; what is there is still read
	}
	output.Wait()
	p.reap()
	p.closeFiles()
	return p.result(received.Load(), sent.Load())
}

func (p *process) reap() {
	_ = p.cmd.Wait()
	close(p.over)
}

// pass copies output until it ends. A terminal also ends when its process has and it stays quiet: a child in
// the background may hold it open for ever.
func (p *process) pass(dst io.Writer, src *os.File) int64 {
	var total int64
	for {
		n, err := tunnel.Copy(dst, src)
		total += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
			if err != nil {
				_, _ = io.Copy(io.Discard, src) // the client or the terminal is gone: keep everyone from blocking on writing
			}
			return total
		}
		_ = src.SetReadDeadline(time.Now().Add(quiet))
	}
}

func (p *process) result(received, sent int64) status {
	st := status{received: received, sent: sent, code: ownFailure}
	w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && w.Signaled():
		st.signal, st.core = signalName(w.Signal()), w.CoreDump()
	case ok:
		st.code = w.ExitStatus()
	}
	return st
}

// signal sends a signal to the process group with the rights of the session's user: sudo(8) may have made somebody else's
// of a part of it.
func (p *process) signal(s syscall.Signal) error {
	return p.send(func(group int) error {
		if p.user == 0 {
			return syscall.Kill(-group, s)
		}
		return cgroup.SignalAs(group, p.user, s)
	})
}

// send calls kill with the process group while its number is the group's.
func (p *process) send(kill func(group int) error) error {
	if p.cmd == nil {
		return os.ErrProcessDone
	}
	select {
	case <-p.over:
		return os.ErrProcessDone
	default:
		return kill(p.cmd.Process.Pid)
	}
}

// hangUp tells the process that its client is gone, as a terminal that is hung up does. What ignores it lives on, as
// after nohup(1); after a grace its files are closed, which also lets go what something that the process left behind
// holds open, and the session ends without it.
func (p *process) hangUp() {
	if p.cmd == nil {
		return
	}
	p.hanging.Do(func() {
		_ = p.send(func(group int) error { return syscall.Kill(-group, syscall.SIGHUP) })
		_ = p.send(func(group int) error { return syscall.Kill(-group, syscall.SIGCONT) }) // a stopped process would not see it
		limit := time.NewTimer(grace)
		defer limit.Stop()
		select {
		case <-p.over:
			return
		case <-limit.C:
		}
		select {
		case <-p.exited: // what it left behind holds the output
		default:
			close(p.left)
		}
		p.closeFiles()
	})
}

func (p *process) closeFiles() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}
