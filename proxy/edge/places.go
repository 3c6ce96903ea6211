package edge

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/stile-dev/stile/pkg/ration"
)

// ErrNoPlace is the error of a source that holds as many places as one source may.
var ErrNoPlace = errors.New("too many connections from this address at once")

// Places are shared by sources, each of which may hold some of them. When all are taken, nobody is turned away for
// others: the source that holds the most gives up its oldest. It is safe for concurrent use.
type Places struct {
	each, all int

	mu    sync.Mutex
	held  map[netip.Addr][]*Place // by source, oldest first
	taken int
	next  uint64
}

// Place is one that is held.
type Place struct {
	of     *Places
	source netip.Addr
	number uint64 // counts up
	evict  func()
}

// NewPlaces makes places for all, of which one source may hold each; 0 is any number.
func NewPlaces(each, all int) *Places {
	return &Places{each: each, all: all, held: map[netip.Addr][]*Place{}}
}

// Take takes a place for a source, of which a whole /64 of IPv6 is one. When the place has to be given up for another,
// evict is called once and must not wait. It fails with [ErrNoPlace].
func (p *Places) Take(source netip.Addr, evict func()) (*Place, error) {
	source = ration.Network(source)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.each > 0 && len(p.held[source]) >= p.each {
		return nil, ErrNoPlace
	}
	if p.taken >= p.all {
		old := p.richest(source)
		p.leave(old)
		old.evict()
	}
	p.next++
	place := &Place{of: p, source: source, number: p.next, evict: evict}
	p.held[source] = append(p.held[source], place)
	p.taken++
	return place, nil
}

// richest returns the oldest place of the source that holds the most; among equals the newcomer's comes first, so that
// nobody loses a place to a source that has as many, and then the one whose place is oldest.
func (p *Places) richest(newcomer netip.Addr) *Place {
	var most []*Place
	own := p.held[newcomer]
	for _, places := range p.held {
		switch {
		case len(places) > len(most), len(places) == len(most) && places[0].number < most[0].number:
			most = places
		}
	}
	if len(own) > 0 && len(own) == len(most) {
		most = own
	}
	return most[0]
}

// Leave gives the place up. Doing so twice is no harm.
func (p *Place) Leave() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.leave(p)
}

func (p *Places) leave(place *Place) {
	places := p.held[place.source]
	for i, one := range places {
		if one != place {
			continue
		}
		p.taken--
		if len(places) == 1 {
			delete(p.held, place.source)
			return
		}
		p.held[place.source] = append(places[:i:i], places[i+1:]...)
		return
	}
}
