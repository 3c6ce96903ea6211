package ration

import (
	"net/netip"
	"time"
)

// maxSources is of how many addresses at once lines are rationed apart.
const maxSources = 1024

// Lines rations the lines of a log about what somebody at an address brings about: one a minute for each address.
type Lines struct{ by *Ration[netip.Addr] }

// NewLines makes a ration of lines.
func NewLines() Lines { return Lines{New[netip.Addr](time.Minute, 1, maxSources)} }

// Take takes a line about an address, or the IPv6 network that it is in, and reports whether there was one; if so, also how
// many there would have been since the last.
func (l Lines) Take(source netip.Addr, now time.Time) (between int, ok bool) {
	return l.by.Take(Network(source), now)
}

// Network makes one party of an IPv6 /64, as a single customer commonly has that much. An IPv4 address is one however it is
// written.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
