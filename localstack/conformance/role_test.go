package conformance_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/iam"
)

// statement is what the suite's role may do, as its template says it.
type statement struct{ Action, Resource any }

func suiteMay(t *testing.T) (all []statement) {
	t.Helper()
	raw, err := os.ReadFile(templatePath("world"))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Resources struct {
			SuiteRole struct {
				Properties struct {
					Policies []struct {
						PolicyDocument struct{ Statement []statement }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		t.Fatal(err)
	}
	for _, p := range made.Resources.SuiteRole.Properties.Policies {
		all = append(all, p.PolicyDocument.Statement...)
	}
	return all
}

// What the role may do to everything in an account changes nothing there.
func TestTheSuitesRoleMayOnlyLookAtWhatIsNotTheSuites(t *testing.T) {
	var anywhere []any
	for _, s := range suiteMay(t) {
		if resources, list := s.Resource.([]any); s.Resource == "*" || list && slices.Contains(resources, any("*")) {
			anywhere = append(anywhere, s.Action)
		}
	}
	if diff := cmp.Diff([]any{"kms:ListAliases", "events:TestEventPattern"}, anywhere); diff != "" {
		t.Error(diff)
	}
}

func TestTheSuitesRoleMakesNoKeys(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	_, err := kmsClient(here.Config).CreateKey(t.Context(), &kms.CreateKeyInput{
		KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify,
		Tags: []types.Tag{{TagKey: aws.String(tag), TagValue: &here.Prefix}},
	})
	wantCode(t, err, "AccessDeniedException")
}

func TestOnlyWhoRunsTheSuiteBecomesItsRole(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	authority := here.Stacks.(*local).cloud.Authority
	for name, want := range map[string]string{here.Caller.Name: "", "other-" + here.Caller.Name: "AccessDenied"} {
		role, err := authority.PutRole(iam.Role{
			Name: name, Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + localAccount + `:root"},"Action":"sts:AssumeRole"}}`),
			Inline: map[string]iam.Inline{"all": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := authority.Mint(role.ARN, "somebody", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		client := stsClient(aws.Config{Region: localRegion, Credentials: static(c)})
		_, err = client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &here.RoleARN, RoleSessionName: aws.String("suite")})
		if want == "" && err != nil || want != "" && !isCode(err, want) {
			t.Errorf("role %s: %v", name, err)
		}
	}
}

func TestTheCallerIsKnownByItsName(t *testing.T) {
	for arn, want := range map[string]caller{
		"arn:aws:sts::111122223333:assumed-role/Admin/ana@example.com": {"role", "Admin"},
		"arn:aws-us-gov:iam::111122223333:user/people/ana":             {"user", "ana"},
		"arn:aws:iam::111122223333:root":                               {},
		"arn:aws:sts::111122223333:federated-user/ana":                 {},
	} {
		got, err := callerOf(arn)
		if got != want || (err == nil) != (want.Kind != "") {
			t.Errorf("%s: %v %v", arn, got, err)
		}
	}
}

func TestTheSuitesRoleHasAPathOnAWS(t *testing.T) {
	raw, err := os.ReadFile(templatePath("world"))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Resources map[string]struct{ Properties struct{ Path string } }
	}
	if err := json.Unmarshal([]byte((&remote{}).rooted(string(raw))), &made); err != nil {
		t.Fatal(err)
	}
	for name, r := range made.Resources {
		if want := map[bool]string{true: "/suite/"}[name == "SuiteRole"]; r.Properties.Path != want {
			t.Errorf("%s has path %q", name, r.Properties.Path)
		}
	}
}
