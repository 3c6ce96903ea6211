package session

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// Show is what a service says about what a session will show.
type Show struct {
	Terminal      bool
	Term          string // TERM
	Width, Height int    // columns and rows of the terminal
	Command       string // byte for byte; "" for a shell
}

// Records keeps recordings.
type Records interface {
	// Begin begins one. The secret is what the session's id was made from. Fail is called without waiting when a strict one
	// can't go on. It fails with a fault when there is no room.
	Begin(head recording.Head, secret []byte, mode string, fail func(*fault.Fault)) (Recording, error)
}

// Recording is that of one session.
type Recording interface {
	Recorder
	// Resize keeps that the terminal has another size.
	Resize(width, height int)
	// Input counts and hashes what came in, of which nothing else is kept.
	Input(p []byte)
	// Watch says whether somebody is watching.
	Watch(on bool)
	// End says that nothing more will be shown. It doesn't wait.
	End()
	// Chunks is how many the recording has, once it has ended.
	Chunks() int
	// Told says, after End, that the journal holds how the session ended.
	Told()
	// Began says that the session runs: whoever asks may know of it.
	Began()
	// Discard takes back a recording of a session that didn't begin.
	Discard()
}

// ErrFull is wrapped by the fault of [Records.Begin] when there is no room.
var ErrFull = errors.New("no room for a recording")

// What a session's event says when nothing is recorded, beside the modes.
const (
	unrecordedFull = "none, no room"
	unrecordedFail = "none, it could not begin"
)

// record begins the session's recording as the decision asks for it, and says how it is recorded.
func (s *Session) record(now time.Time, d policy.Decision, show Show) (Recording, string, error) {
	r, q := s.access.register, s.access.request
	mode := resource.Strictest(cmp.Or(d.Options.Record, resource.RecordBestEffort), resource.RecordOff)
	if mode == resource.RecordOff {
		return nil, mode, nil
	}
	begun, err := Recording(nil), error(fault.New(fault.Unavailable, "this agent keeps no recordings, and the session must be recorded", "ask the node's administrator"))
	if r.config.Records != nil {
		width, height := show.Width, show.Height
		if width == 0 || height == 0 {
			width, height = 80, 24
		}
		host := r.config.Host()
		begun, err = r.config.Records.Begin(recording.Head{
			Session: s.id, Cluster: host.Cluster, Agent: host.ID, Target: q.Hint.Target.String(), User: q.User.Name, UID: q.User.UID, Login: q.Use["login"],
			Terminal: show.Terminal, Started: now, Command: show.Command, Term: show.Term, Width: width, Height: height,
		}, s.secret, mode, s.unrecordable)
	}
	switch {
	case err == nil:
		return begun, mode, nil
	case mode == resource.RecordStrict && !(d.Options.AdmitWhenFull && errors.Is(err, ErrFull)):
		return nil, "", err
	}
	r.config.Log.Warn("Session not recorded", "session_id", s.id, "error", err)
	if errors.Is(err, ErrFull) {
		return nil, unrecordedFull, nil
	}
	return nil, unrecordedFail, nil
}

// unrecordable cuts the session. That it has to be is known at once: else a process that ends by itself just then would end
// well, and what it showed last would be missing without a word.
func (s *Session) unrecordable(f *fault.Fault) {
	if cut := s.condemn(f); cut != nil {
		go cut()
	}
}

// Received returns a reader of what came in that the recording counts and hashes; for a session without a terminal.
func (s *Session) Received(in io.Reader) io.Reader {
	r := s.recorded()
	if r == nil {
		return in
	}
	return received{in, r}
}

func (s *Session) recorded() Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recording
}

type received struct {
	in        io.Reader
	recording Recording
}

// Read reads and counts.
func (r received) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if n > 0 {
		r.recording.Input(p[:n])
	}
	return n, err
}
