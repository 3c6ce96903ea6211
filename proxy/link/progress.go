package link

import "github.com/stile-dev/stile/pkg/identity"

// progress is what an agent holds of the documents, as far as it said so, and what it was last sent. A batch costs the proxy
// an encoding of all that the agent lacks, so what an agent says may lead to only so many.
type progress struct {
	held    identity.Versions
	batch   uint64
	waiting bool              // for an acknowledgement of batch
	offered identity.Versions // in force when batch was made
	sent    identity.Versions // what was in batch; zero for a document that wasn't
	whole   bool              // the agent could make nothing of a change of the list: it gets the whole one
}

// begin notes a new batch and returns its number.
func (p *progress) begin(sent, offered identity.Versions) uint64 {
	p.batch++
	p.waiting, p.sent, p.offered = true, sent, offered
	return p.batch
}

// acknowledge notes what the agent says it holds after a batch, and reports whether it may be sent another one at once:
// when it took something of the batch, which it may need to take the rest; when newer documents came meanwhile; or, once,
// when a change of the list of users was not enough. So a publication leads to at most four batches.
//
// An agent never holds less than before within a tunnel, since the tunnel ends with it. One that says so is not believed. It
// may hold more than it was sent, from another proxy; one that only says so gets nothing, which is its own loss.
func (p *progress) acknowledge(batch uint64, claimed, newest identity.Versions) (more bool) {
	if batch != p.batch || !p.waiting {
		return false
	}
	took := reached(claimed.Trust, p.sent.Trust) || reached(claimed.Policy, p.sent.Policy) || reached(claimed.Revocations, p.sent.Revocations)
	lacks := claimed.Revocations.Less(p.sent.Revocations)
	more = took || p.offered != newest || lacks && !p.whole
	p.waiting, p.whole = false, lacks
	p.held = identity.Versions{
		Trust: later(p.held.Trust, claimed.Trust), Policy: later(p.held.Policy, claimed.Policy),
		Revocations: later(p.held.Revocations, claimed.Revocations),
	}
	return more
}

// reached reports whether a document that was sent is held.
func reached(held, sent identity.Version) bool {
	return sent != identity.Version{} && !held.Less(sent)
}

func later(a, b identity.Version) identity.Version {
	if a.Less(b) {
		return b
	}
	return a
}
