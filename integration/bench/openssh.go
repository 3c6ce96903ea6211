package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// openSSH is a private sshd on a loopback port, with keys and configuration in a directory of its own.
type openSSH struct {
	dir    string
	addr   string
	user   string
	signer ssh.Signer
	server *exec.Cmd
	made   bool // /run/sshd
}

const separation = "/run/sshd" // Debian's sshd, as root, wants it to be there

// startOpenSSH starts the server; stop ends it.
func startOpenSSH(dir string) (*openSSH, error) {
	program, err := findServer()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	o := &openSSH{dir: dir, user: me.Username}
	if err := o.files(); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 && os.Mkdir(separation, 0o755) == nil {
		o.made = true
	}
	o.server = exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	log, err := os.Create(filepath.Join(dir, "sshd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	o.server.Stderr = log
	if err := o.server.Start(); err != nil {
		return nil, err
	}
	if err := awaitPort(o.addr); err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("sshd: %w\n%s", err, text), o.stop())
	}
	return o, nil
}

func findServer() (string, error) {
	for _, name := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	if name, err := exec.LookPath("sshd"); err == nil {
		return filepath.Abs(name) // sshd starts itself again and wants a whole path
	}
	return "", errors.New("no sshd to measure against; install it with: apt-get install openssh-server")
}

// files writes keys and configurations: the server's are its defaults as far as they cost time, the client's too.
func (o *openSSH) files() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if o.signer, err = ssh.NewSignerFromKey(private); err != nil {
		return err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	o.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := func(name string) string { return filepath.Join(o.dir, name) }
	server := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nPrintMotd no\n"+
		"PrintLastLog no\nUseDNS no\nMaxStartups 1000:30:2000\nMaxSessions 200\nLogLevel ERROR\n", port, p("key"), p("key.pub"))
	client := fmt.Sprintf("Host *\n User %s\n Port %d\n HostName 127.0.0.1\n IdentityFile %s\n IdentitiesOnly yes\n BatchMode yes\n"+
		" UserKnownHostsFile %s\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n LogLevel ERROR\n RequestTTY no\nHost jumped\n ProxyJump direct\n",
		o.user, port, p("key"), p("known_hosts"))
	known := fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(line))
	for name, content := range map[string][]byte{
		"key": pem.EncodeToMemory(block), "key.pub": ssh.MarshalAuthorizedKey(line), "sshd_config": []byte(server),
		"ssh_config": []byte(client), "known_hosts": []byte(known),
	} {
		if err := os.WriteFile(p(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func awaitPort(addr string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not listen: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stop ends the server and waits for it.
func (o *openSSH) stop() error {
	_ = o.server.Process.Signal(syscall.SIGTERM)
	_ = o.server.Wait()
	if o.made {
		return os.Remove(separation)
	}
	return nil
}

func (o *openSSH) direct() *way {
	return &way{
		name: "ssh", pid: o.server.Process.Pid, command: o.client("direct"),
		dial: func(ctx context.Context) (*ssh.Client, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", o.addr)
			if err != nil {
				return nil, err
			}
			return handshake(conn, o.config())
		},
	}
}

func (o *openSSH) jump() *way {
	return &way{
		name: "ssh -J", pid: o.server.Process.Pid, command: o.client("jumped"),
		dial: func(ctx context.Context) (*ssh.Client, error) {
			first, err := o.direct().dial(ctx)
			if err != nil {
				return nil, err
			}
			conn, err := first.DialContext(ctx, "tcp", o.addr)
			if err != nil {
				_ = first.Close()
				return nil, err
			}
			c, err := handshake(conn, o.config())
			if err != nil {
				_ = first.Close()
				return nil, err
			}
			go func() { _ = c.Wait(); _ = first.Close() }()
			return c, nil
		},
	}
}

func (o *openSSH) client(host string) func(context.Context, string) *exec.Cmd {
	return func(ctx context.Context, command string) *exec.Cmd {
		return exec.CommandContext(ctx, "ssh", "-F", filepath.Join(o.dir, "ssh_config"), host, command)
	}
}

// config checks the host's key, as ssh does.
func (o *openSSH) config() *ssh.ClientConfig {
	return clientConfig(o.user, o.signer, o.signer.PublicKey())
}

func clientConfig(login string, key ssh.Signer, host ssh.PublicKey) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			if !bytes.Equal(k.Marshal(), host.Marshal()) {
				return errors.New("another host key")
			}
			return nil
		},
		HostKeyAlgorithms: []string{host.Type()},
	}
}
