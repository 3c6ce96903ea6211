package publication

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// How long a run has the lease, and how long it waits for it. A run takes a second or less.
const (
	leaseFor = 15 * time.Second
	waitFor  = 20 * time.Second
	waitStep = 150 * time.Millisecond
)

// tries bounds how often a run begins again because an input changed while it signed. The last time it leaves the policy as
// it is and publishes the revocations: whoever changes something all the time doesn't keep others from being revoked.
const tries = 4

// Inputs is what the documents are made from.
type Inputs interface {
	// Counters returns the counters that changes add to; it is read before and after the rest.
	Counters(context.Context) (document.Counters, error)
	Roles(context.Context) ([]resource.Role, error)
	Settings(context.Context) (resource.SettingsSpec, error)
	Locks(context.Context) ([]document.Lock, error)
	// Orders returns the orders to revoke after one number, up to another, and accounts for each: what was issued before the
	// publication that first takes them in is good no more.
	Orders(ctx context.Context, after, upto int64) (revoked.Run, error)
	// AllOrders returns the orders to revoke that are there.
	AllOrders(context.Context) ([]revoked.Order, error)
	Recorder
}

// Recorder writes into the ledger.
type Recorder interface {
	// Record writes an event.
	Record(context.Context, audit.Event) error
	// Claim says by which requests to KMS something was signed, and which of those that failed may have signed it all the same.
	Claim(ctx context.Context, of string, requests, doubtful []string) error
}

// Signer signs documents, and remembers the ids of its requests to KMS.
type Signer interface {
	crypto.Signer
	Requests() []string // of the signatures that were made
	Doubtful() []string // that failed, though a signature may have been made
}

// claimFor is how long a run that is at its end tries to say what it signed.
const claimFor = 5 * time.Second

// claim says what was signed, whatever became of it: a signature that nobody claims looks as if somebody else had made it.
func claim(ctx context.Context, r Recorder, of string, s Signer) error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimFor)
	defer cancel()
	return r.Claim(ctx, of, s.Requests(), s.Doubtful())
}

// Place is where head and documents are kept.
type Place interface {
	Read(context.Context) (document.Head, error)
	Trust(context.Context, document.Head) ([]document.Signed, error)
	Policy(context.Context, document.Head) (document.Signed, error)
	Revocations(context.Context) (document.Signed, error)
	// Stored returns a list of what was revoked; revoked.ErrMalformed when it is lost or damaged.
	Stored(ctx context.Context, list string) (document.Stored, error)
	// Lease takes the lease until it expires; document.ErrHeld while another owner has it.
	Lease(ctx context.Context, owner string, now, until time.Time) error
	Release(ctx context.Context, owner string) error
	// PutPolicy stores the document under the hash of its bytes and returns that hash, in hex.
	PutPolicy(context.Context, document.Signed) (string, error)
	// PutList stores a list under the hash of its bytes and returns that hash, in hex.
	PutList(context.Context, revoked.Set) (string, error)
	// Advance moves policy, revocations and those lists that changed if the head is still at from; else document.ErrMoved.
	Advance(ctx context.Context, from, to document.Head, revocations document.Signed, lists map[string]document.Stored) error
}

// Config is what publish needs.
type Config struct {
	Cluster string
	Inputs  Inputs
	Place   Place
	Key     func(context.Context) (Signer, error)      // the policy key
	Now     func() time.Time                           // nil: time.Now
	Wait    func(context.Context, time.Duration) error // nil: a timer
	Entropy io.Reader                                  // nil: crypto/rand
}

// Publisher makes policy and revocations documents. It may be used by several goroutines and instances at
// once: the lease lets one work at a time, and should it fail to, the head's condition lets one win.
type Publisher struct{ config Config }

// NewPublisher makes a publisher.
func NewPublisher(c Config) *Publisher {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Publisher{c}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting: %w", ctx.Err())
	case <-time.After(d):
		return nil
	}
}

// Publish makes the documents from the current inputs and moves the head, unless the policy is the same: then
// only the revocations get a new stamp. It returns the head that it left. When the policy alone can't be made, because the
// roles are too many or the bucket is down, the revocations are published all the same, and the error says why.
func (p *Publisher) Publish(ctx context.Context) (document.Head, error) {
	owner := identity.NewID("pub", p.config.Entropy, p.config.Now())
	if err := p.lease(ctx, owner); err != nil {
		return document.Head{}, err
	}
	h, err := p.run(ctx)
	// The lease expires by itself; releasing it only spares the next run the wait.
	if released := p.config.Place.Release(context.WithoutCancel(ctx), owner); err == nil && released != nil {
		return h, nil //nolint:nilerr // what was published is published
	}
	return h, err
}

func (p *Publisher) lease(ctx context.Context, owner string) error {
	deadline := p.config.Now().Add(waitFor)
	for {
		now := p.config.Now()
		err := p.config.Place.Lease(ctx, owner, now, now.Add(leaseFor))
		if !errors.Is(err, document.ErrHeld) {
			return err
		}
		if now.After(deadline) {
			return fault.New(fault.Unavailable, "another publication has been running for a while", "try again in a few seconds").Because(err)
		}
		if err := p.config.Wait(ctx, waitStep); err != nil {
			return err
		}
	}
}

// run publishes once, and again if an input changed meanwhile.
func (p *Publisher) run(ctx context.Context) (document.Head, error) {
	for try := 1; ; try++ {
		h, again, err := p.once(ctx, try == tries)
		if err != nil || !again {
			return h, err
		}
	}
}

// draft is one run's work.
type draft struct {
	from, to    document.Head
	now         time.Time
	trust       document.Trust
	former      []document.Trust // those before it, oldest first
	signer      Signer
	policy      document.Policy
	locks       []document.Lock
	lists       map[string]revoked.Set     // what was revoked, by list
	stored      map[string]document.Stored // those that changed, as they are to be kept
	coarse      map[string]revoked.Coarse
	revocations document.Signed
	changed     bool  // the policy
	held        error // why the policy could not be made, though it changed

	count  document.Counters // read before all else
	issued time.Time         // of the revocations in force; zero when they can't be read
	late   error             // not all orders could be read
	lost   []int64           // orders for which everybody is revoked instead
	begun  bool              // every user is revoked, as an epoch begins or has begun
}

func (p *Publisher) once(ctx context.Context, last bool) (h document.Head, again bool, err error) {
	d := draft{now: p.config.Now().UTC().Truncate(time.Millisecond), coarse: map[string]revoked.Coarse{}}
	h, again, err = p.make(ctx, &d, last)
	return h, again, errors.Join(err, claim(ctx, p.config.Inputs, fmt.Sprintf("revocations/%d.%d", d.to.Revocations.Epoch, d.to.Revocations.Counter), d.signer))
}

// make makes the documents of a draft and moves the head.
func (p *Publisher) make(ctx context.Context, d *draft, last bool) (h document.Head, again bool, err error) {
	if d.from, err = p.config.Place.Read(ctx); err != nil {
		return document.Head{}, false, err
	}
	d.to = d.from
	for _, step := range []func(context.Context, *draft) error{p.keys, p.compile, p.revoke} {
		if err := step(ctx, d); err != nil {
			return document.Head{}, false, err
		}
	}
	if d.late != nil && !last {
		return document.Head{}, true, p.config.Wait(ctx, waitStep)
	}
	if err := p.seal(ctx, d); err != nil {
		return document.Head{}, false, err
	}
	after, err := p.config.Inputs.Counters(ctx)
	if err != nil {
		return document.Head{}, false, err
	}
	if after.Input != d.policy.Input {
		if !last {
			return document.Head{}, true, nil
		}
		if err := p.withhold(d, fault.New(fault.Unavailable, "the policy's inputs change faster than they can be published", "try again in a few seconds")); err != nil {
			return document.Head{}, false, err
		}
	}
	err = p.config.Place.Advance(ctx, d.from, d.to, d.revocations, d.stored)
	if errors.Is(err, document.ErrMoved) {
		if last {
			return document.Head{}, false, fault.New(fault.Unavailable, "others publish at the same time", "try again in a few seconds").Because(err)
		}
		return document.Head{}, true, nil
	}
	if err != nil {
		return document.Head{}, false, err
	}
	return d.to, false, errors.Join(d.held, d.late, p.tellCoarse(ctx, *d), p.tell(ctx, *d))
}

// keys opens the trust document and takes the policy key, which must be active there.
func (p *Publisher) keys(ctx context.Context, d *draft) error {
	if d.from.CopyOf != "" {
		return restored(d.from)
	}
	if d.from.Trust == (identity.Version{}) {
		return fault.New(fault.Unavailable, "there is no trust document yet", "run rotate first, as the deployment does")
	}
	chain, err := p.config.Place.Trust(ctx, d.from)
	if err != nil {
		return err
	}
	opened, err := document.OpenChain(chain, "")
	if err != nil {
		return fmt.Errorf("opening the trust document: %w", err)
	}
	d.former, d.trust = opened[:len(opened)-1], opened[len(opened)-1]
	if d.trust.Cluster != p.config.Cluster {
		return fmt.Errorf("opening the trust document: it is cluster %s's", d.trust.Cluster)
	}
	if d.signer, err = p.config.Key(ctx); err != nil {
		return err
	}
	id := document.KeyID(d.signer.Public())
	if !slices.ContainsFunc(d.trust.KeysFor(names.KeyPolicy, document.StateActive), func(k document.Key) bool { return k.ID == id }) {
		return fault.New(fault.Internal, "the policy key is not active in the trust document", "ask an administrator to deploy again, which makes a new trust document")
	}
	return nil
}

// compile reads the inputs, counters first. A role that can't be enforced is published as it is and denies its holders everything
// wherever it is read: leaving it out might leave out a deny, and refusing it would let one role stop publication.
func (p *Publisher) compile(ctx context.Context, d *draft) error {
	var err error
	if d.count, err = p.config.Inputs.Counters(ctx); err != nil {
		return err
	}
	stored, err := p.config.Inputs.Roles(ctx)
	if err != nil {
		return err
	}
	settings, err := p.config.Inputs.Settings(ctx)
	if err != nil {
		return err
	}
	if d.locks, err = p.locked(ctx); err != nil {
		return err
	}
	roles := append(resource.Presets(), stored...)
	for i := range roles {
		roles[i].Metadata.Revision = 0 // says nothing about what anyone may do
		roles[i] = roles[i].Published()
	}
	slices.SortFunc(roles, func(a, b resource.Role) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	d.policy = document.Policy{
		Cluster: p.config.Cluster, Input: d.count.Input, Roles: roles, MaxPolicyAge: resource.Duration(document.DefaultMaxPolicyAge),
		Record: settings.Record,
	}
	return nil
}

// seal signs what changed: the policy if it did, the revocations always. Versions count on from the head. A policy that
// can't be made is held back, and the one in force stays: revocations and locks wait for no policy.
func (p *Publisher) seal(ctx context.Context, d *draft) error {
	d.to.Input = d.policy.Input
	if d.changed = !p.same(ctx, d); d.changed {
		d.to.Policy = next(d.from.Trust, d.from.Policy)
		d.policy.Version, d.policy.IssuedAt = d.to.Policy, d.now
		var err error
		if d.to.PolicySHA256, err = p.sealPolicy(ctx, d); err != nil {
			return p.withhold(d, err)
		}
	}
	return p.sealRevocations(d)
}

// withhold leaves the policy as it is in force, and says why.
func (p *Publisher) withhold(d *draft, why error) error {
	if d.from.Policy == (identity.Version{}) {
		return why // there is none to keep
	}
	d.held, d.changed = why, false
	d.to.Policy, d.to.Input, d.to.PolicySHA256 = d.from.Policy, d.from.Input, d.from.PolicySHA256
	return p.sealRevocations(d)
}

// sealPolicy signs and stores the policy.
func (p *Publisher) sealPolicy(ctx context.Context, d *draft) (sha256 string, err error) {
	doc, err := document.Seal(document.KindPolicy, d.policy, d.signer)
	if errors.Is(err, document.ErrTooLarge) {
		return "", fault.Newf(fault.TooLarge, "delete roles, or shorten them: stile get roles",
			"all roles together exceed the %d KiB of a policy document: the roles in force stay as they were, while revocations and locks are published", document.MaxPolicy>>10).Because(err)
	}
	if err != nil {
		return "", err
	}
	return p.config.Place.PutPolicy(ctx, doc)
}

// same reports whether the policy in force says what the draft says: most changes are of no role, and a policy goes to every
// agent. One that can't be read or verified, for example by a key that is retired now, is not the same: it is made again.
func (p *Publisher) same(ctx context.Context, d *draft) bool {
	if d.from.Policy.Epoch != d.from.Trust.Epoch {
		return false // there is none, or none that whoever has seen this epoch's trust document may take for the newest
	}
	doc, err := p.config.Place.Policy(ctx, d.from)
	if err != nil {
		return false
	}
	have, err := d.trust.OpenPolicy(doc)
	roles, err2 := json.Marshal(d.policy.Roles)
	had, err3 := json.Marshal(have.Roles)
	return errors.Join(err, err2, err3) == nil && have.Cluster == d.policy.Cluster && have.MaxPolicyAge == d.policy.MaxPolicyAge && have.Record == d.policy.Record &&
		doc.KeyID == document.KeyID(d.signer.Public()) && bytes.Equal(roles, had)
}

// next counts a document on, in the epoch of the trust document.
func next(trust, have identity.Version) identity.Version {
	return identity.Version{Epoch: trust.Epoch, Counter: have.Counter + 1}
}

func (p *Publisher) tell(ctx context.Context, d draft) error {
	if !d.changed {
		return nil
	}
	e := p.event(audit.PolicyPublished)
	e.TargetKind, e.Target = "document", "policy/"+d.to.PolicySHA256
	e.Data = map[string]string{
		"version": fmt.Sprintf("%d.%d", d.to.Policy.Epoch, d.to.Policy.Counter), "input": fmt.Sprint(d.to.Input),
		"roles": fmt.Sprint(len(d.policy.Roles)), "locks": fmt.Sprint(len(d.locks)),
		"revoked": fmt.Sprint(d.lists[revoked.Users].Len() + d.lists[revoked.Agents].Len()), "key": document.KeyID(d.signer.Public()),
	}
	return p.config.Inputs.Record(ctx, e)
}
