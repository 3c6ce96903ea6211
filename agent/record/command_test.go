package record_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// run begins a recording of a command.
func (w *world) run(command string) (*record.Recording, string, error) {
	session, secret := identity.NewSession(rand.Reader, time.Now())
	r, err := w.Begin(record.Begin{
		Head:   recording.Head{Session: session, Target: "node/web-1", User: "ada", Login: "root", Started: time.Now(), Command: command, Width: 80, Height: 24},
		Secret: secret, Mode: resource.RecordStrict,
	})
	if err == nil {
		r.Began()
	}
	return r, session, err
}

// ran is the command that the first chunk of a session has.
func (w *world) ran(session string) string {
	w.t.Helper()
	p := w.finished(session)
	b, err := w.Read(session, p.Names[0])
	if err != nil {
		w.t.Fatal(err)
	}
	_, lines, err := recording.OpenChunk(b)
	if err != nil {
		w.t.Fatal(err)
	}
	h, _, err := recording.ReadHead(lines)
	if err != nil || h.Session != session || h.User != "ada" {
		w.t.Fatalf("%v %+v", err, h)
	}
	if p.Head.Command != "" {
		w.t.Error("the command is kept in memory")
	}
	return h.Command
}

func TestACommandIsRecordedWholeAlsoAfterAKill(t *testing.T) {
	for name, command := range map[string]string{
		"a shell":          "",
		"text":             "true; " + strings.Repeat(" ", 5<<10) + "rm",
		"what isn't UTF-8": "true \xff\xfe; \x1b",
		"the longest":      string(noise(recording.MaxCommand)),
		"the most in JSON": strings.Repeat("\x01", recording.MaxCommand),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, session, err := w.run(command)
			if err != nil {
				t.Fatal(err)
			}
			show(t, r, []byte("shown"))
			left := killed(t, w)
			r.End()
			if got := w.ran(session); got != command {
				t.Errorf("%d of %d bytes", len(got), len(command))
			}
			w.reopen(left)
			w.Resume()
			if got := w.ran(session); got != command {
				t.Errorf("after a kill, %d of %d bytes", len(got), len(command))
			}
		})
	}
}

// An upgrade finds what the release before left behind.
func TestWhatTheReleaseBeforeLeftBehindIsSealed(t *testing.T) {
	w := newWorld(t)
	r, session, err := w.run("true \xff")
	if err != nil {
		t.Fatal(err)
	}
	show(t, r, []byte("shown"))
	left := killed(t, w)
	r.End()
	w.finished(session)
	name := filepath.Join(left, session, "about.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var now struct {
		Secret []byte `json:"secret"`
	}
	if err := json.Unmarshal(b, &now); err != nil {
		t.Fatal(err)
	}
	before := `{"head":{"session":"` + session + `","cluster":"c","agent":"agt_1","target":"node/web-1","user":"ada","uid":"usr_1","login":"root","terminal":true,"started":"2026-11-27T10:00:00Z"},` +
		`"command":"true \ufffd","term":"xterm","width":100,"height":30,"secret":"` + base64.StdEncoding.EncodeToString(now.Secret) + `","mode":"strict"}`
	if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reopen(left)
	w.Resume()
	if got := w.ran(session); got != "true \uFFFD" {
		t.Errorf("%q", got)
	}
}

// Nothing of a command is cut, so what no recording could have doesn't begin.
func TestACommandThatIsTooLongIsRefusedAndTheLongestIsNot(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.run(strings.Repeat("x", recording.MaxCommand+1)); !fault.Is(err, fault.BadInput) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(w.config.Dir); err != nil || len(entries) > 1 || len(w.Pending()) > 0 { // the reserve alone
		t.Errorf("%v, %v", entries, err)
	}
	if _, _, err := w.run(strings.Repeat("x", recording.MaxCommand)); err != nil {
		t.Error(err)
	}
}

// Commands take their room on the disk before and after they are sealed, and never more than is counted.
func TestRoomIsCountedForCommands(t *testing.T) {
	const limit = 8 << 20
	w := newWorld(t, func(c *record.Config) { c.Limit = limit })
	var all []*record.Recording
	var sessions []string
	for range limit / recording.MaxCommand {
		r, session, err := w.run(string(noise(recording.MaxCommand)))
		if err != nil {
			break
		}
		all, sessions = append(all, r), append(sessions, session)
	}
	if n := len(all); n < 4 || n > (limit-1<<20)/(3*recording.MaxCommand) {
		t.Errorf("%d sessions with the longest command begin", n)
	}
	for i, r := range all {
		r.End()
		w.finished(sessions[i])
	}
	var there int64
	for _, session := range sessions {
		entries, err := os.ReadDir(filepath.Join(w.config.Dir, session))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if e.Name() != "state.json" {
				there += info.Size()
			}
		}
	}
	if u := w.Usage(); u.Bytes != there || there > limit {
		t.Errorf("%d bytes are counted, %d are there", u.Bytes, there)
	}
	for _, session := range sessions {
		for _, name := range w.finished(session).Names {
			if err := w.Held(session, name); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Forget(session); err != nil {
			t.Fatal(err)
		}
	}
	if u := w.Usage(); u.Bytes != 0 {
		t.Errorf("%d bytes are counted of nothing", u.Bytes)
	}
}
