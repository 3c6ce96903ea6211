package sshd_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/account"
	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

func TestStdoutStderrAndStatusAreTheCommands(t *testing.T) {
	c := newBench(t).login()
	out, errs, status := run(t, c, `printf 'a\0b\377'; printf 'e\r\n' >&2; exit 42`)
	if out != "a\x00b\xff" || errs != "e\r\n" || status != 42 {
		t.Errorf("stdout %q, stderr %q, status %d", out, errs, status)
	}
}

func TestADeathBySignalIsReported(t *testing.T) {
	s := open(t, newBench(t).login())
	err := s.Run("kill -TERM $$")
	exit, ok := errors.AsType[*ssh.ExitError](err)
	if !ok || exit.Signal() != "TERM" {
		t.Errorf("ended with %v", err)
	}
}

func TestTheEndOfInputIsPassedOn(t *testing.T) {
	s := open(t, newBench(t).login())
	s.Stdin = strings.NewReader("one\ntwo\n")
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Run("wc -l"); err != nil || strings.TrimSpace(out.String()) != "2" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestOutputOfWhatACommandLeavesBehindIsWaitedFor(t *testing.T) {
	out, _, status := run(t, newBench(t).login(), "(sleep 0.3; echo late) & exit 3")
	if out != "late\n" || status != 3 {
		t.Errorf("%q, status %d", out, status)
	}
}

func TestALoginBeginsLikeALogin(t *testing.T) {
	b := newBench(t)
	c := b.login()
	s := open(t, c)
	for name, value := range map[string]string{"LANG": "C.UTF-8", "LC_TIME": "C", "COLORTERM": "truecolor"} {
		if err := s.Setenv(name, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"LD_PRELOAD", "PATH", "BASH_ENV", "LC_", "LC_x", "IFS", "ENV", "STILE_SESSION_ID"} {
		if err := s.Setenv(name, "x"); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Run("env; echo DIR=$PWD; umask"); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(out.String()) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[k] = v
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{
		"USER": b.me, "LOGNAME": b.me, "HOME": home, "DIR": home, "LANG": "C.UTF-8", "LC_TIME": "C", "COLORTERM": "truecolor",
		"SSH_CONNECTION": "192.0.2.7 5555 0.0.0.0 0", "STILE_USER": "ada", "LD_PRELOAD": "", "BASH_ENV": "",
	} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
	if !strings.HasPrefix(env["STILE_SESSION_ID"], "ses_") {
		t.Errorf("session id %q", env["STILE_SESSION_ID"])
	}
	for k := range env { // nothing of the agent's own environment leaks
		if strings.HasPrefix(k, "AWS_") || strings.HasPrefix(k, "GO") || k == "STILE_API" {
			t.Errorf("%s stands in the session", k)
		}
	}
}

// shell starts a login shell on a terminal.
func shell(t *testing.T, c *ssh.Client) (s *ssh.Session, in io.Writer, out *bufio.Reader) {
	t.Helper()
	s = open(t, c)
	modes := ssh.TerminalModes{ssh.ECHO: 0, ssh.VERASE: 8}
	if err := s.RequestPty("xterm-256color", 24, 80, modes); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	return s, in, bufio.NewReader(stdout)
}

// ask types a line and reads until a line of the answer begins with the word.
func ask(t *testing.T, in io.Writer, out *bufio.Reader, line, word string) string {
	t.Helper()
	if _, err := io.WriteString(in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := out.ReadString('\n')
		if i := strings.Index(got, word+"="); i >= 0 && !strings.Contains(got, "$") {
			return strings.TrimSpace(got[i+len(word)+1:])
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func TestAShellHasATerminalOfItsOwn(t *testing.T) {
	s, in, out := shell(t, newBench(t).login())
	if got := ask(t, in, out, `echo A=$(stty size) $TERM`, "A"); got != "24 80 xterm-256color" {
		t.Errorf("terminal %q", got)
	}
	if got := ask(t, in, out, `echo B=$(stty -a | grep -o 'erase = ^H')`, "B"); got != "erase = ^H" {
		t.Errorf("erase %q", got)
	}
	if err := s.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	until(t, "the new size", func() bool { return ask(t, in, out, `echo C=$(stty size)`, "C") == "50 132" })
	if got := ask(t, in, out, `echo D=$0`, "D"); !strings.HasPrefix(got, "-") {
		t.Errorf("not a login shell: %q", got)
	}
	me := strconv.Itoa(os.Getuid())
	got := strings.Fields(ask(t, in, out, `echo E=$(stat -c %u $(tty)) $SSH_TTY $(tty)`, "E"))
	if len(got) != 3 || got[0] != me || !strings.HasPrefix(got[1], "/dev/pts/") || got[1] != got[2] {
		t.Errorf("tty %q", got)
	}
	if got := ask(t, in, out, `echo F=$(ps -o tpgid= -p $$) $(ps -o pgid= -p $$)`, "F"); got == "" || strings.HasPrefix(got, "-1") {
		t.Errorf("no controlling terminal: %q", got)
	}
	_, _ = io.WriteString(in, "exit 5\n")
	err := s.Wait()
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 5 {
		t.Errorf("ended with %v", err)
	}
}

func TestATerminalIsGivenUpWhenItsShellEnds(t *testing.T) {
	s, in, _ := shell(t, newBench(t).login())
	_, _ = io.WriteString(in, "setsid sleep 30 </dev/tty >/dev/null 2>&1 & \n nohup sleep 30 & \n exit 0\n")
	if err := s.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestASignalReachesTheCommand(t *testing.T) {
	s := open(t, newBench(t).login())
	out, _ := s.StdoutPipe()
	if err := s.Start(`trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done`); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := s.Signal("USR1"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "got\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// number starts a command that prints the number of a process first, and returns it.
func number(t *testing.T, c *ssh.Client, command string) int {
	t.Helper()
	s := open(t, c)
	out, _ := s.StdoutPipe()
	if err := s.Start(command); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone reports whether there is no process of this number, or group of it if it is negative.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestWhatTheClientLeftIsHungUp(t *testing.T) {
	b := newBench(t)
	for name, command := range map[string]string{
		"an obedient one":     `echo $$; sleep 60`,
		"with a child":        `sleep 60 & echo $$; wait`,
		"one that is stopped": `echo $$; kill -STOP $$`,
	} {
		t.Run(name, func(t *testing.T) {
			c := b.login()
			group := number(t, c, command)
			_ = c.Close()
			until(t, "the process group gone", func() bool { return gone(-group) })
		})
	}
	until(t, "the ends of all sessions", func() bool { return len(b.journal.of(audit.SessionEnd)) == 3 })
}

func TestWhatIgnoresThatTheClientLeftLivesOn(t *testing.T) {
	b := newBench(t)
	for name, command := range map[string]string{
		"the command itself":    `trap '' HUP; echo $$; while :; do sleep 1; done`,
		"a job behind nohup":    `nohup sh -c 'echo $$ >&3; exec sleep 60 3>&-' 3>&1 >/dev/null 2>&1 & wait`,
		"a session of its own":  `setsid sh -c 'echo $$; exec sleep 60' & wait`,
		"one with open outputs": `nohup sh -c 'echo $$; exec sleep 60' & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			before := len(b.journal.of(audit.SessionEnd))
			c := b.login()
			pid := number(t, c, command)
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			_ = c.Close()
			until(t, "the end of the session", func() bool { return len(b.journal.of(audit.SessionEnd)) == before+1 })
			if gone(pid) {
				t.Error("it was killed")
			}
		})
	}
}

// TestACutLeavesNothingBehind: a lock ends what would live on after its user has only left.
func TestACutLeavesNothingBehind(t *testing.T) {
	b := newBench(t)
	for name, command := range map[string]string{
		"one that ignores all":   `trap '' HUP TERM INT; echo $$; while :; do sleep 1; done`,
		"a job behind nohup":     `nohup sleep 60 >/dev/null 2>&1 & echo $!; wait`,
		"a session of its own":   `setsid sh -c 'echo $$; exec sleep 60' & wait`,
		"one that has a new one": `setsid sh -c 'setsid sh -c "echo \$\$; exec sleep 60" & exit' & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			pid := number(t, b.login(), command)
			b.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: "user", Value: "ada", Reason: "left the company"})
			if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
				t.Fatal(err)
			}
			b.sessions.Recheck()
			until(t, "the process gone", func() bool { return gone(pid) })
			until(t, "the user gone", func() bool { return b.sessions.Users() == 0 })
			b.cluster.Lock()
			if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
				t.Fatal(err)
			}
		})
	}
	until(t, "the ends of all sessions", func() bool { return len(b.journal.of(audit.SessionEnd)) == 4 })
	for _, e := range b.journal.of(audit.SessionEnd) {
		if !strings.Contains(e.Reason, "left the company") {
			t.Errorf("the end gives no reason: %+v", e)
		}
	}
}

func TestBeingSwitchedIsTheSameAsBySystemMeans(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("only root can become others; TestAnAgentThatIsNotRootServesOnlyItsOwnUser tests the refusal")
		return
	}
	b := newBench(t)
	login := addAccount(t)
	c, banner, err := b.try(login, signer(t, b.cluster.User(tunneltest.User{Logins: []string{login}})))
	if err != nil {
		t.Fatalf("%v, %q", err, banner)
	}
	const question = `id -u; id -g; id -G; umask; echo $HOME; pwd; echo $SHELL`
	want, err := exec.Command("runuser", "-l", login, "-c", question).Output()
	if err != nil {
		t.Fatal(err)
	}
	got, errs, status := run(t, c, question)
	if d := cmp.Diff(string(want), got); d != "" || status != 0 {
		t.Errorf("%s%s", d, errs)
	}
	out, _, _ := run(t, c, "cat /proc/self/status | grep -E '^(CapEff|CapPrm|CapAmb)'")
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(strings.TrimSpace(line), "0000000000000000") {
			t.Errorf("capabilities stay: %s", line)
		}
	}
	_, in, tty := shell(t, c)
	if got := ask(t, in, tty, `echo T=$(stat -c '%U %G %a' $(tty))`, "T"); got != login+" tty 620" {
		t.Errorf("terminal of %q", got)
	}
}

func TestAnAgentThatIsNotRootServesOnlyItsOwnUser(t *testing.T) {
	passwd := filepath.Join(t.TempDir(), "passwd")
	const lines = "root:x:0:0::/:/bin/sh\nself:x:65533:65533::/:/bin/sh\nother:x:65532:65533::/:/bin/sh\n"
	if err := os.WriteFile(passwd, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, sshd.RunAs(65533), func(c *sshd.Config) { c.Accounts.Passwd = passwd })
	for login, served := range map[string]bool{"self": true, "root": false, "other": false} {
		c, _, err := b.try(login, signer(t, b.cluster.User(tunneltest.User{Logins: []string{login}})))
		if err != nil {
			t.Fatal(err)
		}
		out, errs, status := run(t, c, "echo served")
		if served && (status != 0 || out != "served\n") || !served && (status != 255 || !strings.Contains(errs, "serves only its own user")) {
			t.Errorf("%s: status %d, %q, %q", login, status, out, errs)
		}
	}
}

// addAccount makes an account with supplementary groups for the length of the test.
func addAccount(t *testing.T) string {
	t.Helper()
	login := fmt.Sprintf("stile%d", time.Now().UnixNano()%1e9)
	for _, args := range [][]string{
		{"useradd", "--create-home", "--shell", "/bin/bash", "--groups", "adm,video", login},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", "--force", "--remove", login).CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out)
		}
	})
	return login
}

func TestAnAccountThatDoesNotExistIsNamed(t *testing.T) {
	b := newBench(t)
	c, _, err := b.try("no-such-login", signer(t, b.cluster.User(tunneltest.User{Logins: []string{"no-such-login"}})))
	if err != nil {
		t.Fatal(err)
	}
	_, errs, status := run(t, c, "true")
	if status != 255 || !strings.Contains(errs, `login "no-such-login" doesn't exist on this node`) || !strings.Contains(errs, "stile: hint: ") {
		t.Errorf("status %d, %q", status, errs)
	}
	until(t, "the event", func() bool { return len(b.journal.of(audit.SessionDenied)) == 1 })
}

func TestAFullSpoolStopsNewSessions(t *testing.T) {
	b := newBench(t)
	b.journal.full = errors.New("full")
	if _, _, err := b.try(b.me, signer(t, b.user())); err == nil {
		t.Error("let in")
	}
}

func TestASessionWhoseBeginningCannotBeKeptRunsNothing(t *testing.T) {
	b := newBench(t)
	c := b.login()
	b.journal.mu.Lock()
	b.journal.broken = fault.New(fault.Unavailable, "the disk is full", "free some")
	b.journal.mu.Unlock()
	trace := filepath.Join(t.TempDir(), "ran")
	out, errs, status := run(t, c, "touch "+trace+"; echo ran")
	if out != "" || status != 255 || !strings.Contains(errs, "stile: error: the disk is full") || !strings.Contains(errs, "free some") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	if _, err := os.Stat(trace); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it ran: %v", err)
	}
}

func TestASessionWhoseShellDoesNotStartHasABeginningAndAnEnd(t *testing.T) {
	passwd := filepath.Join(t.TempDir(), "passwd")
	b := newBench(t, func(c *sshd.Config) { c.Accounts = account.Tables{Passwd: passwd} })
	line := fmt.Sprintf("%s:x:%d:%d::/:/no/such/shell\n", b.me, os.Getuid(), os.Getgid())
	if err := os.WriteFile(passwd, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, status := run(t, b.login(), "true")
	if status != 255 || !strings.Contains(errs, "/no/such/shell") {
		t.Errorf("status %d, %q", status, errs)
	}
	until(t, "the end", func() bool { return len(b.journal.of(audit.SessionEnd)) == 1 })
	end := b.journal.of(audit.SessionEnd)[0]
	if begin := b.journal.of(audit.SessionStart); len(begin) != 1 || begin[0].SessionID != end.SessionID || end.Outcome != audit.Failure {
		t.Errorf("begin %+v, end %+v", begin, end)
	}
}

// What a role forbids is what the agent refuses: none of it is served yet, so only "no" can be written.
func TestWhatARoleForbidsIsRefused(t *testing.T) {
	no := false
	b := newBench(t)
	b.cluster.SetRoles(resource.Role{Metadata: resource.Metadata{Name: "narrow"}, Spec: resource.RoleSpec{
		Options: resource.RoleOptions{ForwardAgent: &no, PortForwarding: &no, Record: resource.RecordOff},
		Allow:   resource.RoleBlock{Logins: []string{b.me}, NodeLabels: resource.Labels{"*": {"*"}}},
	}})
	if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	c, banner, err := b.try(b.me, signer(t, b.cluster.User(tunneltest.User{Identity: identity.User{Roles: []string{"narrow"}}, Logins: []string{b.me}})))
	if err != nil {
		t.Fatalf("%v; %q", err, banner)
	}
	if conn, err := c.Dial("tcp", "127.0.0.1:22"); err == nil {
		_ = conn.Close()
		t.Error("a port was forwarded")
	}
	if l, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
		t.Error("a port was forwarded backwards")
	}
	s := open(t, c)
	if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil); ok || err != nil {
		t.Errorf("an agent was forwarded: %v", err)
	}
	if out, _, status := run(t, c, "echo ran"); out != "ran\n" || status != 0 {
		t.Errorf("%q, %d", out, status)
	}
}

// life opens a session under a certificate of two seconds and says whether it lives on after that.
func life(t *testing.T, options resource.RoleOptions) (said string, cut error) {
	t.Helper()
	b := newBench(t)
	b.cluster.SetRoles(resource.Role{Metadata: resource.Metadata{Name: "short"}, Spec: resource.RoleSpec{
		Options: options, Allow: resource.RoleBlock{Logins: []string{b.me}, NodeLabels: resource.Labels{"*": {"*"}}},
	}})
	if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	c, _, err := b.try(b.me, signer(t, b.cluster.User(tunneltest.User{
		Identity: identity.User{Roles: []string{"short"}}, Logins: []string{b.me}, TTL: 2 * time.Second,
	})))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, c)
	var errs bytes.Buffer
	s.Stderr = &errs
	err = s.Run("sleep 3; echo survived")
	return errs.String(), err
}

func TestASessionEndsWithItsCertificate(t *testing.T) {
	said, cut := life(t, resource.RoleOptions{})
	const why = "stile: error: the node ended the session: the certificate expired\nstile: hint: log in again with: stile login --iam\n"
	if exit, ok := errors.AsType[*ssh.ExitError](cut); !ok || exit.Signal() != "ended@stile.dev" || said != why {
		t.Errorf("cut %v, said %q", cut, said)
	}
}

func TestASessionOutlivesItsCertificateWhereItsRolesLetIt(t *testing.T) {
	no := false
	if said, cut := life(t, resource.RoleOptions{DisconnectExpiredCert: &no}); cut != nil {
		t.Errorf("it was cut: %v, %q", cut, said)
	}
}
