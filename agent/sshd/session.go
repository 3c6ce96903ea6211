package sshd

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// Limits on what a client may ask for before its command runs.
const (
	maxEnv     = 64
	maxEnvSize = 4 << 10
	maxCommand = 128 << 10 // what Linux takes as one argument (MAX_ARG_STRLEN)
)

// farewell is how long a session that is cut may take to show the reason.
const farewell = 200 * time.Millisecond

// ownFailure is the exit status for what fails on our side, as OpenSSH's.
const ownFailure = 255

// session is one channel: at most one shell or command.
type session struct {
	connection *connection
	id         string // ses_…
	channel    ssh.Channel
	requests   <-chan *ssh.Request

	env      []string
	terminal *terminal // nil without pty-req
	process  *process  // nil until shell or exec
	running  sync.WaitGroup
	reason   *fault.Fault // why it was cut
	mu       sync.Mutex   // guards reason
}

// serve answers requests until the channel closes, hangs up what still runs and waits for it.
func (s *session) serve() {
	defer s.channel.Close()
	for r := range s.requests {
		ok, then := s.answer(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if then != nil {
			s.running.Go(then)
		}
	}
	if s.process != nil {
		s.process.hangUp()
	}
	s.running.Wait()
}

// answer takes one request; then is what to run after the reply has gone out.
func (s *session) answer(r *ssh.Request) (ok bool, then func()) {
	switch r.Type {
	case "env":
		return s.setEnv(r.Payload), nil
	case "pty-req":
		return s.askPty(r.Payload), nil
	case "window-change":
		return s.resize(r.Payload), nil
	case "signal":
		return s.signal(r.Payload), nil
	case "shell":
		return s.start("shell", "")
	case "exec":
		var m struct{ Command string }
		if ssh.Unmarshal(r.Payload, &m) != nil || len(m.Command) > maxCommand || strings.ContainsRune(m.Command, 0) {
			return false, nil
		}
		return s.start("exec", m.Command)
	}
	return false, nil // subsystems, X11, agents: capabilities of their own
}

// setEnv keeps a variable that the allow-list names and ignores others, as OpenSSH does.
func (s *session) setEnv(payload []byte) bool {
	var m struct{ Name, Value string }
	if ssh.Unmarshal(payload, &m) != nil || s.process != nil {
		return false
	}
	if !allowedEnv(m.Name) || len(m.Value) > maxEnvSize || strings.ContainsRune(m.Value, 0) || len(s.env) >= maxEnv {
		return false
	}
	s.env = append(s.env, m.Name+"="+m.Value)
	return true
}

// allowedEnv names what a client may set: language and colours, nothing that a shell or loader obeys.
func allowedEnv(name string) bool {
	switch name {
	case "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "TZ":
		return true
	}
	rest, ok := strings.CutPrefix(name, "LC_")
	return ok && rest != "" && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// signal passes on a signal that RFC 4254 section 6.9 names.
func (s *session) signal(payload []byte) bool {
	var m struct{ Name string }
	if ssh.Unmarshal(payload, &m) != nil || s.process == nil {
		return false
	}
	number, ok := signals[m.Name]
	return ok && s.process.signal(number) == nil
}

func (s *session) askPty(payload []byte) bool {
	if s.process != nil || s.terminal != nil {
		return false
	}
	t, ok := parseTerminal(payload)
	if ok {
		s.terminal = t
	}
	return ok
}

func (s *session) resize(payload []byte) bool {
	size, ok := parseSize(payload)
	if !ok || s.terminal == nil {
		return false
	}
	s.terminal.size = size
	return s.process == nil || s.process.resize(size) == nil
}

// start begins the one shell or command of the session. A failure of ours is told on stderr. Nothing starts before
// the journal holds that it does.
func (s *session) start(kind, command string) (bool, func()) {
	if s.process != nil {
		return false, nil
	}
	s.process = &process{} // whatever comes of it, nothing more may be started here
	a, err := s.account()
	if err == nil {
		err = s.begin(kind, command)
	}
	if err != nil {
		return true, func() { s.fail(audit.SessionDenied, audit.Denied, fault.From(err)) }
	}
	p, err := s.launch(a, command)
	if err != nil {
		return true, func() { s.fail(audit.SessionEnd, audit.Failure, fault.From(err)) }
	}
	s.process = p
	return true, s.run
}

// fail shows why nothing was started and records it.
func (s *session) fail(kind audit.Type, outcome audit.Outcome, f *fault.Fault) {
	s.connection.server.config.Log.Warn("Session not started", "session_id", s.id, "login", s.connection.login, "reason", f.Message, "cause", f.Unwrap())
	event := s.event(kind)
	event.Outcome, event.Reason, event.DecisionID = outcome, f.Message, f.DecisionID
	s.connection.server.record(event)
	_, _ = s.channel.Stderr().Write([]byte(sentence(f)))
	s.exit(status{code: ownFailure})
}

// run moves bytes until the process and its output have ended, and reports how.
func (s *session) run() {
	result := s.process.run(s.channel)
	s.exit(result)
	event := s.event(audit.SessionEnd)
	event.Data["bytes_in"] = strconv.FormatInt(result.received, 10)
	event.Data["bytes_out"] = strconv.FormatInt(result.sent, 10)
	if result.signal != "" {
		event.Data["exit_signal"] = result.signal
	} else {
		event.Data["exit_status"] = strconv.Itoa(result.code)
	}
	s.mu.Lock()
	if s.reason != nil {
		event.Reason = s.reason.Message
	}
	s.mu.Unlock()
	s.connection.server.record(event)
}

// begin records that the session runs, and fails when that can't be kept.
func (s *session) begin(kind, command string) error {
	event := s.event(audit.SessionStart)
	event.Data["kind"], event.Data["pty"] = kind, strconv.FormatBool(s.terminal != nil)
	if command != "" {
		event.Data["command"] = clip(command, 4<<10)
	}
	err := s.connection.server.config.Journal.Record(event)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return fault.New(fault.Unavailable, "the node can't keep audit events, so no session may begin", "look at the agent's log on the node").Because(err)
}

func (s *session) event(kind audit.Type) audit.Event {
	c := s.connection
	e := c.server.event(kind, c.user, c.hint)
	e.SessionID, e.Data["login"] = s.id, c.login
	return e
}

// exit ends the channel as RFC 4254 section 6.10 says: end of data, how it ended, close.
func (s *session) exit(st status) {
	_ = s.channel.CloseWrite()
	if st.signal != "" {
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name              string
			Core              bool
			Message, Language string
		}{Name: st.signal, Core: st.core}))
	} else {
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(st.code)}))
	}
	_ = s.channel.Close()
}

// end cuts the session and tells its user why, as far as the user's window lets it through.
func (s *session) end(f *fault.Fault) {
	s.mu.Lock()
	s.reason = f
	s.mu.Unlock()
	told := make(chan struct{})
	go func() {
		defer close(told)
		_, _ = s.channel.Stderr().Write([]byte("\r\n" + sentence(f)))
	}()
	limit := time.NewTimer(farewell)
	defer limit.Stop()
	select {
	case <-told:
	case <-limit.C:
	}
	_ = s.channel.Close()
}
