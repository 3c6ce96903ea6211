package integration_test

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

const echoResources = `kind: token
metadata: {name: echo-apps}
spec:
  method: iam
  allow: [{partition: aws, account: "111122223333", role: demo-node}]
  resources: [app]
  names: ['echo-*']
  labels: {env: demo}
---
kind: role
metadata: {name: echo-users}
spec: {allow: {app_labels: {env: demo}}}
`

// echoAgent builds the agent of integration/echo and starts it for a target.
func echoAgent(t *testing.T, target string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "./echo").CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
	p := shared.person(t, "env.node")
	config := filepath.Join(t.TempDir(), "agent.yaml")
	text := "api: " + p.Env["STILE_API"] + "\ntoken: echo-apps\ntargets: [" + target + "]\nstate: " + t.TempDir() + "\nregion: " + p.Env["AWS_REGION"] + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := p.Command(context.Background(), program, config)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the agent said:\n%s", log.String())
		}
	})
}

// reach logs the person in and opens a target through a proxy and the TLS inside.
func (p *person) reach(t *testing.T, target identity.Target) (*tls.Conn, error) {
	t.Helper()
	a := p.attempt(t, names.PurposeLogin, nil)
	cred, err := a.api.LoginIAM(t.Context(), a.request)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := document.OpenTrust(client.Documents(cred.Trust...), "")
	if err != nil {
		t.Fatal(err)
	}
	own := &tls.Certificate{Certificate: [][]byte{cred.TLSCertificate}, PrivateKey: a.tls}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	outer, err := tunnel.DialConnect(ctx, tunnel.ConnectConfig{Addrs: cred.Proxies, Certificate: own, Trust: trust, Target: target})
	if err != nil {
		return nil, err
	}
	conn, err := tunnel.Inner(ctx, outer, tunnel.InnerConfig{Certificate: own, Trust: trust, Target: target})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	}
	return conn, err
}

// events lists what the ledger holds about a target, oldest first. What agents say must be proven.
func (s *system) events(t *testing.T, target string) []audit.Event {
	t.Helper()
	return s.recorded(t, func(e audit.Event) bool { return e.TargetKind+"/"+e.Target == target })
}

// recorded lists what the ledger holds of some sort, oldest first.
func (s *system) recorded(t *testing.T, of func(audit.Event) bool) []audit.Event {
	t.Helper()
	var all []audit.Event
	for _, e := range s.ledger(t).Entries {
		if !of(e.Event) {
			continue
		}
		if e.Standing != reader.Proven && strings.HasPrefix(e.Event.Source, "agent/") {
			t.Errorf("%s of %s is %s: %s", e.Event.Type, e.Event.Source, e.Standing, e.Why)
		}
		all = append(all, e.Event)
	}
	return all
}

// ledger reads all audit events.
func (s *system) ledger(t *testing.T) reader.Report {
	t.Helper()
	r, err := s.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAServiceOfAnotherKindIsReachedAdmittedJournaledAndCut is what a second protocol gets without doing anything for
// it: the way through proxy and agent, a TLS that the proxy can't read, admission by roles, events, and an end by a lock.
func TestAServiceOfAnotherKindIsReachedAdmittedJournaledAndCut(t *testing.T) {
	boss, p, v := shared.person(t, admin).login(t), shared.person(t, engineer), newVandal(t)
	boss.create(t, echoResources)
	boss.create(t, record("alice", "echo-users"))
	t.Cleanup(func() {
		boss.run(t, nil, "rm", "user/alice")
		boss.run(t, nil, "rm", "role/echo-users")
		boss.run(t, nil, "rm", "token/echo-apps")
	})
	echo := identity.Target{Kind: "app", Name: "echo-1"}
	echoAgent(t, echo.String())
	var conn *tls.Conn
	eventually(t, 30*time.Second, func() string {
		var err error
		if conn, err = p.reach(t, echo); err != nil {
			return err.Error()
		}
		return ""
	})
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if got := boss.must(t, "get", "apps"); !strings.Contains(got, "echo-1") {
		t.Errorf("it is not listed: %s", got)
	}

	// Nobody without the role, and no other target of the agent's name.
	if _, err := shared.person(t, admin).reach(t, echo); !fault.Is(err, fault.Denied) {
		t.Errorf("somebody without the role: %v", err)
	}
	if _, err := p.reach(t, identity.Target{Kind: "node", Name: "echo-1"}); !fault.Is(err, fault.NoTunnel) {
		t.Errorf("a node of the name: %v", err)
	}

	locked := time.Now()
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	lock := func(until time.Time) {
		v.put(t, item{
			"pk": text("lock"), "sk": text("lck_01m7wq55dvk036fywzsz7r7z9e"), "kind": text("lock"), "target": text("target"), "value": text("app/echo-1"),
			"expires_ms": &types.AttributeValueMemberN{Value: strconv.FormatInt(until.UnixMilli(), 10)},
		})
	}
	lock(locked.Add(time.Hour))
	t.Cleanup(func() { lock(time.UnixMilli(1)) })
	_ = conn.SetDeadline(time.Now().Add(cutWithin))
	if n, err := conn.Read(got); n > 0 || os.IsTimeout(err) {
		t.Fatalf("the session goes on %s after the lock: %v", time.Since(locked), err)
	}
	t.Logf("cut %s after the lock was written", time.Since(locked).Truncate(time.Millisecond))
	if _, err := p.reach(t, echo); !fault.Is(err, fault.Denied) {
		t.Errorf("while it is locked: %v", err)
	}

	eventually(t, 30*time.Second, func() string {
		var kinds []string
		for _, e := range shared.events(t, "app/echo-1") {
			kinds = append(kinds, string(e.Type))
			if e.Type == audit.SessionEnd && !strings.Contains(e.Reason, "locked: target app/echo-1") {
				t.Errorf("the end gives no reason: %+v", e)
			}
		}
		for _, want := range []audit.Type{audit.SessionStart, audit.SessionDenied, audit.SessionEnd} {
			if !slices.Contains(kinds, string(want)) {
				return "the ledger holds " + strings.Join(kinds, ", ")
			}
		}
		return ""
	})
}
