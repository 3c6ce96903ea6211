package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Shape says what a policy is attached to, which decides the elements that it must and must not have.
type Shape int

// The shapes of policy documents.
const (
	IdentityShape Shape = iota // on a user, role or session: no Principal, needs Resource
	ResourceShape              // on a bucket, key, function: needs Principal and Resource
	TrustShape                 // on a role: needs Principal, has no Resource
)

// Policy is a parsed policy document.
type Policy struct {
	Name       string // for reasons: where it is, such as "role/Signer/DefaultPolicy"
	Version    string // 2012-10-17, or 2008-10-17, in which ${…} is literal text
	Statements []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Sid   string // as written, else "#<index>"
	Allow bool   // else Deny

	actions   selector[string]
	resources selector[pattern]
	principal *principals
	clauses   []clause
}

// selector is an element that has a negated twin: Action and NotAction.
type selector[T any] struct {
	given   bool
	negated bool
	values  []T
}

// Principals lists who a resource or trust policy's statement names: ARNs, accounts, services and "*".
func (s Statement) Principals() []string {
	if s.principal == nil {
		return nil
	}
	return s.principal.all()
}

// Parse reads a policy document of that shape. Unknown elements, effects, operators and variables are
// errors that say where they are; so are repeated keys.
func Parse(name string, shape Shape, doc []byte) (*Policy, error) {
	n, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	p := &Policy{Name: name, Version: "2008-10-17"}
	if err := p.read(n, shape); err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	return p, nil
}

// ParseValue reads a policy document that has been decoded already, as in a template's properties.
func ParseValue(name string, shape Shape, doc any) (*Policy, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("policy %s: encoding it: %w", name, err)
	}
	return Parse(name, shape, raw)
}

func (p *Policy) read(n node, shape Shape) error {
	members, err := n.members("document")
	if err != nil {
		return err
	}
	var statements *node
	for _, m := range members {
		switch m.key {
		case "Version":
			if p.Version, err = m.node.scalar("document.Version", false); err != nil {
				return err
			}
			if p.Version != "2012-10-17" && p.Version != "2008-10-17" {
				return fmt.Errorf("document.Version: %q is neither 2012-10-17 nor 2008-10-17", p.Version)
			}
		case "Id":
			if _, err := m.node.scalar("document.Id", false); err != nil {
				return err
			}
		case "Statement":
			statements = &m.node
		default:
			return fmt.Errorf("document: unknown element %q; a policy has Version, Id and Statement", m.key)
		}
	}
	if statements == nil {
		return errors.New("document: Statement is missing")
	}
	return p.readStatements(*statements, shape)
}

func (p *Policy) readStatements(n node, shape Shape) error {
	items := []node{n}
	if list, ok := n.value.([]node); ok {
		items = list
	}
	if len(items) == 0 {
		return errors.New("document.Statement: is empty")
	}
	sids := map[string]bool{}
	for i, item := range items {
		at := "Statement[" + strconv.Itoa(i) + "]"
		s := Statement{Sid: "#" + strconv.Itoa(i)}
		r := statementReader{at: at, variables: p.Version == "2012-10-17", into: &s}
		if err := r.read(item); err != nil {
			return err
		}
		if err := r.check(shape); err != nil {
			return err
		}
		if sids[s.Sid] {
			return fmt.Errorf("%s.Sid: %q appears twice", at, s.Sid)
		}
		sids[s.Sid] = true
		p.Statements = append(p.Statements, s)
	}
	return nil
}

// statementReader fills one statement and remembers what it has seen.
type statementReader struct {
	at        string
	variables bool
	effect    bool
	into      *Statement
}

func (r *statementReader) read(n node) error {
	members, err := n.members(r.at)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := r.element(m.key, m.node); err != nil {
			return err
		}
	}
	return nil
}

func (r *statementReader) element(key string, n node) error {
	at := r.at + "." + key
	switch key {
	case "Sid":
		return r.sid(at, n)
	case "Effect":
		effect, err := n.scalar(at, false)
		if err != nil {
			return err
		}
		if effect != "Allow" && effect != "Deny" {
			return fmt.Errorf("%s: %q is neither Allow nor Deny", at, effect)
		}
		r.effect, r.into.Allow = true, effect == "Allow"
		return nil
	case "Action", "NotAction":
		return r.actions(at, key == "NotAction", n)
	case "Resource", "NotResource":
		return r.resources(at, key == "NotResource", n)
	case "Principal", "NotPrincipal":
		if r.into.principal != nil {
			return fmt.Errorf("%s: Principal and NotPrincipal exclude each other", at)
		}
		p, err := readPrincipals(at, key == "NotPrincipal", n)
		r.into.principal = p
		return err
	case "Condition":
		clauses, err := readCondition(at, n, r.variables)
		r.into.clauses = clauses
		return err
	default:
		return fmt.Errorf("%s: unknown element %q", r.at, key)
	}
}

var sidForm = regexp.MustCompile(`^[0-9A-Za-z]*$`)

func (r *statementReader) sid(at string, n node) error {
	sid, err := n.scalar(at, false)
	if err != nil {
		return err
	}
	if len(sid) > 100 || strings.ContainsAny(sid, "\x00\n") {
		return fmt.Errorf("%s: %q is not a Sid", at, sid)
	}
	if sid != "" {
		r.into.Sid = sid
	}
	return nil
}

var actionForm = regexp.MustCompile(`^(\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+)$`)

func (r *statementReader) actions(at string, negated bool, n node) error {
	if r.into.actions.given {
		return fmt.Errorf("%s: Action and NotAction exclude each other", at)
	}
	values, err := n.strings(at, false)
	if err != nil {
		return err
	}
	if len(values) == 0 {
		return fmt.Errorf("%s: is empty", at)
	}
	for _, v := range values {
		if !actionForm.MatchString(v) {
			return fmt.Errorf("%s: %q is not an action; write service:Name, with * and ? as wildcards in the name", at, v)
		}
	}
	r.into.actions = selector[string]{given: true, negated: negated, values: values}
	return nil
}

func (r *statementReader) resources(at string, negated bool, n node) error {
	if r.into.resources.given {
		return fmt.Errorf("%s: Resource and NotResource exclude each other", at)
	}
	values, err := n.strings(at, false)
	if err != nil {
		return err
	}
	if len(values) == 0 {
		return fmt.Errorf("%s: is empty", at)
	}
	r.into.resources = selector[pattern]{given: true, negated: negated}
	for _, v := range values {
		if v != "*" && !strings.HasPrefix(v, "arn:") {
			return fmt.Errorf("%s: %q is neither * nor an ARN", at, v)
		}
		p, err := compile(at, v, r.variables)
		if err == nil {
			err = checkResource(at, v, p)
		}
		if err != nil {
			return err
		}
		r.into.resources.values = append(r.into.resources.values, p)
	}
	return nil
}

// checkResource refuses what AWS calls invalid in a resource, a wildcard for the service and a variable before the fifth
// colon, and an ARN of fewer than six parts: AWS lets a * at the end of a part "match beyond the colon", so which parts
// are missing is unknown.
func checkResource(at, text string, p pattern) error {
	if text == "*" {
		return nil
	}
	parts := p.split(6)
	if len(parts) < 6 {
		return fmt.Errorf("%s: %q has fewer than an ARN's six parts", at, text)
	}
	for i, part := range parts[:5] {
		switch {
		case i == 2 && part.has(anyRun, anyOne):
			return fmt.Errorf("%s: %q has a wildcard for the service", at, text)
		case part.has(variable):
			return fmt.Errorf("%s: %q has a policy variable before the fifth colon", at, text)
		}
	}
	return nil
}

// check checks that the statement has the elements that its shape demands, and no others.
func (r *statementReader) check(shape Shape) error {
	s := r.into
	switch {
	case !r.effect:
		return fmt.Errorf("%s: Effect is missing", r.at)
	case !s.actions.given:
		return fmt.Errorf("%s: Action is missing", r.at)
	case shape == IdentityShape && s.principal != nil:
		return fmt.Errorf("%s.Principal: a policy of an identity has no principal", r.at)
	case shape != IdentityShape && s.principal == nil:
		return fmt.Errorf("%s: Principal is missing", r.at)
	case shape == TrustShape && s.resources.given:
		return fmt.Errorf("%s.Resource: a trust policy has no resource", r.at)
	case shape != TrustShape && !s.resources.given:
		return fmt.Errorf("%s: Resource is missing", r.at)
	case shape == TrustShape && s.principal.negated:
		return fmt.Errorf("%s.NotPrincipal: a trust policy says who is included, not who is left out", r.at)
	case s.principal != nil && s.principal.negated && s.Allow:
		return fmt.Errorf("%s.NotPrincipal: only a Deny may say whom it exempts", r.at)
	case shape == IdentityShape && !sidForm.MatchString(strings.TrimPrefix(s.Sid, "#")):
		return fmt.Errorf("%s.Sid: %q must be letters and digits", r.at, s.Sid)
	}
	return nil
}
