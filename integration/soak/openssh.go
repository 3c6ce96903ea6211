package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/names"
)

// connectCommand is what OpenSSH runs this program with to get to a node: HOME NODE follow.
const connectCommand = "connect"

// connectMain is the way to a node for somebody else's client, which does all of SSH itself.
func connectMain(args []string) (meant bool, status int) {
	if len(args) != 3 || args[0] != connectCommand {
		return false, 0
	}
	if err := connect(args[1], args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		return true, 1
	}
	return true, 0
}

func connect(home, node string) error {
	c, err := (&stand.Person{Home: home}).Credential()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := c.Connect(ctx, node, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin) // it ends with the client
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// equip writes what OpenSSH needs to use the person's credential: key, certificate, the authority of hosts, and the
// way to them.
func equip(p *stand.Person) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := p.Credential()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(c.Key, "")
	if err != nil {
		return err
	}
	var known bytes.Buffer
	for _, key := range c.Trust.CA(names.KeyHostSSH).Keys {
		public, err := ssh.NewPublicKey(key)
		if err != nil {
			return err
		}
		fmt.Fprintf(&known, "@cert-authority * %s", ssh.MarshalAuthorizedKey(public))
	}
	dir := filepath.Dir(p.Home)
	config := fmt.Sprintf("Host *\n User %s\n IdentityFile %s/key\n CertificateFile %s/key-cert.pub\n IdentitiesOnly yes\n BatchMode yes\n"+
		" UserKnownHostsFile %s/known_hosts\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n UpdateHostKeys no\n LogLevel ERROR\n"+
		" ConnectTimeout 20\n ProxyCommand %s %s %s %%h\n", c.Login, dir, dir, dir, self, connectCommand, p.Home)
	var errs error
	for name, content := range map[string][]byte{
		"key": pem.EncodeToMemory(block), "key-cert.pub": ssh.MarshalAuthorizedKey(c.SSH.PublicKey()),
		"known_hosts": known.Bytes(), "ssh_config": []byte(config),
	} {
		errs = errors.Join(errs, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return errs
}

// foreign copies something to a node and back with OpenSSH's client.
func (w *worker) foreign(ctx context.Context) {
	load, _ := some()
	target := node()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	config := filepath.Join(filepath.Dir(w.person.Home), "ssh_config")
	cmd := exec.CommandContext(limited, "ssh", "-F", config, target, `echo "$STILE_SESSION_ID" >&2; exec cat`)
	cmd.Env, cmd.WaitDelay = w.person.Environ(), 5*time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(load), &out, &errs
	o := outcome{what: "ssh " + target, began: time.Now()}
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		o.err = err
	}
	o.ended, o.Err = time.Now(), errs.String()
	if cmd.ProcessState != nil {
		o.Status = cmd.ProcessState.ExitCode()
	}
	if id, _ := session(o.Err); id != "" {
		w.sessions.ended(rule.Session{ID: id, User: w.name, Target: target, From: o.began, To: o.ended})
	}
	if !w.allowed(ctx, o) {
		return
	}
	w.counts.sessions.Add(1)
	w.counts.bytes.Add(2 * int64(len(load)))
	fault := ""
	if !bytes.Equal(out.Bytes(), load) {
		fault = fmt.Sprintf("OpenSSH got %d bytes back that are not the %d it sent", out.Len(), len(load))
	}
	w.book.Judge(rule.Right, time.Now(), fault)
}
