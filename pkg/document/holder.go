package document

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
)

// Holder keeps the newest accepted document of each kind. It is safe for concurrent use; what it hands out
// are values that nobody changes.
type Holder struct {
	cluster string // "" until the first trust document when not given
	pin     string
	judges  []string // the lists of what was revoked that are kept

	mu      sync.RWMutex
	state   State
	chain   []Signed // trust documents accepted, oldest first
	held    map[Kind]Signed
	arrived chan struct{} // closed and replaced when a newer document is in force
}

// State is what is in force: the documents as last accepted, zero before that.
type State struct {
	Trust       Trust
	Policy      Policy
	Revocations Revocations

	// Unseen is when revocations were issued that were taken so long after those before them that one may have come and
	// ended in between. Whether a certificate that had expired by then was revoked isn't known. Zero: there was no such gap.
	Unseen time.Time

	roles *policy.Set            // Policy's, compiled once
	lists map[string]revoked.Set // those that are kept, as Revocations names them
}

// SurelyKept is how long every revocation of a user is kept: as long as any certificate lives. It is kept an hour longer,
// for clocks that differ.
const SurelyKept = certs.MaxUserLife

// NewHolder makes a holder. Cluster is the id that every document must name; "" takes that of the first
// trust document. Pin is the [KeyID] of the root to start from; "" trusts the first trust document that is
// given, which must then have come over a channel that is verified by other means. It keeps the lists of what was revoked
// that are named, and all of them when none is: nobody can be judged whose list isn't kept.
func NewHolder(cluster, pin string, lists ...string) *Holder {
	if len(lists) == 0 {
		lists = []string{revoked.Users, revoked.Agents}
	}
	return &Holder{cluster: cluster, pin: pin, judges: lists, held: map[Kind]Signed{}, arrived: make(chan struct{})}
}

// Accept takes documents, trust documents oldest first and before what their keys sign, and keeps what is newer
// than what it holds. What it holds already, and trust documents that precede one it holds, are not errors. A
// refusal doesn't keep later ones from being taken, since each stands by its own signature: somebody who holds back
// or spoils a document must not hold back a lock. The error joins all refusals; each matches ErrOlder,
// ErrUnsigned, ErrSignature, ErrPurpose, ErrRetired, ErrCluster, ErrMalformed, ErrTooLarge, ErrLists,
// ErrEpoch or ErrPin.
func (h *Holder) Accept(documents ...Signed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.state.Versions()
	defer func() {
		if h.state.Versions() != before {
			close(h.arrived)
			h.arrived = make(chan struct{})
		}
	}()
	var refusals []error
	for i := 0; i < len(documents); {
		if run := trustRun(documents[i:]); len(run) > 0 {
			refusals = append(refusals, h.acceptChain(run))
			i += len(run)
			continue
		}
		refusals = append(refusals, h.accept(documents[i]))
		i++
	}
	return errors.Join(refusals...)
}

// trustRun is the chain at the beginning of documents.
func trustRun(documents []Signed) []Signed {
	n := 0
	for n < len(documents) && documents[n].Kind == KindTrust {
		n++
	}
	return documents[:n]
}

// acceptChain takes what follows the newest document of the chain that is held already.
func (h *Holder) acceptChain(run []Signed) error {
	if len(h.chain) == 0 {
		return h.start(run)
	}
	for i, s := range slices.Backward(run) {
		if h.knows(s) {
			run = run[i+1:]
			break
		}
	}
	for _, s := range run {
		t, err := h.state.Trust.next(s)
		if err != nil {
			return err
		}
		h.state.Trust, h.chain = t, append(slices.Clip(h.chain), s)
	}
	return nil
}

func (h *Holder) knows(s Signed) bool {
	return slices.ContainsFunc(h.chain, func(known Signed) bool { return bytes.Equal(known.Body, s.Body) })
}

// start takes the first chain of trust documents.
func (h *Holder) start(chain []Signed) error {
	kept, first, err := anchor(chain, h.pin)
	if err != nil {
		return err
	}
	if h.cluster != "" && first.Cluster != h.cluster {
		return fmt.Errorf("opening the trust document: %w: %q instead of %q", ErrCluster, first.Cluster, h.cluster)
	}
	t, err := OpenTrust(kept, h.pin)
	if err != nil {
		return err
	}
	h.cluster, h.state.Trust, h.chain = t.Cluster, t, slices.Clone(kept)
	return nil
}

func (h *Holder) accept(s Signed) error {
	if s.Kind == KindPolicy {
		return h.acceptPolicy(s)
	}
	if s.Kind == KindRevocations {
		return h.acceptRevocations(s)
	}
	return fmt.Errorf("accepting a document: %w: its kind %q is unknown", ErrMalformed, s.Kind)
}

// holds reports whether a policy or revocations document is the one in force, which was verified.
func (h *Holder) holds(s Signed) bool {
	return len(s.Body) > 0 && bytes.Equal(h.held[s.Kind].Body, s.Body)
}

func (h *Holder) acceptPolicy(s Signed) error {
	if h.holds(s) {
		return nil
	}
	p, err := h.state.Trust.OpenPolicy(s)
	if err != nil {
		return err
	}
	if err := h.upward(KindPolicy, h.state.Policy.Version, p.Version, h.state.Policy.IssuedAt.Sub(p.IssuedAt)); err != nil {
		return err
	}
	h.state.Policy, h.state.roles, h.held[KindPolicy] = p, policy.Compile(p.Roles), s
	return nil
}

func (h *Holder) acceptRevocations(s Signed) error {
	if h.holds(s) {
		return nil
	}
	r, err := h.state.Trust.OpenRevocations(s)
	if err != nil {
		return err
	}
	if err := h.upward(KindRevocations, h.state.Revocations.Version, r.Version, h.state.Revocations.IssuedAt.Sub(r.IssuedAt)); err != nil {
		return err
	}
	lists, err := h.settle(r, s)
	if err != nil {
		return fmt.Errorf("accepting the revocations document: %w", err)
	}
	s.Lists = nil
	if last := h.state.Revocations.IssuedAt; !last.IsZero() && r.IssuedAt.Sub(last) > SurelyKept {
		h.state.Unseen = r.IssuedAt
	}
	h.state.Revocations, h.state.lists, h.held[KindRevocations] = r, lists, s
	return nil
}

// settle returns the lists that a revocations document names, made from those that are held and what came with it.
func (h *Holder) settle(r Revocations, s Signed) (map[string]revoked.Set, error) {
	lists := map[string]revoked.Set{}
	for _, list := range h.judges {
		held := h.state.lists[list]
		if records, came := s.Lists[list]; came && !held.Is(r.Sum(list)) {
			var err error
			if held, err = records.Of(held); err != nil {
				return nil, fmt.Errorf("%w: of %s: %w", ErrMalformed, list, err)
			}
			if records.Whole && !held.Is(r.Sum(list)) {
				return nil, fmt.Errorf("%w: the list of %s that came with it is not the one that it names", ErrMalformed, list)
			}
		}
		if !held.Is(r.Sum(list)) {
			return nil, fmt.Errorf("%w: of %s", ErrLists, list)
		}
		lists[list] = held
	}
	return lists, nil
}

// Lacks returns the lists that have to come with a revocations document, which it verifies unless it is the one in force,
// for it to be accepted, and what the document says of them.
func (h *Holder) Lacks(s Signed) (map[string]revoked.Sum, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.holds(s) && bytes.Equal(h.held[s.Kind].Signature, s.Signature) {
		return nil, nil
	}
	r, err := h.state.Trust.OpenRevocations(s)
	if err != nil {
		return nil, err
	}
	lacks := map[string]revoked.Sum{}
	for _, list := range h.judges {
		if sum := r.Sum(list); !h.state.lists[list].Is(sum) {
			lacks[list] = sum
		}
	}
	return lacks, nil
}

// overtaking is how much older than the one held a document may be to count as overtaken, see [Overtaken].
const overtaking = 10 * time.Second

// upward refuses a version that is not above the one held; another document of the same version is as wrong as an older one.
func (h *Holder) upward(kind Kind, held, given identity.Version, older time.Duration) error {
	if _, ok := h.held[kind]; !ok || held.Less(given) {
		return nil
	}
	why := ErrOlder
	if given.Less(held) && older >= 0 && older < overtaking {
		why = errOvertaken
	}
	return fmt.Errorf("accepting the %s document: %w: %d.%d after %d.%d", kind, why, given.Epoch, given.Counter, held.Epoch, held.Counter)
}

// Arrived returns a channel that is closed when a newer document than those now in force is.
func (h *Holder) Arrived() <-chan struct{} {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.arrived
}

// State returns what is in force.
func (h *Holder) State() State {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.state
}

// Trust returns the trust document in force.
func (h *Holder) Trust() Trust { return h.State().Trust }

// Policy returns the policy document in force.
func (h *Holder) Policy() Policy { return h.State().Policy }

// Revocations returns the revocations document in force.
func (h *Holder) Revocations() Revocations { return h.State().Revocations }

// Versions returns the versions of what is in force.
func (h *Holder) Versions() identity.Versions { return h.State().Versions() }

// ClockFloor returns the newest time that a document in force states: no true clock is earlier.
func (h *Holder) ClockFloor() time.Time { return h.State().ClockFloor() }

// Chain returns the trust documents accepted so far, oldest first, to keep or to pass on.
func (h *Holder) Chain() []Signed {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.chain)
}

// Documents returns all that is held, in an order in which another holder accepts it: with the whole lists.
func (h *Holder) Documents() []Signed {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := slices.Clone(h.chain)
	for _, k := range []Kind{KindPolicy, KindRevocations} {
		s, ok := h.held[k]
		if !ok {
			continue
		}
		if k == KindRevocations {
			s.Lists = map[string]revoked.Records{}
			for list, set := range h.state.lists {
				s.Lists[list] = revoked.Records{Whole: true, Entries: set.Bytes()}
			}
		}
		all = append(all, s)
	}
	return all
}
