package process

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Back-off between restarts of a process that keeps ending; it starts over once one has lived for steady.
const (
	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second
	steady     = 20 * time.Second
)

// Supervisor keeps processes running while it lives, and leaves them running when it ends.
type Supervisor struct {
	run string
	log *slog.Logger

	mu    sync.Mutex
	names map[string]*entry
	done  sync.WaitGroup
}

// entry is one name. Its lock keeps two callers of the same name apart; other names don't wait for them.
type entry struct {
	mu    sync.Mutex
	watch *watcher // nil while nobody looks after the process
	ended atomic.Int32
}

// watcher is the goroutine that looks after one name. It alone starts and waits for its process.
type watcher struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// NewSupervisor keeps its records in run.
func NewSupervisor(run string, log *slog.Logger) *Supervisor {
	return &Supervisor{run: run, log: log, names: map[string]*entry{}}
}

// Ensure returns once the spec is running: a process of the same spec and program bytes that an earlier
// supervisor left is adopted, an outdated one is stopped first. From then on the process is restarted
// whenever it ends.
func (s *Supervisor) Ensure(ctx context.Context, spec Spec) error {
	e := s.lock(spec.Name)
	defer e.mu.Unlock()
	hash, err := spec.hash()
	if err != nil {
		return err
	}
	if record, known := Load(s.run, spec.Name); known && record.Alive() && record.Hash == hash && e.watch != nil {
		return nil
	}
	e.unwatch() // before the record is read again: until then it may be restarted
	e.ended.Store(0)
	record, known := Load(s.run, spec.Name)
	alive := known && record.Alive()
	if alive && record.Hash != hash {
		s.log.Info("Stopping an outdated process", "name", spec.Name, "pid", record.PID)
		if err := record.Stop(ctx); err != nil {
			return err
		}
		alive = false
	}
	var wait func() error
	if alive {
		s.log.Info("Adopted a running process", "name", spec.Name, "pid", record.PID)
		wait = record.untilGone
	} else if record, wait, err = Start(spec, s.run); err != nil {
		return err
	} else {
		s.log.Info("Started a process", "name", spec.Name, "pid", record.PID)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watcher{cancel: cancel, ended: make(chan struct{})}
	e.watch = w
	s.done.Go(func() {
		defer close(w.ended)
		s.keep(ctx, spec, wait, &e.ended)
	})
	return nil
}

// Find returns the record of a name; ok is false if there is none.
func (s *Supervisor) Find(name string) (r Record, ok bool) { return Load(s.run, name) }

// Ended counts how often the process of a name ended by itself, or could not be started again, since it was first ensured.
func (s *Supervisor) Ended(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.names[name]; e != nil {
		return int(e.ended.Load())
	}
	return 0
}

// Stop ends a process and no longer looks after it.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	e := s.lock(name)
	defer e.mu.Unlock()
	e.unwatch()
	record, ok := Load(s.run, name)
	if !ok {
		return nil
	}
	if err := record.Stop(ctx); err != nil {
		return err
	}
	return record.Remove(s.run)
}

// Release stops looking after every process and leaves them all running.
func (s *Supervisor) Release() {
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.names))
	s.mu.Unlock()
	for _, name := range names {
		e := s.lock(name)
		e.unwatch()
		e.mu.Unlock()
	}
	s.done.Wait()
}

// lock gives a name to the caller alone, until its entry is unlocked.
func (s *Supervisor) lock(name string) *entry {
	s.mu.Lock()
	e := s.names[name]
	if e == nil {
		e = &entry{}
		s.names[name] = e
	}
	s.mu.Unlock()
	e.mu.Lock()
	return e
}

// unwatch stops looking after the process; e.mu is held.
func (e *entry) unwatch() {
	if e.watch != nil {
		e.watch.cancel()
		<-e.watch.ended
		e.watch = nil
	}
}

// untilGone waits for the end of a process that is not our child.
func (r Record) untilGone() error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for r.Alive() {
		<-tick.C
	}
	return nil
}

// keep restarts the process each time it ends, until ctx does, and counts that.
func (s *Supervisor) keep(ctx context.Context, spec Spec, wait func() error, count *atomic.Int32) {
	pause := firstPause
	for {
		began := time.Now()
		if wait != nil {
			// The reaper outlives a released watcher by design: the process does too.
			ended := make(chan error, 1)
			go func() { ended <- wait() }()
			select {
			case <-ctx.Done():
				return
			case err := <-ended:
				count.Add(1)
				s.log.Warn("A process ended and is being started again", "name", spec.Name, "cause", err, "pause", pause.String())
			}
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
		var err error
		if _, wait, err = Start(spec, s.run); err != nil {
			count.Add(1)
			s.log.Error("A process could not be started", "name", spec.Name, "cause", err)
			wait = nil
		}
	}
}
