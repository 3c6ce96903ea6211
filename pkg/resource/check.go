package resource

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// Validate reports everything that is wrong with the resource, with paths such as spec.allow.logins[0].
// It doesn't check whether a name is reserved, or what else exists.
func (r Resource) Validate() []fault.Field {
	var c checker
	k, ok := KindOf(r.Kind)
	if !ok || k.Name != r.Kind {
		c.add("kind", "there is no kind %q", r.Kind)
		return c.faults
	}
	if !k.named(r.Metadata.Name) {
		c.add("metadata.name", "%q can't be the name of a %s: %s", r.Metadata.Name, k.Name, nameRule(k))
	}
	if s := r.Metadata.Scope; k.Name == names.Settings && s != "" && s != "/" {
		c.add("metadata.scope", "settings are the whole cluster's; leave the scope out")
	}
	if s := r.Metadata.Scope; s != "" && !ValidScope(s) {
		c.add("metadata.scope", "%q is not a scope; write / or /payments/prod", s)
	}
	if r.Metadata.Revision < 0 {
		c.add("metadata.revision", "a revision must be at least 0")
	}
	if r.Spec == nil {
		c.add("spec", "it is missing")
		return c.faults
	}
	r.Spec.check(&c)
	return c.faults
}

func nameRule(k Kind) string {
	switch {
	case k.Name == names.User:
		return "1–64 letters, digits and _ . @ + = -, beginning with a letter or digit"
	case k.Name == names.Settings:
		return "the cluster has one, called " + ClusterSettings
	case k.Target:
		return "1–63 lower-case letters, digits, dots and hyphens"
	}
	return "1–63 lower-case letters, digits and _ . @ -, beginning with a letter or digit"
}

// checker collects faults.
type checker struct{ faults []fault.Field }

func (c *checker) add(path, format string, args ...any) {
	c.faults = append(c.faults, fault.Field{Path: path, Reason: fmt.Sprintf(format, args...)})
}

var (
	nameShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9_.@-]{0,62}$`)
	scopeShape = regexp.MustCompile(`^(/|(/[a-z0-9][a-z0-9_.-]{0,62}){1,8})$`)
	labelKey   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./:-]{0,127}$`)
	traitKey   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`)
)

func validName(s string) bool { return nameShape.MatchString(s) }
func validUser(s string) bool { return identity.ValidUserName(s) }

// ValidScope reports whether s is / or a path such as /payments/prod of at most eight parts.
func ValidScope(s string) bool { return scopeShape.MatchString(s) }

// Within reports whether a scope is at or below another: everything is within /.
func Within(scope, above string) bool {
	if above == "" || above == "/" {
		return true
	}
	return scope == above || strings.HasPrefix(scope, above+"/")
}

func (s *RoleSpec) check(c *checker) {
	if ttl := time.Duration(s.Options.MaxSessionTTL); ttl != 0 && (ttl < time.Second || ttl > MaxSessionTTL) {
		c.add("spec.options.max_session_ttl", "%s is out of range; write 1s to %s", ttl, hours(MaxSessionTTL))
	}
	s.Options.unserved(c)
	s.Allow.check(c, "spec.allow", false)
	s.Deny.check(c, "spec.deny", true)
}

// MaxSessionTTL is the longest life of a user's certificate.
const MaxSessionTTL = 12 * time.Hour

// unserved refuses what nothing would enforce: an option that is accepted is enforced.
func (o RoleOptions) unserved(c *checker) {
	const later = "nothing enforces it yet, so it is not accepted; leave it out"
	if o.ForwardAgent != nil && *o.ForwardAgent {
		c.add("spec.options.forward_agent", "forwarding the SSH agent is not supported yet; leave it out or write false")
	}
	if o.PortForwarding != nil && *o.PortForwarding {
		c.add("spec.options.port_forwarding", "port forwarding is not supported yet; leave it out or write false")
	}
	if o.RequireSessionMFA {
		c.add("spec.options.require_session_mfa", "there is no second factor yet: %s", later)
	}
	if !ValidRecord(o.Record) {
		c.add("spec.options.record", "%q is not a way to record; write off, best-effort or strict, or leave it to the cluster's settings", o.Record)
	}
	if o.RecordWhenFull != "" && o.RecordWhenFull != AdmitWhenFull {
		c.add("spec.options.record_when_full", "%q is not known; write admit, or leave it out", o.RecordWhenFull)
	}
}

func hours(d time.Duration) string { return fmt.Sprintf("%dh", int(d.Hours())) }

func (b *RoleBlock) check(c *checker, path string, deny bool) {
	for i := range TargetKinds {
		k := &TargetKinds[i]
		labels, uses := k.of(b)
		checkSelector(c, path+"."+k.Labels, labels)
		for n, u := range k.Uses {
			u.check(c, path+"."+u.Field, uses[n], deny)
		}
	}
	for i, r := range b.Rules {
		r.check(c, fmt.Sprintf("%s.rules[%d]", path, i), deny)
	}
}

// checkSelector accepts keys with the values that they may have, or just '*': '*'.
func checkSelector(c *checker, path string, selector Labels) {
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		values, at := selector[key], path+"."+key
		switch {
		case key == "*" && !slices.Equal(values, []string{"*"}):
			c.add(at, "the key * takes only the value *")
		case key != "*" && !labelKey.MatchString(key):
			c.add(at, "%q can't be the key of a label: letters, digits and _ . / : - are allowed", key)
		case len(values) == 0:
			c.add(at, "it has no values, so nothing would match; write one, or '*' for any")
		}
		for i, v := range values {
			if reason := badSelectorValue(v); reason != "" {
				c.add(fmt.Sprintf("%s[%d]", at, i), "%s", reason)
			}
		}
	}
}

// badSelectorValue refuses patterns instead of comparing them literally, which would silently match nothing
// in an allow block and, worse, nothing in a deny block.
func badSelectorValue(v string) string {
	switch {
	case v == "*":
		return ""
	case strings.HasPrefix(v, "^") || strings.HasSuffix(v, "$"):
		return fmt.Sprintf("%q looks like a regular expression, which is not supported yet; list the values, or write '*' for any", v)
	case strings.ContainsAny(v, "*?[]"):
		return fmt.Sprintf("%q looks like a glob, which is not supported yet; list the values, or write '*' for any", v)
	case strings.Contains(v, "{{") || strings.Contains(v, "}}"):
		return fmt.Sprintf("%q looks like a template, which is not supported in labels yet; list the values", v)
	}
	return badLabelValue(v)
}

func badLabelValue(v string) string {
	if v == "" || len(v) > 256 || strings.TrimSpace(v) != v || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "a label's value has 1–256 printable bytes and no leading or trailing space"
	}
	return ""
}

// RuleResources are what a rule may be about, beside *.
func RuleResources() []string { return append(append(KindNames(), owned...), names.AuditLake) }

// owned are the resources that are somebody's: of a session, its user's.
var owned = []string{names.Recording, names.AuditRule}

// Owned reports whether resources of a kind are somebody's own.
func Owned(kind string) bool { return slices.Contains(owned, kind) }

// WhereOwn confines a rule to what is the caller's own.
const WhereOwn = "own"

// Verbs are what a rule may allow, beside *.
var Verbs = []string{"list", "read", "create", "update", "delete", verbQuery}

// verbQuery is what may be done to the audit lake, and to it alone.
const verbQuery = "query"

func (r Rule) check(c *checker, path string, deny bool) {
	checkWords(c, path+".resources", r.Resources, RuleResources())
	checkWords(c, path+".verbs", r.Verbs, Verbs)
	either := func(words []string, word string) bool {
		return slices.Contains(words, word) || slices.Contains(words, "*")
	}
	if slices.Contains(r.Resources, names.AuditLake) && !either(r.Verbs, verbQuery) || slices.Contains(r.Verbs, verbQuery) && !either(r.Resources, names.AuditLake) {
		c.add(path, "%s is what may be done to %s, and nothing else is: write both, or neither", verbQuery, names.AuditLake)
	}
	switch {
	case r.Where == "":
	case r.Where != WhereOwn:
		c.add(path+".where", "the condition %.63q is not supported, and without it the rule would apply everywhere; write own, or leave the rule out", r.Where)
	case deny:
		c.add(path+".where", "a denial has no condition: leave it out to deny all, or the rule to deny nothing")
	case slices.ContainsFunc(r.Resources, func(kind string) bool { return !Owned(kind) }):
		c.add(path+".where", "own is about %s, which are somebody's; write a rule of its own for the others", strings.Join(owned, " and "))
	}
}

func checkWords(c *checker, path string, words, known []string) {
	if len(words) == 0 {
		c.add(path, "it is empty; write * or some of %s", strings.Join(known, ", "))
	}
	for i, w := range words {
		if w != "*" && !slices.Contains(known, w) {
			c.add(fmt.Sprintf("%s[%d]", path, i), "%q is unknown; write * or some of %s", w, strings.Join(known, ", "))
		}
	}
}

func (s *UserSpec) check(c *checker) {
	if !validName(s.Mapping) {
		c.add("spec.mapping", "name the iam_mapping that this user comes through")
	}
	checkGrants(c, s.Roles, s.Traits)
}

func checkGrants(c *checker, roles []string, traits map[string][]string) {
	given := map[string]bool{}
	for i, r := range roles {
		if !validName(r) {
			c.add(fmt.Sprintf("spec.roles[%d]", i), "%q can't be the name of a role", r)
		}
		if given[r] {
			c.add(fmt.Sprintf("spec.roles[%d]", i), "role %.63q is listed twice", r)
		}
		given[r] = true
	}
	for _, key := range slices.Sorted(maps.Keys(traits)) {
		if !traitKey.MatchString(key) {
			c.add("spec.traits."+key, "%q can't be the name of a trait: letters, digits, _ and - are allowed", key)
		}
		given := map[string]bool{}
		for i, v := range traits[key] {
			if given[v] {
				c.add(fmt.Sprintf("spec.traits.%s[%d]", key, i), "the value is listed twice")
			}
			given[v] = true
			if reason := badLabelValue(v); reason != "" {
				c.add(fmt.Sprintf("spec.traits.%s[%d]", key, i), "a trait's value has 1–256 printable bytes and no leading or trailing space")
			}
		}
	}
}
