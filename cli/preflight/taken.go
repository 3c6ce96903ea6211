package preflight

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Names that the stacks give to what they make: an account can have each once in a Region.
var (
	functions = strings.Fields("admin api canary image join login publish rotate sign-host sign-user")
	roles     = append(slices.Clone(functions), "fleet", "fleet-execution")
	aliases   = strings.Fields("challenge host-ssh host-x509 policy root user-ssh user-x509")
	logs      = append(slices.Clone(functions), "api-access", "proxy")
)

// stacks are Stile's, in the order of their deployment.
var stacks = []string{"StileData", "StileControl", "StileFleet"}

var taken = []check{
	{
		name: "stacks", needed: "none, or such as can be updated", actions: []string{"cloudformation:DescribeStacks"},
		look: func(ctx context.Context, a *account) (Row, error) {
			row := Row{Verdict: OK}
			var found []string
			for _, name := range stacks {
				state, err := a.stack(ctx, name)
				if err != nil {
					return Row{}, err
				}
				if state == "" {
					continue
				}
				found = append(found, name+" "+state)
				if !slices.Contains([]string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"}, state) {
					row.Verdict, row.Hint = Blocked, "wait for a stack that is in progress, delete one in ROLLBACK_COMPLETE, and continue the rollback of one in UPDATE_ROLLBACK_FAILED"
				}
			}
			row.Found = first(strings.Join(found, ", "), "none")
			return row, nil
		},
	},
	names("functions", "StileControl", "lambda:GetFunctionConfiguration", func(ctx context.Context, a *account) ([]string, error) {
		return a.those(functions, func(name string) (string, error) {
			path := "stile-" + name
			err := a.get(ctx, "lambda", "GetFunctionConfiguration", "/2015-03-31/functions/"+path+"/configuration", nil)
			return path, absent(err, "ResourceNotFound")
		})
	}),
	names("roles", "StileControl", "iam:GetRole", func(ctx context.Context, a *account) ([]string, error) {
		return a.those(roles, func(name string) (string, error) {
			role := "stile-" + name + "-" + a.region
			err := a.query(ctx, "iam", "2010-05-08", "GetRole", url.Values{"RoleName": {role}}, nil)
			return role, absent(err, "NoSuchEntity")
		})
	}),
	names("key aliases", "StileData", "kms:ListAliases", func(ctx context.Context, a *account) ([]string, error) {
		var found []string
		in := map[string]any{"Limit": 100}
		for range maxPages {
			var out struct {
				Aliases    []struct{ AliasName string }
				NextMarker string
				Truncated  bool
			}
			if err := a.json(ctx, "kms", "TrentService", "ListAliases", in, &out); err != nil {
				return nil, err
			}
			if out.Aliases == nil {
				return nil, missing("kms:ListAliases", "Aliases")
			}
			for _, alias := range out.Aliases {
				if name, ours := strings.CutPrefix(alias.AliasName, "alias/stile/"); ours && slices.Contains(aliases, name) {
					found = append(found, alias.AliasName)
				}
			}
			if !out.Truncated {
				return found, nil
			}
			in["Marker"] = out.NextMarker
		}
		return nil, fmt.Errorf("the account has more than %d aliases", 100*maxPages)
	}),
	names("log groups", "StileControl", "logs:DescribeLogGroups", func(ctx context.Context, a *account) ([]string, error) {
		var found []string
		in := map[string]any{"logGroupNamePrefix": "/stile/", "limit": 50}
		for range maxPages {
			var out struct {
				LogGroups []struct {
					LogGroupName string `json:"logGroupName"`
				} `json:"logGroups"`
				NextToken string `json:"nextToken"`
			}
			if err := a.json(ctx, "logs", "Logs_20140328", "DescribeLogGroups", in, &out); err != nil {
				return nil, err
			}
			if out.LogGroups == nil {
				return nil, missing("logs:DescribeLogGroups", "logGroups")
			}
			for _, g := range out.LogGroups {
				if slices.Contains(logs, strings.TrimPrefix(g.LogGroupName, "/stile/")) {
					found = append(found, g.LogGroupName)
				}
			}
			if out.NextToken == "" {
				return found, nil
			}
			in["nextToken"] = out.NextToken
		}
		return nil, fmt.Errorf("there are more than %d log groups below /stile/", 50*maxPages)
	}),
}

// names checks that nothing has names of ours unless the stack that makes them is there.
func names(what, stack, action string, list func(context.Context, *account) ([]string, error)) check {
	return check{
		name: "names of " + what, needed: "free, or the stack's own", actions: []string{action, "cloudformation:DescribeStacks"},
		look: func(ctx context.Context, a *account) (Row, error) {
			found, err := list(ctx, a)
			if err != nil {
				return Row{}, err
			}
			if len(found) == 0 {
				return Row{Found: "free", Verdict: OK}, nil
			}
			state, err := a.stack(ctx, stack)
			if err != nil {
				return Row{}, err
			}
			if state != "" {
				return Row{Found: fmt.Sprintf("%d, beside the stack %s", len(found), stack), Verdict: OK}, nil
			}
			return Row{
				Found: strings.Join(found, ", ") + ", without the stack " + stack, Verdict: Blocked,
				Hint: "delete what a deleted stack left behind, or import it into the new stack: what it holds can't be made again",
			}, nil
		},
	}
}

// those returns the names under which there is something; find returns errFree for one that is free.
func (a *account) those(all []string, find func(string) (string, error)) ([]string, error) {
	var found []string
	for _, name := range all {
		full, err := find(name)
		switch {
		case errors.Is(err, errFree):
		case err != nil:
			return nil, err
		default:
			found = append(found, full)
		}
	}
	return found, nil
}

var errFree = errors.New("the name is free")

func absent(err error, code string) error {
	if is(err, code) {
		return errFree
	}
	return err
}

// stack returns a stack's state; "" when there is none.
func (a *account) stack(ctx context.Context, name string) (string, error) {
	var out struct {
		States []string `xml:"DescribeStacksResult>Stacks>member>StackStatus"`
	}
	err := a.query(ctx, "cloudformation", "2010-05-15", "DescribeStacks", url.Values{"StackName": {name}}, &out)
	if r, ok := errors.AsType[*refusal](err); ok && r.code == "ValidationError" && strings.Contains(r.message, "does not exist") {
		return "", nil
	}
	if err == nil && len(out.States) != 1 {
		err = missing("cloudformation:DescribeStacks", "StackStatus")
	}
	if err != nil {
		return "", err
	}
	return out.States[0], nil
}
