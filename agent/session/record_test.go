package session_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// records are recordings of which the test sees what is done with them.
type records struct {
	refusal error

	mu     sync.Mutex
	head   recording.Head
	secret []byte
	mode   string
	fail   func(*fault.Fault)
	did    []string
	shown  strings.Builder
	broken error
}

func (r *records) Begin(head recording.Head, secret []byte, mode string, fail func(*fault.Fault)) (session.Recording, error) {
	if r.refusal != nil {
		return nil, r.refusal
	}
	r.head, r.secret, r.mode, r.fail = head, secret, mode, fail
	r.note("begin")
	return r, nil
}

func (r *records) note(what string) { r.mu.Lock(); defer r.mu.Unlock(); r.did = append(r.did, what) }

func (r *records) Output(_ session.Stream, p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown.Write(p)
	return r.broken
}

func (r *records) Resize(w, h int) { r.note(fmt.Sprintf("resize %dx%d", w, h)) }
func (r *records) Input(p []byte)  { r.note("input " + string(p)) }
func (r *records) Watch(on bool)   { r.note(fmt.Sprintf("watch %v", on)) }
func (r *records) End()            { r.note("end") }
func (r *records) Chunks() int     { return 3 }
func (r *records) Told()           { r.note("told") }
func (r *records) Began()          { r.note("began") }
func (r *records) Discard()        { r.note("discard") }

func newRecorded(mode string) (*world, *records) {
	w, r := newWorld(), &records{}
	w.decision.Options.Record = mode
	w.Register = session.New(session.Config{Gate: w, Journal: w, Records: r, Host: func() identity.Host { return host }, Cages: w})
	return w, r
}

func TestASessionIsRecordedAsTheDecisionSays(t *testing.T) {
	full := fault.New(fault.Unavailable, "the node has no room to record this session", "free some").Because(session.ErrFull)
	broken := fault.New(fault.Unavailable, "the node has no room to record this session", "free some").Because(errors.New("input/output error"))
	for name, c := range map[string]struct {
		mode    string
		refusal error
		admit   bool
		want    string // what session.start says; "" for a refusal
	}{
		"off":                                     {resource.RecordOff, nil, false, "off"},
		"nobody says anything":                    {"", nil, false, "best-effort"},
		"best effort":                             {resource.RecordBestEffort, nil, false, "best-effort"},
		"strict":                                  {resource.RecordStrict, nil, false, "strict"},
		"a mode of tomorrow":                      {"even-stricter", nil, false, "strict"},
		"strict without room":                     {resource.RecordStrict, full, false, ""},
		"strict without room, where it is let":    {resource.RecordStrict, full, true, "none, no room"},
		"strict on a broken disk, where it is":    {resource.RecordStrict, broken, true, ""},
		"best effort without room":                {resource.RecordBestEffort, full, false, "none, no room"},
		"best effort on a broken disk":            {resource.RecordBestEffort, broken, false, "none, it could not begin"},
		"best effort without room where it's let": {resource.RecordBestEffort, full, true, "none, no room"},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newRecorded(c.mode)
			r.refusal, w.decision.Options.AdmitWhenFull = c.refusal, c.admit
			s := open(t, admit(t, w, nil))
			err := s.Start(nil, session.Show{})
			starts := w.of(audit.SessionStart)
			if c.want == "" {
				f := s.Deny(err)
				if !fault.Is(err, fault.Unavailable) || f.Hint == "" || len(starts) != 0 || len(w.of(audit.SessionDenied)) != 1 {
					t.Errorf("%v, %d starts", err, len(starts))
				}
				return
			}
			if err != nil || len(starts) != 1 || starts[0].Data["recording"] != c.want {
				t.Errorf("%v %+v", err, starts)
			}
		})
	}
}

func TestWithoutRecordsNoSessionBeginsThatMustBeRecorded(t *testing.T) {
	w := newWorld()
	w.decision.Options.Record, w.decision.Options.AdmitWhenFull = resource.RecordStrict, true
	if err := open(t, admit(t, w, nil)).Start(nil, session.Show{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestARecordingSaysWhoseItIsAndEndsBeforeTheSessionsEndIsTold(t *testing.T) {
	w, r := newRecorded(resource.RecordStrict)
	s := open(t, admit(t, w, nil))
	if err := s.Start(nil, session.Show{Command: "top", Term: "xterm", Terminal: true, Width: 100, Height: 30}); err != nil {
		t.Fatal(err)
	}
	if !identity.MadeSession(s.ID(), r.secret) || r.head.Session != s.ID() || r.head.User != "ada" || r.head.Target != "db/orders" ||
		r.head.Command != "top" || r.head.Width != 100 || !r.head.Terminal || r.head.Agent != host.ID {
		t.Errorf("%+v", r.head)
	}
	var owner strings.Builder
	if _, err := io.WriteString(s.Output().Writer(&owner, session.Stdout), "hello"); err != nil || r.shown.String() != "hello" || owner.String() != "hello" {
		t.Errorf("%v %q", err, owner.String())
	}
	s.Resized(90, 20)
	_, _ = io.ReadAll(s.Received(strings.NewReader("typed")))
	j := s.Output().Join()
	_ = j.Close()
	s.End(session.Result{})
	if want := []string{"begin", "began", "watch false", "resize 90x20", "input typed", "watch true", "watch false", "end", "told"}; !slices.Equal(r.did, want) {
		t.Errorf("%q", r.did)
	}
	if ends := w.of(audit.SessionEnd); len(ends) != 1 || ends[0].Data["chunks"] != "3" {
		t.Errorf("%+v", ends)
	}
}

func TestWhatCannotBeRecordedIsNotShown(t *testing.T) {
	w, r := newRecorded(resource.RecordStrict)
	s := open(t, admit(t, w, nil))
	if err := s.Start(nil, session.Show{}); err != nil {
		t.Fatal(err)
	}
	r.broken = errors.New("disk")
	var owner strings.Builder
	if _, err := io.WriteString(s.Output().Writer(&owner, session.Stdout), "hello"); err == nil || owner.Len() > 0 {
		t.Errorf("%v, %q is shown", err, owner.String())
	}
}

func TestASessionWhoseRecordingFailsIsCutAndItsEndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newRecorded(resource.RecordStrict)
		s := open(t, admit(t, w, nil))
		if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
			t.Fatal(err)
		}
		s.Started(4711)
		r.fail(fault.New(fault.Unavailable, "the session can't be recorded any further", "free some"))
		if s.Reason() == nil {
			t.Error("it could still end well")
		}
		synctest.Wait()
		if !w.cages[0].wasKilled() {
			t.Error("it goes on")
		}
		s.End(session.Result{Reason: "its process died"})
		if e := w.of(audit.SessionEnd); len(e) != 1 || e[0].Reason != "the session can't be recorded any further" {
			t.Errorf("%+v", e)
		}
		s.Access().Close()
	})
}

func TestASessionThatMayNotBeginLeavesNoRecording(t *testing.T) {
	w, r := newRecorded(resource.RecordStrict)
	s := open(t, admit(t, w, nil))
	w.full = fault.New(fault.Unavailable, "the spool is full", "wait")
	if err := s.Start(nil, session.Show{}); err == nil || len(r.did) != 0 {
		t.Errorf("%v, %q", err, r.did)
	}
	w.full, w.broken = nil, errors.New("disk")
	if err := s.Start(nil, session.Show{}); err == nil || !slices.Equal(r.did, []string{"begin", "discard"}) {
		t.Errorf("%v, %q", err, r.did)
	}
	s.End(session.Result{})
	if len(r.did) != 2 {
		t.Errorf("%q", r.did)
	}
}

// Whoever hides a command behind blanks, or bytes that look like others, is found by its hash: the recording has all of it.
func TestACommandIsWholeInTheRecordingAndAnEventThatHasNotAllSaysItsHash(t *testing.T) {
	blanks := strings.Repeat(" ", 4<<10)
	for name, c := range map[string]struct{ command, shown string }{
		"a short one":                    {"top", "top"},
		"as long as an event has it":     {blanks, blanks},
		"behind blanks":                  {blanks + "rm -rf /", blanks},
		"as long as can be":              {strings.Repeat("x", recording.MaxCommand), strings.Repeat("x", 4<<10)},
		"half a character at the end":    {blanks[1:] + "é", blanks[1:]},
		"a whole character at the end":   {blanks[2:] + "é", blanks[2:] + "é"},
		"not UTF-8":                      {"echo \xff\xfe!", "echo \uFFFD!"},
		"what looks like it":             {"echo \uFFFD!", "echo \uFFFD!"},
		"no UTF-8 at the end":            {blanks[1:] + "\xff", blanks[1:] + "\uFFFD"},
		"control characters":             {strings.Repeat("\x01", 4<<10), strings.Repeat("\x01", (8<<10)/6)},
		"what JSON writes in six":        {strings.Repeat("<>&\u2028", 1<<10), strings.Repeat("<>&\u2028", (8<<10)/24) + "<"},
		"quotes":                         {strings.Repeat(`"\`, 3<<10), strings.Repeat(`"\`, 2<<10)},
		"a shell":                        {"", ""},
		"more than one line, and colour": {"echo '\x1b[31m'\ntrue\r\n", "echo '\x1b[31m'\ntrue\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newRecorded(resource.RecordStrict)
			s := open(t, admit(t, w, nil))
			if err := s.Start(nil, session.Show{Command: c.command}); err != nil {
				t.Fatal(err)
			}
			if r.head.Command != c.command {
				t.Errorf("%d of %d bytes are recorded", len(r.head.Command), len(c.command))
			}
			d := w.of(audit.SessionStart)[0].Data
			if d["command"] != c.shown || d["left_out"] != "" {
				t.Errorf("%d bytes %.20q, left out: %s", len(d["command"]), d["command"], d["left_out"])
			}
			sum, size := "", ""
			if c.shown != c.command {
				sum, size = recording.Hash([]byte(c.command)), strconv.Itoa(len(c.command))
			}
			if d["command_sha256"] != sum || d["command_bytes"] != size {
				t.Errorf("%s, %s", d["command_sha256"], d["command_bytes"])
			}
		})
	}
}
