package session_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stile-dev/stile/agent/session"
)

// tape records, and fails when it is told to.
type tape struct {
	bytes.Buffer
	owner *bytes.Buffer
	early bool // the owner had not seen it yet each time
	err   error
}

func (t *tape) Output(s session.Stream, p []byte) error {
	if t.err != nil {
		return t.err
	}
	t.early = t.early && !bytes.HasSuffix(t.owner.Bytes(), p)
	t.WriteByte(byte(s))
	t.Write(p)
	return nil
}

func TestTheRecorderIsFirstAndHasTheLastWord(t *testing.T) {
	var o session.Output
	var owner bytes.Buffer
	w := o.Writer(&owner, session.Stdout)
	_, _ = io.WriteString(w, "before ")
	rec := &tape{owner: &owner, early: true}
	o.Record(rec)
	_, _ = io.WriteString(w, "one")
	_, _ = io.WriteString(o.Writer(&owner, session.Stderr), "two")
	if rec.String() != "oone"+"etwo" || !rec.early || owner.String() != "before onetwo" {
		t.Errorf("recorded %q, owner saw %q", rec.String(), owner.String())
	}
	rec.err = errors.New("no room")
	if n, err := io.WriteString(w, "unseen"); n != 0 || err == nil || strings.Contains(owner.String(), "unseen") {
		t.Errorf("%d, %v, owner saw %q", n, err, owner.String())
	}
}

func TestAJoinerSeesWhatComesAndTheEnd(t *testing.T) {
	var o session.Output
	var owner bytes.Buffer
	w := o.Writer(&owner, session.Stdout)
	_, _ = io.WriteString(w, "before ")
	j := o.Join()
	_, _ = io.WriteString(w, "after")
	o.End()
	if got, err := io.ReadAll(j); string(got) != "after" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.WriteString(w, "late"); err != nil || owner.String() != "before afterlate" {
		t.Errorf("%v, owner saw %q", err, owner.String())
	}
}

func TestAJoinerThatFallsBehindIsCutAndNobodyWaits(t *testing.T) {
	var o session.Output
	var owner bytes.Buffer
	w := o.Writer(&owner, session.Stdout)
	slow, quick := o.Join(), o.Join()
	seen := make(chan int)
	go func() {
		n, _ := io.Copy(io.Discard, quick)
		seen <- int(n)
	}()
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for range 8 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(slow); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("the slow one: %v", err)
	}
	_ = quick.Close()
	<-seen
	if owner.Len() != 8*len(chunk) {
		t.Errorf("the owner saw %d bytes", owner.Len())
	}
}
