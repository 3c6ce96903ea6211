package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
)

// Limits of a token's secret.
const (
	secretLife    = time.Hour
	secretLongest = 7 * 24 * time.Hour
)

// Outcome is the outcome of a change.
type Outcome struct {
	Resource resource.Resource
	Secret   string // for a token that was created; shown this once
	Warning  string // what is stored but not in force yet; "" when everything is
}

// Create stores a resource that must not exist.
func (d *Desk) Create(ctx context.Context, c Caller, r resource.Resource) (Outcome, error) {
	return d.paced(ctx, c, "create", r, func(c Caller, count document.Counters) (Outcome, error) { return d.create(ctx, count, c, r) })
}

func (d *Desk) create(ctx context.Context, count document.Counters, c Caller, r resource.Resource) (Outcome, error) {
	k, set, err := d.writable(c, r)
	if err != nil {
		return Outcome{}, err
	}
	if err := d.may(ctx, c, ask{set, k.Name, r.Metadata.Name, "create", r.Metadata.Scope}); err != nil {
		return Outcome{}, err
	}
	if err := unreserved(k, r.Metadata.Name); err != nil {
		return Outcome{}, err
	}
	if r.Metadata.Revision != 0 {
		return Outcome{}, fault.Newf(fault.Conflict, "remove the revision to create it", "there is no %s %s of revision %d", k.Name, r.Metadata.Name, r.Metadata.Revision)
	}
	if err := d.room(ctx, c, nil, r); err != nil {
		return Outcome{}, err
	}
	if err := d.judge(ctx, c, set, nil, &r); err != nil {
		return Outcome{}, err
	}
	r.Metadata.Revision = 1
	change := Change{Resource: r, Counters: count, Nonce: c.Nonce, Event: d.event(c, audit.ResourceCreated, r)}
	secret, err := d.addSecret(&change, c.Now)
	if err != nil {
		return Outcome{}, err
	}
	return d.commit(ctx, nil, change, secret, fault.Newf(fault.Conflict, "replace it with: stile create -f FILE --replace", "%s %s already exists", k.Name, r.Metadata.Name))
}

// Update replaces a resource; with a revision only if that is still current.
func (d *Desk) Update(ctx context.Context, c Caller, r resource.Resource) (Outcome, error) {
	return d.paced(ctx, c, "update", r, func(c Caller, count document.Counters) (Outcome, error) { return d.update(ctx, count, c, r) })
}

func (d *Desk) update(ctx context.Context, count document.Counters, c Caller, r resource.Resource) (Outcome, error) {
	k, set, err := d.writable(c, r)
	if err != nil {
		return Outcome{}, err
	}
	was, found, err := d.find(ctx, k, r.Metadata.Name)
	if err != nil {
		return Outcome{}, err
	}
	if err := d.settle(ctx, c, ask{set, k.Name, r.Metadata.Name, "update", was.Metadata.Scope}, found); err != nil {
		return Outcome{}, err
	}
	// The new place counts as much as the old one.
	if err := d.may(ctx, c, ask{set, k.Name, r.Metadata.Name, "update", r.Metadata.Scope}); err != nil {
		return Outcome{}, err
	}
	if err := unreserved(k, r.Metadata.Name); err != nil {
		return Outcome{}, err
	}
	if t, ok := was.Spec.(*resource.TokenSpec); ok {
		if now, ok := r.Spec.(*resource.TokenSpec); !ok || t.Method == resource.MethodToken || now.Method != t.Method {
			return Outcome{}, fault.New(fault.BadInput, "a token that has a secret can't be changed, and neither can any token's method", "delete the token and create it again")
		}
	}
	if err := placed(was, r); err != nil {
		return Outcome{}, err
	}
	if err := d.room(ctx, c, &was, r); err != nil {
		return Outcome{}, err
	}
	if err := d.judge(ctx, c, set, &was, &r); err != nil {
		return Outcome{}, err
	}
	r.Metadata.Revision = was.Metadata.Revision + 1
	change := Change{Resource: r, Was: was.Metadata.Revision, Counters: count, Nonce: c.Nonce, Event: d.event(c, audit.ResourceUpdated, r)}
	if who, group, are := holders(was); are && downgrades(was.Spec, r.Spec) {
		d.revoke(c, set, &change, who, group)
	}
	return d.commit(ctx, &was, change, "", moved(r))
}

// placed refuses a resource that isn't as it was read, or that its writer may not know to be in another scope.
func placed(was, now resource.Resource) error {
	switch {
	case now.Metadata.Revision == was.Metadata.Revision:
		return nil
	case now.Metadata.Revision != 0:
		return moved(now)
	case now.Metadata.Scope != was.Metadata.Scope:
		return fault.Newf(fault.Conflict, "choose another name; or move it, by writing the revision that stile get "+now.Kind+"/"+now.Metadata.Name+" shows into its metadata",
			"%s %s exists at scope %s, and replacing it would move it to %s", now.Kind, now.Metadata.Name, was.Metadata.Scope, now.Metadata.Scope)
	}
	return nil
}

// Delete removes a resource and returns what it was. For a target it frees the name, and what else its agent
// holds: the agent is revoked, and whoever the token admits next gets the names. What a deleted user's record, mapping or token gave ends with it.
// A role that a mapping or a user's record names is not deleted: their users could no longer log in.
func (d *Desk) Delete(ctx context.Context, c Caller, kind, name string) (Outcome, error) {
	return d.again(ctx, c, kind, func(c Caller, count document.Counters) (Outcome, error) { return d.delete(ctx, count, c, kind, name) })
}

func (d *Desk) delete(ctx context.Context, count document.Counters, c Caller, kind, name string) (Outcome, error) {
	k, set, err := d.open(c, kind)
	if err != nil {
		return Outcome{}, err
	}
	was, found, err := d.find(ctx, k, name)
	if err != nil {
		return Outcome{}, err
	}
	if err := d.settle(ctx, c, ask{set, k.Name, name, "delete", was.Metadata.Scope}, found); err != nil {
		return Outcome{}, err
	}
	if err := unreserved(k, name); err != nil {
		return Outcome{}, err
	}
	if err := d.judge(ctx, c, set, &was, nil); err != nil {
		return Outcome{}, err
	}
	change := Change{Resource: was, Was: was.Metadata.Revision, Counters: count, Delete: true, Nonce: c.Nonce, Event: d.event(c, audit.ResourceDeleted, was)}
	switch spec := was.Spec.(type) {
	case *resource.TokenSpec:
		change.ForgetSecret, err = d.config.Store.Secret(ctx, name)
		d.revoke(c, set, &change, identity.Ref{Target: "token", Value: name}, identity.Ref{})
	case *resource.TargetSpec:
		change.ForgetAgent = spec.Agent
		change.ForgetTargets, err = d.beside(ctx, spec.Agent, kind, name)
		d.revoke(c, set, &change, identity.Ref{Target: "agent", Value: spec.Agent}, identity.Ref{Target: "token", Value: spec.Token})
	case *resource.UserSpec:
		// Whoever may change every mapping means the person, however they came in. Others take away what the record added.
		if set.May(subject(c), names.Mapping, "update", "/").Allowed {
			d.revoke(c, set, &change, identity.Ref{Target: "user", Value: name}, identity.Ref{})
		} else if who, group, are := holders(was); are {
			d.revoke(c, set, &change, who, group)
		}
	case *resource.MappingSpec:
		who, group, _ := holders(was)
		d.revoke(c, set, &change, who, group)
	case *resource.RoleSpec:
		err = d.unheld(ctx, name)
	}
	if err != nil {
		return Outcome{}, err
	}
	return d.commit(ctx, &was, change, "", moved(was))
}

// everywhere reports whether the caller administers a kind everywhere.
func everywhere(c Caller, kind string) bool {
	return c.law().May(subject(c), kind, "update", "/").Allowed
}

// paced is again, as often as one may who doesn't administer everything. All who may change what is in one branch share a pace
// beside their own: who may write mappings there can come as any number of people. Whoever may not has no part in it, and will
// be denied. Deleting needs no pace: it can't go on for longer than creating did.
func (d *Desk) paced(ctx context.Context, c Caller, verb string, r resource.Resource, change func(Caller, document.Counters) (Outcome, error)) (Outcome, error) {
	if !everywhere(c, r.Kind) {
		if err := d.config.Pace.Count(ctx, c.User.UID, c.Now); err != nil {
			return Outcome{}, err
		}
		if c.law().May(subject(c), r.Kind, verb, r.Metadata.Scope).Allowed {
			if err := d.shared(ctx, branch(r.Metadata.Scope), c.Now); err != nil {
				return Outcome{}, err
			}
		}
	}
	return d.again(ctx, c, r.Kind, change)
}

// shared counts a change towards the pace of a branch. It may be others who used that up, which is said.
func (d *Desk) shared(ctx context.Context, top string, now time.Time) error {
	err := d.config.Pace.Count(ctx, top, now)
	if !fault.Is(err, fault.RateLimited) {
		return err
	}
	f := *fault.From(err)
	f.Message = "too many changes were made at " + top + " and below, by you or by others"
	return &f
}

// How often a change is judged and made while others get in between: each time one of them was made. Who administers
// everything is more patient than any number of others, who have a rate besides, can be quick.
const (
	tries        = 24
	patientTries = 400
)

// again makes a change, and repeats it if it was judged by what is no longer so. The counters that the change gets are
// read before all that it is judged by: it is only made while nothing else changed.
func (d *Desk) again(ctx context.Context, c Caller, kind string, change func(Caller, document.Counters) (Outcome, error)) (out Outcome, err error) {
	most := tries
	if everywhere(c, kind) {
		most = patientTries
	}
	for range most {
		count, err := d.config.Store.Counters(ctx)
		if err != nil {
			return Outcome{}, err
		}
		if err := d.standing(ctx, c, count); err != nil {
			return Outcome{}, err
		}
		bound, err := d.bind(ctx, c)
		if errors.Is(err, ErrRaced) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		if out, err = change(bound, count); !errors.Is(err, ErrRaced) {
			return out, err
		}
	}
	return Outcome{}, fault.New(fault.Conflict, "others are changing resources at the same time", "try again in a few seconds").Because(ErrRaced)
}

// standing refuses a caller whom an order revokes that isn't in the documents yet: what somebody was doing when they were
// revoked, or tries again because of it, is not done. An order that can't be read may be about anybody.
func (d *Desk) standing(ctx context.Context, c Caller, count document.Counters) error {
	run, err := d.config.Store.Orders(ctx, min(c.Orders, count.Orders), count.Orders)
	if err != nil {
		return err
	}
	refs := c.User.Refs()
	for _, o := range run.Orders {
		if slices.Contains(refs, o.Ref) {
			return document.Revoked(c.User, o.Ref)
		}
	}
	if len(run.Pending) > 0 || len(run.Gone) > 0 && revoked.Lost(c.State.Revocations.IssuedAt, c.Now) {
		return fault.New(fault.Unavailable, "somebody is being revoked, and it can't be told yet whether it is you", "try again in a few seconds")
	}
	return nil
}

// judge refuses a change that would give what its writer lacks.
func (d *Desk) judge(ctx context.Context, c Caller, set law, was, now *resource.Resource) error {
	r := now
	if r == nil {
		r = was
	}
	k, _ := resource.KindOf(r.Kind)
	if k.Target {
		return nil // deleting one takes away
	}
	judge, known := gives[r.Kind]
	if !known {
		return fmt.Errorf("writing a %s: nothing says what it gives to others", r.Kind)
	}
	return judge(&turn{d, c, set, r.Metadata.Name, was, now, roles{desk: d}}, ctx)
}

// beside lists what else the agent of a target holds, which goes with the agent.
func (d *Desk) beside(ctx context.Context, agent, kind, name string) ([]identity.Target, error) {
	all, err := d.config.Store.Targets(ctx, agent)
	return slices.DeleteFunc(all, func(t identity.Target) bool { return t == identity.Target{Kind: kind, Name: name} }), err
}

// writable checks what is about to be written.
func (d *Desk) writable(c Caller, r resource.Resource) (resource.Kind, law, error) {
	k, set, err := d.open(c, r.Kind)
	if err != nil {
		return resource.Kind{}, nil, err
	}
	if !k.Writable {
		return resource.Kind{}, nil, fault.Newf(fault.BadInput, "read them, or delete one to free its name", "%s can't be written: agents create them by joining", k.Plural)
	}
	return k, set, nil
}

func unreserved(k resource.Kind, name string) error {
	if k.Reserved(name) {
		return fault.Newf(fault.Denied, "leave it as it is, and create your own under another name", "%s %s is built in and can't be changed", k.Name, name)
	}
	return nil
}

func moved(r resource.Resource) *fault.Fault {
	return fault.Newf(fault.Conflict, "read it again and repeat your change", "%s %s has changed since it was read", r.Kind, r.Metadata.Name)
}

// addSecret gives a token of method token its secret, and bounds its life.
func (d *Desk) addSecret(change *Change, now time.Time) (string, error) {
	spec, ok := change.Resource.Spec.(*resource.TokenSpec)
	if !ok || spec.Method != resource.MethodToken {
		return "", nil
	}
	stored := *spec
	stored.Uses = max(stored.Uses, 1)
	until := now.Add(secretLife).UTC().Truncate(time.Second)
	if stored.Expires == nil {
		stored.Expires = &until
	}
	if !stored.Expires.After(now) || stored.Expires.After(now.Add(secretLongest)) {
		return "", strict.Refuse([]fault.Field{{Path: "spec.expires", Reason: "it must be in the future, at most 7 days from now"}})
	}
	change.Resource.Spec = &stored
	var random [32]byte
	if _, err := io.ReadFull(d.config.Entropy, random[:]); err != nil {
		return "", fmt.Errorf("drawing a secret: %w", err)
	}
	secret := resource.SecretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	change.Secret = &Secret{SHA256: resource.HashSecret(secret), Uses: stored.Uses, Expires: *stored.Expires}
	return secret, nil
}

// commit writes the change of what was there, nil for nothing, and has it published. What is written stays written when publishing fails: the
// stream and the schedule publish later, and the warning says so.
func (d *Desk) commit(ctx context.Context, was *resource.Resource, change Change, secret string, conflict *fault.Fault) (Outcome, error) {
	change.Event.Data["revision"] = strconv.FormatInt(change.Resource.Metadata.Revision, 10)
	after := &change.Resource
	if change.Delete {
		after = nil
	}
	cut, err := pictures(&change.Event, was, after)
	if err != nil {
		return Outcome{}, err
	}
	for _, text := range cut { // before the event says that it is there
		if err := d.config.Bodies.Keep(ctx, text); err != nil {
			return Outcome{}, err
		}
	}
	switch err := d.config.Store.Commit(ctx, change); {
	case errors.Is(err, ErrReplayed):
		return Outcome{}, fault.New(fault.Conflict, "this request has already been carried out", "check the resource, and make a new request to change it again")
	case errors.Is(err, ErrMoved):
		return Outcome{}, conflict
	case errors.Is(err, ErrRaced):
		return Outcome{}, ErrRaced
	case err != nil:
		return Outcome{}, err
	}
	return Outcome{Resource: change.Resource, Secret: secret, Warning: d.warnings(ctx, change)}, nil
}

// warnings says what is stored but not in force, or can't come into force as it is; "" when all is well.
func (d *Desk) warnings(ctx context.Context, change Change) string {
	var all []string
	if !change.Delete {
		all = append(all, d.unknownRoles(ctx, change.Resource.Spec), d.idle(ctx, change.Resource))
	}
	if change.Revoke != nil && change.Revoke.Ref.Target == "user" {
		all = append(all, fmt.Sprintf("whatever was issued to %s, through any iam_mapping, is revoked", change.Revoke.Ref.Value))
	}
	all = append(all, d.publish(ctx))
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), "; ")
}

func (d *Desk) publish(ctx context.Context) string {
	const later = "the change is stored, but not in force yet: publishing it will be tried again within a minute"
	count, err := d.config.Store.Counters(ctx)
	if err != nil {
		return later
	}
	input, err := d.config.Publisher.Publish(ctx)
	if fault.Is(err, fault.TooLarge) { // trying again won't help
		f := fault.From(err)
		return "the change is stored, but not in force: " + f.Message + "; " + f.Hint
	}
	if err != nil || input < count.Input {
		return later
	}
	return ""
}
