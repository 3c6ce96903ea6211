package iam_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// evaluation is one case of testdata/evaluation: policies, a request and what AWS documents for it. The cases are
// read by this test and by the one of infra/review, the other reader of such policies.
type evaluation struct {
	Name      string
	Source    string // the page of AWS's documentation
	Says      string // what it says there, in our words
	Principal string // a session's or user's ARN, or a service
	Tags      map[string]string
	Version   string // of all policies; "" for 2012-10-17

	Identity, Boundary, Session, Trust []json.RawMessage // statements
	Bucket, Key, Table, Function       []json.RawMessage // statements of the policy on a resource of that kind

	Action, Resource string
	Context          map[string][]string
	Expect           string // allow, explicit deny, implicit deny; refused if no reader takes the policy, or none decides
	Note             string // what AWS does where the readers refuse
}

func evaluations(t *testing.T) []evaluation {
	t.Helper()
	files, err := filepath.Glob("testdata/evaluation/*.json")
	if err != nil || len(files) < 9 {
		t.Fatalf("files %q, %v", files, err)
	}
	var all []evaluation
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var some []evaluation
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err := d.Decode(&some); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, some...)
	}
	return all
}

// errRefused is a policy that the reader doesn't take.
var errRefused = errors.New("refused")

func (e evaluation) document(statements []json.RawMessage) []byte {
	version := e.Version
	if version == "" {
		version = "2012-10-17"
	}
	raw, err := json.Marshal(map[string]any{"Version": version, "Statement": statements})
	if err != nil {
		panic(err) // it was JSON before
	}
	return raw
}

func (e evaluation) inline() map[string]iam.Inline {
	if e.Identity == nil {
		return nil
	}
	return map[string]iam.Inline{"p": {Document: e.document(e.Identity)}}
}

// who makes the principal with its policies.
func (e evaluation) who(t *testing.T, a *iam.Authority) (*iam.Principal, error) {
	t.Helper()
	if !strings.HasPrefix(e.Principal, "arn:") {
		return iam.ServicePrincipal(e.Principal), nil
	}
	parts := strings.Split(e.Principal, ":")
	name := strings.Split(parts[5], "/")
	var boundary json.RawMessage
	if e.Boundary != nil {
		boundary = e.document(e.Boundary)
	}
	var id string
	if name[0] == "user" {
		if _, err := a.PutUser(iam.UserRecord{Account: parts[4], Name: name[1], Inline: e.inline(), Boundary: boundary, Tags: e.Tags}); err != nil {
			return nil, errors.Join(errRefused, err)
		}
		c, err := a.CreateAccessKey(e.Principal)
		if err != nil {
			t.Fatal(err)
		}
		id = c.AccessKeyID
	} else {
		r, err := a.PutRole(iam.Role{Account: parts[4], Name: name[1], Trust: trustAccount, Inline: e.inline(), Boundary: boundary, Tags: e.Tags})
		if err != nil {
			return nil, errors.Join(errRefused, err)
		}
		c, err := a.Mint(r.ARN, name[2], time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		id = c.AccessKeyID
	}
	_, p, err := a.Lookup(id)
	if err != nil || p.ARN != e.Principal {
		t.Fatalf("%v is not %s: %v", p, e.Principal, err)
	}
	if e.Session != nil {
		s, err := iam.Parse("session policy", iam.IdentityShape, e.document(e.Session))
		if err != nil {
			return nil, errors.Join(errRefused, err)
		}
		p.Policies = []*iam.Policy{s}
	}
	return p, nil
}

// query asks for what the case asks, with the policy on its resource.
func (e evaluation) query() (iam.Query, error) {
	q := iam.Query{Action: e.Action, Resource: e.Resource, Context: e.Context}
	shape, statements := iam.ResourceShape, e.Bucket
	switch {
	case e.Key != nil:
		q.Mode, statements = iam.KeyPolicy, e.Key
	case e.Trust != nil:
		q.Mode, shape, statements = iam.TrustPolicy, iam.TrustShape, e.Trust
	case e.Table != nil:
		statements = e.Table
	case e.Function != nil:
		statements = e.Function
	}
	if statements == nil {
		return q, nil
	}
	p, err := iam.Parse("the resource's policy", shape, e.document(statements))
	if err != nil {
		return q, errors.Join(errRefused, err)
	}
	q.ResourcePolicies = []*iam.Policy{p}
	return q, nil
}

// outcome is what the reader makes of the case, in the words of Expect. No to a request that no policy denies, for
// another reason than that none allows it, is a refusal to decide.
func (e evaluation) outcome(t *testing.T, a *iam.Authority) (outcome, reason string) {
	t.Helper()
	p, err := e.who(t, a)
	var q iam.Query
	if err == nil {
		q, err = e.query()
	}
	if errors.Is(err, errRefused) {
		return "refused", err.Error()
	}
	d := a.Decide(p, q)
	switch {
	case d.Allowed:
		return "allow", d.Reason
	case d.Explicit:
		return "explicit deny", d.Reason
	case strings.HasPrefix(d.Reason, "because no "):
		return "implicit deny", d.Reason
	default:
		return "refused", d.Reason
	}
}

func TestPoliciesAreEvaluatedAsAWSDocumentsIt(t *testing.T) {
	all := evaluations(t)
	if len(all) < 60 {
		t.Errorf("%d cases", len(all))
	}
	seen := map[string]bool{}
	for _, e := range all {
		t.Run(e.Name, func(t *testing.T) {
			if !strings.HasPrefix(e.Source, "https://docs.aws.amazon.com/") || e.Says == "" || seen[e.Name] {
				t.Errorf("source %q, says %q, name used before: %t", e.Source, e.Says, seen[e.Name])
			}
			seen[e.Name] = true
			if got, reason := e.outcome(t, open(t)); got != e.Expect {
				t.Errorf("%s, want %s: %s\n%s says: %s", got, e.Expect, reason, e.Source, e.Says)
			}
		})
	}
}
