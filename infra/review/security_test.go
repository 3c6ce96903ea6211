package review_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/review"
)

// deputies finds what lets the wrong principal act: a statement open to everyone, a service that may act
// on anyone's behalf, another account without an external id.
func deputies(a *review.Account) []string {
	var found []string
	for _, s := range allowed(a) {
		for kind, who := range s.Principal {
			for _, p := range who {
				switch {
				case p == "*" && !limited(s, "aws:PrincipalArn"):
					found = append(found, s.Where+" is open to everybody")
				case kind == "Service" && !limited(s, "aws:SourceAccount") && !limited(s, "aws:SourceArn") && !passed(s, p):
					found = append(found, s.Where+" lets "+p+" come on anybody's behalf")
				case kind == "AWS" && p != "*" && !strings.Contains(p, ":<account>:") && !limited(s, "sts:ExternalId"):
					found = append(found, s.Where+" lets another account in without an external id")
				}
			}
		}
	}
	return found
}

// limited reports whether a statement's condition names values of a key, none of them a pattern for everything.
func limited(s review.Statement, key string) bool {
	return slices.ContainsFunc(s.Condition, func(c review.Clause) bool {
		affirms := slices.Contains([]string{"StringEquals", "ArnEquals", "ArnLike", "StringLike"}, c.Operator)
		return c.Key == key && affirms && len(c.Values) > 0 && !slices.Contains(c.Values, "*")
	})
}

// passed reports whether a service gets this role only from somebody who may pass it, and is limited as far as it says
// for whom it acts. Lambda and Firehose take a role of their own account alone, from whoever has iam:PassRole on it.
func passed(s review.Statement, service string) bool {
	return slices.Contains([]string{"lambda.amazonaws.com", "firehose.amazonaws.com"}, service) && slices.Contains(s.Actions, "sts:AssumeRole") && slices.ContainsFunc(s.Condition, func(c review.Clause) bool {
		return c.Key == "aws:SourceAccount" && c.Operator == "StringEqualsIfExists" && slices.Equal(c.Values, []string{"<account>"})
	})
}

func TestSec_S26_NobodyActsOnBehalfOfSomebodyElse(t *testing.T) {
	// EventBridge doesn't deliver to a topic whose policy has a condition for it; docs/threat-model.md says what that leaves.
	want := []string{"StileControl.AlarmsPolicy lets events.amazonaws.com come on anybody's behalf"}
	if diff := cmp.Diff(want, deputies(account(t))); diff != "" {
		t.Errorf("who can come on anybody's behalf (-want +got):\n%s", diff)
	}
}

func TestSec_S26_TheSearchFindsWhatItLooksFor(t *testing.T) {
	for name, bad := range map[string]string{
		"everybody in a trust policy":    `{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`,
		"everybody with a pattern":       `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"ArnLike":{"aws:PrincipalArn":"*"}}}`,
		"everybody but one":              `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::1:role/a"}}}`,
		"a service without a source":     `{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}`,
		"another service, if it says":    `{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"<account>"}}}`,
		"another account, if it says":    `{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"999999999999"}}}`,
		"an account without external id": `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":"sts:AssumeRole"}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := read(t, map[string][]byte{"Bad": []byte(`{"Resources":{"Role":{"Type":"AWS::IAM::Role","Properties":{"RoleName":"bad","AssumeRolePolicyDocument":{"Statement":[` + bad + `]}}}}}`)})
			if found := deputies(a); len(found) != 1 {
				t.Errorf("found %q, want one finding", found)
			}
		})
	}
}

// uses are whom each key is for: purpose → action → roles.
var uses = map[string]map[string][]string{
	"root":      {"kms:Sign": {"rotate"}},
	"policy":    {"kms:Sign": {"publish"}},
	"user-ssh":  {"kms:Sign": {"sign-user"}},
	"user-x509": {"kms:Sign": {"sign-user"}},
	"host-ssh":  {"kms:Sign": {"sign-host"}},
	"host-x509": {"kms:Sign": {"sign-host"}},
	"challenge": {"kms:GenerateMac": {"join", "login", "sign-host", "sign-user"}},
}

func TestSec_S28_EachKeySignsForItsFunctionAlone(t *testing.T) {
	a := account(t)
	var purposes []string
	for _, k := range a.Keys() {
		purposes = append(purposes, k.Purpose)
		for _, action := range []string{"kms:Sign", "kms:GenerateMac", "kms:VerifyMac", "kms:CreateGrant", "kms:ReplicateKey", "kms:Decrypt", "kms:DeriveSharedSecret"} {
			got, err := a.Lets(k, action, review.Form(action))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(uses[k.Purpose][action], got); diff != "" {
				t.Errorf("key %s, %s, even where IAM allows everything (-want +got):\n%s", k.Purpose, action, diff)
			}
		}
	}
	if len(purposes) != len(uses) {
		t.Errorf("keys %q, want those of %d purposes", purposes, len(uses))
	}
}

func TestSec_S28_AKeySignsDigestsByOneAlgorithmAlone(t *testing.T) {
	a := account(t)
	for _, k := range a.Keys() {
		if k.Purpose == "challenge" {
			continue
		}
		for name, context := range map[string]map[string]string{
			"whole message":     {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "ECDSA_SHA_256"},
			"another algorithm": {"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_384"},
			"no message type":   {"kms:SigningAlgorithm": "ECDSA_SHA_256"},
			"nothing said":      {},
		} {
			got, err := a.Lets(k, "kms:Sign", context)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) > 0 {
				t.Errorf("key %s signs for %q with %s", k.Purpose, got, name)
			}
		}
	}
}

// What IAM allows must be as narrow: a change of a key policy alone gives nobody anything.
func TestSec_S28_IAMAllowsEachRoleItsOwnKeysInOneForm(t *testing.T) {
	a := account(t)
	purpose := map[string]string{}
	for _, k := range a.Keys() {
		purpose[k.ARN] = k.Purpose
	}
	got := map[string]map[string][]string{}
	for _, role := range a.Roles() {
		for _, s := range role.May {
			for _, action := range s.Actions {
				if len(review.Form(action)) == 0 {
					continue
				}
				for key, value := range review.Form(action) {
					if !slices.ContainsFunc(s.Condition, func(c review.Clause) bool {
						return c.Operator == "StringEquals" && c.Key == key && slices.Equal(c.Values, []string{value})
					}) {
						t.Errorf("%s, statement %s: %s without %s=%s", s.Where, s.Sid, action, key, value)
					}
				}
				for _, r := range s.Resources {
					if got[purpose[r]] == nil {
						got[purpose[r]] = map[string][]string{}
					}
					got[purpose[r]][action] = append(got[purpose[r]][action], role.Name)
				}
			}
		}
	}
	if diff := cmp.Diff(uses, got); diff != "" {
		t.Errorf("whom IAM allows the use of keys (-want +got):\n%s", diff)
	}
}

func TestSec_S28_ForeignSignaturesRaiseAnAlarm(t *testing.T) {
	a := account(t)
	for _, r := range a.Resources("AWS::Events::Rule") {
		if r.ID != "ForeignSign" {
			continue
		}
		pattern, _ := r.Properties["EventPattern"].(map[string]any)
		detail, _ := pattern["detail"].(map[string]any)
		resources, _ := detail["resources"].(map[string]any)
		watched, _ := resources["ARN"].([]any)
		var got []string
		for _, arn := range watched {
			got = append(got, a.Text(r, arn))
		}
		var want []string
		for _, k := range a.Keys() {
			if k.Purpose != "challenge" {
				want = append(want, k.ARN)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys that are watched (-want +got):\n%s", diff)
		}
		if !cmp.Equal(detail["eventName"], []any{"Sign"}) || r.Properties["State"] != "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" {
			t.Errorf("the rule listens to %v in state %v; CloudTrail's Sign is a read-only management event", detail["eventName"], r.Properties["State"])
		}
		return
	}
	t.Error("no rule ForeignSign watches who signs")
}

func TestSec_S28_TheEvaluatorSeesALooseKeyPolicy(t *testing.T) {
	const (
		root  = `"Principal":{"AWS":{"Fn::Sub":"arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}`
		other = `{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"kms:Sign","Resource":"*","Condition":{"ArnNotEquals":{"aws:PrincipalArn":{"Fn::Sub":"arn:${AWS::Partition}:iam::${AWS::AccountId}:role/Administrator"}}}}`
	)
	for name, c := range map[string]struct {
		policy string
		want   []string
	}{
		"everything for whom IAM allows it": {`{"Effect":"Allow",` + root + `,"Action":"kms:*","Resource":"*"}`, []string{"administrator", "root-user"}},
		"denied to all but one":             {`{"Effect":"Allow",` + root + `,"Action":["kms:Sign"],"Resource":"*"},` + other, []string{"administrator"}},
		"only another form":                 {`{"Effect":"Allow",` + root + `,"Action":"kms:Sign","Resource":"*","Condition":{"StringEquals":{"kms:MessageType":"RAW"}}}`, nil},
		"nothing":                           {other, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := read(t, map[string][]byte{"Bad": []byte(`{"Resources":{"Key":{"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":{"Statement":[` + c.policy + `]}}}}}`)})
			got, err := a.Lets(a.Keys()[0], "kms:Sign", review.Form("kms:Sign"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("whom the policy lets sign (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSec_S28_AConditionThatIsNotUnderstoodIsAnErrorNotAGuess(t *testing.T) {
	for _, condition := range []string{`{"StringLike":{"kms:MessageType":"D*"}}`, `{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::1:role/*"}}`} {
		a := read(t, map[string][]byte{"Bad": []byte(`{"Resources":{"Key":{"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:Sign","Resource":"*","Condition":` + condition + `}]}}}}}`)})
		if got, err := a.Lets(a.Keys()[0], "kms:Sign", review.Form("kms:Sign")); err == nil {
			t.Errorf("%s: judged as %q, want an error", condition, got)
		}
	}
}

// unlocking are the actions by which somebody could delete recordings before their time, or keep them from it.
var unlocking = []string{
	"s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:PutBucketObjectLockConfiguration",
}

// unlockers finds statements that allow what changes a lock of recordings, be it by a pattern.
func unlockers(t *testing.T, a *review.Account) (found []string) {
	t.Helper()
	for _, s := range allowed(a) {
		for _, pattern := range s.Actions {
			if !strings.HasPrefix(strings.ToLower(pattern), "s3:") && pattern != "*" {
				continue
			}
			actions, err := reference(t).Match(pattern)
			if pattern == "*" {
				actions, err = unlocking, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, action := range unlocking {
				if slices.Contains(actions, action) {
					found = append(found, s.Where+" may "+action)
				}
			}
		}
	}
	return found
}

func TestNobodyInTheProductChangesTheLockOfARecording(t *testing.T) {
	if found := unlockers(t, account(t)); len(found) > 0 {
		t.Errorf("%q", found)
	}
	for action, want := range map[string]int{"s3:BypassGovernanceRetention": 1, "s3:PutObject*": 2, "s3:*": 4, "*": 4, "s3:PutObject": 0} {
		a := read(t, map[string][]byte{"Bad": []byte(`{"Resources":{"Role":{"Type":"AWS::IAM::Role","Properties":{"RoleName":"bad",
			"AssumeRolePolicyDocument":{"Statement":[]},
			"Policies":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}}]}}}}`)})
		if found := unlockers(t, a); len(found) != want {
			t.Errorf("%s: found %q, want %d", action, found, want)
		}
	}
}
