package integration_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// expect drives a login shell as a person does, and resizes the terminal in between.
const expect = `
set timeout 20
proc die {what} { puts stderr "expect: $what"; catch {close}; exit 1 }
proc type {line} { send -- "$line\r" }
proc until {pattern what} {
	expect {
		-re $pattern {}
		timeout {die "no $what"}
		eof {die "ended before $what"}
	}
}
set stty_init "rows 24 columns 80"
spawn stile ssh node-1
until {[$#] $} "prompt"
type "PS1='re''ady> '"
until {\n[^\n]*ready> } "prompt of our own"
type "stty size"
until {[\r\n]24 80\r\n[^\n]*ready> } "first size"
stty rows 50 columns 132 < $spawn_out(slave,name)
type "while ! stty size | grep '50 132'; do :; done"
until {[\r\n]50 132\r\n[^\n]*ready> } "change of size"
type "sh -c 'echo be\"\"gun; exec sleep 60'"
until {[\r\n]begun} "command"
send "\003"
until {\n[^\n]*ready> } "prompt after Ctrl-C"
type "echo still-\$((40 + 2))"
until {[\r\n]still-42\r\n[^\n]*ready> } "answer after Ctrl-C"
type "exit 7"
expect {
	eof {}
	timeout {die "the shell did not end"}
}
lassign [wait] pid id oserror status
exit [expr {$status == 7 ? 0 : 100 + $status}]
`

func TestAShellInATerminalWithAResize(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.Command(ctx, "expect", "-c", expect)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("expect (Debian package expect) ended with %v\n%s", err, out)
	}
	// Rows and columns may change one after the other: then the end tells the second change. People see their own sessions.
	eventually(t, 30*time.Second, func() string {
		resized, last := false, false
		for _, e := range p.events(t, "--since", "5m", "--type", "session.resize,session.end") {
			if e.Standing == "proven" {
				resized, last = resized || e.Type == audit.SessionResize, last || e.Data["columns"] == "132" && e.Data["rows"] == "50"
			}
		}
		if !resized || !last {
			return "no event tells of the terminal's size"
		}
		return ""
	})
}

// tmux is the terminal here: what its screen shows is what a person sees.
func TestAShellOnAScreen(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := p.Command(ctx, "tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tmux %v (Debian package tmux): %v\n%s", args, err, errs.String())
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "80", "-y", "24", "stile ssh node-1; echo ended with $?; exec sleep 600")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() })
	screen := func(want string) {
		t.Helper()
		eventually(t, 30*time.Second, func() string {
			if shown := tmux("capture-pane", "-p"); !strings.Contains(shown, want) {
				return "no " + want + " on the screen:\n" + shown
			}
			return ""
		})
	}
	tmux("send-keys", "echo first-$((1+1)); stty size", "Enter")
	screen("first-2")
	screen("24 80")
	tmux("resize-window", "-x", "100", "-y", "30")
	tmux("send-keys", "until stty size | grep '30 100'; do :; done", "Enter")
	screen("30 100")
	tmux("send-keys", "exit 3", "Enter")
	screen("ended with 3")
}
