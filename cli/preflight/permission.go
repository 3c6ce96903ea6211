package preflight

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// permissions ask IAM to simulate what CloudFormation will do, as the role that the CDK's bootstrap made for it. The answer
// takes in the organization's service control policies, except for their conditions.
var permissions = []check{{
	name: "permissions", needed: "what makes the stacks, for the role that deploys", actions: []string{"iam:SimulatePrincipalPolicy", "iam:GetRole"},
	look: func(ctx context.Context, a *account) (Row, error) {
		role := fmt.Sprintf("cdk-hnb659fds-cfn-exec-role-%s-%s", a.id, a.region)
		denied, err := a.simulate(ctx, fmt.Sprintf("arn:%s:iam::%s:role/%s", a.partition, a.id, role))
		switch {
		case is(err, "NoSuchEntity"):
			return Row{Found: "there is no role " + role, Verdict: Unknown, Hint: "run cdk bootstrap first, and then again: stile preflight"}, nil
		case err != nil:
			return Row{}, err
		case len(denied) == 0:
			return Row{Found: "all allowed to " + role, Verdict: OK}, nil
		}
		return refusals(denied), nil
	},
}}

// denial is an action that the role that deploys is denied.
type denial struct {
	action       string
	organization bool   // and not the role's own policies
	only         string // the parameter for which alone it is needed
}

// refusals is the row of what is denied. What only a parameter needs stops no deployment without it.
func refusals(denied []denial) Row {
	row := Row{Verdict: Warn, Hint: "run cdk bootstrap again with --cloudformation-execution-policies that allow them"}
	var said []string
	for _, d := range denied {
		if d.only == "" {
			row.Verdict = Blocked
			said = append(said, d.action)
		} else {
			said = append(said, d.action+" (needed only with the parameter "+d.only+")")
		}
		if d.organization {
			row.Hint = "ask the administrators of the organization to allow them in its service control policies"
		}
	}
	row.Found = "denied: " + strings.Join(said, ", ")
	return row
}

// simulate returns the actions that a role is denied. IAM has to have answered about all of them.
func (a *account) simulate(ctx context.Context, role string) (denied []denial, err error) {
	actions, only := deploying()
	form := url.Values{"PolicySourceArn": {role}, "MaxItems": {"100"}}
	for i, action := range actions {
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
			return nil, err
		}
		for _, r := range out.Results {
			if seen[r.Action] || !slices.Contains(actions, r.Action) {
				continue
			}
			seen[r.Action] = true
			if r.Decision != "allowed" || r.Organization == "false" {
				denied = append(denied, denial{r.Action, r.Organization == "false", only[r.Action]})
			}
		}
		if !out.More {
			if len(seen) != len(actions) {
				return nil, fmt.Errorf("iam:SimulatePrincipalPolicy answered about %d of %d actions", len(seen), len(actions))
			}
			return denied, nil
		}
		form.Set("Marker", out.Marker)
	}
	return nil, fmt.Errorf("iam:SimulatePrincipalPolicy has no last page")
}
