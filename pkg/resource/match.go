package resource

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/strict"
)

// IAMIdentity is an assumed role as AWS states it, taken apart.
type IAMIdentity struct {
	Partition string // aws, aws-cn, aws-us-gov
	Account   string // 12 digits
	Role      string // name without path
	RoleID    string // AROA…
	Session   string // chosen by whoever assumed the role, unless IAM Identity Center did
}

var (
	accountShape = regexp.MustCompile(`^[0-9]{12}$`)
	roleShape    = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	roleIDShape  = regexp.MustCompile(`^AROA[A-Z0-9]{12,124}$`)
	sessionShape = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	ssoShape     = regexp.MustCompile(`^AWSReservedSSO_[A-Za-z0-9_+=,.@-]{1,32}_[0-9a-f]{16}$`)
)

// IsSSO reports whether a role name is one that only IAM Identity Center makes, named in full: there the
// session name is the user's name; everywhere else it is whatever the caller of AssumeRole wrote.
func IsSSO(role string) bool { return ssoShape.MatchString(role) }

// Matches compares every part whole. It is false for a match that doesn't validate.
func (m IAMMatch) Matches(who IAMIdentity) bool {
	if m.Validate() != nil {
		return false
	}
	return cmp.Or(m.Partition, "aws") == who.Partition && m.Account == who.Account && m.Role == who.Role &&
		(m.RoleID == "" || m.RoleID == who.RoleID) &&
		(m.Session == "" || m.Session == who.Session)
}

// Overlaps reports whether an identity could match both.
func (m IAMMatch) Overlaps(o IAMMatch) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return cmp.Or(m.Partition, "aws") == cmp.Or(o.Partition, "aws") && m.Account == o.Account && m.Role == o.Role &&
		same(m.RoleID, o.RoleID) && same(m.Session, o.Session)
}

// Validate reports all faults as one [fault.BadInput], with paths below match.
func (m IAMMatch) Validate() error {
	var c checker
	m.check(&c, "match")
	if len(c.faults) == 0 {
		return nil
	}
	return strict.Refuse(c.faults)
}

func (m IAMMatch) check(c *checker, path string) {
	if !slices.Contains([]string{"", "aws", "aws-cn", "aws-us-gov"}, m.Partition) {
		c.add(path+".partition", "%q is not a partition; write aws, aws-cn or aws-us-gov", m.Partition)
	}
	if !accountShape.MatchString(m.Account) {
		c.add(path+".account", "%q is not an account id; write its 12 digits in quotes", m.Account)
	}
	if !roleShape.MatchString(m.Role) {
		c.add(path+".role", "%q is not a role name; write it in full, without path or pattern", m.Role)
	}
	if m.RoleID != "" && !roleIDShape.MatchString(m.RoleID) {
		c.add(path+".role_id", "%q is not a role id; it begins with AROA", m.RoleID)
	}
	switch {
	case m.Session == "":
	case !IsSSO(m.Role):
		c.add(path+".session", "session is accepted only with the full name of an IAM Identity Center role (AWSReservedSSO_<set>_<16 hex digits>)")
	case !sessionShape.MatchString(m.Session):
		c.add(path+".session", "%q is not a session name", m.Session)
	}
}

func (s *MappingSpec) check(c *checker) {
	s.Match.check(c, "spec.match")
	switch {
	case s.User == "" && !IsSSO(s.Match.Role):
		c.add("spec.user", "write the user's name; only a role of IAM Identity Center (AWSReservedSSO_<set>_<16 hex digits>, in full) may leave it out, and then the session name is the user")
	case s.User != "" && !identity.ValidUserName(s.User):
		c.add("spec.user", "%q can't be the name of a user", s.User)
	}
	checkGrants(c, s.Roles, s.Traits)
}

func (s *TokenSpec) check(c *checker) {
	switch s.Method {
	case MethodIAM:
		s.checkIAM(c)
	case MethodToken:
		if len(s.Allow) > 0 {
			c.add("spec.allow", "only method iam looks at AWS identities; leave it out")
		}
	default:
		c.add("spec.method", "%q is not a method of joining; write iam or token", s.Method)
	}
	if s.Uses < 0 || s.Uses > 1000 {
		c.add("spec.uses", "%d is out of range; write 1 to 1000", s.Uses)
	}
	s.checkBounds(c)
	if len(s.Resources) == 0 {
		c.add("spec.resources", "list the kinds of targets that an agent may serve, such as [node]")
	}
	for i, k := range s.Resources {
		if !IsTargetKind(k) {
			c.add(fmt.Sprintf("spec.resources[%d]", i), "%q is not a kind of target; the kinds are %s", k, strings.Join(targetKindNames(), ", "))
		}
	}
	if len(s.Names) == 0 {
		c.add("spec.names", "list the names that an agent may claim, such as web-1 or web-*")
	}
	for i, n := range s.Names {
		if !identity.ValidTargetName(strings.ReplaceAll(n, "*", "x")) {
			c.add(fmt.Sprintf("spec.names[%d]", i), "%q can't be a target's name: lower-case letters, digits, dots, hyphens and * for any of them", n)
		}
	}
	s.checkLabels(c)
}

func (s *TokenSpec) checkIAM(c *checker) {
	if len(s.Allow) == 0 {
		c.add("spec.allow", "list the AWS identities that may join")
	}
	for i, m := range s.Allow {
		m.check(c, fmt.Sprintf("spec.allow[%d]", i))
	}
	if s.Uses != 0 {
		c.add("spec.uses", "only method token counts uses; leave it out")
	}
	if s.Expires != nil {
		c.add("spec.expires", "only method token expires; leave it out")
	}
}

// Bounds of how many agents there may be by a token.
const (
	defaultNodes = 100
	maxNodes     = 10_000
)

// MostNodes returns how many agents there may be by the token at once: 100 unless it says otherwise, and for method token as
// many as it has uses.
func (s TokenSpec) MostNodes() int {
	if s.Method == MethodToken {
		return cmp.Or(s.MaxNodes, s.Uses, 1)
	}
	return cmp.Or(s.MaxNodes, defaultNodes)
}

// MostPerIdentity returns how many of them there may be by one AWS role: all, unless the token says otherwise. The instances
// of an autoscaling group share one role, and nothing in the evidence tells them apart.
func (s TokenSpec) MostPerIdentity() int { return cmp.Or(s.MaxNodesPerIdentity, s.MostNodes()) }

func (s *TokenSpec) checkBounds(c *checker) {
	if s.MaxNodes < 0 || s.MaxNodes > maxNodes {
		c.add("spec.max_nodes", "%d is out of range; write 1 to %d", s.MaxNodes, maxNodes)
	}
	switch most := s.MostNodes(); {
	case s.MaxNodesPerIdentity == 0:
	case s.Method == MethodToken:
		c.add("spec.max_nodes_per_identity", "only method iam knows who joins; leave it out")
	case s.MaxNodesPerIdentity < 0 || s.MaxNodesPerIdentity > min(most, maxNodes):
		c.add("spec.max_nodes_per_identity", "%d is out of range; write 1 to max_nodes, which is %d", s.MaxNodesPerIdentity, min(max(most, 1), maxNodes))
	}
}

func (s *TokenSpec) checkLabels(c *checker) {
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		if !labelKey.MatchString(key) {
			c.add("spec.labels."+key, "%q can't be the key of a label", key)
		}
		if reason := badLabelValue(s.Labels[key]); reason != "" {
			c.add("spec.labels."+key, "%s", reason)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.LabelChoice)) {
		at := "spec.label_choice." + key
		if !labelKey.MatchString(key) {
			c.add(at, "%q can't be the key of a label", key)
		}
		if _, pinned := s.Labels[key]; pinned {
			c.add(at, "the label is also pinned under labels; remove it from one of them")
		}
		if len(s.LabelChoice[key]) == 0 {
			c.add(at, "list the values that an agent may choose from")
		}
		for i, v := range s.LabelChoice[key] {
			if reason := badLabelValue(v); reason != "" {
				c.add(fmt.Sprintf("%s[%d]", at, i), "%s", reason)
			}
		}
	}
}

// Glob reports whether s matches a pattern in which * stands for any characters and everything else for itself.
func Glob(pattern, s string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	parts := strings.Split(rest, "*")
	for _, p := range parts[:len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// Changes reports whether a token can be changed: one with a secret is replaced by another.
func (s TokenSpec) Changes() bool { return s.Method != MethodToken }

// GrantLabels returns the labels of an agent that claims some: those pinned, and those claimed that may be
// chosen. A claim that is not granted is a [fault.Denied] that names the label; claiming a pinned label
// with its pinned value is granted.
func (s TokenSpec) GrantLabels(claimed map[string]string) (map[string]string, error) {
	granted := maps.Clone(s.Labels)
	if granted == nil {
		granted = map[string]string{}
	}
	for _, key := range slices.Sorted(maps.Keys(claimed)) {
		value := claimed[key]
		if pinned, ok := s.Labels[key]; ok && pinned == value {
			continue
		}
		_, pinned := s.Labels[key]
		if pinned || badLabelValue(value) != "" || !slices.ContainsFunc(s.LabelChoice[key], func(p string) bool { return Glob(p, value) }) {
			f := fault.Newf(fault.Denied, "claim only labels that the token grants, or ask an administrator to add it to the token's label_choice",
				"the token doesn't grant the label %s=%s", key, value)
			if !s.Changes() {
				f.Hint = "claim only labels that the token grants, or ask an administrator to create another token with it in label_choice"
			}
			return nil, f
		}
		granted[key] = value
	}
	return granted, nil
}
