package session

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"syscall"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// Cages makes what holds the processes of one session, whatever they do to get away.
type Cages interface {
	New(session string) (Cage, error)
}

// Cage holds the processes of one session.
type Cage interface {
	// Configure has a process begin inside.
	Configure(*syscall.SysProcAttr)
	// Lead names the first process inside, while its number can't be another's yet.
	Lead(pid int) error
	// Kill ends every process inside. It takes a bounded time.
	Kill() error
	// Close releases the cage; processes that are still running in it are left alone.
	Close() error
}

// Session is one recorded use of a target. It is safe for concurrent use.
type Session struct {
	access *Access
	id     string // ses_…

	mu      sync.Mutex
	started bool
	ended   bool
	cage    Cage
	onKill  func(*fault.Fault)
	reason  *fault.Fault // why it was cut
	output  Output

	sizes     sizes  // of the terminal
	secret    []byte // that the id was made from
	recording Recording
}

// ID is ses_<ulid>.
func (s *Session) ID() string { return s.id }

// Access is what the session runs under.
func (s *Session) Access() *Access { return s.access }

// Output is where what the session shows goes through.
func (s *Session) Output() *Output { return &s.output }

// OnKill has f called, without waiting for it, when the session is cut; at once if it has been already. It is for what
// a service holds besides processes.
func (s *Session) OnKill(f func(*fault.Fault)) {
	s.mu.Lock()
	s.onKill = f
	reason := s.reason
	s.mu.Unlock()
	if reason != nil {
		go f(reason)
	}
}

// Reason is why the session was cut; nil when it was not.
func (s *Session) Reason() *fault.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// Start journals that the session begins, with what the service says of it and its command, and begins its recording. It fails with a fault
// when the one can't be kept or the other must be and can't: nothing may happen that nobody could be told of.
func (s *Session) Start(data map[string]string, show Show) error {
	r := s.access.register
	e := r.event(audit.SessionStart, s.access.request)
	e.SessionID = s.id
	d := s.access.Decision()
	describe(&e, r.config.Host(), s.access.request.User, d)
	maps.Copy(e.Data, data)
	command(&e, show.Command)
	if err := s.ready(); err != nil {
		return err
	}
	recorded, how, err := s.record(e.Time, d, show)
	if err != nil {
		return err
	}
	e.Data["recording"] = how
	if err := s.start(e, recorded, show); err != nil {
		if recorded != nil {
			recorded.Discard()
		}
		return err
	}
	if recorded != nil {
		recorded.Began()
		s.output.Record(recorded)
	}
	return nil
}

// ready fails when the session may not begin, before anything is made for it.
func (s *Session) ready() error {
	if f := s.Reason(); f != nil {
		return f
	}
	return s.access.register.room(s.access.request.User.UID)
}

// start journals the session's start.
func (s *Session) start(e audit.Event, recorded Recording, show Show) error {
	r := s.access.register
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil {
		return s.reason
	}
	if err := r.config.Journal.Record(fit(e, audit.MaxSize)); err != nil {
		if _, ok := errors.AsType[*fault.Fault](err); ok {
			return err
		}
		return fault.New(fault.Unavailable, "the node can't keep audit events, so no session may begin", "check the agent's log on the node").Because(err)
	}
	s.started, s.recording = true, recorded
	s.sizes.columns, s.sizes.rows = show.Width, show.Height
	return nil
}

// Configure has a process of the session begin in the session's cage. Without a cage there is nothing to do.
func (s *Session) Configure(attr *syscall.SysProcAttr) error {
	cages := s.access.register.config.Cages
	if cages == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil {
		return s.reason
	}
	if s.cage == nil {
		cage, err := cages.New(s.id)
		if err != nil {
			return fault.New(fault.Unavailable, "the node can't keep track of a session's processes, so no session may begin", "check the agent's log on the node").Because(err)
		}
		s.cage = cage
	}
	s.cage.Configure(attr)
	return nil
}

// Started reports a process that was started as [Session.Configure] says. One that slipped in while the session was cut
// is killed.
func (s *Session) Started(pid int) {
	s.mu.Lock()
	cage, cut := s.cage, s.reason != nil
	s.mu.Unlock()
	if cage == nil {
		return
	}
	if err := cage.Lead(pid); err != nil {
		s.access.register.config.Log.Warn("First process of a session not recorded", "session_id", s.id, "error", err)
	}
	if cut {
		s.slay(cage)
	}
}

// kill cuts the session: when it returns, its processes are gone and the service has been told.
func (s *Session) kill(f *fault.Fault) {
	if cut := s.condemn(f); cut != nil {
		cut()
	}
}

// condemn sets why the session is cut: from then on it can't end in another way. It doesn't wait, and returns the function that
// cuts; nil if there is a reason already, or the session has ended.
func (s *Session) condemn(f *fault.Fault) (cut func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil || s.ended {
		return nil
	}
	s.reason = f
	cage, told := s.cage, s.onKill
	return func() {
		if cage != nil {
			s.slay(cage)
		}
		if told != nil {
			go told(f)
		}
	}
}

// attempts is how often the processes of a session are killed: each time is bounded, and on a machine under load some may
// not have ended by then.
const attempts = 5

func (s *Session) slay(cage Cage) {
	var err error
	for range attempts {
		if err = cage.Kill(); err == nil {
			return
		}
	}
	s.access.register.config.Log.Error("Processes of a session that was cut may still be running", "session_id", s.id, "error", err)
}

// Result is how a session ended.
type Result struct {
	Outcome audit.Outcome // "" is success
	Reason  string        // needed unless it is success; a session that was cut ends with the cut's reason
	Data    map[string]string
}

// End journals how the session ended, once, and gives it up. A session that never started leaves no event.
func (s *Session) End(result Result) {
	s.access.forget(s)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	started, cage, cut, recorded, sizes := s.started, s.cage, s.reason, s.recording, s.sizes
	s.mu.Unlock()
	if recorded != nil {
		recorded.End()
	}
	if cage != nil {
		if err := cage.Close(); err != nil {
			s.access.register.config.Log.Warn("Cgroup of a session not removed", "session_id", s.id, "error", err)
		}
	}
	if !started {
		return
	}
	r := s.access.register
	e := r.event(audit.SessionEnd, s.access.request)
	e.SessionID, e.Reason = s.id, result.Reason
	if result.Outcome != "" {
		e.Outcome = result.Outcome
	}
	if cut != nil {
		e.Reason = cut.Message
	}
	maps.Copy(e.Data, result.Data)
	if sizes.untold > 0 {
		sizes.tell(&e)
	}
	if recorded != nil {
		e.Data["chunks"] = strconv.Itoa(recorded.Chunks())
	}
	r.record(e)
	if recorded != nil {
		recorded.Told()
	}
}

// Deny journals that the session was refused after its user had been admitted, as [Register.Refuse] does, and returns the
// fault for the user.
func (s *Session) Deny(cause error) *fault.Fault {
	r := s.access.register
	f := *fault.From(cause)
	e := r.event(audit.SessionDenied, s.access.request)
	e.SessionID, e.Outcome, e.Reason, e.DecisionID = s.id, audit.Denied, f.Message, f.DecisionID
	if !r.deny(s.access.request.User, e) {
		f.DecisionID = "" // there is no event by that name
	}
	return f.Because(cause)
}
