package preflight

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// begin looks at what the CDK needs.
var begin = []check{
	{
		name: "CDK bootstrap", needed: "version 6", actions: []string{"ssm:GetParameter"},
		look: func(ctx context.Context, a *account) (Row, error) {
			var out struct{ Parameter struct{ Value string } }
			err := a.json(ctx, "ssm", "AmazonSSM", "GetParameter", map[string]string{"Name": "/cdk-bootstrap/hnb659fds/version"}, &out)
			hint := fmt.Sprintf("run: npx aws-cdk@2.1148.1 bootstrap aws://%s/%s", a.id, a.region)
			if is(err, "ParameterNotFound") {
				return Row{Found: "not bootstrapped", Verdict: Blocked, Hint: hint}, nil
			}
			if err != nil {
				return Row{}, err
			}
			version, err := strconv.Atoi(out.Parameter.Value)
			if err != nil {
				return Row{}, fmt.Errorf("the version of the CDK's bootstrap is %.20q", out.Parameter.Value)
			}
			row := Row{Found: fmt.Sprintf("version %d", version), Verdict: OK}
			if version < 6 {
				row.Verdict, row.Hint = Blocked, hint
			}
			return row, nil
		},
	},
}

// capacity looks at quotas, and at what is left of them where that can be counted.
var capacity = []check{
	{
		name: "Lambda concurrency", needed: "100 unreserved", actions: []string{"lambda:GetAccountSettings"},
		look: func(ctx context.Context, a *account) (Row, error) {
			var out struct {
				AccountLimit *struct{ ConcurrentExecutions, UnreservedConcurrentExecutions int }
			}
			if err := a.get(ctx, "lambda", "GetAccountSettings", "/2016-08-19/account-settings", &out); err != nil {
				return Row{}, err
			}
			if out.AccountLimit == nil {
				return Row{}, missing("lambda:GetAccountSettings", "AccountLimit")
			}
			free := out.AccountLimit.UnreservedConcurrentExecutions
			row := Row{Found: fmt.Sprintf("%d of %d unreserved", free, out.AccountLimit.ConcurrentExecutions), Verdict: OK}
			if free < 100 {
				row.Verdict, row.Hint = Warn, "ask AWS for a higher quota of Lambda's concurrent executions (L-B99A9384): all functions of the Region share it, and logins are refused beyond it"
			}
			return row, nil
		},
	},
	quota("KMS signing", "20 signatures a second", "kms", "", "(ECC)", 20,
		"ask AWS for a higher quota of KMS's cryptographic operations (ECC): a login is two signatures", Warn),
	quota("Fargate", "2 vCPU, for a deployment beside what runs", "fargate", "L-3032A538", "", 2,
		"ask AWS for a higher quota of Fargate On-Demand vCPU (L-3032A538)", Blocked),
	{
		name: "VPCs", needed: "1 more", actions: []string{"servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota", "ec2:DescribeVpcs"},
		look: func(ctx context.Context, a *account) (Row, error) {
			limit, err := a.quota(ctx, "vpc", "L-F678F1CE")
			if err != nil {
				return Row{}, err
			}
			used, err := a.vpcs(ctx)
			return left(used, limit, "ask AWS for a higher quota of VPCs (L-F678F1CE), or delete one"), err
		},
	},
	{
		name: "IAM roles", needed: fmt.Sprintf("%d more", len(roles.all())), actions: []string{"iam:GetAccountSummary"},
		look: func(ctx context.Context, a *account) (Row, error) {
			var out struct {
				Entries []struct {
					Key   string `xml:"key"`
					Value int    `xml:"value"`
				} `xml:"GetAccountSummaryResult>SummaryMap>entry"`
			}
			if err := a.query(ctx, "iam", "2010-05-08", "GetAccountSummary", nil, &out); err != nil {
				return Row{}, err
			}
			numbers := map[string]int{}
			for _, e := range out.Entries {
				numbers[e.Key] = e.Value
			}
			used, limit := numbers["Roles"], numbers["RolesQuota"]
			if limit == 0 {
				return Row{}, missing("iam:GetAccountSummary", "RolesQuota")
			}
			return left(used+len(roles.all())-1, limit, "ask AWS for a higher quota of IAM roles, or delete some").found(used, limit), nil
		},
	},
}

func missing(action, field string) error {
	return fmt.Errorf("the answer of %s has no %s", action, field)
}

// left judges whether one more fits.
func left(used, limit int, hint string) Row {
	row := Row{Verdict: OK}.found(used, limit)
	if used+1 > limit {
		row.Verdict, row.Hint = Blocked, hint
	}
	return row
}

func (r Row) found(used, limit int) Row {
	r.Found = fmt.Sprintf("%d of %d used", used, limit)
	return r
}

// quota is the check of one quota of which the use is not known: by its code, or by words of its name.
func quota(name, needed, service, code, words string, least int, hint string, less Verdict) check {
	actions := []string{"servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"}
	if code == "" {
		actions = []string{"servicequotas:ListServiceQuotas"}
	}
	return check{name: name, needed: needed, actions: actions, look: func(ctx context.Context, a *account) (Row, error) {
		var limit int
		var err error
		if code != "" {
			limit, err = a.quota(ctx, service, code)
		} else {
			limit, err = a.named(ctx, service, words)
		}
		if err != nil {
			return Row{}, err
		}
		row := Row{Found: fmt.Sprintf("a quota of %d; its use is not counted", limit), Verdict: OK}
		if limit < least {
			row.Verdict, row.Hint = less, hint
		}
		return row, nil
	}}
}

type quotaAnswer struct {
	Quota *struct {
		Value *float64
	}
}

// quota returns the account's value of a quota, or AWS's own where the account has none.
func (a *account) quota(ctx context.Context, service, code string) (int, error) {
	in := map[string]string{"ServiceCode": service, "QuotaCode": code}
	var out quotaAnswer
	err := a.json(ctx, "servicequotas", "ServiceQuotasV20190624", "GetServiceQuota", in, &out)
	if is(err, "NoSuchResource") {
		err = a.json(ctx, "servicequotas", "ServiceQuotasV20190624", "GetAWSDefaultServiceQuota", in, &out)
	}
	if err != nil {
		return 0, err
	}
	if out.Quota == nil || out.Quota.Value == nil {
		return 0, missing("servicequotas:GetServiceQuota", "Value")
	}
	return int(*out.Quota.Value), nil
}

// named returns the quota of a service whose name contains some words.
func (a *account) named(ctx context.Context, service, words string) (int, error) {
	in := map[string]any{"ServiceCode": service, "MaxResults": 100}
	for range maxPages {
		var out struct {
			Quotas []struct {
				QuotaName string
				Value     float64
			}
			NextToken string
		}
		if err := a.json(ctx, "servicequotas", "ServiceQuotasV20190624", "ListServiceQuotas", in, &out); err != nil {
			return 0, err
		}
		for _, q := range out.Quotas {
			if strings.Contains(q.QuotaName, words) {
				return int(q.Value), nil
			}
		}
		if out.NextToken == "" {
			break
		}
		in["NextToken"] = out.NextToken
	}
	return 0, fmt.Errorf("%s has no quota whose name contains %s", service, words)
}

// vpcs counts the Region's VPCs.
func (a *account) vpcs(ctx context.Context) (int, error) {
	var out struct {
		VPCs *struct {
			Items []struct{} `xml:"item"`
		} `xml:"vpcSet"`
	}
	if err := a.query(ctx, "ec2", "2016-11-15", "DescribeVpcs", nil, &out); err != nil {
		return 0, err
	}
	if out.VPCs == nil {
		return 0, missing("ec2:DescribeVpcs", "vpcSet")
	}
	return len(out.VPCs.Items), nil
}
