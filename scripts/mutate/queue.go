package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// spread does all the work by so many workers at once, and returns when it is done, or when what was begun has ended
// after the context did. A worker stays in a package until nothing is left there, and then goes to where no other worker
// is, first to where most is left: so what is printed stays together, builds of one package seldom wait for its tests,
// and all workers stay busy to the end.
func spread[W any](ctx context.Context, all []W, workers int, dir func(W) string, do func(W)) {
	q := queue[W]{left: map[string][]W{}, at: map[string]int{}}
	for _, w := range all {
		q.left[dir(w)] = append(q.left[dir(w)], w)
	}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for at := ""; ctx.Err() == nil; {
				var w W
				if w, at = q.next(at); at == "" {
					return
				}
				do(w)
			}
		})
	}
	group.Wait()
}

// queue is the work that nobody has begun.
type queue[W any] struct {
	mu   sync.Mutex
	left map[string][]W // by package; none is empty
	at   map[string]int // how many workers are in a package
}

// next moves a worker from one package ("" at first) to the best one, and returns its work there; "" when all is begun.
func (q *queue[W]) next(from string) (work W, at string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at[from]--
	if len(q.left) == 0 {
		return work, ""
	}
	at = slices.MinFunc(slices.Collect(maps.Keys(q.left)), func(a, b string) int {
		switch order := cmp.Compare(q.at[a], q.at[b]); {
		case order != 0:
			return order
		case a == from:
			return -1
		case b == from:
			return 1
		}
		return cmp.Or(cmp.Compare(len(q.left[b]), len(q.left[a])), cmp.Compare(a, b))
	})
	q.at[at]++
	work, q.left[at] = q.left[at][0], q.left[at][1:]
	if len(q.left[at]) == 0 {
		delete(q.left, at)
	}
	return work, at
}

// locks are one lock for each package. The zero value is ready.
type locks struct {
	mu  sync.Mutex
	all map[string]*sync.Mutex
}

// of returns the package's lock.
func (l *locks) of(dir string) *sync.Mutex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*sync.Mutex{}
	}
	if l.all[dir] == nil {
		l.all[dir] = &sync.Mutex{}
	}
	return l.all[dir]
}
