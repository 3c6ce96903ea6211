package review_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/review"
	"github.com/stile-dev/stile/infra/schema"
)

func reference(t *testing.T) *schema.Reference {
	t.Helper()
	r, err := schema.Actions()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// deployed is the account with the values that a deployment could give.
func deployed(t *testing.T, a *review.Account) *review.Account {
	t.Helper()
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	return a.Deployed(s)
}

// misspelt says what AWS takes without a word and what then never applies: actions that don't exist, condition keys
// that no request for the action has, and ARNs that are of nothing that the action is done to.
func misspelt(r *schema.Reference, a *review.Account) (found []string) {
	say := func(s review.Statement, what string) { found = append(found, s.Where+", statement "+s.Sid+": "+what) }
	for _, s := range a.Policies() {
		for _, pattern := range s.Actions {
			actions, err := r.Match(pattern)
			if err != nil {
				say(s, err.Error())
				continue
			}
			for _, c := range s.Condition {
				if !slices.ContainsFunc(actions, func(action string) bool { return r.Key(action, c.Key) }) {
					say(s, pattern+" has no condition key "+c.Key)
				}
			}
			if strings.HasSuffix(s.Where, ".Policy") || strings.Contains(pattern, "s3:") {
				unmet(r, s, actions, func(resource string) { say(s, pattern+" is done to nothing like "+resource) })
			}
		}
	}
	return found
}

// unmet looks for resources that none of the actions is done to.
func unmet(r *schema.Reference, s review.Statement, actions []string, say func(string)) {
	for _, resource := range s.Resources {
		if !slices.ContainsFunc(actions, func(action string) bool {
			return resource == "*" || r.On(action, resource)
		}) {
			say(resource)
		}
	}
	for _, action := range actions {
		if len(actions) == 1 && r.Resourceless(action) && !slices.Contains(s.Resources, "*") {
			say(strings.Join(s.Resources, ", "))
		}
	}
}

func TestEveryActionKeyAndResourceIsOneThatAWSKnows(t *testing.T) {
	a := account(t)
	for _, fault := range misspelt(reference(t), deployed(t, a)) {
		t.Error(fault)
	}
	if n := len(a.Policies()); n < 100 {
		t.Errorf("only %d statements were read", n)
	}
}

func TestWhatAWSTakesWithoutAWordIsFound(t *testing.T) {
	const item = `"Action":"dynamodb:GetItem","Resource":"arn:aws:dynamodb:eu-west-1:111122223333:table/T"`
	for name, c := range map[string]struct{ statement, want string }{
		"unknown service":           {`"Action":"dynamo:GetItem","Resource":"*"`, `the service "dynamo" is not in the reference`},
		"unknown action":            {`"Action":"dynamodb:GetItems","Resource":"*"`, "has no such action"},
		"an API's name":             {`"Action":"lambda:Invoke","Resource":"*"`, "lambda:Invoke: "},
		"unknown in a denial":       {`"Effect":"Deny","Action":"kms:Signn","Resource":"*"`, "kms:Signn: "},
		"a pattern that meets none": {`"Action":"s3:Fetch*","Resource":"*"`, "s3:Fetch*: "},
		"a key of another action":   {item + `,"Condition":{"StringEquals":{"kms:MessageType":"DIGEST"}}`, "dynamodb:GetItem has no condition key kms:MessageType"},
		"a misspelt global key":     {item + `,"Condition":{"StringEquals":{"aws:SourceAcount":"1"}}`, "has no condition key aws:SourceAcount"},
		"a thing of another kind":   {`"Action":"dynamodb:GetItem","Resource":"arn:aws:dynamodb:eu-west-1:111122223333:stream/T"`, "dynamodb:GetItem is done to nothing like arn:aws:dynamodb:eu-west-1:111122223333:stream/T"},
		"a bucket for its objects":  {`"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket"`, "s3:GetObject is done to nothing like arn:aws:s3:::bucket"},
		"a resource for none":       {`"Action":"dynamodb:ListStreams","Resource":"arn:aws:dynamodb:eu-west-1:111122223333:table/T/stream/*"`, "dynamodb:ListStreams is done to nothing like"},
	} {
		t.Run(name, func(t *testing.T) {
			found := misspelt(reference(t), deployed(t, allowing(t, c.statement)))
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
	good := `"Action":["dynamodb:Get*","dynamodb:Query"],"Resource":"arn:aws:dynamodb:eu-west-1:111122223333:table/T","Condition":{"Null":{"dynamodb:LeadingKeys":"false"},"Bool":{"aws:SecureTransport":"true"}}`
	if found := misspelt(reference(t), deployed(t, allowing(t, good))); len(found) > 0 {
		t.Errorf("a good statement is refused: %q", found)
	}
}

// allowing is an account with a role whose one statement is given without its braces, and allows unless it says else.
func allowing(t *testing.T, statement string) *review.Account {
	t.Helper()
	if !strings.Contains(statement, `"Effect"`) {
		statement = `"Effect":"Allow",` + statement
	}
	return read(t, map[string][]byte{"Case": []byte(`{"Resources":{"Role":{"Type":"AWS::IAM::Role","Metadata":{"stile:why":{"Told":"it must"}},"Properties":{
		"RoleName":"case","AssumeRolePolicyDocument":{"Statement":[]},"Policies":[{"PolicyName":"p","PolicyDocument":{"Statement":[{` + statement + `}]}}]}}}}`)})
}

// unexplained lists what roles are allowed on resources with a wildcard and without a reason, and reasons without need.
func unexplained(a *review.Account) (found []string) {
	for _, role := range a.Roles() {
		for _, s := range role.May {
			wide := slices.ContainsFunc(s.Resources, func(r string) bool {
				return strings.ContainsAny(streams.ReplaceAllString(r, "$1"), "*?")
			})
			if wide != (s.Why != "") {
				found = append(found, s.Where+", statement "+s.Sid)
			}
		}
	}
	return found
}

// streams are the streams of one log group, which are written as the ARN of the group.
var streams = regexp.MustCompile(`^(arn:[^:]*:logs:[^:]*:[^:]*:log-group:[^:*]+):\*$`)

func TestNoRoleMayDoSomethingToAnythingWithoutAReason(t *testing.T) {
	for _, where := range unexplained(deployed(t, account(t))) {
		t.Errorf("%s: a resource has a wildcard and the statement no reason in Why, or a reason and no wildcard", where)
	}
	for statement, want := range map[string]int{
		`"Sid":"A","Action":"s3:GetObject","Resource":"*"`:                                                            1,
		`"Sid":"A","Action":"s3:GetObject","Resource":["arn:aws:s3:::b/o","arn:aws:s3:::b/*"]`:                        1,
		`"Sid":"A","Action":"ecr:BatchGetImage","Resource":"arn:aws:ecr:eu-west-1:1:repository/a?"`:                   1,
		`"Sid":"A","Action":"logs:PutLogEvents","Resource":"arn:aws:logs:eu-west-1:1:log-group:/stile/api:*"`:         0,
		`"Sid":"A","Action":"logs:PutLogEvents","Resource":"arn:aws:logs:eu-west-1:1:log-group:/stile/*:*"`:           1,
		`"Sid":"A","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:eu-west-1:1:function:stile-sign-user"`: 0,
		`"Sid":"Told","Action":"s3:GetObject","Resource":"*"`:                                                         0,
		`"Sid":"Told","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/o"`:                                          1,
	} {
		if found := unexplained(allowing(t, statement)); len(found) != want {
			t.Errorf("%s: found %q, want %d", statement, found, want)
		}
	}
}
