package tunnel

import (
	"sync"
	"sync/atomic"
)

// What receive windows may take, in bytes. A stream's window is memory that its sender can fill and that stays taken as
// long as nobody reads; it begins at FirstWindow and doubles up to MaxWindow while it is read as fast as the line
// delivers. The first window of a stream may use all of an account, the growth of windows half of it: those who hold
// large windows don't keep others from connecting.
const (
	// FirstWindow is what yamux's protocol gives each stream to begin with.
	FirstWindow = 256 << 10
	// MaxWindow carries 160 MB/s over 100 ms of round trip, as a window is announced again when half of it was read.
	MaxWindow = 32 << 20
	// UserBudget is what the connections of one user may hold at a proxy: 512 of them, or two at full speed over 100 ms.
	UserBudget = 128 << 20
	// AgentBudget is what all streams to one agent may hold at a proxy: 1,024 of them, from at least two users.
	AgentBudget = 256 << 20
	// ProxyBudget is what a proxy spends on all windows: half of its task's memory (infra/stack). The other half is for
	// idle tunnels, TLS and the buffers of 2,048 connections.
	ProxyBudget = 512 << 20
	// HostBudget is what an agent spends on windows: machines that it runs on may be small. It bounds their growth to
	// 64 MiB; the number of streams is bounded by MaxStreams.
	HostBudget = 128 << 20
	// MaxStreams is how many streams a side may have open in a session, if nothing else was agreed.
	MaxStreams = 1024
)

// Account counts what a user, an agent or a whole process holds in receive windows. It is safe for concurrent use.
type Account struct {
	name  string
	limit int64
	used  atomic.Int64
}

// NewAccount makes an account; name is what errors call its owner.
func NewAccount(name string, limit int64) *Account { return &Account{name: name, limit: limit} }

// Used returns how many bytes are taken.
func (a *Account) Used() int64 { return a.used.Load() }

// FullError says that an account has no room for one more stream.
type FullError struct{ Owner string }

func (e *FullError) Error() string { return e.Owner + " has too many streams open" }

// The priorities of go-yamux, out of 256: how much of an account a first window and a growing one may use.
const (
	toBegin = 255
	toGrow  = 128 - 1
)

// take takes n bytes unless more than the priority's part would be in use.
func (a *Account) take(n int64, priority uint8) bool {
	most := a.limit / 256 * (1 + int64(priority))
	for {
		used := a.used.Load()
		if used+n > most {
			return false
		}
		if a.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (a *Account) give(n int64) { a.used.Add(-n) }

// takeAll takes n bytes from each account or from none.
func takeAll(accounts []*Account, n int64, priority uint8) error {
	for i, a := range accounts {
		if !a.take(n, priority) {
			for _, b := range accounts[:i] {
				b.give(n)
			}
			return &FullError{a.name}
		}
	}
	return nil
}

// Accounts holds one account for each key that is in use.
type Accounts struct {
	limit int64
	mu    sync.Mutex
	held  map[string]*shared
}

type shared struct {
	*Account
	holders int
}

// NewAccounts makes a set of accounts that have the same limit.
func NewAccounts(limit int64) *Accounts { return &Accounts{limit: limit, held: map[string]*shared{}} }

// Hold returns the account of that key, whose owner errors call by a name; the last to let go of it forgets it, when its
// streams have ended.
func (s *Accounts) Hold(key, name string) (a *Account, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.held[key]
	if one == nil {
		one = &shared{Account: NewAccount(name, s.limit)}
		s.held[key] = one
	}
	one.holders++
	return one.Account, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.holders--; one.holders == 0 {
			delete(s.held, key)
		}
	})
}
