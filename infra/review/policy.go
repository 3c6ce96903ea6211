package review

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Statement is one statement of a policy, with every value resolved by [Account.Text].
type Statement struct {
	Where     string // stack, resource and place of the policy
	Sid       string
	Effect    string
	Principal map[string][]string // kind → values
	Actions   []string
	Resources []string
	Condition []Clause // sorted
	Why       string   // the reason for a wildcard in the resources, from the metadata stile:why
	Unread    string   // what stands in it that isn't read here: nothing can be said of such a statement
}

// Clause is one operator on one key.
type Clause struct {
	Operator, Key string
	Values        []string
}

func (c Clause) String() string {
	return c.Operator + " " + c.Key + "=" + strings.Join(c.Values, "|")
}

// statements reads a policy document.
func (a *Account) statements(r Resource, where string, document any) []Statement {
	d, _ := document.(map[string]any)
	list, several := d["Statement"].([]any)
	if !several {
		list = []any{d["Statement"]}
	}
	out := make([]Statement, 0, len(list))
	for _, item := range list {
		out = append(out, a.statement(r, r.Stack+"."+r.ID+where, item))
	}
	return out
}

func (a *Account) statement(r Resource, where string, item any) Statement {
	m, ok := item.(map[string]any)
	if !ok {
		return Statement{Where: where, Unread: "what is no object"}
	}
	s := Statement{
		Where: where, Sid: a.Text(r, m["Sid"]), Effect: a.Text(r, m["Effect"]),
		Actions: a.texts(r, m["Action"]), Resources: a.texts(r, m["Resource"]), Principal: map[string][]string{},
	}
	for element := range m {
		if !slices.Contains([]string{"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}, element) {
			s.Unread = "the element " + element
		}
	}
	if s.Effect != "Allow" && s.Effect != "Deny" {
		s.Unread = "the effect " + s.Effect
	}
	switch p := m["Principal"].(type) {
	case string:
		s.Principal["AWS"] = []string{p}
	case map[string]any:
		for kind, who := range p {
			s.Principal[kind] = a.texts(r, who)
			if kind != "AWS" && kind != "Service" {
				s.Unread = "a principal of the kind " + kind
			}
		}
	}
	why, _ := r.Metadata["stile:why"].(map[string]any)
	s.Why, _ = why[s.Sid].(string)
	conditions, _ := m["Condition"].(map[string]any)
	for _, operator := range slices.Sorted(maps.Keys(conditions)) {
		keys, ok := conditions[operator].(map[string]any)
		if !ok {
			s.Unread = "a condition without keys"
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			s.Condition = append(s.Condition, Clause{operator, key, a.texts(r, keys[key])})
		}
	}
	return s
}

func (a *Account) texts(r Resource, value any) []string {
	if value == nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		return []string{a.Text(r, value)}
	}
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = a.Text(r, item)
	}
	return out
}

// documents are the properties that hold policies of resources, by type.
var documents = map[string]string{
	"AWS::KMS::Key":         "KeyPolicy",
	"AWS::S3::BucketPolicy": "PolicyDocument",
	"AWS::SNS::TopicPolicy": "PolicyDocument",
	"AWS::SQS::QueuePolicy": "PolicyDocument",
}

// Policies lists every statement of every policy: of roles, their trust, resources and functions.
func (a *Account) Policies() []Statement {
	var out []Statement
	for _, r := range a.Resources() {
		switch {
		case r.Type == "AWS::IAM::Role":
			role := a.role(r)
			out = append(out, role.Trust...)
			out = append(out, role.May...)
		case r.Type == "AWS::Lambda::Permission":
			out = append(out, a.permission(r))
		case documents[r.Type] != "":
			out = append(out, a.statements(r, "", r.Properties[documents[r.Type]])...)
		}
	}
	return out
}

// permission writes AWS::Lambda::Permission as the statement that Lambda makes of it.
func (a *Account) permission(r Resource) Statement {
	s := Statement{
		Where: r.Stack + "." + r.ID, Effect: "Allow", Actions: a.texts(r, r.Properties["Action"]), Resources: a.texts(r, r.Properties["FunctionName"]),
	}
	kind := "AWS"
	if who := a.Text(r, r.Properties["Principal"]); strings.HasSuffix(who, ".amazonaws.com") {
		kind = "Service"
	}
	s.Principal = map[string][]string{kind: a.texts(r, r.Properties["Principal"])}
	if v := r.Properties["SourceAccount"]; v != nil {
		s.Condition = append(s.Condition, Clause{"StringEquals", "aws:SourceAccount", a.texts(r, v)})
	}
	if v := r.Properties["SourceArn"]; v != nil {
		s.Condition = append(s.Condition, Clause{"ArnLike", "aws:SourceArn", a.texts(r, v)})
	}
	return s
}

// Role is a role: who may assume it, and what it may do.
type Role struct {
	Name  string // without stile- and the Region
	ARN   string
	Trust []Statement
	May   []Statement
}

// Roles lists the roles by name.
func (a *Account) Roles() []Role {
	var out []Role
	for _, r := range a.Resources("AWS::IAM::Role") {
		out = append(out, a.role(r))
	}
	slices.SortFunc(out, func(x, y Role) int { return strings.Compare(x.Name, y.Name) })
	return out
}

func (a *Account) role(r Resource) Role {
	role := Role{ARN: a.attribute(r.Stack, r.ID, "Arn")}
	role.Name = short(role.ARN)
	role.Trust = a.statements(r, ".Trust", r.Properties["AssumeRolePolicyDocument"])
	policies, _ := r.Properties["Policies"].([]any)
	for _, p := range policies {
		role.May = append(role.May, a.statements(r, ".Policy", p.(map[string]any)["PolicyDocument"])...)
	}
	// A permissions boundary only takes away from what is said here.
	if r.Properties["ManagedPolicyArns"] != nil {
		role.May = append(role.May, Statement{Where: r.Stack + "." + r.ID, Unread: "the property ManagedPolicyArns"})
	}
	return role
}

// short is a role's or function's name without what all have.
func short(arn string) string {
	name := arn[strings.LastIndexAny(arn, ":/")+1:]
	return strings.TrimSuffix(strings.TrimPrefix(name, "stile-"), "-<region>")
}

// Key is a KMS key and its policy.
type Key struct {
	Purpose string
	ARN     string
	Policy  []Statement
}

// Keys lists the keys by purpose, which their alias names.
func (a *Account) Keys() []Key {
	purposes := map[string]string{}
	for _, r := range a.Resources("AWS::KMS::Alias") {
		purposes[a.Text(r, r.Properties["TargetKeyId"])] = strings.TrimPrefix(a.Text(r, r.Properties["AliasName"]), "alias/stile/")
	}
	var out []Key
	for _, r := range a.Resources("AWS::KMS::Key") {
		arn := a.attribute(r.Stack, r.ID, "Arn")
		out = append(out, Key{Purpose: purposes[arn], ARN: arn, Policy: a.statements(r, "", r.Properties["KeyPolicy"])})
	}
	slices.SortFunc(out, func(x, y Key) int { return strings.Compare(x.Purpose, y.Purpose) })
	return out
}

// Query is one use of a key. IAM is taken to allow it: what counts here is whether the key policy does.
type Query struct {
	Principal string            // the role's or user's ARN
	Action    string            // kms:Sign
	Context   map[string]string // condition keys of the request
}

// Allows reports whether the key policy allows the query. A condition that this evaluator doesn't know is an
// error, never a guess.
func (k Key) Allows(q Query) (bool, error) {
	allowed, denied := false, false
	for _, s := range k.Policy {
		applies, err := s.applies(k, q)
		if err != nil {
			return false, fmt.Errorf("key policy of %s, statement %s: %w", k.Purpose, s.Sid, err)
		}
		denied = denied || applies && s.Effect == "Deny"
		allowed = allowed || applies && s.Effect == "Allow"
	}
	return allowed && !denied, nil
}

// root as a principal stands for everyone in the account whom IAM allows the action.
const root = "arn:<partition>:iam::<account>:root"

func (s Statement) applies(k Key, q Query) (bool, error) {
	switch {
	case s.Unread != "":
		return false, fmt.Errorf("%s is not read here", s.Unread)
	case !slices.Equal(s.Resources, []string{"*"}) && !slices.Equal(s.Resources, []string{k.ARN}):
		return false, fmt.Errorf("the resource of a key's policy is the key; %q is not read here", s.Resources)
	}
	who := s.Principal["AWS"]
	whole := slices.Contains(who, root) || slices.Contains(who, "<account>")
	delegated := whole && strings.HasPrefix(q.Principal, "arn:<partition>:iam::<account>:")
	if !delegated && !slices.Contains(who, "*") && !slices.Contains(who, q.Principal) {
		return false, nil
	}
	if !slices.ContainsFunc(s.Actions, func(pattern string) bool { return matches(pattern, q.Action) }) {
		return false, nil
	}
	for _, c := range s.Condition {
		holds, err := c.holds(q)
		if err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

// matches compares an action, which has no case, with a pattern of * and ?.
func matches(pattern, action string) bool {
	form := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	ok, err := regexp.MatchString("(?is)^"+form+"$", action)
	return err == nil && ok
}

func (c Clause) holds(q Query) (bool, error) {
	got, present := "", false
	for key, value := range q.Context {
		if strings.EqualFold(key, c.Key) {
			got, present = value, true
		}
	}
	if strings.EqualFold(c.Key, "aws:PrincipalArn") {
		got, present = q.Principal, true
	}
	for _, v := range c.Values {
		if strings.ContainsAny(v, "*?$") {
			return false, fmt.Errorf("the pattern %s is not read here", v)
		}
	}
	switch {
	case len(c.Values) == 0:
		return false, fmt.Errorf("%s without values is not read here", c.Key)
	case c.Operator == "StringEquals" || c.Operator == "ArnEquals":
		return present && slices.Contains(c.Values, got), nil
	case c.Operator == "StringNotEquals" || c.Operator == "ArnNotEquals":
		return !present || !slices.Contains(c.Values, got), nil
	}
	return false, fmt.Errorf("the operator %s is not read here", c.Operator)
}
