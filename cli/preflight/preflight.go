// Package preflight asks an AWS account what would be in the way of a deployment: quotas, names that are taken, what is denied
// to the role that deploys, and whether the alarms would hear anything. All its calls read.
//
// What it couldn't ask is unknown, and never well. Its entry points are [Run] and [Policy].
package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
)

// Verdict is what a check came to.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warn    Verdict = "warn"    // it deploys, and something won't work as it should
	Blocked Verdict = "blocked" // it doesn't deploy
	Unknown Verdict = "unknown" // it couldn't be asked
)

// Row is what one check found.
type Row struct {
	Check   string  `json:"check"`
	Found   string  `json:"found"`
	Needed  string  `json:"needed"`
	Verdict Verdict `json:"verdict"`
	Hint    string  `json:"hint,omitempty"`
}

// Config says which account is asked, and as whom.
type Config struct {
	AWS  aws.Config                         // with Region and credentials
	HTTP *http.Client                       // nil: one that follows no redirect
	Now  func() time.Time                   // nil: time.Now
	Wait func(ctx context.Context, try int) // before a call is tried again; nil: a growing pause
	At   map[string]string                  // endpoints by service, in place of AWS's
}

// account is what checks ask about.
type account struct {
	caller
	id, arn string
}

// check looks at one thing. Its answer needs neither name nor what is needed.
type check struct {
	name, needed string
	actions      []string // what it calls, as IAM names it
	look         func(context.Context, *account) (Row, error)
}

func checks() []check {
	return slices.Concat(begin, capacity, taken, permissions, trails)
}

// Run asks for everything. A fault is returned only if nothing can be asked at all.
func Run(ctx context.Context, c Config) ([]Row, error) {
	a, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	rows := []Row{{Check: "caller", Found: a.arn + " in " + a.region, Needed: "an identity of the account", Verdict: OK}}
	for _, k := range checks() {
		row, err := k.look(ctx, a)
		if err != nil {
			row = unknown(err)
		}
		row.Check, row.Needed = k.name, k.needed
		rows = append(rows, row)
	}
	return rows, ctx.Err()
}

// open finds out who calls.
func open(ctx context.Context, c Config) (*account, error) {
	host, partition, known := proof.Host(c.AWS.Region)
	if !known {
		return nil, fault.Newf(fault.BadInput, "set AWS_REGION to the Region that Stile is to be deployed in", "%.70q is not a Region that Stile knows", c.AWS.Region)
	}
	if c.AWS.Credentials == nil {
		return nil, fault.New(fault.Unauthenticated, "this shell has no AWS credentials", "log in to AWS, such as with: aws sso login")
	}
	a := &account{caller: newCaller(c, partition, strings.TrimPrefix(host, "sts."+c.AWS.Region+"."))}
	var who struct {
		Account string `xml:"GetCallerIdentityResult>Account"`
		ARN     string `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := a.query(ctx, "sts", "2011-06-15", "GetCallerIdentity", nil, &who); err != nil {
		return nil, fault.New(fault.Unauthenticated, "AWS doesn't say whose credentials these are: "+err.Error(),
			"log in to AWS again; in a Region that has to be switched on, an administrator of the AWS account does so").Because(err)
	}
	if len(who.Account) != 12 || who.ARN == "" {
		return nil, fault.New(fault.Unreachable, "AWS answered without saying whose credentials these are", "check the proxy and AWS_ENDPOINT_URL of this shell")
	}
	a.id, a.arn = who.Account, who.ARN
	return a, nil
}

// unknown is the row of a check that couldn't be made.
func unknown(err error) Row {
	if e, ok := errors.AsType[*refusal](err); ok && e.denied() {
		return Row{
			Found: e.action + " is denied", Verdict: Unknown,
			Hint: fmt.Sprintf("ask an administrator of the AWS account for %s, or for all that is printed by: stile preflight --policy", e.action),
		}
	}
	return Row{Found: err.Error(), Verdict: Unknown, Hint: "run again; if it stays so, check it by hand"}
}

// count counts the rows of a verdict.
func count(rows []Row, v Verdict) (n int) {
	for _, r := range rows {
		if r.Verdict == v {
			n++
		}
	}
	return n
}

// Judge returns a fault if a row stops a deployment, and nil otherwise.
func Judge(rows []Row) error {
	if n := count(rows, Blocked); n > 0 {
		return fault.Newf(fault.Conflict, "remove what is blocked and run again: stile preflight", "%d of %d checks would stop the deployment", n, len(rows))
	}
	return nil
}

// Policy returns the IAM policy that all checks need. None of its actions changes anything or reads what somebody stored.
func Policy() string {
	var actions []string
	for _, k := range checks() {
		actions = append(actions, k.actions...)
	}
	slices.Sort(actions)
	raw, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Sid": "StilePreflight", "Effect": "Allow", "Action": slices.Compact(actions), "Resource": "*"},
	}}, "", "  ")
	if err != nil {
		panic(err) // strings alone
	}
	return string(raw)
}
