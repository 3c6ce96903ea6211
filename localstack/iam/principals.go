package iam

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// principals is a statement's Principal or NotPrincipal.
type principals struct {
	negated  bool
	anyone   bool     // "*"
	arns     []string // users, roles, sessions, and accounts as their root's ARN
	ids      []string // unique ids of users and roles, which stand for one that may be gone
	accounts []string // written as twelve digits
	services []string
}

// grip says how a statement names a principal, which matters where an identity policy may have to agree.
type grip int

const (
	none      grip = iota
	asAccount      // by its account: identity policies decide
	asRole         // by its role or "*": boundary and session policies still narrow
	asItself       // by its own ARN, or by "*" and its aws:PrincipalArn
)

var (
	accountForm      = regexp.MustCompile(`^[0-9]{12}$`)
	principalARNForm = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):(iam|sts)::[0-9]{12}:(root|user/[^*?]+|role/[^*?]+|assumed-role/[^*?/]+/[^*?/]+)$`)
	serviceForm      = regexp.MustCompile(`^[a-z0-9.-]+\.amazonaws\.com(\.cn)?$`)
)

func readPrincipals(at string, negated bool, n node) (*principals, error) {
	p := &principals{negated: negated}
	if s, ok := n.value.(string); ok {
		if s != "*" {
			return nil, fmt.Errorf(`%s: %q must be "*" or an object such as {"AWS": …}`, at, s)
		}
		p.anyone = true
		return p, nil
	}
	members, err := n.members(at)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("%s: is empty", at)
	}
	for _, m := range members {
		values, err := m.node.strings(at+"."+m.key, false)
		if err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("%s.%s: is empty", at, m.key)
		}
		for _, v := range values {
			if err := p.add(at+"."+m.key, m.key, v); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

func (p *principals) add(at, kind, v string) error {
	switch {
	case kind == "AWS" && v == "*":
		p.anyone = true
	case kind == "AWS" && accountForm.MatchString(v):
		p.accounts = append(p.accounts, v)
	case kind == "AWS" && uniqueForm.MatchString(v):
		p.ids = append(p.ids, v)
	case kind == "AWS" && principalARNForm.MatchString(v):
		p.arns = append(p.arns, v)
	case kind == "AWS":
		return fmt.Errorf("%s: %q doesn't name a principal; write an account, or the ARN of a user, role or session without wildcards", at, v)
	case kind == "Service" && serviceForm.MatchString(v):
		p.services = append(p.services, v)
	case kind == "Service":
		return fmt.Errorf("%s: %q doesn't name a service; write it as lambda.amazonaws.com", at, v)
	default:
		return fmt.Errorf("%s: principals of kind %q are not understood here; AWS and Service are", at, kind)
	}
	return nil
}

func (p *principals) all() []string {
	out := append(append(append([]string{}, p.arns...), p.accounts...), p.services...)
	if p.anyone {
		out = append(out, "*")
	}
	slices.Sort(out)
	return out
}

// match says how the element includes who. A NotPrincipal exempts a session only if it lists the session or
// "*", its role and its account, and nobody who has a permissions boundary, as AWS warns.
func (p *principals) match(who *Principal, bounded bool) grip {
	if !p.negated {
		return p.names(who)
	}
	if who.Kind == Service {
		return unless(p.anyone || slices.Contains(p.services, who.Service))
	}
	account := slices.Contains(p.accounts, who.Account) || slices.Contains(p.arns, who.rootARN())
	spared := account && p.listed(who.ARN, who)
	if who.Kind == AssumedRole {
		spared = account && slices.Contains(p.arns, who.ARN) && p.listed(who.RoleARN, who)
	}
	return unless(!bounded && (p.anyone || spared))
}

func unless(spared bool) grip {
	if spared {
		return none
	}
	return asItself
}

func (p *principals) names(who *Principal) grip {
	switch {
	case who.Kind == Service:
		return unless(!p.anyone && !slices.Contains(p.services, who.Service))
	case slices.Contains(p.arns, who.ARN), who.Kind == User && p.listed(who.ARN, who):
		return asItself
	case p.anyone:
		return asRole
	case who.Kind == AssumedRole && p.listed(who.RoleARN, who):
		return asRole
	case slices.Contains(p.accounts, who.Account) || slices.Contains(p.arns, who.rootARN()):
		return asAccount
	default:
		return none
	}
}

// accountOf reads the account in an ARN; "" for a bucket's and for "*".
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
