// Package decide is where an agent decides: from the signed documents that it holds and its own certificate,
// whether a certificate is good, and whether a login on this node is allowed.
//
// It asks nobody; with the control plane down it decides the same. Its entry point is [New].
package decide

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
)

// patience is how long a decision waits for documents that are as new as the certificate: somebody who has just
// logged in may be faster than the feed.
const patience = 3 * time.Second

// Documents are those in force.
type Documents interface {
	State() bundle.State
}

// Config is what decisions rest on. Documents and Node are required.
type Config struct {
	Documents Documents
	Node      func() identity.Host // this agent, as its certificate says
	Now       func() time.Time     // nil is time.Now
	Entropy   io.Reader            // nil is crypto/rand
}

// Decider decides. It is safe for concurrent use.
type Decider struct {
	config   Config
	mu       sync.Mutex
	compiled *policy.Set
	version  identity.Version
	arrived  chan struct{} // closed and replaced when documents arrive
}

// New makes a decider.
func New(c Config) *Decider {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Decider{config: c, arrived: make(chan struct{})}
}

// Arrived wakes decisions that wait for newer documents. Call it whenever documents were accepted.
func (d *Decider) Arrived() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.arrived)
	d.arrived = make(chan struct{})
}

// Identify says whose certificate this is, by the cluster's keys, its validity and its shape. Nothing is decided yet.
func (d *Decider) Identify(cert *ssh.Certificate) (identity.User, error) {
	state := d.config.Documents.State()
	return certs.IdentifySSHUser(cert, state.Trust.CA(names.KeyUserSSH), state.Now(d.config.Now()))
}

// Admit decides whether the user who proved to hold a certificate may use a login on this node: a certificate that
// names it and is not pinned elsewhere, documents new enough, no lock, and roles that allow it. The address is only
// a hint: a proxy that lies about it can only refuse or let through what holds everywhere else. A refusal is a
// [Denial] with a decision id.
func (d *Decider) Admit(cert *ssh.Certificate, login string, source netip.Addr) error {
	state := d.config.Documents.State()
	user, err := certs.VerifySSHUser(cert, state.Trust.CA(names.KeyUserSSH),
		certs.SSHUse{Login: login, Source: source, Now: state.Now(d.config.Now())})
	if err != nil {
		return d.refuse(fault.From(err), nil)
	}
	state, set, err := d.fresh(user)
	if err != nil {
		return d.refuse(fault.From(err), nil)
	}
	if err := d.barred(state, user, login, ""); err != nil {
		return d.refuse(fault.From(err), nil)
	}
	subject := policy.Subject{Roles: user.Roles, Traits: user.Traits, Resources: user.Resources}
	decision := set.Login(subject, d.node(), login)
	if decision.Allowed {
		return nil
	}
	return d.refuse(fault.Newf(fault.Denied, "ask an administrator for a role that allows it; stile ls shows what you may use",
		"access denied: %s", decision.Reason), decision.Trace)
}

// Barred says whether a lock or revocation ends what was admitted; session is "" for the connection as a whole.
func (d *Decider) Barred(user identity.User, login, session string) error {
	return d.barred(d.config.Documents.State(), user, login, session)
}

func (d *Decider) barred(state bundle.State, user identity.User, login, session string) error {
	node, now := d.config.Node(), d.config.Now()
	also := []identity.Ref{{Target: "login", Value: login}, {Target: "agent", Value: node.ID}}
	for _, name := range node.Names {
		also = append(also, identity.Ref{Target: "resource", Value: "node/" + name}, identity.Ref{Target: "resource", Value: name})
	}
	if session != "" {
		also = append(also, identity.Ref{Target: "session", Value: session})
	}
	if lock, ok := state.Locked(user, now, also...); ok {
		reason := ""
		if lock.Reason != "" {
			reason = ": " + lock.Reason
		}
		return fault.Newf(fault.Denied, "ask an administrator about lock "+lock.ID, "locked: %s %s%s", lock.Target, lock.Value, reason)
	}
	if before, ok := state.Revoked(user); ok {
		return fault.Newf(fault.Denied, "log in again with: stile login --iam", "the certificate was revoked: %s %s changed since it was issued", before.Target, before.Value)
	}
	return nil
}

// fresh gives documents that may judge the user's certificate, waiting a little for those on their way.
func (d *Decider) fresh(user identity.User) (bundle.State, *policy.Set, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		d.mu.Lock()
		arrived := d.arrived
		d.mu.Unlock()
		state := d.config.Documents.State()
		set, err := d.compile(state.Policy)
		if err != nil {
			return state, nil, err
		}
		subject := policy.Subject{Roles: user.Roles}
		err = state.Judge(d.config.Now(), user.Versions, set.Fresh(subject))
		if err == nil {
			return state, set, nil
		}
		select {
		case <-arrived:
		case <-limit.C:
			return state, nil, err
		}
	}
}

// compile compiles a policy once per version.
func (d *Decider) compile(p bundle.Policy) (*policy.Set, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.compiled != nil && d.version == p.Version {
		return d.compiled, nil
	}
	set, err := policy.Compile(p.Roles)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the policy can't be read by this agent", "update the agent on this node").Because(err)
	}
	d.compiled, d.version = set, p.Version
	return set, nil
}

// node is this node as roles see it: its pinned labels, from its certificate alone.
func (d *Decider) node() policy.Node {
	h := d.config.Node()
	n := policy.Node{Name: h.ID, Scope: h.Scope, Labels: h.Labels}
	if len(h.Names) > 0 {
		n.Name = h.Names[0]
	}
	return n
}

// maxTrace is how much of a trace goes into an audit event, in bytes of JSON.
const maxTrace = 8 << 10

// Denial is why a user was not admitted, with what the decision rests on. Its fault is what the user sees.
type Denial struct {
	fault *fault.Fault
	trace []policy.Step
}

// Error gives the fault's message.
func (d *Denial) Error() string { return d.fault.Error() }

// Unwrap gives the fault.
func (d *Denial) Unwrap() error { return d.fault }

// Details gives what the audit event of the decision should hold.
func (d *Denial) Details() map[string]string {
	if len(d.trace) == 0 {
		return nil
	}
	b, err := json.Marshal(d.trace)
	if err != nil || len(b) > maxTrace {
		return map[string]string{"roles_asked": strconv.Itoa(len(d.trace))}
	}
	return map[string]string{"trace": string(b)}
}

// refuse gives a denial its id.
func (d *Decider) refuse(f *fault.Fault, trace []policy.Step) error {
	f.DecisionID = identity.NewID("dec", d.config.Entropy, d.config.Now())
	return &Denial{f, trace}
}
