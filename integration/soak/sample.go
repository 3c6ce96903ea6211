package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/integration/proc"
	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/pkg/document/revoked"
)

// By how much a process may hold more in the end than at first. Memory is anonymous memory in MiB, which Go gives
// back late; a leak of a KiB for each session is beyond it after some ten thousand.
var (
	memoryMargin = rule.Margin{Fixed: 10, Fraction: 0.35}
	filesMargin  = rule.Margin{Fixed: 6, Fraction: 0.1}
)

// lists is how many lists of those who are revoked a process holds at times that it doesn't hold at first: each publication
// makes a new one of the one in force, and Go's collector lets the heap double.
const lists = 4

// margins are those of a part. The local AWS keeps tables in memory, which the ledger fills with each session, and
// has files open for each function instance that a busy moment adds.
func margins(name string, sessions int64, users int) (memory, files rule.Margin) {
	if name == "localstack" {
		return rule.Margin{Fixed: memoryMargin.Fixed + float64(sessions)/20, Fraction: memoryMargin.Fraction}, rule.Margin{Fixed: 80}
	}
	memory, files = memoryMargin, filesMargin
	memory.Fixed += lists * float64(users*revoked.Size) / (1 << 20)
	return memory, files
}

// life is one process: a part of the system from a start to an end.
type life struct {
	name string
	pid  int
}

// holding is what a life held, rest after rest.
type holding struct {
	memory, files []float64
	sessions      []int64 // that had been then
}

// asked is how many sessions there were from the first rest to the last.
func (h *holding) asked() int64 {
	if len(h.sessions) == 0 {
		return 0
	}
	return h.sessions[len(h.sessions)-1] - h.sessions[0]
}

// sampler keeps what was sampled.
type sampler struct {
	mu    sync.Mutex
	lives map[life]*holding
	order []life
}

// sample looks at every process of the system.
func (r *run) sample(ctx context.Context) error {
	lives, err := r.lives(ctx)
	if err != nil {
		return err
	}
	sessions := r.counts.sessions.Load()
	s := &r.sampler
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lives == nil {
		s.lives = map[life]*holding{}
	}
	for _, l := range lives {
		m, err1 := proc.MemoryOf(l.pid)
		files, err2 := proc.FilesOf(l.pid)
		if err1 != nil || err2 != nil {
			continue // it has ended, as an idle function does
		}
		h := s.lives[l]
		if h == nil {
			h = &holding{}
			s.lives[l] = h
			s.order = append(s.order, l)
		}
		h.memory, h.files, h.sessions = append(h.memory, m.Anonymous), append(h.files, float64(files)), append(h.sessions, sessions)
	}
	return nil
}

// lives are the processes of the system's own programs: those that the local AWS lists, and the functions in it.
func (r *run) lives(ctx context.Context) ([]life, error) {
	list, err := r.PS(ctx)
	if err != nil {
		return nil, err
	}
	var lives []life
	for _, p := range list {
		lives = append(lives, life{p.Name, p.PID})
	}
	for _, p := range r.programs() {
		if strings.HasPrefix(p.name, "functions/") {
			lives = append(lives, p)
		}
	}
	return lives, nil
}

// programs are all processes that run a program of this system, by the program.
func (r *run) programs() (list []life) {
	bin := filepath.Join(r.Root, "bin") + "/"
	for _, pid := range proc.All() {
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if name, ours := strings.CutPrefix(program, bin); err == nil && ours {
			list = append(list, life{name, pid})
		}
	}
	return list
}

// running describes what runs of this system, for the end when nothing may.
func (r *run) running() (list []string) {
	for _, p := range r.programs() {
		list = append(list, fmt.Sprintf("%s runs as process %d", p.name, p.pid))
	}
	return list
}

// judgeLeaks holds the samples of every life that was long enough against the margins.
func (r *run) judgeLeaks() {
	r.sampler.mu.Lock()
	defer r.sampler.mu.Unlock()
	for _, l := range r.sampler.order {
		h := r.sampler.lives[l]
		memory, files := margins(l.name, h.asked(), r.revoked)
		for _, one := range []struct {
			what    string
			samples []float64
			margin  rule.Margin
		}{{"MiB of memory", h.memory, memory}, {"open files", h.files, files}} {
			if first, last, enough := rule.Growth(one.samples); enough {
				r.book.Judge(rule.Leak, time.Now(), rule.Grew(fmt.Sprintf("%s (process %d): %s", l.name, l.pid, one.what), first, last, one.margin))
			}
		}
	}
}

// durations are how long something took, time after time.
type durations struct {
	mu   sync.Mutex
	list []time.Duration
}

func (d *durations) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, one)
}

// String shows the median, the 95th percentile and the longest.
func (d *durations) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 {
		return "–"
	}
	s := slices.Sorted(slices.Values(d.list))
	at := func(q float64) time.Duration { return s[int(q*float64(len(s)-1)+0.5)].Round(time.Millisecond) }
	return fmt.Sprintf("%s / %s / %s", at(0.5), at(0.95), at(1))
}
