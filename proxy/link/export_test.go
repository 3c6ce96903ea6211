package link

import (
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// Came is callers.came of a copied agent that was cut at a time.
func Came(cut time.Time) func(instance string, now time.Time) time.Time {
	c := &callers{last: "a", at: cut, other: cut}
	return c.came
}

// Own returns how many streams that agents opened beside their control streams are not over yet.
func (l *Links) Own() (n int) {
	for _, k := range l.all() {
		n += int(k.own.Load())
	}
	return n
}

// Progress is that of an agent.
type Progress struct{ progress }

// Begin notes a new batch.
func (p *Progress) Begin(sent, offered identity.Versions) uint64 { return p.begin(sent, offered) }

// Acknowledge notes what the agent says.
func (p *Progress) Acknowledge(batch uint64, claimed, newest identity.Versions) bool {
	return p.acknowledge(batch, claimed, newest)
}

// Held returns what the agent is believed to hold.
func (p *Progress) Held() identity.Versions { return p.held }
