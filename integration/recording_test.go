package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/state"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// client calls the API as the person who has logged in.
func (p *person) client(t *testing.T) *client.Client {
	t.Helper()
	cred := p.credential(t)
	c, err := client.New(client.Config{URL: p.Env["STILE_API"], HTTP: p.api(t).http, Key: cred.Keys.TLS, Certificate: cred.TLSCertificate})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tape is a recording as it was read.
type tape struct {
	chunks   [][]byte
	raw      map[byte]string
	manifest recording.Signed
	lines    []recording.Line
	head     recording.Head
	beside   []byte // another object that was expected
}

// complete waits until a session's recording is complete.
func (p *person) complete(t *testing.T, session string) wire.Recording {
	t.Helper()
	var r wire.Recording
	eventually(t, 30*time.Second, func() string {
		var err error
		if r, err = p.client(t).GetRecording(t.Context(), session); err != nil {
			return err.Error()
		}
		if r.State != "complete" {
			return "its state is " + r.State
		}
		return ""
	})
	return r
}

// tape reads a complete recording, and checks that its chunks and its manifest belong together.
func (p *person) tape(t *testing.T, session string) tape {
	t.Helper()
	return p.tapeBeside(t, session, "")
}

// tapeBeside is tape of a recording that has another object.
func (p *person) tapeBeside(t *testing.T, session, name string) tape {
	t.Helper()
	p.complete(t, session)
	objects := map[string][]byte{}
	for cursor, c := "", p.client(t); ; {
		page, err := c.ReadRecording(t.Context(), session, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			objects[o.Name] = fetch(t, o.URL)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	out := tape{raw: map[byte]string{}, beside: objects[name]}
	delete(objects, name)
	var err error
	if out.manifest, err = recording.OpenManifest(objects[recording.ManifestName]); err != nil {
		t.Fatal(err)
	}
	m := out.manifest.Manifest
	if len(objects) != m.Chunks+1 || !out.manifest.Verify() || m.Session != session {
		t.Fatalf("%d objects, manifest %+v", len(objects), m)
	}
	before := ""
	for n := range m.Chunks {
		object := objects[recording.ChunkName(n)]
		h, lines, err := recording.OpenChunk(object)
		if err != nil || h.Session != session || h.Seq != n || h.Before != before {
			t.Fatalf("chunk %d: %+v, %v", n, h, err)
		}
		before = recording.Hash(object)
		out.chunks = append(out.chunks, object)
		if n == 0 {
			if out.head, lines, err = recording.ReadHead(lines); err != nil {
				t.Fatal(err)
			}
		}
		for l, err := range recording.Lines(lines) {
			if err != nil {
				t.Fatal(err)
			}
			if out.lines = append(out.lines, l); l.Kind == 'o' {
				out.raw[l.Stream] += string(l.Raw)
			}
		}
	}
	if m.Last != before {
		t.Errorf("the manifest ends with %s, the chunks with %s", m.Last, before)
	}
	return out
}

// fetch gets what a URL leads to.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %.300s %v", answer.StatusCode, b, err)
	}
	return b
}

// sessionEvents are a session's as the API lists them; those of agents must be proven.
func (p *person) sessionEvents(t *testing.T, session string) map[audit.Type][]audit.Event {
	t.Helper()
	out := map[audit.Type][]audit.Event{}
	for e, err := range p.client(t).SessionEvents(t.Context(), session) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Standing != "proven" {
			t.Errorf("%s: %s", e.Standing, e.Why)
		}
		event, err := audit.Parse([]byte(e.Event))
		if err != nil {
			t.Fatal(err)
		}
		out[event.Type] = append(out[event.Type], event)
	}
	return out
}

func TestARecordingIsWhatTheClientSaw(t *testing.T) {
	p, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	const command = `head -c 3000000 /dev/urandom; printf '\360\237'; printf '\230\200'; echo "$STILE_SESSION_ID" >&2; cat >/dev/null`
	r := p.run(t, strings.NewReader("what came in"), "ssh", "node-1", "--", command)
	if r.status != 0 {
		t.Fatalf("ended with %d: %s", r.status, r.err)
	}
	session := strings.TrimSpace(r.err)
	got := p.tape(t, session)
	if got.raw['o'] != r.out || got.raw['e'] != r.err {
		t.Errorf("%d and %d bytes are recorded, not the %d and %d that came", len(got.raw['o']), len(got.raw['e']), len(r.out), len(r.err))
	}
	sum := sha256.Sum256([]byte("what came in"))
	m := got.manifest.Manifest
	if m.Input == nil || m.Input.Bytes != 12 || m.Input.SHA256 != hex.EncodeToString(sum[:]) || m.Bytes != int64(len(r.out)+len(r.err)) || m.Unrecorded != nil || m.Missing != nil || m.Torn {
		t.Errorf("%+v", m)
	}
	if got.head.Command != command || got.head.User != "alice" || got.head.Terminal || got.head.Target != "node/node-1" {
		t.Errorf("%+v", got.head)
	}
	eventually(t, 10*time.Second, func() string {
		events := p.sessionEvents(t, session)
		if len(events[audit.SessionEnd]) != 1 || len(events[audit.RecordingEnd]) != 1 || len(events[audit.RecordingChunk]) != len(got.chunks) {
			return fmt.Sprintf("%d chunks, events %v", len(got.chunks), events)
		}
		if how := events[audit.SessionStart][0].Data["recording"]; how != "best-effort" {
			return "the start says that it is recorded " + how
		}
		hashes := map[string]string{}
		for _, e := range events[audit.RecordingChunk] {
			hashes[e.Data["seq"]] = e.Data["sha256"]
		}
		for n, c := range got.chunks {
			if hashes[fmt.Sprint(n)] != recording.Hash(c) {
				return fmt.Sprintf("chunk %d hashes to %s, the ledger says %s", n, recording.Hash(c), hashes[fmt.Sprint(n)])
			}
		}
		if reads := events[audit.RecordingRead]; len(reads) != 1 || reads[0].Actor != "user/alice" || reads[0].Source != "function/recording" {
			return fmt.Sprintf("reads: %+v", reads)
		}
		return ""
	})
	if r, err := boss.client(t).GetRecording(t.Context(), session); err != nil || r.Chunks != m.Chunks || r.Bytes != m.Bytes || r.User != "alice" || r.Login == "" || r.Node != "node-1" {
		t.Errorf("an administrator sees %+v, %v", r, err)
	}
	found := false
	for r, err := range boss.client(t).Recordings(t.Context(), client.RecordingQuery{Since: time.Now().Add(-time.Hour), Target: "node/node-1"}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || r.ID == session
	}
	if !found {
		t.Error("the list of an hour lacks it")
	}
	found = false
	for r, err := range p.client(t).Recordings(t.Context(), client.RecordingQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || r.ID == session
	}
	if !found {
		t.Error("the list of one's own lacks it")
	}
}

func TestATerminalsOutputAndSizesAreRecorded(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	r := p.run(t, nil, "ssh", "-tt", "node-1", "--", `stty rows 33 cols 101; printf '\033[31mred\033[0m\r\n%s\r\n' "$STILE_SESSION_ID"`)
	at := strings.Index(r.out, "ses_")
	if at < 0 {
		t.Fatalf("%d %q %q", r.status, r.out, r.err)
	}
	got := p.tape(t, r.out[at:at+len("ses_")+26])
	if !got.head.Terminal || !strings.HasPrefix(r.out, got.raw['o']) || !strings.Contains(got.raw['o'], "\x1b[31mred") || got.manifest.Manifest.Input != nil {
		t.Errorf("%+v recorded %q, shown %q", got.head, got.raw['o'], r.out)
	}
}

// Whatever the client got is in the recording, though the agent was killed in mid-session; and the session has an end.
func TestASessionWhoseAgentIsKilledIsRecordedAsFarAsItWasSeen(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	a := shared.agent(t, enrol{name: "node-torn"})
	eventually(t, 30*time.Second, p.online(t, "node-torn", true))
	seen, ended := p.sees(t, "node-torn", `echo "$STILE_SESSION_ID"; i=0; while :; do i=$((i+1)); echo "line $i of what was seen"; done`)
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended()
	<-a.ended
	got := seen.shown.String()
	session, _, _ := strings.Cut(got, "\n")
	shared.agent(t, enrol{name: "node-torn", state: a.state})
	recorded := p.tape(t, session)
	if !strings.HasPrefix(recorded.raw['o'], got) {
		t.Errorf("%d bytes are recorded and %d were seen", len(recorded.raw['o']), len(got))
	}
	if !recorded.manifest.Manifest.Torn {
		t.Error("the manifest doesn't say that the agent ended in mid-session")
	}
	eventually(t, 10*time.Second, func() string {
		ends := p.sessionEvents(t, session)[audit.SessionEnd]
		if len(ends) != 1 || ends[0].Outcome != audit.Failure || !strings.Contains(ends[0].Reason, "agent ended") {
			return fmt.Sprintf("ends: %+v", ends)
		}
		return ""
	})
}

// sees runs a command on a node until much of what it shows was seen; the function that it returns waits until the command has
// ended, after which nothing more is seen.
func (p *person) sees(t *testing.T, node, command string) (seen *lines, ended func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := p.Command(ctx, "stile", "ssh", node, "--", command)
	seen = &lines{enough: make(chan struct{})}
	cmd.Stdout = seen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = sync.OnceFunc(func() { _ = cmd.Wait() })
	t.Cleanup(func() {
		cancel()
		ended()
	})
	select {
	case <-seen.enough:
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	return seen, ended
}

// lines collects output, and says when there is enough.
type lines struct {
	shown  bytes.Buffer
	enough chan struct{}
	told   bool
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.shown.Write(p)
	if l.shown.Len() > 200_000 && !l.told {
		l.told = true
		close(l.enough)
	}
	return n, err
}

func TestTheClustersSettingsSayHowSessionsAreRecorded(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	how := func(want string) func() string {
		return func() string {
			r := p.run(t, nil, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`)
			if r.status != 0 {
				return r.err
			}
			starts := shared.recorded(t, func(e audit.Event) bool {
				return e.SessionID == strings.TrimSpace(r.out) && e.Type == audit.SessionStart
			})
			switch {
			case len(starts) == 0:
				return "its start isn't in the ledger"
			case starts[0].Data["recording"] != want:
				return "it is recorded " + starts[0].Data["recording"]
			}
			return ""
		}
	}
	eventually(t, 20*time.Second, how("best-effort"))
	boss.create(t, "kind: settings\nmetadata: {name: cluster}\nspec: {record: strict}\n")
	t.Cleanup(func() { boss.run(t, nil, "rm", "settings/cluster") })
	eventually(t, 20*time.Second, how("strict"))
	if out := boss.must(t, "get", "settings", "--format", "json"); !strings.Contains(out, "strict") {
		t.Error(out)
	}
	boss.must(t, "create", "--replace", "-f", boss.file(t, "kind: settings\nmetadata: {name: cluster}\nspec: {record: 'off'}\n"))
	eventually(t, 20*time.Second, how("off"))
	p.run(t, nil, "create", "-f", p.file(t, "kind: settings\nmetadata: {name: cluster}\nspec: {}\n")).refused(t, 4)
	boss.must(t, "rm", "settings/cluster")
	eventually(t, 20*time.Second, how("best-effort"))
}

// What is granted is one object of a size and hash, once; nothing else, and to nobody else.
func TestSec_S44_AGrantPutsExactlyOneObjectOnce(t *testing.T) {
	a := shared.agent(t, enrol{name: "node-grant"})
	p := shared.person(t, engineer).login(t)
	eventually(t, 30*time.Second, p.online(t, "node-grant", true))
	_ = a.cmd.Process.Kill()
	<-a.ended
	host := p.host(t, a.state)
	session, secret := identity.NewSession(strings.NewReader("sixteen bytes!!!"), time.Now())
	claim := wire.RecordingClaim{Secret: secret, User: "mallory", UID: "usr_0", Target: "node/node-grant", Started: time.Now()}
	if _, err := host.ClaimRecording(t.Context(), session, claim); err != nil {
		t.Fatal(err)
	}
	claim.Target = "node/node-1"
	if _, err := host.ClaimRecording(t.Context(), session, claim); !fault.Is(err, fault.Denied) {
		t.Errorf("a node that it doesn't serve: %v", err)
	}
	body := []byte("not a chunk, but of this size and hash")
	sum := sha256.Sum256(body)
	grant := func() wire.UploadGrant {
		g, err := host.GrantUploads(t.Context(), session, wire.UploadRequest{Objects: []wire.UploadObject{{Name: recording.ChunkName(0), Size: int64(len(body)), Sha256: sum[:]}}})
		if err != nil {
			t.Fatal(err)
		}
		return g.Grants[0]
	}
	for name, c := range map[string]struct {
		bend   func(*http.Request)
		body   []byte
		status int
	}{
		"another body": {func(*http.Request) {}, []byte("not a chunk, but of that size and hash"), http.StatusBadRequest},
		"another body, its hash": {func(r *http.Request) {
			r.Header.Set("X-Amz-Checksum-Sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		}, body, http.StatusForbidden},
		"no hash":            {func(r *http.Request) { r.Header.Del("X-Amz-Checksum-Sha256") }, body, http.StatusForbidden},
		"a longer body":      {func(*http.Request) {}, append(bytes.Clone(body), 'x'), http.StatusForbidden},
		"over what is there": {func(r *http.Request) { r.Header.Del("If-None-Match") }, body, http.StatusForbidden},
		"under another name": {func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "00000000.zst", "00000001.zst", 1) }, body, http.StatusForbidden},
		"to read":            {func(r *http.Request) { r.Method = http.MethodGet }, nil, http.StatusForbidden},
	} {
		if status := put(t, grant(), c.body, c.bend); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
	held, err := host.ConfirmUploads(t.Context(), session, wire.HeldRequest{Names: []string{recording.ChunkName(0), recording.ManifestName}})
	if err != nil || len(held.Objects) != 0 {
		t.Errorf("held: %+v, %v", held, err)
	}
	if status := put(t, grant(), body, func(*http.Request) {}); status != http.StatusOK {
		t.Errorf("what was granted: %d", status)
	}
	if status := put(t, grant(), body, func(*http.Request) {}); status != http.StatusPreconditionFailed {
		t.Errorf("once more: %d", status)
	}
	held, err = host.ConfirmUploads(t.Context(), session, wire.HeldRequest{Names: []string{recording.ChunkName(0)}})
	if err != nil || len(held.Objects) != 1 || !bytes.Equal(held.Objects[0].Sha256, sum[:]) {
		t.Errorf("held: %+v, %v", held, err)
	}
	if _, err := p.client(t).GetRecording(t.Context(), session); !fault.Is(err, fault.NotFound) {
		t.Errorf("alice reads mallory's: %v", err)
	}
	if _, err := p.client(t).ReadRecording(t.Context(), session, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("alice reads mallory's: %v", err)
	}
}

// put uses a grant, bent.
func put(t *testing.T, g wire.UploadGrant, body []byte, bend func(*http.Request)) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range g.Headers {
		r.Header.Set(name, value)
	}
	bend(r)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// left are the keys and the credential that an agent left in its state directory. It must have ended.
func left(t *testing.T, dir string) (joiner.Keys, wire.HostCredential) {
	t.Helper()
	d, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	keys, err := d.Keys()
	if err != nil {
		t.Fatal(err)
	}
	credential, there, err := d.Load()
	if err != nil || !there {
		t.Fatal(there, err)
	}
	return keys, credential
}

// host calls the API as the agent whose state directory this is, which must have ended.
func (p *person) host(t *testing.T, dir string) *client.Client {
	t.Helper()
	keys, credential := left(t, dir)
	c, err := client.New(client.Config{URL: p.Env["STILE_API"], HTTP: p.api(t).http, Key: keys.TLS, Certificate: credential.TLSCertificate})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
