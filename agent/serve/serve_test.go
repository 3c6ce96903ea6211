package serve

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// pipe is a stream of a test's.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }
func (p pipe) Reset() error      { return p.Close() }

// service says which one it is and what it was told.
type service string

func (s service) Serve(_ context.Context, stream net.Conn, hint session.Hint) {
	_, _ = io.WriteString(stream, string(s)+" "+hint.Target.String()+" "+hint.Source.String())
	_ = stream.Close()
}

const agentID = "agt_01hv0000000000000000000000"

var board = switchboard{
	services: map[string]session.Service{"node": service("ssh"), "db": service("sql"), "app": service("web")},
	host: func() identity.Host {
		return identity.Host{ID: agentID, Targets: []identity.Target{{Kind: "node", Name: "one"}, {Kind: "db", Name: "two"}}}
	},
}

// ask opens a stream to a target and returns what the agent answers.
func ask(t *testing.T, kind, name string) (string, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
	go board.serve(t.Context(), pipe{theirs}, &frame.Open{Target: &frame.Target{Kind: kind, Name: name}, Source: "192.0.2.7:5555"})
	if err := frame.ReadAnswer(ours); err != nil {
		return "", err
	}
	b, err := io.ReadAll(ours)
	return string(b), err
}

func TestAStreamGoesToTheServiceOfItsKind(t *testing.T) {
	for target, want := range map[string]string{
		"node/one": "ssh node/one", "db/two": "sql db/two", "node/" + agentID: "ssh node/" + agentID, "db/" + agentID: "sql db/" + agentID,
	} {
		kind, name, _ := strings.Cut(target, "/")
		if got, err := ask(t, kind, name); err != nil || got != want+" 192.0.2.7:5555" {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
}

func TestWhatTheCertificateDoesNotAllowIsNotServed(t *testing.T) {
	for _, target := range []string{"node/two", "db/one", "app/one", "app/" + agentID, "kube/one", "/", "node/"} {
		kind, name, _ := strings.Cut(target, "/")
		if got, err := ask(t, kind, name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
}

func TestAnAgentIsNotStartedForWhatItCannotServe(t *testing.T) {
	err := Run(t.Context(), config.Config{API: "https://api.example.com", State: t.TempDir(), Targets: []string{"db/orders"}}, Options{})
	f := fault.From(err)
	if f.Code != fault.BadInput || !strings.Contains(f.Message, "db/orders") || !strings.Contains(f.Hint, "node") {
		t.Errorf("%+v", f)
	}
}

// A file that isn't there, or holds something else, is said at once, and not in a log line a minute later.
func TestAnAgentIsNotStartedWithoutTheSecretThatItJoinsBy(t *testing.T) {
	good := resource.SecretPrefix + strings.Repeat("A", 43)
	for name, c := range map[string]struct{ text, says string }{
		"no file":          {"", "can't be read"},
		"an empty file":    {"\n", "does not hold a join token's secret"},
		"a part of one":    {good[:40], "does not hold a join token's secret"},
		"something longer": {good + "A", "does not hold a join token's secret"},
		"no prefix":        {good[4:], "does not hold a join token's secret"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if c.text != "" {
				if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ended, end := context.WithCancel(t.Context())
			end() // if it starts, it ends at once
			err := Run(ended, config.Config{
				API: "https://api.example.com", State: t.TempDir(), Method: resource.MethodToken, SecretFile: file, Name: "web-1",
			}, Options{})
			if f := fault.From(err); f == nil || f.Code != fault.BadInput || !strings.Contains(f.Message, c.says) || !strings.Contains(f.Message, file) {
				t.Errorf("%+v", f)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(good+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secret(file); err != nil || got != good {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSec_S67_AnAgentThatIsNotRootSaysWhatItsSessionsCanRead: its sessions have the same user as its keys.
func TestSec_S67_AnAgentThatIsNotRootSaysWhatItsSessionsCanRead(t *testing.T) {
	if w := warnings(1000); len(w) != 1 || !strings.Contains(w[0], "can read its keys") {
		t.Errorf("not as root: %q", w)
	}
	if w := warnings(0); len(w) != 0 {
		t.Errorf("as root: %q", w)
	}
}
