package session_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
)

// world is a register on a gate, a journal and cages that the test holds in its hand.
type world struct {
	*session.Register
	mu       sync.Mutex
	decision policy.Decision
	refusal  error            // of everyone
	locked   map[string]error // of sessions by id
	slow     chan struct{}    // nil, or what a decision that was made waits for
	events   []audit.Event
	full     error
	broken   error
	scarce   bool
	crowded  error // of what is no session's
	unseen   time.Time
	cages    []*cage
	uncaged  error
}

type cage struct {
	mu           sync.Mutex
	name         string
	lead         int
	killed, over bool
	stubborn     int           // how many kills are too few
	stuck        chan struct{} // nil when processes die at once
}

func (c *cage) Configure(*syscall.SysProcAttr) {}
func (c *cage) Lead(pid int) error             { c.mu.Lock(); defer c.mu.Unlock(); c.lead = pid; return nil }

func (c *cage) Close() error    { c.mu.Lock(); defer c.mu.Unlock(); c.over = true; return nil }
func (c *cage) wasKilled() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.killed }

func (c *cage) Kill() error {
	if c.stuck != nil {
		<-c.stuck
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stubborn > 0 {
		c.stubborn--
		return errors.New("processes remain")
	}
	c.killed = true
	return nil
}

func (w *world) New(name string) (session.Cage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.uncaged != nil {
		return nil, w.uncaged
	}
	c := &cage{name: name}
	w.cages = append(w.cages, c)
	return c, nil
}

func (w *world) Admit(context.Context, identity.User, identity.Target, policy.Use) (policy.Decision, error) {
	return w.Again(identity.User{}, identity.Target{}, nil, "")
}

func (w *world) Again(_ identity.User, _ identity.Target, _ policy.Use, id string) (policy.Decision, error) {
	w.mu.Lock()
	d, refusal, locked, slow := w.decision, w.refusal, w.locked[id], w.slow
	w.mu.Unlock()
	if slow != nil {
		<-slow
	}
	if locked != nil {
		return policy.Decision{}, locked
	}
	return d, refusal
}

func (w *world) Now() time.Time { return time.Now() }

func (w *world) Unseen() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.unseen }

func (w *world) Room() error { w.mu.Lock(); defer w.mu.Unlock(); return w.full }

func (w *world) Scarce() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.scarce }

func (w *world) Note(e audit.Event) error {
	w.mu.Lock()
	crowded := w.crowded
	w.mu.Unlock()
	if crowded != nil {
		return crowded
	}
	return w.Record(e)
}

func (w *world) Record(e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	e.Cluster, e.Source = "c", "agent/a"
	if err := e.Validate(); err != nil {
		return err
	}
	w.events = append(w.events, e)
	return nil
}

func (w *world) of(kind audit.Type) []audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e audit.Event) bool { return e.Type != kind })
}

func (w *world) refuse(err error) {
	w.mu.Lock()
	w.refusal = err
	w.mu.Unlock()
	w.Recheck()
}

var host = identity.Host{
	Kind: identity.KindAgent, ID: "agt_01hv0000000000000000000000", Scope: "/prod", Labels: map[string]string{"env": "prod"},
	Targets: []identity.Target{{Kind: "db", Name: "orders"}},
}

func newWorld() *world {
	w := &world{decision: policy.Decision{Allowed: true}, locked: map[string]error{}}
	w.Register = session.New(session.Config{Gate: w, Journal: w, Host: func() identity.Host { return host }, Cages: w})
	return w
}

// ada wants to read orders; her certificate lives for an hour.
func ada(cut func(*fault.Fault)) session.Request {
	return session.Request{
		User: identity.User{
			Name: "ada", UID: "usr_ada", Roles: []string{"dba"}, Traits: map[string][]string{"team": {"db"}}, Certificate: "crt_1",
			Versions: identity.Versions{Policy: identity.Version{Epoch: 1, Counter: 7}},
		},
		Expires: time.Now().Add(time.Hour), Hint: session.Hint{Target: identity.Target{Kind: "db", Name: host.ID}},
		Use: policy.Use{"database": "shop", "user": "reader"}, Cut: cut,
	}
}

func admit(t *testing.T, w *world, cut func(*fault.Fault)) *session.Access {
	t.Helper()
	a, err := w.Register.Admit(t.Context(), ada(cut))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t *testing.T, a *session.Access) *session.Session {
	t.Helper()
	s, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASessionIsJournaledSoThatItsDecisionCanBeMadeAgain(t *testing.T) {
	w := newWorld()
	w.decision.Grants = []string{"req_1"}
	s := open(t, admit(t, w, nil))
	if err := s.Start(map[string]string{"kind": "db"}, session.Show{}); err != nil {
		t.Fatal(err)
	}
	s.End(session.Result{Data: map[string]string{"bytes": "3", "hits": "9", "fields": "seven"}})
	s.End(session.Result{Data: map[string]string{"bytes": "twice"}})
	starts, ends := w.of(audit.SessionStart), w.of(audit.SessionEnd)
	if len(starts) != 1 || len(ends) != 1 || starts[0].SessionID != s.ID() || ends[0].SessionID != s.ID() {
		t.Fatalf("%+v %+v", starts, ends)
	}
	e := starts[0]
	if e.TargetKind != "db" || e.Target != "orders" || e.Scope != "/prod" || e.Actor != "user/ada" || !slices.Equal(e.ActorRoles, []string{"dba"}) {
		t.Errorf("an agent reached by its id stands for its target: %+v", e)
	}
	for name, want := range map[string]string{
		"database": "shop", "user": "reader", "traits": `{"team":["db"]}`, "labels": `{"env":"prod"}`, "grants": "req_1",
		"versions": "trust=0.0 policy=1.7 revocations=0.0", "kind": "db",
	} {
		if e.Data[name] != want {
			t.Errorf("%s is %q, want %q", name, e.Data[name], want)
		}
	}
	if ends[0].Data["bytes"] != "3" {
		t.Errorf("%+v", ends[0])
	}
	// What the type doesn't have would make the event one that nobody takes.
	if _, ok := ends[0].Data["hits"]; ok || ends[0].Data["left_out"] != "fields (unknown, 5 bytes), hits (unknown, 1 bytes)" {
		t.Errorf("%+v", ends[0])
	}
}

func TestARefusalIsAnEventWithAnID(t *testing.T) {
	w := newWorld()
	w.refusal = fault.New(fault.Denied, "access denied: no role", "ask")
	_, err := w.Register.Admit(t.Context(), ada(nil))
	f := fault.From(err)
	events := w.of(audit.SessionDenied)
	if f.Code != fault.Denied || f.DecisionID == "" || len(events) != 1 || events[0].DecisionID != f.DecisionID || events[0].Outcome != audit.Denied {
		t.Errorf("%+v %+v", f, events)
	}
	if w.Users() != 0 {
		t.Error("it is held")
	}
	w.refusal, w.full = nil, fault.New(fault.Unavailable, "the spool is full", "wait")
	if _, err := w.Register.Admit(t.Context(), ada(nil)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without room: %v", err)
	}
}

func TestAConnectionIsCutThoughItsProcessesTakeLongToDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cut := make(chan time.Time, 1)
		s := open(t, admit(t, w, func(*fault.Fault) { cut <- time.Now() }))
		if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
			t.Fatal(err)
		}
		w.cages[0].stuck = make(chan struct{})
		s.Started(4711)
		began := time.Now()
		w.refuse(fault.New(fault.Denied, "locked: user ada", "ask"))
		if took := (<-cut).Sub(began); took > time.Second {
			t.Errorf("it was cut after %s", took)
		}
		close(w.cages[0].stuck)
	})
}

// Decisions that are made while documents arrive take effect in the order in which they were made.
func TestAnOlderDecisionDoesNotFollowANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cut := make(chan struct{})
		a := admit(t, w, func(*fault.Fault) { close(cut) })
		w.mu.Lock()
		w.decision.Options.OutliveCertificate = true
		slow := make(chan struct{})
		w.slow = slow
		w.mu.Unlock()
		older := make(chan struct{})
		go func() { w.Recheck(); close(older) }() // it has decided that the access outlives its certificate, and is slow to say so
		synctest.Wait()
		w.mu.Lock()
		w.decision.Options.OutliveCertificate, w.slow = false, nil
		w.mu.Unlock()
		newer := make(chan struct{})
		go func() { w.Recheck(); close(newer) }()
		synctest.Wait()
		close(slow)
		<-older
		<-newer
		if a.Decision().Options.OutliveCertificate {
			t.Error("the older decision is in force")
		}
		<-cut // when the certificate ends
	})
}

func TestNothingBeginsThatCannotBeJournaled(t *testing.T) {
	w := newWorld()
	s := open(t, admit(t, w, nil))
	w.broken = errors.New("disk")
	if err := s.Start(nil, session.Show{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	w.broken = nil
	s.End(session.Result{})
	if len(w.of(audit.SessionEnd)) != 0 {
		t.Error("what never began has an end")
	}
}

func TestACutKillsWhatRunsThenCutsTheConnectionAndWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cut := make(chan *fault.Fault, 1)
		stuck := make(chan struct{})
		a := admit(t, w, func(f *fault.Fault) {
			if !w.cages[0].wasKilled() {
				t.Error("the connection was cut before the process was killed")
			}
			cut <- f
		})
		s := open(t, a)
		if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
			t.Fatal(err)
		}
		s.Started(4711)
		s.OnKill(func(*fault.Fault) { <-stuck }) // a person who doesn't read
		w.refuse(fault.New(fault.Denied, "locked: user ada", "ask"))
		if f := <-cut; !strings.Contains(f.Message, "locked") {
			t.Errorf("%v", f)
		}
		if w.cages[0].lead != 4711 || w.cages[0].name != s.ID() || w.Users() != 0 {
			t.Errorf("%+v, %d users", w.cages[0], w.Users())
		}
		if _, err := a.Open(); !fault.Is(err, fault.Denied) {
			t.Errorf("another session: %v", err)
		}
		close(stuck)
		s.End(session.Result{Reason: "its process died"})
		if e := w.of(audit.SessionEnd); len(e) != 1 || e[0].Reason != "locked: user ada" {
			t.Errorf("%+v", e)
		}
	})
}

func TestALockOnASessionEndsThatOneAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := admit(t, w, func(*fault.Fault) { t.Error("the connection was cut") })
		one, other := open(t, a), open(t, a)
		for _, s := range []*session.Session{one, other} {
			if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
				t.Fatal(err)
			}
		}
		w.locked[one.ID()] = fault.New(fault.Denied, "locked: session", "ask")
		w.Recheck()
		synctest.Wait()
		if !w.cages[0].wasKilled() || w.cages[1].wasKilled() || one.Reason() == nil || other.Reason() != nil {
			t.Error("the wrong one ended")
		}
		a.Close()
	})
}

func TestAProcessThatSlippedInWhileTheSessionWasCutIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := open(t, admit(t, w, nil))
		if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
			t.Fatal(err)
		}
		w.refuse(fault.New(fault.Denied, "locked", "ask"))
		synctest.Wait()
		w.cages[0].killed = false
		s.Started(4711)
		if !w.cages[0].wasKilled() {
			t.Error("it lives")
		}
		if err := s.Configure(&syscall.SysProcAttr{}); !fault.Is(err, fault.Denied) {
			t.Errorf("a further one: %v", err)
		}
		told := make(chan struct{})
		s.OnKill(func(*fault.Fault) { close(told) })
		<-told
	})
}

func TestWithoutACageNoProcessBegins(t *testing.T) {
	w := newWorld()
	w.uncaged = errors.New("no space for cgroups")
	s := open(t, admit(t, w, nil))
	if err := s.Configure(&syscall.SysProcAttr{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

// A machine under load may take longer than one kill.
func TestWhatDoesNotEndAtOnceIsKilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := admit(t, w, nil)
		s := open(t, a)
		if err := errors.Join(s.Start(nil, session.Show{}), s.Configure(&syscall.SysProcAttr{})); err != nil {
			t.Fatal(err)
		}
		w.cages[0].stubborn = 3
		w.refuse(fault.New(fault.Denied, "locked", "ask"))
		w.Recheck()
		synctest.Wait()
		if left := w.cages[0].stubborn; left != 0 {
			t.Errorf("%d more kills were needed", left)
		}
		s.End(session.Result{})
		a.Close()
	})
}

func TestTimeTakesBackWhatItGave(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		until  time.Duration // when it is cut; 0 for never
	}{
		"a certificate that expires":                {func(*world) {}, time.Hour},
		"where every role lets sessions outlive it": {func(w *world) { w.decision.Options.OutliveCertificate = true }, 0},
		"a grant that ends, after which the answer is no": {func(w *world) {
			end := time.Now().Add(10 * time.Minute)
			w.decision.Until = end
			time.AfterFunc(10*time.Minute-time.Millisecond, func() {
				w.mu.Lock()
				w.refusal = fault.New(fault.Denied, "access denied: no role", "ask")
				w.mu.Unlock()
			})
		}, 10 * time.Minute},
		"a grant that ends while another goes on": {func(w *world) { w.decision.Until = time.Now().Add(10 * time.Minute) }, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				c.change(w)
				began := time.Now()
				var at atomic.Int64
				a := admit(t, w, func(*fault.Fault) { at.Store(int64(time.Since(began))) })
				if !w.decision.Until.IsZero() && c.until == time.Hour {
					time.AfterFunc(5*time.Minute, func() { w.mu.Lock(); w.decision.Until = time.Time{}; w.mu.Unlock(); w.Recheck() })
				}
				<-time.After(3 * time.Hour) // of the bubble's time
				if cut := time.Duration(at.Load()); cut < c.until || cut > c.until+time.Second {
					t.Errorf("cut after %s, want %s", cut, c.until)
				}
				a.Close()
			})
		})
	}
}

func TestAnAccessThatIsClosedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := admit(t, w, func(*fault.Fault) { t.Error("cut") })
		a.Close()
		w.refuse(fault.New(fault.Denied, "locked", "ask"))
		<-time.After(2 * time.Hour)
		if _, err := a.Open(); err == nil || w.Users() != 0 {
			t.Error("it can be used")
		}
	})
}

func TestSessionsOfOneAccessAreBounded(t *testing.T) {
	w := newWorld()
	a := admit(t, w, nil)
	var last *session.Session
	for range session.MaxSessions {
		last = open(t, a)
	}
	if _, err := a.Open(); !fault.Is(err, fault.RateLimited) {
		t.Errorf("%v", err)
	}
	last.End(session.Result{})
	open(t, a)
}

func TestAnEventThatIsTooLargeSaysWhatItLeavesOut(t *testing.T) {
	w := newWorld()
	s := open(t, admit(t, w, nil))
	if err := s.Start(map[string]string{"command": strings.Repeat("\"", 9<<10)}, session.Show{}); err != nil {
		t.Fatal(err)
	}
	e := w.of(audit.SessionStart)[0]
	if !strings.Contains(e.Data["left_out"], "command (9216 bytes, SHA-256 "+fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Repeat("\"", 9<<10))))+")") || e.Data["database"] != "shop" {
		t.Errorf("%+v", e.Data)
	}
}

// What a client says beside its use, and what a policy says at length, neither overwrite nor outgrow the event.
func TestAnEventOfADenialHoldsWhateverIsSaid(t *testing.T) {
	w := newWorld()
	q := ada(nil)
	q.Use = policy.Use{"database": strings.Repeat("d", 9<<10), "user": "reader", "certificate": "crt_2", "left_out": "nothing"}
	w.Refuse(q, fault.New(fault.Denied, strings.Repeat("é, ", 9<<10)+"\xff", "ask"))
	e := w.of(audit.SessionDenied)
	if len(e) != 1 {
		t.Fatal("it is not recorded")
	}
	if d := e[0].Data; d["certificate"] != "crt_1" || d["left_out"] != "" || d["user"] != "reader" || !strings.HasPrefix(e[0].Reason, "é, é, ") {
		t.Errorf("%v because %.40s", d, e[0].Reason)
	}
}
