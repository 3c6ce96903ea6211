package preflight

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// deploying are actions by which each kind of thing in the stacks is made.
var deploying = strings.Fields(`
	apigateway:POST dynamodb:CreateTable ec2:CreateVpc ecs:CreateCluster ecs:CreateService elasticloadbalancing:CreateLoadBalancer
	events:CreateEventBus events:PutRule iam:CreateRole iam:PassRole iam:PutRolePolicy kms:CreateAlias kms:CreateKey
	lambda:CreateFunction logs:CreateLogGroup s3:CreateBucket sns:CreateTopic sqs:CreateQueue`)

// permissions ask IAM to simulate what CloudFormation will do, as the role that the CDK's bootstrap made for it. The answer
// takes in the organization's service control policies, except for their conditions.
var permissions = []check{{
	name: "permissions", needed: "what makes the stacks, for the role that deploys", actions: []string{"iam:SimulatePrincipalPolicy", "iam:GetRole"},
	look: func(ctx context.Context, a *account) (Row, error) {
		role := fmt.Sprintf("cdk-hnb659fds-cfn-exec-role-%s-%s", a.id, a.region)
		denied, organization, asked, err := a.simulate(ctx, fmt.Sprintf("arn:%s:iam::%s:role/%s", a.partition, a.id, role))
		switch {
		case is(err, "NoSuchEntity"):
			return Row{Found: "there is no role " + role, Verdict: Unknown, Hint: "run cdk bootstrap first, and then again: stile preflight"}, nil
		case err != nil:
			return Row{}, err
		case asked != len(deploying):
			return Row{}, fmt.Errorf("iam:SimulatePrincipalPolicy answered about %d of %d actions", asked, len(deploying))
		case len(denied) == 0:
			return Row{Found: "all allowed to " + role, Verdict: OK}, nil
		}
		row := Row{Found: "denied: " + strings.Join(denied, ", "), Verdict: Blocked, Hint: "run cdk bootstrap again with --cloudformation-execution-policies that allow them"}
		if organization {
			row.Hint = "ask the administrators of the organization to allow them in its service control policies"
		}
		return row, nil
	},
}}

// simulate returns the actions that a role is denied, and whether the organization denies one of them.
func (a *account) simulate(ctx context.Context, role string) (denied []string, organization bool, asked int, err error) {
	form := url.Values{"PolicySourceArn": {role}, "MaxItems": {"100"}}
	for i, action := range deploying {
		form.Set(fmt.Sprintf("ActionNames.member.%d", i+1), action)
	}
	seen := map[string]bool{}
	for range maxPages {
		var out struct {
			Results []struct {
				Action       string `xml:"EvalActionName"`
				Decision     string `xml:"EvalDecision"`
				Organization string `xml:"OrganizationsDecisionDetail>AllowedByOrganizations"`
			} `xml:"SimulatePrincipalPolicyResult>EvaluationResults>member"`
			More   bool   `xml:"SimulatePrincipalPolicyResult>IsTruncated"`
			Marker string `xml:"SimulatePrincipalPolicyResult>Marker"`
		}
		if err := a.query(ctx, "iam", "2010-05-08", "SimulatePrincipalPolicy", form, &out); err != nil {
			return nil, false, 0, err
		}
		for _, r := range out.Results {
			if !slices.Contains(deploying, r.Action) {
				continue
			}
			seen[r.Action] = true
			if r.Decision != "allowed" || r.Organization == "false" {
				denied = append(denied, r.Action)
				organization = organization || r.Organization == "false"
			}
		}
		if !out.More {
			return denied, organization, len(seen), nil
		}
		form.Set("Marker", out.Marker)
	}
	return nil, false, 0, fmt.Errorf("iam:SimulatePrincipalPolicy has no last page")
}
