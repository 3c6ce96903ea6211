package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
)

// everyOption is a role that says everything that a role can, so that whoever reads documents of this release meets
// all of its fields.
const everyOption = `kind: role
metadata: {name: every-option}
spec:
  options:
    max_session_ttl: 1h
    forward_agent: false
    port_forwarding: false
    require_session_mfa: false
    record: off
    fresh: true
    pin_source_ip: true
    disconnect_expired_cert: false
  allow:
    node_labels: {env: demo}
    logins: ['{{internal.logins}}']
    db_labels: {env: demo}
    db_names: ['*']
    db_users: [reader]
    app_labels: {env: demo}
    kubernetes_labels: {env: demo}
    kubernetes_groups: [viewers]
    rules: [{resources: [node], verbs: [list]}]
  deny:
    node_labels: {env: never}
    logins: [nobody-at-all]
    db_labels: {env: never}
    app_labels: {env: never}
    kubernetes_labels: {env: never}
    rules: [{resources: [token], verbs: [delete]}]
`

// previous builds the programs of the previous release, which is the commit that last changed the file previous, and
// returns where they are.
func previous(t *testing.T) string {
	t.Helper()
	history := func(args ...string) []byte {
		t.Helper()
		var said bytes.Buffer
		git := exec.Command("git", append([]string{"-C", repository}, args...)...)
		git.Stderr = &said
		out, err := git.Output()
		if err != nil || len(out) == 0 {
			t.Fatalf("the previous release can't be read from the history, which must be there as a whole: git %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
		return out
	}
	commit := strings.TrimSpace(string(history("log", "-1", "--format=%H", "--", "integration/previous")))
	source, bin := t.TempDir(), t.TempDir()
	unpack := exec.Command("tar", "-x", "-C", source)
	unpack.Stdin = bytes.NewReader(history("archive", "--format=tar", commit))
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking the previous release: %v\n%s", err, out)
	}
	for program, folder := range map[string]string{"stile": "./cli", "stile-agent": "./agent", "stile-proxy": "./proxy"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, program), folder)
		build.Dir = source
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building the previous release's %s: %v\n%s", program, err, out)
		}
	}
	return bin
}

// TestThePreviousReleaseUnderstandsTheNewest has agent, proxy and client of the previous release live under the control
// plane of this one: they take its documents and certificates, and this release's programs work beside them.
func TestThePreviousReleaseUnderstandsTheNewest(t *testing.T) {
	old := previous(t)
	dir, err := os.MkdirTemp("", "stile-previous-") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSystem(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Logs())
		}
		if err := errors.Join(s.down(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	newest := t.TempDir()
	for _, program := range []string{"stile", "stile-agent", "stile-proxy"} {
		at := filepath.Join(s.Root, "bin", program)
		if err := errors.Join(stand.CopyFile(at, filepath.Join(newest, program)), os.Remove(at), stand.CopyFile(filepath.Join(old, program), at)); err != nil {
			t.Fatal(err)
		}
	}
	// The previous agent doesn't ask for its Region.
	account := filepath.Join(s.Root, "localstack", "account.yaml")
	raw, err := os.ReadFile(account)
	if err == nil {
		err = os.WriteFile(account, []byte(strings.ReplaceAll(string(raw), "      token: demo-nodes\n", "      token: demo-nodes\n      region: us-east-1\n")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.up(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	boss := s.person(t, admin)
	boss.Path = newest
	boss.login(t)
	boss.create(t, everyOption)
	boss.create(t, record("alice", "every-option"))

	for name, path := range map[string]string{"the previous client": filepath.Join(s.Root, "bin"), "the newest client": newest} {
		p := s.person(t, engineer)
		p.Path = path
		p.login(t)
		if got := p.must(t, "status"); !strings.Contains(got, "every-option") {
			t.Errorf("%s: the role is not in the certificate: %s", name, got)
		}
		if got := p.must(t, "ssh", "node-1", "--", "echo", "through"); got != "through\n" {
			t.Errorf("%s: %q", name, got)
		}
		p.must(t, "ls")
	}
	ran := map[string]string{} // sessions that the previous proxy carried, and what of them is to be believed

	// An agent of this release behind a proxy of the previous one.
	p := s.person(t, engineer)
	p.Path = newest
	p.login(t)
	s.agentOf(t, filepath.Join(newest, "stile-agent"), enrol{name: "node-newest"})
	eventually(t, 30*time.Second, p.online(t, "node-newest", true))
	ran[strings.TrimSpace(p.must(t, "ssh", "node-newest", "--", `echo "$STILE_SESSION_ID"`))] = "proven"
	ran[strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))] = "unproven" // its agents sign nothing

	// A lock reaches the previous agent, and ends what runs there.
	session := p.session(t, "node-1")
	boss.must(t, "rm", "user/alice")
	session.cut(t, "revoked")

	// The previous proxy may not write where events are now, so agents keep them until there is one that may: nothing is lost.
	s.changeProxies(t, program(t, newest, "stile-proxy"))
	if out, err := s.up(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.bothEnds(t, boss, ran)
}

// program is one of a folder.
func program(t *testing.T, folder, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// bothEnds waits until the ledger and SQL have both ends of sessions, and fails unless they are to be believed as far as is said, and no
// event of an agent is missing.
func (s *system) bothEnds(t *testing.T, boss *person, sessions map[string]string) {
	t.Helper()
	for id, standing := range sessions {
		eventually(t, time.Minute, func() string {
			found := map[audit.Type]string{}
			for _, e := range boss.events(t, "--session", id) {
				found[e.Type] = e.Standing
			}
			if found[audit.SessionStart] != standing || found[audit.SessionEnd] != standing {
				return fmt.Sprintf("of session %s there is %v, and not a start and an end that are %s", id, found, standing)
			}
			return ""
		})
		if err := boss.Flush(); err != nil {
			t.Fatal(err)
		}
		rows := boss.asked(t, "SELECT type FROM events WHERE session_id = '"+id+"' AND type IN ('session.start', 'session.end') ORDER BY type DESC")
		if len(rows) != 2 || rows[0]["type"] != "session.start" || rows[1]["type"] != "session.end" {
			t.Errorf("SQL finds of session %s %v", id, rows)
		}
	}
	if gaps := s.ledger(t).Gaps; len(gaps) > 0 {
		t.Errorf("numbers of agents' events are missing: %+v", gaps)
	}
}
