package link

import "github.com/stile-dev/stile/pkg/frame"

// Book is what an agent remembers of the addresses that proxies told.
type Book struct{ addresses }

// Learn is learn.
func (b *Book) Learn(addr string) bool { return b.learn(addr) }

// Pick is pick.
func (b *Book) Pick(own ...string) (string, bool) { return b.pick(own) }

// Answered is answered.
func (b *Book) Answered(addr string, reached bool) { b.answered(addr, reached) }

// Looks tells an agent that has a tunnel, and each time gave up looking for another proxy, of live proxies by their ids, and
// returns whether it then looks again.
func Looks(lists ...[]string) (looks []bool) {
	l := New(Config{})
	l.held[&link{}] = struct{}{}
	for _, ids := range lists {
		l.vain = vainMost
		list := &frame.Proxies{}
		for _, id := range ids {
			list.Proxies = append(list.Proxies, &frame.Proxies_Proxy{Id: id, Addr: "balancer:443"})
		}
		l.proxies(list)
		looks = append(looks, !l.enough())
	}
	return looks
}
