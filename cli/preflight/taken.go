package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// stacks are Stile's, in the order of their deployment.
var stacks = []string{"StileData", "StileControl", "StileAudit", "StileFleet"}

// fixed are names that stacks give to what they make, by stack: an account can have each once in a Region.
type fixed map[string][]string

// all are the names, whatever stack gives them.
func (f fixed) all() []string {
	out := slices.Concat(slices.Collect(maps.Values(f))...)
	slices.Sort(out)
	return out
}

var (
	functions = fixed{"StileControl": strings.Fields("admin api canary join login publish query recording rotate sign-host sign-user stock sweep"), "StileAudit": {"relay"}, "StileFleet": {"image"}}
	roles     = fixed{"StileControl": append(slices.Clone(functions["StileControl"]), "fleet", "recording-reader"), "StileAudit": {"delivery", "lake", "relay"}, "StileFleet": {"fleet-execution", "image"}}
	aliases   = fixed{"StileData": strings.Fields("challenge host-ssh host-x509 policy root user-ssh user-x509")}
	logs      = fixed{"StileControl": append(slices.Clone(functions["StileControl"]), "api-access"), "StileAudit": {"relay"}, "StileFleet": {"image", "proxy"}}
)

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
	kind{
		what: "functions", form: "stile-*", stacks: functions, action: "lambda:GetFunctionConfiguration",
		find: func(ctx context.Context, a *account, k kind) ([]string, error) {
			return those(k.stacks.all(), func(name string) error {
				err := a.get(ctx, "lambda", "GetFunctionConfiguration", "/2015-03-31/functions/"+k.full(a, name)+"/configuration", nil)
				return absent(err, "ResourceNotFound")
			})
		},
	}.check(),
	kind{
		what: "roles", form: "stile-*-REGION", stacks: roles, action: "iam:GetRole",
		find: func(ctx context.Context, a *account, k kind) ([]string, error) {
			return those(k.stacks.all(), func(name string) error {
				err := a.query(ctx, "iam", "2010-05-08", "GetRole", url.Values{"RoleName": {k.full(a, name)}}, nil)
				return absent(err, "NoSuchEntity")
			})
		},
	}.check(),
	kind{what: "key aliases", form: "alias/stile/*", stacks: aliases, action: "kms:ListAliases", find: listAliases}.check(),
	kind{what: "log groups", form: "/stile/*", stacks: logs, action: "logs:DescribeLogGroups", find: listLogs}.check(),
}

// kind is one kind of what has fixed names.
type kind struct {
	what, action string
	form         string // of a name; * is the part that differs
	stacks       fixed
	find         func(context.Context, *account, kind) ([]string, error) // which of the names are taken
}

func (k kind) full(a *account, name string) string {
	return strings.NewReplacer("*", name, "REGION", a.region).Replace(k.form)
}

// check looks whether nothing has names of ours unless the stack that makes them is there.
func (k kind) check() check {
	return check{
		name: "names of " + k.what, needed: "free, or the stack's own", actions: []string{k.action, "cloudformation:DescribeStacks"},
		look: func(ctx context.Context, a *account) (Row, error) {
			found, err := k.find(ctx, a, k)
			if err != nil {
				return Row{}, err
			}
			return k.judge(ctx, a, found)
		},
	}
}

// judge holds the names that are taken against the state of the stack that each is of.
func (k kind) judge(ctx context.Context, a *account, found []string) (Row, error) {
	row := Row{Verdict: OK}
	var said []string
	for _, stack := range stacks {
		var mine []string
		for _, name := range found {
			if slices.Contains(k.stacks[stack], name) {
				mine = append(mine, k.full(a, name))
			}
		}
		if len(mine) == 0 {
			continue
		}
		state, err := a.stack(ctx, stack)
		switch {
		case err != nil:
			return Row{}, err
		case state == "":
			said = append(said, strings.Join(mine, ", ")+", without the stack "+stack)
		case slices.Contains(bare, state):
			said = append(said, strings.Join(mine, ", ")+", while the stack "+stack+" is in "+state)
		default:
			said = append(said, fmt.Sprintf("%d, beside the stack %s", len(mine), stack))
			continue
		}
		row.Verdict, row.Hint = Blocked, "delete what a deleted stack left behind, or import it into the new stack: what it holds can't be made again"
	}
	row.Found = first(strings.Join(said, "; "), "free")
	return row, nil
}

// bare are states of a stack to which nothing belongs, or nothing but what stays behind when it is deleted.
var bare = []string{"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"}

func listAliases(ctx context.Context, a *account, k kind) ([]string, error) {
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
			if name, ours := strings.CutPrefix(alias.AliasName, k.full(a, "")); ours && slices.Contains(k.stacks.all(), name) {
				found = append(found, name)
			}
		}
		if !out.Truncated {
			return found, nil
		}
		in["Marker"] = out.NextMarker
	}
	return nil, fmt.Errorf("the account has more than %d aliases", 100*maxPages)
}

func listLogs(ctx context.Context, a *account, k kind) ([]string, error) {
	var found []string
	in := map[string]any{"logGroupNamePrefix": k.full(a, ""), "limit": 50}
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
			if name := strings.TrimPrefix(g.LogGroupName, k.full(a, "")); slices.Contains(k.stacks.all(), name) {
				found = append(found, name)
			}
		}
		if out.NextToken == "" {
			return found, nil
		}
		in["nextToken"] = out.NextToken
	}
	return nil, fmt.Errorf("there are more than %d log groups below /stile/", 50*maxPages)
}

// those returns the names that are taken; look returns errFree for one that is free.
func those(all []string, look func(string) error) ([]string, error) {
	var found []string
	for _, name := range all {
		err := look(name)
		switch {
		case errors.Is(err, errFree):
		case err != nil:
			return nil, err
		default:
			found = append(found, name)
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
