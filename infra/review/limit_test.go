package review_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/review"
)

// limits are AWS's, in bytes without white space, of which IAM counts none:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, and the quotas' pages of KMS, S3,
// EventBridge, Lambda, SNS and SQS. Trust policies and environments have no higher ones for us to ask for.
const (
	inlineLimit      = 10240
	trustLimit       = 2048
	functionLimit    = 20480 // of all its permissions
	environmentLimit = 4096
	nameLimit        = 64
)

// documentLimits are those of one property.
var documentLimits = map[string]map[string]int{
	"AWS::KMS::Key":         {"KeyPolicy": 32768, "Description": 8192},
	"AWS::S3::BucketPolicy": {"PolicyDocument": 20480},
	"AWS::SNS::TopicPolicy": {"PolicyDocument": 30720},
	"AWS::SQS::QueuePolicy": {"PolicyDocument": 8192},
	"AWS::Events::Rule":     {"EventPattern": 2048, "Description": 512},
	"AWS::IAM::Role":        {"AssumeRolePolicyDocument": trustLimit, "RoleName": nameLimit, "Description": 1000},
	"AWS::Lambda::Function": {"FunctionName": nameLimit, "Description": 256},
	"AWS::SQS::Queue":       {"QueueName": 80},
	"AWS::SNS::Topic":       {"TopicName": 256, "DisplayName": 100},
}

// size is how long a value is as AWS counts it.
func size(v any) int {
	if text, ok := v.(string); ok {
		return len(text)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON before
	}
	return len(raw)
}

// tooLong lists what AWS would refuse for its length.
func tooLong(a *review.Account) (found []string) {
	check := func(r review.Resource, what string, got, limit int) {
		if got > limit {
			found = append(found, fmt.Sprintf("%s.%s: %s of %d bytes, of which AWS takes %d", r.Stack, r.ID, what, got, limit))
		}
	}
	permissions := map[string]int{}
	for _, r := range a.Resources() {
		for property, limit := range documentLimits[r.Type] {
			if v := r.Properties[property]; v != nil {
				check(r, property, size(v), limit)
			}
		}
		switch r.Type {
		case "AWS::IAM::Role":
			check(r, "inline policies", inline(r), inlineLimit)
		case "AWS::Lambda::Function":
			environment, _ := r.Properties["Environment"].(map[string]any)
			check(r, "environment", size(environment["Variables"]), environmentLimit)
		case "AWS::Lambda::Permission":
			// Lambda writes a statement of its own words around what the permission says.
			name := fmt.Sprint(r.Properties["FunctionName"])
			permissions[name] += size(r.Properties) + 300
			check(r, "permissions of "+name, permissions[name], functionLimit)
		}
	}
	return found
}

func inline(r review.Resource) int {
	sum := 0
	policies, _ := r.Properties["Policies"].([]any)
	for _, p := range policies {
		sum += size(p.(map[string]any)["PolicyDocument"])
	}
	return sum
}

func TestPoliciesNamesAndEnvironmentsFitAWSWithTheLongestNames(t *testing.T) {
	a := deployed(t, account(t))
	for _, fault := range tooLong(a) {
		t.Error(fault)
	}
	for _, r := range a.Resources("AWS::IAM::Role") {
		if n := inline(r); n < 200 {
			t.Errorf("%s: inline policies of %d bytes: they weren't found", r.ID, n)
		}
		if name := fmt.Sprint(r.Properties["RoleName"]); !strings.HasSuffix(name, "ap-southeast-1") {
			t.Errorf("%s: the name %q isn't what a deployment gives", r.ID, name)
		}
	}
}

func TestWhatIsTooLongIsFound(t *testing.T) {
	long := strings.Repeat("x", 70)
	many := func(n int) string { return `[` + strings.Repeat(`"`+long+`",`, n) + `"x"]` }
	for name, c := range map[string]struct{ resource, want string }{
		"two inline policies": {`"Type":"AWS::IAM::Role","Properties":{"Policies":[{"PolicyDocument":` + many(75) + `},{"PolicyDocument":` + many(75) + `}]}`, "inline policies"},
		"trust":               {`"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":` + many(30) + `}`, "AssumeRolePolicyDocument"},
		"a role's name":       {`"Type":"AWS::IAM::Role","Properties":{"RoleName":{"Fn::Sub":"` + long[:51] + `${AWS::Region}"}}`, "RoleName of 65 bytes"},
		"a function's name":   {`"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"` + long + `"}`, "FunctionName"},
		"an environment":      {`"Type":"AWS::Lambda::Function","Properties":{"Environment":{"Variables":` + many(60) + `}}`, "environment"},
		"a key's policy":      {`"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":` + many(500) + `}`, "KeyPolicy"},
		"a pattern":           {`"Type":"AWS::Events::Rule","Properties":{"EventPattern":` + many(30) + `}`, "EventPattern"},
		"permissions":         {`"Type":"AWS::Lambda::Permission","Properties":{"FunctionName":"f","SourceArn":` + many(300) + `}`, "permissions of f"},
	} {
		t.Run(name, func(t *testing.T) {
			a := read(t, map[string][]byte{"Case": []byte(`{"Resources":{"It":{` + c.resource + `}}}`)})
			if found := tooLong(deployed(t, a)); len(found) != 1 || !strings.Contains(found[0], c.want) {
				t.Errorf("found %q, want %q alone", found, c.want)
			}
		})
	}
}

// What names the partition aws works in no other. The local AWS has its own partition to say.
func TestNothingNamesOnePartition(t *testing.T) {
	read := 0
	for _, dir := range []string{"..", "../../agent", "../../cli", "../../functions", "../../pkg", "../../proxy"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			code := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
			template := strings.HasPrefix(path, filepath.Join("..", "templates"))
			if err != nil || d.IsDir() || !code && !template {
				return err
			}
			raw, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(raw), "arn:aws:") {
				t.Errorf("%s names arn:aws:, where ${AWS::Partition} or the caller's partition belongs", path)
			}
			read++
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 200 {
		t.Errorf("only %d files were read", read)
	}
}

// unbounded lists roles without the permissions boundary, once any role has one or a parameter names one.
func unbounded(a *review.Account) (found []string) {
	bounded := a.Parameter("Boundary")
	for _, r := range a.Resources() {
		bounded = bounded || r.Properties["PermissionsBoundary"] != nil
	}
	for _, r := range a.Resources("AWS::IAM::Role", "AWS::IAM::User") {
		if bounded && r.Properties["PermissionsBoundary"] == nil {
			found = append(found, r.Stack+"."+r.ID)
		}
	}
	return found
}

func TestEveryRoleHasTheBoundaryThatOneHas(t *testing.T) {
	for _, role := range unbounded(account(t)) {
		t.Errorf("%s has no PermissionsBoundary, and others have", role)
	}
	for text, want := range map[string]int{
		`{"Resources":{"A":{"Type":"AWS::IAM::Role","Properties":{"PermissionsBoundary":"b"}},"B":{"Type":"AWS::IAM::Role","Properties":{}}}}`: 1,
		`{"Parameters":{"PermissionsBoundaryArn":{}},"Resources":{"A":{"Type":"AWS::IAM::Role"},"B":{"Type":"AWS::IAM::Role"}}}`:               2,
		`{"Resources":{"A":{"Type":"AWS::IAM::Role"}}}`: 0,
	} {
		if found := unbounded(read(t, map[string][]byte{"Case": []byte(text)})); len(found) != want {
			t.Errorf("%s: found %q, want %d", text, found, want)
		}
	}
}
