package admin

import (
	"cmp"
	"context"
	"reflect"
	"regexp"
	"slices"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// Nobody grants what they lack. Whoever may write a resource where it is may still not use it to give somebody, or
// themselves, a right that they don't have: a user's record gives roles, and traits that fill the templates of roles; a
// mapping decides who gets what it gives and what the records of its users add; a role's rules are rights themselves;
// and a token grants names.

// turn is a change as it is judged: what was and what will be, nil for what isn't there.
type turn struct {
	desk *Desk
	c    Caller
	set  law

	name     string
	was, now *resource.Resource
	roles    roles
}

// gives says of each kind that people write what a change of it gives to others: nil, a denial's fault, or that it can't
// be told just now. A kind without a row is not written.
var gives = map[string]func(*turn, context.Context) error{
	names.Role:    (*turn).role,
	names.User:    (*turn).record,
	names.Mapping: (*turn).mapping,
	names.Token:   (*turn).token,
	// Settings give nobody anything, and are changed only by who may change them at /, where they are.
	names.Settings: func(*turn, context.Context) error { return nil },
}

// subject is the writer with what they have for good: what a grant gives for an hour is not theirs to give.
func (t *turn) subject() policy.Subject {
	s := subject(t.c)
	s.Grants = nil
	return s
}

// deny refuses the change for what it would give.
func (t *turn) deny(ctx context.Context, d policy.Decision, what string) error {
	if d.Allowed {
		return nil
	}
	verb, r := "create", t.now
	switch {
	case t.now == nil:
		verb, r = "delete", t.was
	case t.was != nil:
		verb = "update"
	}
	return t.desk.denied(ctx, t.c, *r, "ask somebody to make this change who has the right that is missing, such as an administrator of /",
		t.c.User.Name+" may not "+verb+" "+r.Kind+" "+t.name+": "+what+d.Reason)
}

// hold is what somebody has: nothing if they are not admitted.
type hold struct {
	admitted bool
	roles    []string
	traits   map[string][]string
}

func holdOf(m *resource.MappingSpec, u *resource.UserSpec) hold {
	h := hold{traits: map[string][]string{}}
	if m == nil {
		return h
	}
	h.admitted = true
	add := func(roles []string, traits map[string][]string) {
		h.roles = append(h.roles, roles...)
		for k, v := range traits {
			h.traits[k] = append(h.traits[k], v...)
		}
	}
	add(m.Roles, m.Traits)
	if u != nil {
		add(u.Roles, u.Traits)
	}
	return h
}

// same reports whether a role gives both the same, as far as traits go.
func same(r resource.Role, a, b hold) bool {
	return !slices.ContainsFunc(r.Traits(), func(trait string) bool {
		x, y := slices.Clone(a.traits[trait]), slices.Clone(b.traits[trait])
		slices.Sort(x)
		slices.Sort(y)
		return !slices.Equal(slices.Compact(x), slices.Compact(y))
	})
}

// move judges that somebody who had one thing will have another. A role that limits its holders everywhere may only be
// given by whoever may change how these users are admitted, and one that restrains them only be taken away by its
// administrators.
func (t *turn) move(ctx context.Context, from, to hold, limit func() policy.Decision) error {
	if !to.admitted {
		return nil
	}
	for _, name := range to.roles {
		r, found, err := t.roles.find(ctx, name)
		had := from.admitted && slices.Contains(from.roles, name)
		switch {
		case err != nil:
			return err
		case !found && had:
			continue
		case !found:
			// Whoever creates the role later doesn't know who waits for it.
			d := t.set.May(t.subject(), names.Role, "create", "/")
			if err := t.deny(ctx, d, "there is no role "+name+" yet, and "); err != nil {
				return err
			}
			continue
		case had && same(r, from, to):
			continue
		}
		d := t.set.Gives(t.subject(), r)
		if had {
			d = t.set.Administers(t.subject(), r)
		}
		if err := t.deny(ctx, d, "it would give role "+name+": "); err != nil {
			return err
		}
		if optioned(r) && !had && from.admitted {
			if err := t.deny(ctx, limit(), "the options of role "+name+" limit its holders everywhere: "); err != nil {
				return err
			}
		}
	}
	return t.free(ctx, from, to)
}

// free judges what somebody would no longer have. A role that isn't there yet keeps its holders out, because it might
// deny something.
func (t *turn) free(ctx context.Context, from, to hold) error {
	for _, name := range from.roles {
		if slices.Contains(to.roles, name) {
			continue
		}
		r, found, err := t.roles.find(ctx, name)
		if err != nil {
			return err
		}
		d := policy.Decision{Allowed: true}
		switch {
		case !found:
			d = t.set.May(t.subject(), names.Role, "create", "/")
		case len(r.Limits()) > 0:
			d = t.set.Frees(t.subject(), r)
		}
		if err := t.deny(ctx, d, "it would take away role "+name+", which restrains its holders: "); err != nil {
			return err
		}
	}
	return nil
}

// mappingOf finds a mapping, with its scope; nil when there is none.
func (t *turn) mappingOf(ctx context.Context, name string) (*resource.MappingSpec, string, error) {
	k, _ := resource.KindOf(names.Mapping)
	r, found, err := t.desk.find(ctx, k, name)
	if err != nil || !found {
		return nil, "/", err
	}
	spec, _ := r.Spec.(*resource.MappingSpec)
	return spec, r.Metadata.Scope, nil
}

// record judges a user's record, which adds to what its mapping gives.
func (t *turn) record(ctx context.Context) error {
	was, now := specOf[resource.UserSpec](t.was), specOf[resource.UserSpec](t.now)
	if now != nil && now.Mapping == resource.CanaryMapping {
		return fault.New(fault.Denied, "the canary may do nothing, and a record can't add anything to it", "name another iam_mapping in spec.mapping")
	}
	var mappings []string
	for _, spec := range []*resource.UserSpec{was, now} {
		if spec != nil && !slices.Contains(mappings, spec.Mapping) {
			mappings = append(mappings, spec.Mapping)
		}
	}
	for _, name := range mappings {
		m, scope, err := t.mappingOf(ctx, name)
		if err != nil {
			return err
		}
		if m == nil {
			m = &resource.MappingSpec{} // whoever creates it is judged for what the record adds; the record is judged now
		}
		at := func(spec *resource.UserSpec) *resource.UserSpec {
			if spec != nil && spec.Mapping == name {
				return spec
			}
			return nil
		}
		admit := func() policy.Decision { return t.set.May(t.subject(), names.Mapping, "update", scope) }
		if name == resource.BootstrapMapping {
			if err := t.deny(ctx, admit(), "it concerns the first administrator: "); err != nil {
				return err
			}
		}
		// Whoever gives a role later, or writes a template, doesn't know which traits wait for it.
		if !reflect.DeepEqual(traitsOf(at(was)), traitsOf(at(now))) {
			if err := t.deny(ctx, admit(), "traits are for who admits the user: "); err != nil {
				return err
			}
		}
		if err := t.move(ctx, holdOf(m, at(was)), holdOf(m, at(now)), admit); err != nil {
			return err
		}
	}
	return nil
}

func traitsOf(spec *resource.UserSpec) map[string][]string {
	if spec == nil || len(spec.Traits) == 0 {
		return nil
	}
	return spec.Traits
}

// mapping judges a mapping by what its users get from it and from their records. Whoever it matches from now on had
// nothing of that before.
func (t *turn) mapping(ctx context.Context) error {
	was, now := specOf[resource.MappingSpec](t.was), specOf[resource.MappingSpec](t.now)
	if now == nil {
		return nil // nobody gets anything
	}
	if err := unborrowed(now); err != nil {
		return err
	}
	if was == nil || was.Match != now.Match {
		if err := t.beside(ctx, now); err != nil {
			return err
		}
	}
	if was != nil && was.Match.Overlaps(now.Match) {
		if err := t.free(ctx, holdOf(was, nil), holdOf(now, nil)); err != nil {
			return err
		}
	}
	if was == nil || !narrows(was.Match, now.Match) || was.User != now.User {
		was = nil // others come in by it, and had nothing before
	}
	records, err := t.desk.config.Store.List(ctx, names.User)
	if err != nil {
		return err
	}
	specs := []*resource.UserSpec{nil}
	for i := range records {
		if spec := specOf[resource.UserSpec](&records[i]); spec != nil && spec.Mapping == t.name {
			specs = append(specs, spec)
		}
	}
	allowed := func() policy.Decision { return policy.Decision{Allowed: true} } // by being allowed to write the mapping
	for _, spec := range specs {
		if err := t.move(ctx, holdOf(was, spec), holdOf(now, spec), allowed); err != nil {
			return err
		}
	}
	return nil
}

// unborrowed refuses a mapping that gives somebody the name of a built-in user.
func unborrowed(m *resource.MappingSpec) error {
	name, path := m.User, "spec.user"
	if name == "" {
		name, path = m.Match.Session, "spec.match.session"
	}
	if _, is := resource.BuiltinUser(name); !is {
		return nil
	}
	return fault.Newf(fault.Denied, "write another name into spec.user", "%s is the name of a built-in user, which no other person may have", name).With(path, "a built-in user's name")
}

// narrows reports whether whoever matches now matched was.
func narrows(was, now resource.IAMMatch) bool {
	if was.RoleID == "" {
		now.RoleID = ""
	}
	if was.Session == "" {
		now.Session = ""
	}
	was.Partition, now.Partition = cmp.Or(was.Partition, "aws"), cmp.Or(now.Partition, "aws")
	return was == now
}

// beside refuses a mapping that matches whom another one matches, if its writer may not change that one: nobody whom two
// mappings match can log in, except the first administrator.
func (t *turn) beside(ctx context.Context, now *resource.MappingSpec) error {
	stored, err := t.desk.config.Store.List(ctx, names.Mapping)
	if err != nil {
		return err
	}
	for _, m := range append(t.desk.builtin(names.Mapping), stored...) {
		other := specOf[resource.MappingSpec](&m)
		if other == nil || m.Metadata.Name == t.name || !other.Match.Overlaps(now.Match) {
			continue
		}
		if m.Metadata.Name == resource.BootstrapMapping {
			return fault.New(fault.Denied, "the first administrator logs in with this AWS role, and no other mapping may match it", "use another AWS role, or change the first administrator in the deployment's parameters")
		}
		if m.Metadata.Name == resource.CanaryMapping {
			return fault.New(fault.Denied, "the canary logs in with this AWS role, and no other mapping may match it", "use another AWS role")
		}
		d := t.set.May(t.subject(), names.Mapping, "update", m.Metadata.Scope)
		if err := t.deny(ctx, d, "iam_mapping "+m.Metadata.Name+" can match the same identities, which then could not log in: "); err != nil {
			return err
		}
	}
	return nil
}

// role judges a role's rules, and its options, which limit whoever has the role.
func (t *turn) role(ctx context.Context) error {
	if t.now == nil {
		return nil // nobody holds it
	}
	now, _ := t.now.Role()
	was := resource.Role{}
	if t.was != nil {
		was, _ = t.was.Role()
	}
	if err := t.deny(ctx, t.set.Rewrites(t.subject(), was, now), ""); err != nil {
		return err
	}
	if t.was != nil && reflect.DeepEqual(was.Spec.Options, now.Spec.Options) {
		return nil
	}
	return t.awaited(ctx)
}

// optioned reports whether a role has options, which apply to its holders whatever they use.
func optioned(r resource.Role) bool { return r.Spec.Options != resource.RoleOptions{} }

// awaited judges a role that is new, or whose options change: if somebody has it, or waits for it and is kept out until it
// is there, then its writer must be allowed to change how they are admitted.
func (t *turn) awaited(ctx context.Context) error {
	mappings, err := t.desk.config.Store.List(ctx, names.Mapping)
	if err != nil {
		return err
	}
	records, err := t.desk.config.Store.List(ctx, names.User)
	if err != nil {
		return err
	}
	gives := func(mapping string) bool {
		return slices.ContainsFunc(records, func(r resource.Resource) bool {
			spec := specOf[resource.UserSpec](&r)
			return spec != nil && spec.Mapping == mapping && slices.Contains(spec.Roles, t.name)
		})
	}
	for _, m := range append(t.desk.builtin(names.Mapping), mappings...) {
		if !slices.Contains(rolesOf(m.Spec), t.name) && !gives(m.Metadata.Name) {
			continue
		}
		d := t.set.May(t.subject(), names.Mapping, "update", m.Metadata.Scope)
		if err := t.deny(ctx, d, "users of iam_mapping "+m.Metadata.Name+" have it, whom it admits, and whose options apply everywhere: "); err != nil {
			return err
		}
	}
	return nil
}

// plainScope are the scopes that names can end with, and no other scope's names as well.
var plainScope = regexp.MustCompile(`^(/?|(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)+)$`)

// token judges the names that a token grants, which belong to its scope.
func (t *turn) token(context.Context) error {
	now := specOf[resource.TokenSpec](t.now)
	if now == nil {
		return nil
	}
	scope := t.now.Metadata.Scope
	if !plainScope.MatchString(scope) {
		return fault.Newf(fault.BadInput, "use a scope whose parts are lower-case letters, digits and hyphens", "no name can end with the scope %s, so a token there can grant none", scope)
	}
	var before []string
	if was := specOf[resource.TokenSpec](t.was); was != nil && t.was.Metadata.Scope == scope {
		before = was.Names
	}
	for _, name := range now.Names {
		if suffix, ok := resource.Bounded(name, scope); !ok && !slices.Contains(before, name) {
			return fault.Newf(fault.BadInput, "write names such as web-1"+suffix+" or *"+suffix,
				"a token at scope %s grants only names that end with %s, and %q doesn't", scope, suffix, name)
		}
	}
	return nil
}

// specOf returns the body of a resource of this kind, nil for any other and for none.
func specOf[T any, P interface {
	*T
	resource.Spec
}](r *resource.Resource) *T {
	if r == nil {
		return nil
	}
	spec, _ := r.Spec.(P)
	return (*T)(spec)
}
