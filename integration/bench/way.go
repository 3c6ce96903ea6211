package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/crypto/ssh"
)

// way is one way to a shell on this machine.
type way struct {
	name    string
	command func(ctx context.Context, command string) *exec.Cmd // the program that people type
	dial    func(ctx context.Context) (*ssh.Client, error)      // connects and authenticates in this process
	pid     int                                                 // whose program serves SSH at the end of the way
	aside   int                                                 // who is on the way: the proxy; 0 is nobody, or pid itself
}

// ways are those that are compared, in the order of the table's columns.
type ways struct{ direct, jump, floor, stile *way }

func (w ways) all() []*way { return []*way{w.direct, w.jump, w.floor, w.stile} }

// compare measures the same by every way and gives a row without a budget.
func (w ways) compare(what, unit string, rounds int, measure func(*way) (float64, error)) (row, error) {
	var fns []func() (float64, error)
	for _, one := range w.all() {
		fns = append(fns, func() (float64, error) {
			v, err := measure(one)
			if err != nil {
				return 0, fmt.Errorf("%s by %s: %w", what, one.name, err)
			}
			return v, nil
		})
	}
	s, err := interleaved(rounds, fns)
	if err != nil {
		return row{}, err
	}
	return row{what: what, unit: unit, direct: s[0], jump: s[1], floor: s[2], stile: s[3]}, nil
}

// whole runs a program to its end and gives how long it took.
func whole(cmd *exec.Cmd) (time.Duration, error) {
	var errs bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &errs
	}
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", cmd.Args[0], err, errs.Bytes())
	}
	return time.Since(began), nil
}

// handshake makes an SSH client of a connection, which it closes when that fails.
func handshake(conn net.Conn, config *ssh.ClientConfig) (*ssh.Client, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, "bench", config)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// exec1 runs a command in a session of its own on an open connection.
func exec1(c *ssh.Client, command string) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(command)
}

// terminal is a session with a pty on which a command waits.
type terminal struct {
	session *ssh.Session
	in      io.Writer
	out     io.Reader
}

// openTerminal starts a command on a pty and waits for the word that it prints first.
func openTerminal(c *ssh.Client, command, ready string) (*terminal, error) {
	s, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	t := &terminal{session: s}
	if t.in, err = s.StdinPipe(); err != nil {
		return nil, err
	}
	if t.out, err = s.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		return nil, err
	}
	if err := s.Start(command); err != nil {
		return nil, err
	}
	got := make([]byte, len(ready))
	if _, err := io.ReadFull(t.out, got); err != nil || string(got) != ready {
		return nil, errors.Join(fmt.Errorf("the terminal began with %q", got), err)
	}
	return t, nil
}

// echo writes a byte and waits until the terminal shows it.
func (t *terminal) echo() (time.Duration, error) {
	b := []byte{'a'}
	began := time.Now()
	if _, err := t.in.Write(b); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(t.out, b); err != nil {
		return 0, err
	}
	if b[0] != 'a' {
		return 0, fmt.Errorf("the terminal answered %q", b)
	}
	return time.Since(began), nil
}

// null is the sink for a program's output; it is never closed.
func null() (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) }
