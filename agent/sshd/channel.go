package sshd

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
)

// Limits on what a client may ask for before its command runs.
const (
	maxEnv     = 64
	maxEnvSize = 4 << 10
	// signalsASecond bounds what looking for the processes to signal may cost.
	signalsASecond = 10
	maxCommand     = recording.MaxCommand // what Linux accepts as one argument (MAX_ARG_STRLEN)
)

// ownFailure is the exit status for what fails on our side, as OpenSSH's.
const ownFailure = 255

// channel is one channel: at most one shell or command, which is one session.
type channel struct {
	connection *connection
	session    *session.Session
	ssh        ssh.Channel
	requests   <-chan *ssh.Request

	env      []string
	terminal *terminal     // nil without pty-req
	process  *process      // nil until shell or exec
	signals  *rate.Limiter // nil before the first
	running  sync.WaitGroup
	screen   atomic.Bool // whether there is a terminal, for messages from outside
	told     sync.Once   // why the session is over
}

// serve answers requests until the channel closes, hangs up what still runs and waits for it.
func (s *channel) serve() {
	defer s.session.End(session.Result{})
	defer s.ssh.Close()
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
func (s *channel) answer(r *ssh.Request) (ok bool, then func()) {
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

// setEnv keeps a variable that the allow-list names and ignores others, as OpenSSH does. A value with a line break or
// another control character is refused: whatever prints the environment would take it for more than one.
func (s *channel) setEnv(payload []byte) bool {
	var m struct{ Name, Value string }
	if ssh.Unmarshal(payload, &m) != nil || s.process != nil {
		return false
	}
	if !allowedEnv(m.Name) || len(m.Value) > maxEnvSize || strings.ContainsFunc(m.Value, unicode.IsControl) || len(s.env) >= maxEnv {
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
func (s *channel) signal(payload []byte) bool {
	var m struct{ Name string }
	if ssh.Unmarshal(payload, &m) != nil || s.process == nil {
		return false
	}
	if s.signals == nil {
		s.signals = rate.NewLimiter(signalsASecond, signalsASecond)
	}
	number, ok := signals[m.Name]
	return ok && s.signals.Allow() && s.process.signal(number) == nil
}

func (s *channel) askPty(payload []byte) bool {
	if s.process != nil || s.terminal != nil {
		return false
	}
	t, ok := parseTerminal(payload)
	if ok {
		s.terminal = t
		s.screen.Store(true)
	}
	return ok
}

func (s *channel) resize(payload []byte) bool {
	size, ok := parseSize(payload)
	if !ok || s.terminal == nil {
		return false
	}
	s.terminal.size = size
	s.session.Resized(int(size.Col), int(size.Row))
	return s.process == nil || s.process.resize(size) == nil
}

// start begins the one shell or command of the session. A failure of ours is told on stderr. Nothing starts before
// the journal holds that it does.
func (s *channel) start(kind, command string) (bool, func()) {
	if s.process != nil {
		return false, nil
	}
	s.process = &process{} // whatever becomes of it, nothing more may be started here
	a, err := s.account()
	if err != nil {
		return true, func() { s.refuse(s.session.Deny(err)) }
	}
	data := map[string]string{"kind": kind, "pty": strconv.FormatBool(s.terminal != nil)}
	show := session.Show{Command: command}
	if s.terminal != nil {
		show.Terminal, show.Term, show.Width, show.Height = true, s.terminal.name, int(s.terminal.size.Col), int(s.terminal.size.Row)
	}
	if err := s.session.Start(data, show); err != nil {
		return true, func() { s.refuse(s.session.Deny(err)) }
	}
	p, err := s.launch(a, command)
	if err != nil {
		return true, func() {
			f := fault.From(err)
			s.session.End(session.Result{Outcome: audit.Failure, Reason: f.Message})
			s.refuse(f)
		}
	}
	s.process = p
	return true, s.run
}

// refuse shows why nothing was started.
func (s *channel) refuse(f *fault.Fault) {
	server := s.connection.server
	if between, ok := server.lines.Take(s.connection.hint.Source.Addr(), time.Now()); ok {
		server.config.Log.Warn("Session not started", "session_id", s.session.ID(), "login", s.connection.login, "reason", f.Message, "cause", f.Unwrap(), "not_logged_before", between)
	}
	s.say(sentence(f))
	s.exit(status{code: ownFailure})
}

// run moves bytes until the process and its output have ended, and reports how.
func (s *channel) run() {
	in := io.Reader(s.ssh)
	if s.terminal == nil { // what is typed into a terminal isn't even hashed: it has passwords
		in = s.session.Received(in)
	}
	result := s.process.run(streams{
		in: in, out: s.session.Output().Writer(s.ssh, session.Stdout), err: s.session.Output().Writer(s.ssh.Stderr(), session.Stderr),
	})
	s.session.Output().End()
	data := map[string]string{"bytes_in": strconv.FormatInt(result.received, 10), "bytes_out": strconv.FormatInt(result.sent, 10)}
	switch {
	case result.left:
		data["left"] = "the client disconnected; the process ignored the hang-up and is still running"
	case result.signal != "":
		data["exit_signal"] = result.signal
	default:
		data["exit_status"] = strconv.Itoa(result.code)
	}
	// The journal comes first: a client that doesn't read can hold up what it is told, but not what is recorded about it.
	s.session.End(session.Result{Data: data})
	if s.session.Reason() != nil {
		return // the client isn't told how the command ended: it was cut, and cut or end says so
	}
	s.exit(result)
}

// exit ends the channel as RFC 4254 section 6.10 says: end of data, how it ended, close.
func (s *channel) exit(st status) {
	_ = s.ssh.CloseWrite()
	if st.signal != "" {
		_, _ = s.ssh.SendRequest("exit-signal", false, exitSignal(st.signal, st.core))
	} else {
		_, _ = s.ssh.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(st.code)}))
	}
	_ = s.ssh.Close()
}

func exitSignal(name string, core bool) []byte {
	return ssh.Marshal(struct {
		Name              string
		Core              bool
		Message, Language string
	}{Name: name, Core: core})
}

// cut ends a session that was withdrawn while its connection stays open: its processes are gone by now.
func (s *channel) cut(f *fault.Fault) {
	limit := time.AfterFunc(farewell, func() { _ = s.ssh.Close() })
	s.tell(f)
	if limit.Stop() {
		_ = s.ssh.Close()
	}
}

// tell says once that the node ended the session, so that no client takes it for a lost connection, and shows the user
// why.
func (s *channel) tell(f *fault.Fault) {
	s.told.Do(func() {
		_, _ = s.ssh.SendRequest("exit-signal", false, exitSignal(names.SSHEnded, false))
		ended := *f
		ended.Message = "the node ended the session: " + f.Message
		s.say("\r\n" + sentence(&ended))
	})
}

// say writes to the user's stderr, as far as the window lets it through. Without a terminal it writes plain lines.
func (s *channel) say(text string) {
	if !s.screen.Load() {
		text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	}
	_, _ = s.ssh.Stderr().Write([]byte(text))
}
