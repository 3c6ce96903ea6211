package shell_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/fault"
)

// echo gives back what is typed until it ends.
func echo(ch ssh.Channel, _ string) uint32 {
	_, _ = io.Copy(ch, ch)
	return 0
}

// hung reads nothing and never ends; it tells when it was started.
func hung(t *testing.T, p *place) <-chan struct{} {
	started, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	p.handle = func(ssh.Channel, string) uint32 {
		close(started)
		<-over
		return 0
	}
	return started
}

// reach is a client of p's node.
func reach(t *testing.T, p *place) *ssh.Client {
	t.Helper()
	client, err := dial(t, p.config(p.listen(t)))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestOnlyEscapesAtTheBeginningOfALineAreTakenOut(t *testing.T) {
	for typed, want := range map[string]struct {
		sent string
		left bool
	}{
		"a\r":              {"a\r", false},
		"~~x":              {"~x", false},
		"~~~~":             {"~~~", false},
		"a~.b":             {"a~.b", false},
		"~a~.":             {"~a~.", false},
		"x\r~~y":           {"x\r~y", false},
		"x\n~~y":           {"x\n~y", false},
		"~":                {"~", false},
		"~\r~.":            {"~\r", true},
		"left\r~.never":    {"left\r", true},
		"~?~.":             {"", true},
		"\x7f~.":           {"\x7f~.", false},
		"~?ls\r~.":         {"ls\r", true},
		"\xff\x00\r~~\xfe": {"\xff\x00\r~\xfe", false},
	} {
		for way, in := range map[string]io.Reader{"at once": strings.NewReader(typed), "key by key": iotest.OneByteReader(strings.NewReader(typed))} {
			t.Run(way, func(t *testing.T) {
				var sent, help bytes.Buffer
				left := shell.Escaped(&sent, in, &help)
				if sent.String() != want.sent || left != want.left {
					t.Errorf("%q: got %q, left: %v", typed, sent.String(), left)
				}
				if strings.Contains(typed, "~?") != strings.Contains(help.String(), "leave the session") {
					t.Errorf("%q: the help was %q", typed, help.String())
				}
			})
		}
	}
}

func TestAHungNodesSessionIsLeftWithTildeDot(t *testing.T) {
	p := newPlace(t)
	started := hung(t, p)
	client := reach(t, p)
	keys, typed := io.Pipe()
	go func() {
		<-started
		_, _ = io.WriteString(typed, "ls\r~.")
	}()
	_, err := shell.Run(t.Context(), client, shell.Request{Command: "x", Escapes: true, In: keys, Out: io.Discard, Err: io.Discard})
	if f := fault.From(err); f == nil || f.Message != "you left the session with ~." || f.Hint == "" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsPipedIsNeverAnEscape(t *testing.T) {
	p := newPlace(t)
	p.handle = echo
	client := reach(t, p)
	var out bytes.Buffer
	status, err := shell.Run(t.Context(), client, shell.Request{Command: "x", In: strings.NewReader("~.\n~~\n~?"), Out: &out, Err: io.Discard})
	if err != nil || status != 0 || out.String() != "~.\n~~\n~?" {
		t.Errorf("got %d, %v, %q", status, err, out.String())
	}
}

func TestAClientThatIsEndedBySIGTERMSaysSo(t *testing.T) {
	p := newPlace(t)
	started := hung(t, p)
	client := reach(t, p)
	go func() {
		<-started
		// With a terminal the first one ends the session.
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	_, err := shell.Run(t.Context(), client, shell.Request{Command: "x", TTY: true, In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if f := fault.From(err); f == nil || f.Message != "stile was ended by SIGTERM" || f.Hint == "" {
		t.Errorf("got %v", err)
	}
}

func TestACancelledContextIsTheError(t *testing.T) {
	p := newPlace(t)
	started := hung(t, p)
	client := reach(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, err := shell.Run(ctx, client, shell.Request{Command: "x", In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if err != context.Canceled { //nolint:errorlint // the cause itself
		t.Errorf("got %v", err)
	}
}
