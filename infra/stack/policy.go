package stack

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/names"
)

// statement is one statement of a policy, before it becomes the map that the CDK wants.
type statement struct {
	Sid, Effect string
	Principal   map[string]any // in policies of resources and roles only
	Actions     []string
	Resources   []any // strings or tokens; none in a trust policy
	Condition   condition
	Why         string // why a resource has a wildcard, where one has; stands in the role's metadata
}

// condition is operator → key → value or values.
type condition map[string]map[string]any

var (
	everyone = map[string]any{"AWS": "*"} // in Deny only
	account  = map[string]any{"AWS": sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
)

// service is the principal of an AWS service.
func service(name string) map[string]any { return map[string]any{"Service": name + ".amazonaws.com"} }

func document(statements ...statement) map[string]any {
	out := make([]any, len(statements))
	for i, s := range statements {
		out[i] = s.render()
	}
	return map[string]any{"Version": "2012-10-17", "Statement": out}
}

func (s statement) render() map[string]any {
	m := map[string]any{"Sid": s.Sid, "Effect": cmp.Or(s.Effect, "Allow"), "Action": s.Actions}
	if s.Principal != nil {
		m["Principal"] = s.Principal
	}
	if s.Resources != nil {
		m["Resource"] = s.Resources
	}
	if s.Condition != nil {
		m["Condition"] = s.Condition
	}
	return m
}

// why is the metadata that says, by statement, why a resource has a wildcard. Package review demands it of roles.
const why = "stile:why"

func reasons(statements []statement) map[string]any {
	out := map[string]any{}
	for _, s := range statements {
		if s.Why != "" {
			out[s.Sid] = s.Why
		}
	}
	return out
}

// numbered are the entities whose partition key carries an id or a shard after the #.
var numbered = []string{names.TokenHash, names.Used, names.Joined, names.Nonce, names.Certificate, names.Issuance, names.Tunnels, names.Arrival, names.Brought, names.Target, names.Place, names.Recorded, names.RecordedOf, names.Recorder, names.Happened, names.Decided, names.Counted, names.Claimed, names.Signing}

// leading is the pattern of an entity's partition keys.
func leading(entity string) string {
	if slices.Contains(numbered, entity) || entity == names.Event || strings.HasPrefix(entity, names.Event+"#") || strings.HasPrefix(entity, names.Claimed+"#") {
		return entity + "#*"
	}
	return entity
}

// events is the entity of the events that one writer may write. Nobody is granted all of them.
func events(writer string) string { return names.Event + "#" + writer }

// eventsOf is events of a function.
func eventsOf(function string) string { return events(names.WriterFunction + function) }

// claimsOf is the entity of what a function says that it signed.
func claimsOf(function string) string { return names.Claimed + "#" + function }

// What may be done with items. A transaction is authorised for each of its actions. Nobody checks an item in one without
// writing it, which would take ConditionCheckItem.
var (
	getting  = []string{"dynamodb:GetItem"}
	querying = []string{"dynamodb:Query"}
	putting  = []string{"dynamodb:PutItem"}
	updating = []string{"dynamodb:UpdateItem"}
	deleting = []string{"dynamodb:DeleteItem"}
)

// items grants actions on the items of some entities of a table. ForAllValues holds for a request that names
// no key at all, as Scan does, so that the key must be there too.
func items(table, sid string, actions []string, entities ...string) statement {
	patterns := make([]string, len(entities))
	for i, e := range entities {
		patterns[i] = leading(e)
	}
	return statement{
		Sid: sid, Actions: actions, Resources: []any{imported(Data, table+"Arn")},
		Condition: condition{
			"ForAllValues:StringLike": {"dynamodb:LeadingKeys": patterns},
			"Null":                    {"dynamodb:LeadingKeys": "false"},
		},
	}
}

// objects grants an action on the documents under a prefix.
func objects(sid, action string, prefixes ...string) statement {
	s := statement{Sid: sid, Actions: []string{action}, Why: "a prefix holds any number of documents"}
	for _, p := range prefixes {
		s.Resources = append(s.Resources, join(imported(Data, bucketDocuments+"Arn"), "/"+p+"*"))
	}
	return s
}

// keyUse grants the use of keys in the one form that the key policies take.
func keyUse(sid, action string, form map[string]string, purposes ...string) statement {
	s := statement{Sid: sid, Actions: []string{action}}
	for _, p := range purposes {
		s.Resources = append(s.Resources, keyARN(p))
	}
	if form != nil {
		s.Condition = condition{"StringEquals": anyMap(form)}
	}
	return s
}

// invoke grants the invocation of one function.
func invoke(function string) statement {
	return statement{Sid: "Invoke" + camel(function), Actions: []string{"lambda:InvokeFunction"}, Resources: []any{functionARN(function)}}
}

// camel turns user-ssh into UserSsh.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
