package record

import "time"

// Sealing takes more of the processor than a session's way from its program to its user does, so a journal that is full before
// its time waits while sessions show much. What is kept on disk and synced is the same meanwhile.
const (
	lookEvery = 50 * time.Millisecond
	much      = 512 << 10 // of output of all sessions between two looks
)

// calm waits until little is shown. It returns as well once a journal that began at some time of the session is as old as any may
// become, too many of all sessions wait, the session itself waits for it or the disk has little room, and when the session or the
// agent ends.
func (r *Recording) calm(began time.Duration) {
	s := r.spool
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	for {
		age := s.config.Now().Sub(r.begun) - began
		if age < 0 || age >= r.mostAge() || r.last.Load() || r.urgent.Load() || s.tight.Load() || s.waiting.Load() > s.most*3/4 {
			return
		}
		before := s.shown.Load()
		look.Reset(lookEvery)
		select {
		case <-look.C:
		case <-s.stop:
			return
		}
		if s.shown.Load()-before < much {
			return
		}
	}
}

// mostAge is how old a journal becomes before it is sealed.
func (r *Recording) mostAge() time.Duration {
	if r.watched.Load() {
		return watchedAge
	}
	return journalAge
}
