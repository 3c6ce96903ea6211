package sshd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/stile-dev/stile/agent/account"
	"github.com/stile-dev/stile/pkg/fault"
)

// launch starts the account's shell, as a login shell or with a command.
func (s *channel) launch(a account.Account, command string) (*process, error) {
	own := s.owner(a)
	p, err := s.begin(a, s.command(a, command, home(a)), own)
	if errors.Is(err, os.ErrPermission) { // root sees a home directory that its owner may not enter
		p, err = s.begin(a, s.command(a, command, "/"), own)
	}
	if err != nil {
		if f, ok := errors.AsType[*fault.Fault](err); ok {
			return nil, f
		}
		return nil, fault.Newf(fault.Unavailable, "check the account's shell and home directory on the node",
			"%s could not be started for %s", a.Shell, a.Name).Because(err)
	}
	return p, nil
}

// begin starts the command in the session's cage.
func (s *channel) begin(a account.Account, cmd *exec.Cmd, own *owner) (*process, error) {
	if err := s.session.Configure(cmd.SysProcAttr); err != nil {
		return nil, err
	}
	server, start := s.connection.server, (*exec.Cmd).Start
	root := server.config.euid() == 0
	if root {
		start = func(cmd *exec.Cmd) error { return startAs(cmd, a.UID, server.unmarked) }
	}
	p, err := begin(cmd, s.terminal, own, start)
	if err == nil {
		if root {
			p.user = a.UID
		}
		s.session.Started(cmd.Process.Pid)
	}
	return p, err
}

// account finds the login on this machine. Unless it is root, the agent can't become another user.
func (s *channel) account() (account.Account, error) {
	login := s.connection.login
	a, err := s.connection.server.config.Accounts.Lookup(login)
	if errors.Is(err, account.ErrUnknown) {
		return a, fault.Newf(fault.NotFound, "use another login, or ask for the account to be created there", "login %q doesn't exist on this node", login).Because(err)
	}
	if err != nil {
		return a, fault.Newf(fault.Unavailable, "ask the node's administrator", "login %q could not be looked up on this node", login).Because(err)
	}
	if me := s.connection.server.config.euid(); me != 0 && int(a.UID) != me {
		return a, fault.Newf(fault.Denied, "use the login that the agent runs as, or run the agent as root",
			"the agent on this node doesn't run as root and serves only its own user, not %q", login)
	}
	return a, nil
}

// owner gives the terminal to the user when the agent is root.
func (s *channel) owner(a account.Account) *owner {
	if s.connection.server.config.euid() != 0 {
		return nil
	}
	gid := int(a.GID)
	if tty, err := s.connection.server.config.Accounts.GroupID("tty"); err == nil {
		gid = int(tty)
	}
	return &owner{uid: int(a.UID), gid: gid}
}

func home(a account.Account) string {
	if info, err := os.Stat(a.Home); err == nil && info.IsDir() {
		return a.Home
	}
	return "/"
}

func (s *channel) command(a account.Account, command, dir string) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: a.Shell, Args: []string{"-" + filepath.Base(a.Shell)}, Dir: dir,
		Env:         s.environment(a),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if command != "" {
		cmd.Args = []string{filepath.Base(a.Shell), "-c", command}
	}
	if s.connection.server.config.euid() == 0 {
		cmd.SysProcAttr.Credential = a.Credential()
	}
	return cmd
}

// environment is the account's, what the client may set, and what the session is. The address is what the proxy
// said: a hint, which is all that SSH_CONNECTION has ever been.
func (s *channel) environment(a account.Account) []string {
	env := append(a.Environment(), s.env...)
	if s.terminal != nil {
		env = append(env, "TERM="+s.terminal.name)
	}
	if source := s.connection.hint.Source; source.IsValid() {
		host, port, err := net.SplitHostPort(source.String())
		if err == nil {
			env = append(env, "SSH_CONNECTION="+host+" "+port+" 0.0.0.0 0", "SSH_CLIENT="+host+" "+port+" 0")
		}
	}
	return append(env, "STILE_SESSION_ID="+s.session.ID(), "STILE_USER="+s.connection.access.User().Name)
}
