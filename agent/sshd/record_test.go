package sshd_test

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// recorded is a journal beside a spool of recordings.
type recorded struct {
	journal
	spool *record.Spool
	mode  string // in place of the decision's
}

type recorder struct{ *record.Recording }

func (r recorder) Output(s session.Stream, p []byte) error { return r.Recording.Output(byte(s), p) }

func (r *recorded) Begin(head recording.Head, secret []byte, mode string, fail func(*fault.Fault)) (session.Recording, error) {
	begun, err := r.spool.Begin(record.Begin{Head: head, Secret: secret, Mode: cmp.Or(r.mode, mode), Fail: fail})
	if err != nil {
		return nil, err
	}
	return recorder{begun}, nil
}

func newRecorded(t *testing.T, most int64) (*bench, *recorded) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{}
	r.spool, err = record.Open(record.Config{
		Dir: t.TempDir(), Most: most,
		Sign: func(m recording.Manifest) ([]byte, error) { return m.Sign(rand.Reader, key, []byte("certificate")) },
		Free: func(string) (uint64, uint64, error) { return 1 << 40, 1 << 40, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.spool.Close() })
	return newBenchOn(t, r), r
}

// shown returns what the only recording in the spool shows.
func (r *recorded) shown(t *testing.T) (head recording.Head, stdout, stderr []byte, lines []recording.Line, m recording.Manifest) {
	t.Helper()
	var p record.Pending
	until(t, "a manifest", func() bool {
		all := r.spool.Pending()
		if len(all) == 1 && all[0].Done {
			p = all[0]
		}
		return p.Done
	})
	for i, name := range p.Names {
		b, err := r.spool.Read(p.Session, name)
		if err != nil {
			t.Fatal(err)
		}
		if name == recording.ManifestName {
			signed, err := recording.OpenManifest(b)
			if err != nil {
				t.Fatal(err)
			}
			m = signed.Manifest
			continue
		}
		_, text, err := recording.OpenChunk(b)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if head, text, err = recording.ReadHead(text); err != nil {
				t.Fatal(err)
			}
		}
		for l, err := range recording.Lines(text) {
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, l)
			switch {
			case l.Kind == 'o' && l.Stream == recording.Stderr:
				stderr = append(stderr, l.Raw...)
			case l.Kind == 'o':
				stdout = append(stdout, l.Raw...)
			}
		}
	}
	return head, stdout, stderr, lines, m
}

func TestACommandIsRecordedByteForByteAndItsInputHashed(t *testing.T) {
	b, r := newRecorded(t, 0)
	s := open(t, b.login())
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("typed"), &out, &errs
	command := "cat; head -c 3000000 /dev/urandom; echo '\377oops' >&2" + strings.Repeat(" ", 5<<10) + "; true \xff"
	if err := s.Run(command); err != nil {
		t.Fatal(err)
	}
	head, stdout, stderr, _, m := r.shown(t)
	if !bytes.Equal(stdout, out.Bytes()) || !bytes.Equal(stderr, errs.Bytes()) || len(stdout) != 3_000_005 {
		t.Errorf("%d and %d bytes are recorded, %d and %d were shown", len(stdout), len(stderr), out.Len(), errs.Len())
	}
	sum := sha256.Sum256([]byte("typed"))
	if m.Input == nil || m.Input.Bytes != 5 || m.Input.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", m.Input)
	}
	if head.Terminal || head.Login != b.me || head.Command != command || m.Chunks < 2 {
		t.Errorf("%+v", head)
	}
	start, end := r.of(audit.SessionStart), r.of(audit.SessionEnd)
	if len(start) != 1 || start[0].Data["recording"] != "best-effort" || start[0].Data["command"] != strings.ToValidUTF8(command[:4<<10], "\uFFFD") ||
		start[0].Data["command_bytes"] != strconv.Itoa(len(command)) || start[0].Data["command_sha256"] != recording.Hash([]byte(command)) || len(end) != 1 || end[0].Data["chunks"] == "" {
		t.Errorf("%+v %+v", start, end)
	}
}

func TestATerminalIsRecordedWithItsSizesAndWithoutItsInput(t *testing.T) {
	b, r := newRecorded(t, 0)
	s := open(t, b.login())
	var out bytes.Buffer
	s.Stdout = &out
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 30, 100, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("read secret; stty size; echo done"); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(20, 90); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("hunter2\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	if sizes := r.of(audit.SessionResize); len(sizes) != 1 || sizes[0].Data["columns"] != "90" || sizes[0].Data["rows"] != "20" || sizes[0].Data["resizes"] != "1" {
		t.Errorf("%+v", sizes)
	}
	head, stdout, _, lines, m := r.shown(t)
	if !bytes.Equal(stdout, out.Bytes()) || bytes.Contains(stdout, []byte("hunter2")) || !bytes.Contains(stdout, []byte("done")) {
		t.Errorf("%q is recorded, %q was shown", stdout, out.String())
	}
	if !head.Terminal || head.Term != "xterm" || head.Width != 100 || head.Height != 30 || m.Input != nil || len(lines) == 0 || lines[0].Text != "90x20" {
		t.Errorf("%+v %+v", head, lines)
	}
}

func TestAStrictSessionEndsWithItsRecordingAndShowsNothingMore(t *testing.T) {
	b, r := newRecorded(t, 100_000)
	r.mode = resource.RecordStrict
	s := open(t, b.login())
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	err := s.Run("head -c 1000000 /dev/zero; sleep 600")
	if err == nil || !strings.Contains(errs.String(), "it must be") {
		t.Errorf("%v %q", err, errs.String())
	}
	_, stdout, _, _, m := r.shown(t)
	if !bytes.Equal(stdout, out.Bytes()) || out.Len() > 100_000 || m.Unrecorded != nil {
		t.Errorf("%d bytes are recorded, %d were shown", len(stdout), out.Len())
	}
	if end := r.of(audit.SessionEnd); len(end) != 1 || !strings.Contains(end[0].Reason, "can't be recorded any further") {
		t.Errorf("%+v", end)
	}
}
