package integration_test

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// cutWithin is how long an open session may go on after its user or node was revoked, on a machine that is busy with
// other tests.
const cutWithin = 10 * time.Second

// open is a session that nobody ends from this side.
type open struct {
	cmd   *exec.Cmd
	err   bytes.Buffer
	ended chan struct{}
}

// session opens one and waits until its command runs.
func (p *person) session(t *testing.T, node string) *open {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	o := &open{cmd: p.Command(ctx, "stile", "ssh", node, "--", "echo open; exec sleep 600"), ended: make(chan struct{})}
	o.cmd.Stderr = &o.err
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	word := make([]byte, len("open\n"))
	_, err = io.ReadFull(out, word)
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = o.cmd.Wait()
		close(o.ended)
	}()
	t.Cleanup(func() { cancel(); <-o.ended })
	if err != nil || string(word) != "open\n" {
		t.Fatalf("the session says %q: %v", word, err)
	}
	return o
}

func (o *open) lives() bool {
	select {
	case <-o.ended:
		return false
	default:
		return true
	}
}

// cut waits until the session was ended from the other side, with a reason.
func (o *open) cut(t *testing.T, words ...string) {
	t.Helper()
	select {
	case <-o.ended:
	case <-time.After(cutWithin):
		t.Fatalf("the session still lives after %s", cutWithin)
	}
	if status := o.cmd.ProcessState.ExitCode(); status != 255 {
		t.Errorf("the session ended with %d", status)
	}
	for _, word := range words {
		if !strings.Contains(o.err.String(), word) {
			t.Errorf("%q is not in what the session said last: %q", word, o.err.String())
		}
	}
}

// cutOnce is cut, and wants the reason once and nothing else.
func (o *open) cutOnce(t *testing.T, words ...string) {
	t.Helper()
	o.cut(t, words...)
	if said := o.err.String(); strings.Count(said, "stile: error: ") != 1 || strings.Contains(said, "try again") {
		t.Errorf("the session does not say once, and alone, why it was cut: %q", said)
	}
}

// record is a user's record with these roles beside those of the mapping.
func record(name, roles string) string {
	return "kind: user\nmetadata: {name: " + name + "}\nspec: {mapping: engineers, roles: [" + roles + "]}\n"
}

func TestWhatAUsersRecordGaveEndsWithIt(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, record("alice", "auditor"))
	t.Cleanup(func() { boss.run(t, nil, "rm", "user/alice") }) // if the story stopped halfway
	p := shared.person(t, engineer).login(t)
	if got := p.must(t, "status"); !strings.Contains(got, "auditor") {
		t.Fatalf("the record gives nothing: %s", got)
	}
	refused := func() {
		t.Helper()
		p.run(t, nil, "ls").refused(t, 3, "revoked", "stile login --iam")
		p.run(t, nil, "ssh", "node-1", "--", "true").refused(t, 255, "revoked", "stile login --iam")
	}

	session := p.session(t, "node-1")
	boss.must(t, "create", "--replace", "-f", boss.file(t, record("alice", "auditor, access")))
	p.must(t, "ssh", "node-1", "--", "true")
	p.must(t, "ls")
	if !session.lives() {
		t.Fatalf("a role that was added ended the session: %s", session.err.String())
	}
	boss.must(t, "create", "--replace", "-f", boss.file(t, record("alice", "access")))
	session.cutOnce(t, "revoked", "stile login --iam")
	refused()

	p.login(t)
	session = p.session(t, "node-1")
	boss.must(t, "rm", "user/alice")
	session.cutOnce(t, "revoked", "stile login --iam")
	refused()
	boss.must(t, "get", "users")

	p.login(t)
	if got := p.must(t, "status"); strings.Contains(got, "auditor") {
		t.Errorf("the record still gives: %s", got)
	}
	p.must(t, "ls")
	p.must(t, "ssh", "node-1", "--", "true")
}

// Whether ten people are revoked or thousands, and however fast somebody else changes what is theirs, who is revoked is
// out.
func TestSec_S59_NeitherManyRevocationsNorAFloodKeepSomebodyIn(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, record("alice", "auditor"))
	t.Cleanup(func() { boss.run(t, nil, "rm", "user/alice"); boss.run(t, nil, "rm", "user/mallory") })
	p := shared.person(t, engineer).login(t)
	if err := shared.person(t, stand.ReaderFile).Revoke(t.Context(), 3000); err != nil {
		t.Fatal(err)
	}
	session := p.session(t, "node-1")
	narrow, wide := boss.file(t, record("mallory", "access")), boss.file(t, record("mallory", "access, auditor"))
	var flood sync.WaitGroup
	for range 2 {
		flood.Go(func() {
			for range 20 {
				boss.run(t, nil, "create", "--replace", "-f", wide)
				boss.run(t, nil, "create", "--replace", "-f", narrow)
			}
		})
	}
	began := time.Now()
	boss.must(t, "rm", "user/alice")
	session.cutOnce(t, "revoked", "stile login --iam")
	t.Logf("revoked after %s", time.Since(began))
	flood.Wait()
	p.login(t)
	p.must(t, "ssh", "node-1", "--", "true")
}

func TestARemovedNodeIsGoneUntilItJoinsAnew(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, engineer).login(t)
	removed := shared.agent(t, enrol{name: "node-removed"})
	eventually(t, 30*time.Second, p.online(t, "node-removed", true))
	session := p.session(t, "node-removed")
	boss.must(t, "rm", "node/node-removed")
	session.cut(t)
	removed.logs(t, "the certificate was revoked")
	gone := func() {
		t.Helper()
		if got := p.must(t, "ls"); strings.Contains(got, "node-removed") {
			t.Errorf("it is still listed: %s", got)
		}
		p.run(t, nil, "ssh", "node-removed", "--", "true").refused(t, 255, "node-removed")
	}
	gone()

	if err := removed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-removed.ended
	again := shared.agent(t, enrol{name: "node-removed", state: removed.state})
	again.logs(t, "the certificate was revoked")
	gone()

	shared.agent(t, enrol{name: "node-removed"})
	eventually(t, 30*time.Second, p.online(t, "node-removed", true))
	p.must(t, "ssh", "node-removed", "--", "true")
	boss.must(t, "rm", "node/node-removed")
}

func TestARemovedNodesCredentialIsNotRenewed(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, "env.node")
	held, r := p.join(t, "node-renewed", nil)
	credential, err := held.api.JoinIAM(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	renew := func() (wire.HostCredential, *attempt, error) {
		a, r := p.join(t, "node-renewed", nil)
		held.renews(t, &r, credential)
		c, err := a.api.JoinIAM(t.Context(), r)
		return c, a, err
	}
	renewed, a, err := renew()
	if err != nil || renewed.ID != credential.ID {
		t.Fatalf("the right renewal gives %s instead of %s: %v", renewed.ID, credential.ID, err)
	}
	credential, held = renewed, a
	boss.must(t, "rm", "node/node-renewed")
	before := shared.snapshot(t, p)
	_, _, err = renew()
	refusedAs(t, err, fault.Unauthenticated)
	if !strings.Contains(fault.From(err).Message, "revoked") {
		t.Errorf("refused as %q", fault.From(err).Message)
	}
	shared.unchanged(t, p, before)
}

// A lock in the table is published by the table's own stream: whatever writes it needs no right beside that.
func TestALockInTheTableBarsUntilItExpires(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, engineer).login(t)
	session := p.session(t, "node-1")
	v := newVandal(t)
	lock := func(until time.Time) {
		text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
		v.put(t, item{
			"pk": text("lock"), "sk": text("lck_01m7wq55dvk036fywzsz7r7z9r"), "kind": text("lock"), "target": text("user"), "value": text("alice"),
			"expires_ms": &types.AttributeValueMemberN{Value: strconv.FormatInt(until.UnixMilli(), 10)},
		})
	}
	t.Cleanup(func() { lock(time.UnixMilli(1)) })
	lock(time.Now().Add(time.Hour))
	session.cutOnce(t, "locked: user alice")
	p.run(t, nil, "ls").refused(t, 4, "lck_01m7wq55dvk036fywzsz7r7z9r")
	p.run(t, nil, "ssh", "node-1", "--", "true").refused(t, 255, "lck_01m7wq55dvk036fywzsz7r7z9r")
	p.run(t, nil, "login", "--iam").refused(t, 4, "lck_01m7wq55dvk036fywzsz7r7z9r")
	boss.must(t, "get", "roles")

	lock(time.UnixMilli(1))
	for _, args := range [][]string{{"ls"}, {"ssh", "node-1", "--", "true"}} {
		eventually(t, 30*time.Second, func() string {
			if r := p.run(t, nil, args...); r.status != 0 {
				return r.err
			}
			return ""
		})
	}
}
