package status_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// serve answers in dir until the test ends, or stop is called; both wait for it.
func serve(t *testing.T, dir string, now func() status.Status) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- status.Serve(ctx, dir, now) }()
	for { // it says nothing when it begins; the socket is there by then
		if _, err := status.Ask(t.Context(), dir); err == nil {
			break
		}
		select {
		case err := <-over:
			t.Fatalf("it ended: %v", err)
		default:
		}
	}
	return func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}

// A socket's address holds 108 bytes, a path 4,096.
func TestAnAgentSaysHowItIsWhateverItsDirectorysLength(t *testing.T) {
	short := t.TempDir()
	long := filepath.Join(short, strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		want := status.Status{ID: "agt_1", Targets: []identity.Target{{Kind: "node", Name: "web-1"}}, Tunnels: 2, Software: "1.0"}
		stop := serve(t, dir, func() status.Status { return want })
		got, err := status.Ask(t.Context(), dir)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%v %s", err, d)
		}
		if f, err := os.Stat(filepath.Join(dir, "agent.sock")); err != nil || f.Mode().Perm() != 0o600 {
			t.Errorf("the socket is open to others: %v, %v", f, err)
		}
		stop()
		if _, err := os.Stat(filepath.Join(dir, "agent.sock")); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
	}
}

func TestAnAgentThatDoesNotAnswerIsUnreachable(t *testing.T) {
	left := t.TempDir()
	if err := os.WriteFile(filepath.Join(left, "agent.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no directory": filepath.Join(left, "none"), "no socket": t.TempDir(), "what is no socket": left} {
		if _, err := status.Ask(t.Context(), dir); !fault.Is(err, fault.Unreachable) || !strings.Contains(fault.From(err).Hint, "--state") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An agent that was killed leaves its socket, which the next one takes the place of.
func TestASocketThatWasLeftIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agent.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, dir, func() status.Status { return status.Status{ID: "agt_2"} })()
}

// Whoever may not look into the state directory can't know whether an agent runs there, and is told how to ask.
func TestWhoMayNotAskIsToldSo(t *testing.T) {
	for name, err := range map[string]error{
		"a directory of root's": &os.PathError{Op: "open", Path: "/var/lib/stile-agent", Err: syscall.EACCES},
		"a socket of root's":    &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)},
	} {
		f := fault.From(status.Silent("/var/lib/stile-agent", err))
		if f.Code != fault.Denied || f.Hint != "run: sudo stile-agent status --state /var/lib/stile-agent" || strings.Contains(f.Message, "no agent") {
			t.Errorf("%s: %s, %s (%s)", name, f.Code, f.Message, f.Hint)
		}
	}
}
