package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// row is one line of the table.
type row struct{ who, what, which, how string }

// kinds names what an action is done to, by the action's service.
var kinds = map[string]string{"dynamodb": "item", "kms": "key", "s3": "object", "lambda": "function", "logs": "log", "sqs": "queue", "ecr": "image"}

// Table says who may do what, one line for each role and thing, sorted: what roles may do, then what the key
// policies would let through if IAM allowed everything.
func (a *Account) Table() (string, error) {
	for _, r := range a.Resources() {
		if strings.HasPrefix(r.Type, "AWS::IAM::") && r.Type != "AWS::IAM::Role" {
			return "", fmt.Errorf("%s.%s: %s is not read here", r.Stack, r.ID, r.Type)
		}
	}
	var rows []row
	for _, role := range a.Roles() {
		more, err := a.rows(role)
		if err != nil {
			return "", err
		}
		rows = append(rows, more...)
	}
	var b strings.Builder
	b.WriteString("# Who may do what: derived from infra/templates. Write it again with: go -C infra test ./review -update\n" +
		"\n")
	write(&b, rows)
	b.WriteString("\n# Whom each key's policy lets through, if IAM allowed everybody everything. Sign is asked for with DIGEST and ECDSA_SHA_256.\n\n")
	keys, err := a.keyRows()
	if err != nil {
		return "", err
	}
	write(&b, keys)
	return b.String(), nil
}

func write(b *strings.Builder, rows []row) {
	slices.SortFunc(rows, func(x, y row) int {
		return strings.Compare(x.who+"\x00"+x.what+"\x00"+x.which+"\x00"+x.how, y.who+"\x00"+y.what+"\x00"+y.which+"\x00"+y.how)
	})
	for _, r := range slices.Compact(rows) {
		fmt.Fprintf(b, "%-16s %-9s %-30s %s\n", r.who, r.what, r.which, r.how)
	}
}

// rows are a role's lines; the actions that several statements grant on one thing are in one line.
func (a *Account) rows(role Role) ([]row, error) {
	for _, s := range slices.Concat(role.Trust, role.May) {
		if s.Unread != "" || s.Effect != "Allow" {
			return nil, fmt.Errorf("%s: statement %s: %s is not read here", s.Where, s.Sid, cmp.Or(s.Unread, s.Effect))
		}
	}
	var rows []row
	for _, s := range role.Trust {
		for kind, who := range s.Principal {
			rows = append(rows, row{role.Name, "assumed", "by " + strings.ToLower(kind) + " " + strings.Join(who, ","), conditions(s.Condition)})
		}
	}
	type thing struct{ what, which, condition, why string }
	actions := map[thing][]string{}
	for _, s := range role.May {
		keys, rest := leadingKeys(s.Condition)
		for _, resource := range s.Resources {
			for _, key := range keys {
				for _, action := range s.Actions {
					service, verb, named := strings.Cut(action, ":")
					if !named {
						verb = action // "*", for every action of every service
					}
					t := thing{kind(service, key), a.which(resource, key), conditions(rest), s.Why}
					if refused, err := a.refused(role, s, resource, action); err != nil {
						return nil, err
					} else if refused {
						verb += " (REFUSED by the key policy)"
					}
					actions[t] = append(actions[t], verb)
				}
			}
		}
	}
	for t, done := range actions {
		how := verbs(done)
		if t.condition != "" {
			how += "  " + t.condition
		}
		if t.why != "" {
			how += "  because " + t.why
		}
		rows = append(rows, row{role.Name, t.what, t.which, how})
	}
	return rows, nil
}

func kind(service, key string) string {
	if service == "dynamodb" && key == "" {
		return "stream"
	}
	if k, ok := kinds[service]; ok {
		return k
	}
	return service
}

// leadingKeys takes the limit to partition keys out of a condition: it counts only if the key must be there.
// Without a limit the one key is "".
func leadingKeys(clauses []Clause) (keys []string, rest []Clause) {
	required := false
	for _, c := range clauses {
		switch {
		case c.Key == "dynamodb:LeadingKeys" && c.Operator == "ForAllValues:StringLike":
			keys = c.Values
		case c.Key == "dynamodb:LeadingKeys" && c.Operator == "Null" && slices.Equal(c.Values, []string{"false"}):
			required = true
		default:
			rest = append(rest, c)
		}
	}
	if keys == nil || !required {
		return []string{""}, clauses
	}
	return keys, rest
}

// which names a thing as people do: a table, a bucket or a key without the beginning of its logical id.
func (a *Account) which(resource, key string) string {
	for _, k := range a.Keys() {
		if k.ARN == resource {
			return k.Purpose
		}
	}
	if strings.Contains(resource, ":function:") {
		return short(resource)
	}
	name := strings.NewReplacer("<Table", "", "<Bucket", "", "<", "", ">", "").Replace(resource)
	if key != "" {
		name += " " + key
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// verbs sorts what is done to one thing.
func verbs(done []string) string {
	slices.Sort(done)
	return strings.Join(slices.Compact(done), " ")
}

func conditions(clauses []Clause) string {
	parts := make([]string, len(clauses))
	for i, c := range clauses {
		parts[i] = c.String()
	}
	if len(parts) == 0 {
		return ""
	}
	return "if " + strings.Join(parts, ", ")
}

// refused reports whether IAM allows a role a use of a key that the key policy refuses.
func (a *Account) refused(role Role, s Statement, resource, action string) (bool, error) {
	if !strings.HasPrefix(action, "kms:") {
		return false, nil
	}
	for _, k := range a.Keys() {
		if k.ARN != resource {
			continue
		}
		q := Query{Principal: role.ARN, Action: action, Context: map[string]string{}}
		for _, c := range s.Condition {
			if c.Operator != "StringEquals" || len(c.Values) != 1 {
				return false, fmt.Errorf("%s: statement %s: how %s meets the key's policy is not read here", s.Where, s.Sid, c)
			}
			q.Context[c.Key] = c.Values[0]
		}
		ok, err := k.Allows(q)
		return !ok, err
	}
	return true, nil
}

// Principals are those that a key policy is asked about: every role of the templates, an administrator whose IAM
// policy allows everything, and the account's root user.
func (a *Account) Principals() map[string]string {
	out := map[string]string{"root-user": root, "administrator": "arn:<partition>:iam::<account>:role/Administrator"}
	for _, r := range a.Roles() {
		out[r.Name] = r.ARN
	}
	return out
}

// Form is the context that goes with an action in this system, and "" elsewhere.
func Form(action string) map[string]string {
	switch action {
	case "kms:Sign", "kms:Verify":
		return map[string]string{"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256"}
	case "kms:GenerateMac", "kms:VerifyMac":
		return map[string]string{"kms:MacAlgorithm": "HMAC_SHA_256"}
	}
	return map[string]string{}
}

// KeyActions are what each key policy is asked about: all that uses a key, gives it away, or changes it.
var KeyActions = []string{
	"kms:CreateGrant", "kms:Decrypt", "kms:DeriveSharedSecret", "kms:DisableKey", "kms:Encrypt", "kms:GenerateMac", "kms:GetPublicKey",
	"kms:ImportKeyMaterial", "kms:PutKeyPolicy", "kms:ReplicateKey", "kms:ScheduleKeyDeletion", "kms:Sign", "kms:Verify", "kms:VerifyMac",
}

// Lets lists, by name, the principals that a key's policy lets do an action.
func (a *Account) Lets(k Key, action string, context map[string]string) ([]string, error) {
	var names []string
	for name, arn := range a.Principals() {
		ok, err := k.Allows(Query{Principal: arn, Action: action, Context: context})
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (a *Account) keyRows() ([]row, error) {
	var rows []row
	everybody := len(a.Principals())
	for _, k := range a.Keys() {
		by := map[string][]string{}
		for _, action := range KeyActions {
			names, err := a.Lets(k, action, Form(action))
			if err != nil {
				return nil, err
			}
			who := strings.Join(names, " ")
			switch len(names) {
			case 0:
				who = "nobody"
			case everybody:
				who = "whom IAM allows it"
			}
			by[who] = append(by[who], strings.TrimPrefix(action, "kms:"))
		}
		for who, actions := range by {
			rows = append(rows, row{k.Purpose, "key", who, strings.Join(actions, " ")})
		}
	}
	return rows, nil
}
