package link

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/frame"
)

// Looking for another proxy. What a proxy says adds to what an agent knows and takes nothing away, since any of them may
// lie: that it is alone, or that others are where nobody answers.
const (
	// maxTold is how many addresses an agent remembers that proxies told.
	maxTold = 64
	// maxFailed is after how many attempts in a row, each in vain, such an address is forgotten.
	maxFailed = 5
	// vainMost is after how many attempts that led to no other proxy an agent that has a tunnel stops looking. From then
	// on it looks around now and then, as it does when a proxy says that there is no other.
	vainMost = 16
	lookMost = 10 * time.Minute
)

// lookAfter is when to look around: 10,000 agents that do are some 20 connections a second over the whole fleet.
func (l *Links) lookAfter() time.Duration { return l.config.Look/2 + rand.N(l.config.Look/2) }

// told is an address that a proxy told.
type told struct {
	addr   string
	failed int // attempts in a row
}

// addresses are those that proxies told, and whose turn it is.
type addresses struct {
	told []told
	next [2]int // in the configuration's and in the told
	turn int
}

// learn adds an address, if there is room, and reports whether it is new. A full book makes room as its addresses fail.
func (b *addresses) learn(addr string) bool {
	if _, _, err := net.SplitHostPort(addr); err != nil || len(addr) > maxAddr || len(b.told) >= maxTold || b.has(addr) {
		return false
	}
	b.told = append(b.told, told{addr: addr})
	return true
}

// maxAddr is how long an address may be: a host name of 253 bytes, a colon and a port.
const maxAddr = 260

func (b *addresses) has(addr string) bool {
	return slices.ContainsFunc(b.told, func(t told) bool { return t.addr == addr })
}

// pick returns the next address: in turns one of the agent's own and one that a proxy told, so that however many a proxy
// tells, every second attempt is one that it has no say in.
func (b *addresses) pick(own []string) (string, bool) {
	lists := [2][]string{own, nil}
	for _, t := range b.told {
		if !slices.Contains(own, t.addr) {
			lists[1] = append(lists[1], t.addr)
		}
	}
	for range lists {
		b.turn = 1 - b.turn
		if list := lists[b.turn]; len(list) > 0 {
			b.next[b.turn]++
			return list[b.next[b.turn]%len(list)], true
		}
	}
	return "", false
}

// answered notes whether a proxy was at an address.
func (b *addresses) answered(addr string, reached bool) {
	for i := range b.told {
		t := &b.told[i]
		if t.addr != addr {
			continue
		}
		if t.failed++; reached {
			t.failed = 0
		}
		if t.failed >= maxFailed {
			b.told = slices.Delete(b.told, i, i+1)
		}
		return
	}
}

// address returns the address to try next.
func (l *Links) address() (string, bool) {
	own := l.config.Addrs()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.pick(own)
}

func (l *Links) answered(addr string, reached bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.answered(addr, reached)
}

// proxies learns from a list of live proxies that one of them sent. Behind a balancer all have one address: how many
// tunnels there should be goes by their ids. A shorter list than before means nothing.
func (l *Links) proxies(p *frame.Proxies) {
	l.mu.Lock()
	ids := map[string]bool{}
	news, more := false, false // more: one that the last list didn't name, be it in the place of another
	for _, one := range p.GetProxies() {
		ids[one.GetId()] = true
		more = more || !l.listing[one.GetId()]
		news = l.book.learn(one.GetAddr()) || news
	}
	if wanted := min(most, len(ids)); wanted > l.wanted {
		l.wanted, news = wanted, true
	}
	l.listing = ids
	if news || more {
		l.vain = 0
	}
	l.mu.Unlock()
	if news || more {
		l.poke()
	}
	if !news {
		return // what was heard before cuts no wait short: it could be said for ever
	}
	select {
	case l.listed <- struct{}{}:
	default:
	}
}

// Stale says whether the tunnels bring no fresh documents. As long as that is so, the agent looks for one more proxy than
// otherwise.
func (l *Links) Stale(stale bool) {
	l.mu.Lock()
	changed := l.stale != stale
	l.stale = stale
	if changed {
		l.vain = 0
	}
	l.mu.Unlock()
	if changed {
		l.poke()
	}
}

// needed is how many tunnels to hold.
func (l *Links) needed() int {
	if l.stale {
		return l.wanted + 1
	}
	return l.wanted
}

// enough reports whether nothing is to be opened now: all tunnels are up, or others were looked for in vain.
func (l *Links) enough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	up := l.up()
	return up >= l.needed() || up > 0 && l.vain >= vainMost
}

// rest waits while there are enough tunnels, and returns true when it is time to look around for another proxy.
func (l *Links) rest(ctx context.Context, look *time.Timer) bool {
	select { // an older list is no news
	case <-l.listed:
	default:
	}
	select {
	case <-l.wake:
	case <-look.C:
		look.Reset(l.lookAfter())
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.up() < max(most, l.needed())
	case <-ctx.Done():
	}
	return false
}

// tried counts attempts that led to no other proxy. When one did, more may be found. A proxy that denies this agent
// everything is no other proxy, either.
func (l *Links) tried(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vain++; err == nil {
		l.vain = 0
	}
}
