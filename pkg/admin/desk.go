// Package admin is what the only writer of roles, users, mappings and tokens does: it asks the policy for a
// rule, checks, and changes one resource together with everything that must change with it, so that after a
// crash either all or nothing is there.
//
// It knows no table and no HTTP. Its entry point is [New].
package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// Errors of a store when a change's conditions aren't met.
var (
	ErrReplayed = errors.New("the call's nonce was used before")
	ErrMoved    = errors.New("the resource is not as it was read")
	ErrRaced    = errors.New("something was changed since the change was judged")
)

// Store keeps resources. All reads are strongly consistent.
type Store interface {
	Get(ctx context.Context, kind, name string) (r resource.Resource, found bool, err error)
	List(ctx context.Context, kind string) ([]resource.Resource, error)
	// Roles and Mappings return all that are stored, those that can't be read as well.
	Roles(context.Context) ([]resource.Role, error)
	Mappings(context.Context) ([]resource.Mapping, error)
	// Page returns those after a name, sorted by name and at most limit, or all with a limit of 0; more says whether others
	// may follow.
	Page(ctx context.Context, kind, after string, limit int) (all []resource.Resource, more bool, err error)
	// Counters returns the counters that changes add to.
	Counters(context.Context) (document.Counters, error)
	// Orders returns the orders to revoke after one number, up to another, and accounts for each of them.
	Orders(ctx context.Context, after, upto int64) (revoked.Run, error)
	// Held returns those of some roles that are stored, as they are after each change that Counters counted before; ErrRaced
	// while one of them is being written.
	Held(ctx context.Context, roles []string) ([]resource.Role, error)
	// Secret returns the hash of a token's secret, "" for a token without one.
	Secret(ctx context.Context, token string) (string, error)
	// Targets returns what an agent holds; none for one that is unknown.
	Targets(ctx context.Context, agent string) ([]identity.Target, error)
	// Commit writes a change, the counters, the nonce and the event in one transaction; ErrReplayed, ErrMoved or
	// ErrRaced when a condition is not met, and then nothing is written.
	Commit(context.Context, Change) error
	// Record writes an event alone.
	Record(context.Context, audit.Event) error
}

// Pace bounds how often somebody changes something or is denied; [fault.RateLimited] when it is too often.
type Pace interface {
	Count(ctx context.Context, uid string, now time.Time) error
}

// Bodies keeps texts that events have no room for, under their SHA-256. When it returns nil they are kept.
type Bodies interface {
	Keep(ctx context.Context, text string) error
}

// Publisher has the documents made again and returns the input counter that the policy in force was made from.
type Publisher interface {
	Publish(context.Context) (input int64, err error)
}

// Change is one change of one resource.
type Change struct {
	Resource resource.Resource // as it will be; for a deletion, as it was
	Was      int64             // the revision that it must have; 0: it must not be there
	Counters document.Counters // the counters as they were when the change was judged, and must be still
	Delete   bool
	Nonce    string // of the call
	Event    audit.Event

	Secret        *Secret           // of a token that is created: kept as a hash
	ForgetSecret  string            // hash of a deleted token's secret
	ForgetAgent   string            // id of the agent that held a deleted target
	ForgetTargets []identity.Target // what else that agent holds

	Revoke *revoked.Order // names those whose certificates from before this change end with it; nil for none. Its number is the next
}

// Secret is what is stored about a token's secret.
type Secret struct {
	SHA256  string // hex
	Uses    int
	Expires time.Time
}

// Caller is who asks, as the API established.
type Caller struct {
	User      identity.User
	State     document.State // in force
	Orders    int64          // the last order to revoke that State has taken in
	Nonce     string         // of the call; needed for changes
	RequestID string
	SourceIP  string
	Now       time.Time

	stored *policy.Set // the caller's own roles as they are stored; nil to judge by State alone
}

// Config is what the use case needs.
type Config struct {
	Cluster   string
	Bootstrap resource.IAMMatch // the first administrator; zero for none
	Canary    resource.IAMMatch // the role of the synthetic login; zero for none
	Store     Store
	Publisher Publisher
	Pace      Pace
	Bodies    Bodies
	Entropy   io.Reader // nil: crypto/rand
}

// Desk reads and changes resources. It may be used by several goroutines.
type Desk struct{ config Config }

// New makes a desk.
func New(c Config) *Desk {
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Desk{c}
}

// Get returns one resource; NotFound when there is none.
func (d *Desk) Get(ctx context.Context, c Caller, kind, name string) (resource.Resource, error) {
	k, set, err := d.open(c, kind)
	if err != nil {
		return resource.Resource{}, err
	}
	r, found, err := d.find(ctx, k, name)
	if err != nil {
		return resource.Resource{}, err
	}
	return r, d.settle(ctx, c, ask{set, k.Name, name, "read", r.Metadata.Scope}, found)
}

// List returns resources of a kind that the caller may list, sorted by name, built-in ones first: those after a name, at
// most limit of what is stored, or all with a limit of 0. Next is the name to continue after; "" when that was the end.
func (d *Desk) List(ctx context.Context, c Caller, kind, after string, limit int) (may []resource.Resource, next string, err error) {
	k, set, err := d.open(c, kind)
	if err != nil {
		return nil, "", err
	}
	show := func(r resource.Resource) (resource.Resource, bool, error) {
		return r, set.May(subject(c), k.Name, "list", r.Metadata.Scope).Allowed, nil
	}
	stored, next, err := resource.Shown(after, limit, func(after string, limit int) ([]resource.Resource, bool, error) {
		return d.config.Store.Page(ctx, k.Name, after, limit)
	}, show)
	if err != nil {
		return nil, "", err
	}
	may = []resource.Resource{}
	if after == "" {
		for _, r := range d.builtin(k.Name) {
			if _, ok, _ := show(r); ok {
				may = append(may, r)
			}
		}
	}
	may = append(may, stored...)
	if len(may) == 0 && after == "" && !set.MaySomewhere(subject(c), k.Name, "list") {
		// Nothing to show and nothing permitted are told apart: the second is a denial.
		return may, "", d.may(ctx, c, ask{set, k.Name, "*", "list", "/"})
	}
	return may, next, nil
}

func (d *Desk) open(c Caller, kind string) (resource.Kind, law, error) {
	k, ok := resource.KindOf(kind)
	if !ok || k.Name != kind {
		return resource.Kind{}, nil, fault.Newf(fault.NotFound, "use one of: "+strings.Join(resource.KindNames(), ", "), "there is no kind %.63q", kind)
	}
	return k, c.law(), nil
}

// find looks among the built-in resources and then the stored ones.
func (d *Desk) find(ctx context.Context, k resource.Kind, name string) (resource.Resource, bool, error) {
	for _, r := range d.builtin(k.Name) {
		if r.Metadata.Name == name {
			return r, true, nil
		}
	}
	if !k.ValidName(name) {
		return resource.Resource{}, false, nil
	}
	return d.config.Store.Get(ctx, k.Name, name)
}

// builtin are the resources that the code and the deployment's configuration give.
func (d *Desk) builtin(kind string) []resource.Resource {
	var all []resource.Resource
	mapping := func(m resource.Mapping) {
		all = append(all, resource.Resource{Kind: kind, Metadata: m.Metadata, Spec: &m.Spec})
	}
	switch kind {
	case "role":
		for _, r := range resource.Presets() {
			all = append(all, resource.Resource{Kind: kind, Metadata: r.Metadata, Spec: &r.Spec})
		}
	case "iam_mapping":
		if m := d.config.Bootstrap; m.Account != "" {
			mapping(resource.Bootstrap(m))
		}
		if m := d.config.Canary; m.Account != "" {
			mapping(resource.Canary(m))
		}
	}
	return all
}

// ask is one question to the policy.
type ask struct {
	set         law
	kind, name  string
	verb, scope string
}

// settle decides about a resource that was looked for. A caller who may not ask is denied, whether it exists or not, and in
// the same words if they may not see it; the event says what the policy had to say.
func (d *Desk) settle(ctx context.Context, c Caller, a ask, found bool) error {
	if !found {
		a.scope = "/"
	}
	if decision := a.set.May(subject(c), a.kind, a.verb, a.scope); !decision.Allowed {
		if found && (a.allowed(c, "read") || a.allowed(c, "list")) {
			return d.may(ctx, c, a)
		}
		message := fmt.Sprintf("%s may not %s %s %.63q: there is none, or it is where their roles don't allow that", c.User.Name, a.verb, a.kind, a.name)
		hint := a.hint()
		if a.verb == "update" {
			hint += "; or, if there is none, create it without --replace"
		}
		return d.record(ctx, c, a.about(), fault.New(fault.Denied, message, hint), message+" ("+decision.Reason+")")
	}
	if !found {
		hint := "list what there is: stile get " + a.kind
		if a.kind == names.User && a.verb == "delete" && a.set.May(subject(c), names.Mapping, "update", "/").Allowed {
			hint += "; people need no record: to put one out, create an empty record that names their mapping, and delete it"
		}
		return fault.Newf(fault.NotFound, hint, "there is no %s %.63q", a.kind, a.name)
	}
	return nil
}

// may turns the policy's denial into a fault with a decision id; the event with that id says why.
func (d *Desk) may(ctx context.Context, c Caller, a ask) error {
	decision := a.set.May(subject(c), a.kind, a.verb, a.scope)
	if decision.Allowed {
		return nil
	}
	return d.denied(ctx, c, a.about(), a.hint(), fmt.Sprintf("%s may not %s %s: %s", c.User.Name, a.verb, a.kind, decision.Reason))
}

func (a ask) about() resource.Resource {
	return resource.Resource{Kind: a.kind, Metadata: resource.Metadata{Name: a.name, Scope: a.scope}}
}

func (a ask) hint() string {
	return fmt.Sprintf("ask an administrator for a role whose rules allow %s on %s", a.verb, a.kind)
}

// allowed reports whether the caller may do something else to the resource.
func (a ask) allowed(c Caller, verb string) bool {
	return a.set.May(subject(c), a.kind, verb, a.scope).Allowed
}

// denied makes the fault of a denial about a resource, with a decision id, and records the event of that id. Whoever is
// denied all the time is told to wait, and doesn't fill the ledger.
func (d *Desk) denied(ctx context.Context, c Caller, r resource.Resource, hint, message string) error {
	return d.record(ctx, c, r, fault.New(fault.Denied, message, hint), message)
}

// record is denied with a reason in the event that the caller isn't told.
func (d *Desk) record(ctx context.Context, c Caller, r resource.Resource, f *fault.Fault, reason string) error {
	if err := d.config.Pace.Count(ctx, c.User.UID, c.Now); err != nil {
		return err
	}
	f.DecisionID = identity.NewID("dec", d.config.Entropy, c.Now)
	e := d.event(c, audit.RequestRefused, r)
	e.Outcome, e.Reason, e.DecisionID = audit.Denied, reason, f.DecisionID
	if err := d.config.Store.Record(ctx, e); err != nil {
		f = f.Because(fmt.Errorf("recording the denial: %w", err))
	}
	return f
}

func subject(c Caller) policy.Subject {
	return c.State.Subject(c.User, c.Now)
}

func (d *Desk) event(c Caller, t audit.Type, r resource.Resource) audit.Event {
	e := audit.New(t, d.config.Entropy, c.Now)
	e.Cluster, e.Source = d.config.Cluster, "function/admin"
	e.Actor, e.ActorRoles = "user/"+c.User.Name, c.User.Roles
	e.TargetKind, e.Target, e.Scope = r.Kind, r.Metadata.Name, r.Metadata.Scope
	e.RequestID, e.SourceIP = c.RequestID, c.SourceIP
	e.Data = map[string]string{"uid": c.User.UID, "certificate": c.User.Certificate}
	return e
}
