package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
)

// trouble has the local AWS misbehave until the test is over, or the function that it returns is called.
func (s *system) trouble(t *testing.T, f stand.Fault) (over func()) {
	t.Helper()
	boss := s.person(t, admin)
	if err := boss.Misbehave(f); err != nil {
		t.Fatal(err)
	}
	over = func() {
		t.Helper()
		if err := boss.Behave(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(over)
	return over
}

// sum hashes and counts what a command writes, of which the last 64 bytes are kept.
type sum struct {
	hash  hash.Hash
	bytes int64
	last  []byte
}

func newSum() *sum { return &sum{hash: sha256.New()} }

func (s *sum) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	s.last = append(s.last, p...)
	s.last = s.last[max(0, len(s.last)-64):]
	return s.hash.Write(p)
}

func (s *sum) String() string { return fmt.Sprintf("%d bytes %x", s.bytes, s.hash.Sum(nil)) }

// shows runs a command on a node, and returns what came of it and the session, of which the command's last line tells.
func (p *person) shows(t *testing.T, node, command string) (*sum, string) {
	t.Helper()
	got := newSum()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := p.Command(ctx, "stile", "ssh", node, "--", command+`; echo "$STILE_SESSION_ID"`)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = got, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	at := bytes.LastIndex(got.last, []byte("ses_"))
	if at < 0 {
		t.Fatalf("it ended with %q", got.last)
	}
	return got, strings.TrimSpace(string(got.last[at:]))
}

// recordedSum hashes a complete recording's standard output, a chunk at a time.
func (p *person) recordedSum(t *testing.T, session string) *sum {
	t.Helper()
	urls := map[string]string{}
	for cursor, c := "", p.client(t); ; {
		page, err := c.ReadRecording(t.Context(), session, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			if urls[o.Name] != "" {
				t.Errorf("%s has two versions", o.Name)
			}
			urls[o.Name] = o.URL
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	got := newSum()
	for n := range len(urls) - 1 {
		_, lines, err := recording.OpenChunk(fetch(t, urls[recording.ChunkName(n)]))
		if err != nil {
			t.Fatalf("chunk %d: %v", n, err)
		}
		if n == 0 {
			if _, lines, err = recording.ReadHead(lines); err != nil {
				t.Fatal(err)
			}
		}
		for l, err := range recording.Lines(lines) {
			if err != nil {
				t.Fatal(err)
			}
			if l.Kind == 'o' && l.Stream == 'o' {
				_, _ = got.Write(l.Raw)
			}
		}
	}
	return got
}

// restart ends an agent as its service manager does, and starts it again with its state.
func (s *system) restart(t *testing.T, a *agent, e enrol) *agent {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	e.state = a.state
	return s.agent(t, e)
}

// slowDisk has a process wait whenever it has a disk keep something, until the function that it returns is called.
func slowDisk(t *testing.T, pid int) (over func()) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "--seccomp-bpf", "-o", log, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=120s", "-p", strconv.Itoa(pid))
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	over = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if b, err := os.ReadFile(log); err != nil || !bytes.Contains(b, []byte("sync(")) {
			t.Errorf("nothing waited for the disk: %v\n%s", err, b)
		}
	})
	t.Cleanup(over)
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		t.Fatalf("strace says %q, %v", line, err)
	}
	go io.Copy(io.Discard, said)
	return over
}

// A disk that takes a minute for each sync holds up no session, strict ones included, and loses nothing.
func TestASlowDiskHoldsUpNoSession(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	a := shared.agent(t, enrol{name: "node-slow-disk"})
	eventually(t, 30*time.Second, p.online(t, "node-slow-disk", true))
	over := slowDisk(t, a.cmd.Process.Pid)
	var sessions []string
	var shown []*sum
	for range 2 { // the second begins while the disk is at work for the first
		got, session := p.shows(t, "node-slow-disk", "for i in 1 2 3; do head -c 100000 /dev/urandom | base64; sleep 1; done")
		sessions, shown = append(sessions, session), append(shown, got)
	}
	over()
	for i, session := range sessions {
		p.complete(t, session)
		if got := p.recordedSum(t, session); got.String() != shown[i].String() {
			t.Errorf("recorded are %s, and shown were %s", got, shown[i])
		}
	}
}

// S3 takes nothing while 300 MiB are shown and the agent starts again twice, and then loses half of its answers.
func TestNothingIsLostWhileS3IsAway(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	e := enrol{name: "node-s3-away", extra: "recordings: 2GiB\n"}
	a := shared.agent(t, e)
	eventually(t, 30*time.Second, p.online(t, e.name, true))
	before := len(shared.log("stile-recording"))
	over := shared.trouble(t, s3Refuses)
	shown := map[string]string{}
	for range 2 {
		got, session := p.shows(t, e.name, "head -c 157286400 /dev/urandom")
		shown[session] = got.String()
		a = shared.restart(t, a, e)
		eventually(t, 30*time.Second, p.online(t, e.name, true))
	}
	for session := range shown {
		if r, err := p.client(t).GetRecording(t.Context(), session); err == nil && r.State != "open" {
			t.Errorf("while S3 takes nothing, %s is %s", session, r.State)
		}
	}
	eventually(t, time.Minute, func() string { // as AlarmRecordingsStuck hears it
		granted, missing := measured(shared.log("stile-recording")[before:], names.MetricUploadsGranted, names.MetricUploadsMissing)
		if missing < 3 || 2*missing <= granted {
			return fmt.Sprintf("functions/recording measured that %d of %d objects are missing", missing, granted)
		}
		return ""
	})
	over()
	over = shared.trouble(t, stand.Fault{Service: "s3", Operation: "PutObject", Kind: "lost_answer", Probability: 0.5})
	shared.restart(t, a, e)
	for session, want := range shown {
		eventually(t, 3*time.Minute, func() string {
			r, err := p.client(t).GetRecording(t.Context(), session)
			if err != nil {
				return err.Error()
			}
			if r.State != "complete" || r.Chunks < 100 {
				return fmt.Sprintf("%s is %s with %d chunks", session, r.State, r.Chunks)
			}
			return ""
		})
		if got := p.recordedSum(t, session).String(); got != want {
			t.Errorf("recorded: %s\nshown:    %s", got, want)
		}
	}
	over()
	eventually(t, 30*time.Second, func() string {
		if left := recordingsIn(t, a.state); len(left) > 0 {
			return fmt.Sprint("the agent still has ", left)
		}
		return ""
	})
}

// measured sums two metrics of a function's log.
func measured(log, first, second string) (n, m int) {
	for line := range strings.Lines(log) {
		var said map[string]any
		if err := json.Unmarshal([]byte(line), &said); err != nil || said["_aws"] == nil {
			continue
		}
		one, _ := said[first].(float64)
		other, _ := said[second].(float64)
		n, m = n+int(one), m+int(other)
	}
	return n, m
}

// recordingsIn lists the recordings in an agent's spool.
func recordingsIn(t *testing.T, state string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "recordings"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "ses_") {
			all = append(all, e.Name())
		}
	}
	return all
}

// A disk for recordings that is too small ends or refuses strict sessions, and makes the others' recordings say what they lack.
// A role lets its holders in all the same. When there is room again, all is as before.
func TestAFullSpoolEndsStrictSessionsAndIsToldOfInOthers(t *testing.T) {
	p, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	state := t.TempDir()
	small := filepath.Join(state, "recordings")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("recordings", small, "tmpfs", 0, "size=4m,mode=700"); err != nil {
		t.Fatalf("mounting a disk for recordings: %v: run the tests as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e := enrol{name: "node-small", state: state}
	shared.agent(t, e)
	eventually(t, 30*time.Second, p.online(t, e.name, true))
	over := shared.trouble(t, s3Refuses)

	// best-effort goes on, and says what it lacks
	const much = `head -c 6000000 /dev/urandom`
	shown, session := p.shows(t, e.name, much)
	over()
	p.complete(t, session)
	tape := p.tape(t, session)
	m := tape.manifest.Manifest
	if m.Bytes == 0 || m.Unrecorded == nil || m.Bytes != int64(len(tape.raw['o'])) || m.Bytes+m.Unrecorded.Bytes != shown.bytes || m.Unrecorded.Why == "" {
		t.Fatalf("%+v of %d bytes", m, shown.bytes)
	}

	// strict is refused
	boss.create(t, "kind: settings\nmetadata: {name: cluster}\nspec: {record: strict}\n")
	t.Cleanup(func() { boss.run(t, nil, "rm", "settings/cluster") })
	ballast := filepath.Join(small, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	eventually(t, 20*time.Second, func() string {
		if r := p.run(t, nil, "ssh", e.name, "--", "true"); r.status == 0 || !strings.Contains(r.err, "no room to record") || !strings.Contains(r.err, "hint:") {
			return fmt.Sprintf("%d %s", r.status, r.err)
		}
		return ""
	})
	// but for the holders of a role
	boss.create(t, "kind: role\nmetadata: {name: rescue}\nspec: {options: {record_when_full: admit}, allow: {logins: ['{{internal.logins}}'], node_labels: {'*': '*'}}}\n")
	boss.create(t, "kind: user\nmetadata: {name: alice}\nspec: {mapping: engineers, roles: [rescue]}\n")
	t.Cleanup(func() { boss.run(t, nil, "rm", "user/alice", "role/rescue") })
	p.login(t)
	eventually(t, 20*time.Second, func() string {
		r := p.run(t, nil, "ssh", e.name, "--", `echo "$STILE_SESSION_ID"`)
		if r.status != 0 {
			return r.err
		}
		starts := shared.recorded(t, func(e audit.Event) bool {
			return e.SessionID == strings.TrimSpace(r.out) && e.Type == audit.SessionStart
		})
		if len(starts) != 1 || starts[0].Data["recording"] != "none, no room" {
			return fmt.Sprintf("%+v", starts)
		}
		return ""
	})
	boss.run(t, nil, "rm", "user/alice")
	p.login(t)

	// when there is room again, strict sessions are recorded
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	works := ""
	eventually(t, 20*time.Second, func() string {
		r := p.run(t, nil, "ssh", e.name, "--", `echo "$STILE_SESSION_ID"`)
		works = strings.TrimSpace(r.out)
		if r.status != 0 || works == "" {
			return fmt.Sprintf("%d %q %q", r.status, r.out, r.err)
		}
		return ""
	})
	p.complete(t, works)

	// and one that becomes too large for the disk is ended with the reason
	over = shared.trouble(t, s3Refuses)
	r := p.run(t, nil, "ssh", e.name, "--", `echo "$STILE_SESSION_ID"; `+much)
	if r.status == 0 || !strings.Contains(r.err, "can't be recorded any further") || len(r.out) > 4<<20 {
		t.Errorf("%d, %d bytes, %s", r.status, len(r.out), r.err)
	}
	over()
	ended, _, _ := strings.Cut(r.out, "\n")
	eventually(t, 30*time.Second, func() string {
		all := shared.recorded(t, func(e audit.Event) bool { return e.SessionID == ended && e.Type == audit.SessionEnd })
		if len(all) != 1 || !strings.Contains(all[0].Reason, "can't be recorded") {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	})
	if got := p.tape(t, ended); !strings.HasPrefix(got.raw['o'], r.out) {
		t.Errorf("%d bytes are recorded of %d that were seen", len(got.raw['o']), len(r.out))
	}
}

// s3Refuses has S3 take no object, the cluster's documents included.
var s3Refuses = stand.Fault{Service: "s3", Operation: "PutObject", Kind: "error", Status: 503, Code: "SlowDown"}

// logsEvent waits for an event of a session whose reason contains a text.
func (s *system) logsEvent(t *testing.T, session string, kind audit.Type, reason string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		all := s.recorded(t, func(e audit.Event) bool { return e.SessionID == session && e.Type == kind })
		for _, e := range all {
			if strings.Contains(e.Reason, reason) {
				return ""
			}
		}
		return fmt.Sprintf("%s of %s: %+v", kind, session, all)
	})
}

// A damaged piece of one recording is told of and kept; the rest of it, and every other recording, goes its way.
func TestADamagedPieceHoldsUpNothing(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	e := enrol{name: "node-damaged"}
	a := shared.agent(t, e)
	eventually(t, 30*time.Second, p.online(t, e.name, true))
	over := shared.trouble(t, s3Refuses)
	other, whole := p.shows(t, e.name, "head -c 3000000 /dev/urandom")
	seen, ended := p.sees(t, e.name, `echo "$STILE_SESSION_ID"; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i of what was seen"; done; exec sleep 50`)
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	ended()
	session, _, _ := strings.Cut(seen.shown.String(), "\n")
	journals, err := filepath.Glob(filepath.Join(a.state, "recordings", session, "*.journal"))
	if err != nil || len(journals) == 0 {
		t.Fatalf("%v %v", journals, err)
	}
	b, err := os.ReadFile(journals[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(journals[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	over()
	e.state = a.state
	shared.agent(t, e)
	p.complete(t, whole)
	if got := p.recordedSum(t, whole).String(); got != other.String() {
		t.Errorf("the other recording: %s, want %s", got, other)
	}
	p.complete(t, session)
	shared.logsEvent(t, session, audit.RecordingDamaged, "")
	tape := p.tape(t, session)
	if !strings.HasPrefix(seen.shown.String(), tape.raw['o'][:min(1000, len(tape.raw['o']))]) || len(tape.raw['o']) < 1000 || !tape.manifest.Manifest.Torn {
		t.Errorf("%d bytes are recorded: %+v", len(tape.raw['o']), tape.manifest.Manifest)
	}
}

// Whatever a client calls its command, and wherever its input comes from, is recorded.
func TestNoCommandIsAWayAroundTheRecording(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	for command, script := range map[string]string{
		"bash":                           "echo typed by a script; echo $STILE_SESSION_ID\n",
		"scp -t /nowhere </dev/null; sh": "echo typed by a script; echo $STILE_SESSION_ID\n",
	} {
		r := p.run(t, strings.NewReader(script), "ssh", "node-1", "--", command)
		at := strings.LastIndex(r.out, "ses_")
		if at < 0 {
			t.Fatalf("%s: %d %q %q", command, r.status, r.out, r.err)
		}
		session := strings.TrimSpace(r.out[at:])
		got := p.tape(t, session)
		digest := sha256.Sum256([]byte(script))
		m := got.manifest.Manifest
		if got.raw['o'] != r.out || !strings.Contains(r.out, "typed by a script") || m.Input == nil || m.Input.SHA256 != hex.EncodeToString(digest[:]) || got.head.Command != command {
			t.Errorf("%s: recorded %q, shown %q, %+v", command, got.raw['o'], r.out, m)
		}
	}
}

// A control plane that answers nobody holds up no session: what is typed comes back while it is away, in every mode that lets the
// session go on, and what was shown is recorded and told of afterwards.
func TestASessionDoesNotWaitForTheControlPlane(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.Command(ctx, "stile", "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"; exec cat`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	back := bufio.NewScanner(out)
	if !back.Scan() {
		t.Fatal("no session")
	}
	session, want := back.Text(), back.Text()+"\n"
	over := shared.trouble(t, stand.Fault{Service: "*", Kind: "latency", LatencyMS: 5000})
	for n := range 2000 {
		line := fmt.Sprintf("line %d of what is typed %s", n, strings.Repeat("x", 1000))
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !back.Scan() || back.Text() != line {
			t.Fatalf("line %d came back as %.40q: %v", n, back.Text(), back.Err())
		}
		want += line + "\n"
	}
	over()
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if got := p.tape(t, session); got.raw['o'] != want {
		t.Errorf("%d bytes are recorded of %d", len(got.raw['o']), len(want))
	}
	shared.logsEvent(t, session, audit.SessionEnd, "")
}
