package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// The floor is what the SSH library costs by itself: a bare server and a bare client of golang.org/x/crypto/ssh, each a
// process of its own, with a P-256 key on both sides and no proxy, certificate, decision or audit.
const (
	floorServer = "floor-server" // KEY
	floorClient = "floor-client" // KEY ADDR COMMAND
)

// floorMain plays a side of the floor. It reports whether it was meant.
func floorMain(args []string) (bool, int) {
	if len(args) == 0 || args[0] != floorServer && args[0] != floorClient {
		return false, 0
	}
	err := errors.New("usage: floor-server KEY | floor-client KEY ADDR COMMAND")
	switch {
	case args[0] == floorServer && len(args) == 2:
		err = serveFloor(args[1])
	case args[0] == floorClient && len(args) == 4:
		err = runFloor(args[1], args[2], args[3])
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return true, exit.ExitStatus()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		return true, 1
	}
	return true, 0
}

// startFloor starts the server as a process of its own.
func startFloor() (*way, func() error, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	key := base64.StdEncoding.EncodeToString(der)
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	server := exec.Command(self, floorServer, key)
	out, err := server.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() error {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		return nil
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("starting the floor: %w", err), stop())
	}
	addr := strings.TrimSpace(line)
	return &way{
		name: "floor", pid: server.Process.Pid,
		command: func(ctx context.Context, command string) *exec.Cmd {
			return exec.CommandContext(ctx, self, floorClient, key, addr, command)
		},
		dial: func(context.Context) (*ssh.Client, error) { return dialFloor(key, addr) },
	}, stop, nil
}

func floorSigner(key string) (ssh.Signer, error) {
	der, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

func dialFloor(key, addr string) (*ssh.Client, error) {
	signer, err := floorSigner(key)
	if err != nil {
		return nil, err
	}
	return ssh.Dial("tcp", addr, clientConfig("floor", signer, signer.PublicKey()))
}

func runFloor(key, addr, command string) error {
	c, err := dialFloor(key, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	s.Stdin, s.Stdout, s.Stderr = os.Stdin, os.Stdout, os.Stderr
	return s.Run(command)
}

func serveFloor(key string) error {
	signer, err := floorSigner(key)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(signer.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			c, channels, requests, err := ssh.NewServerConn(conn, config)
			if err != nil {
				return
			}
			defer c.Close()
			go ssh.DiscardRequests(requests)
			for offer := range channels {
				if channel, requests, err := offer.Accept(); err == nil {
					go floorSession(channel, requests)
				}
			}
		}()
	}
}

// floorSession runs the one command of a session, with a terminal if one was asked for before.
func floorSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	terminal := false
	for r := range requests {
		_ = r.Reply(true, nil)
		switch r.Type {
		case "pty-req":
			terminal = true
		case "exec":
			var m struct{ Command string }
			_ = ssh.Unmarshal(r.Payload, &m)
			go floorCommand(channel, m.Command, terminal)
		}
	}
}

func floorCommand(channel ssh.Channel, command string, terminal bool) {
	defer channel.Close()
	home := "/"
	if me, err := user.Current(); err == nil {
		home = me.HomeDir
	}
	shell := loginShell()
	cmd := exec.Command(shell, "-c", command)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/local/bin:/usr/bin:/bin", "SSH_CLIENT=127.0.0.1 1 1"}
	if terminal {
		file, err := pty.Start(cmd)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(file, channel); _ = file.Close() }()
		_, _ = io.Copy(channel, file)
	} else {
		in, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		if cmd.Start() != nil {
			return
		}
		go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
	}
	_ = cmd.Wait()
	_ = channel.CloseWrite()
	status := struct{ Status uint32 }{uint32(max(0, cmd.ProcessState.ExitCode()))}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
}

// loginShell is the shell that the passwd table gives this process's user.
func loginShell() string {
	b, _ := os.ReadFile("/etc/passwd")
	me, err := user.Current()
	if err != nil {
		return "/bin/sh"
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] == me.Username && len(fields) == 7 && filepath.IsAbs(fields[6]) {
			return fields[6]
		}
	}
	return "/bin/sh"
}
