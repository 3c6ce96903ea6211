package preflight_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/cli/preflight"
	"github.com/stile-dev/stile/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files")

// cloud answers as AWS's services do, by "service:Operation" or by that and an argument. What it has no answer for is denied, in the
// service's own form.
type cloud struct {
	t       *testing.T
	answers map[string]string // a body; "404 Code" or "400 Code message" is an error
	busy    map[string]int    // so many times an operation is throttled
	called  []string
}

const empty = "<ok/>"

// fresh is an account that was bootstrapped and has enough of everything.
func fresh() map[string]string {
	all := map[string]string{
		"sts:GetCallerIdentity":             `<R><GetCallerIdentityResult><Account>111122223333</Account><Arn>arn:aws:sts::111122223333:assumed-role/Admin/ada</Arn></GetCallerIdentityResult></R>`,
		"ssm:GetParameter":                  `{"Parameter":{"Value":"21"}}`,
		"lambda:GetAccountSettings":         `{"AccountLimit":{"ConcurrentExecutions":1000,"UnreservedConcurrentExecutions":900}}`,
		"lambda:GetFunctionConfiguration":   "404 ResourceNotFoundException",
		"servicequotas:ListServiceQuotas":   `{"Quotas":[{"QuotaName":"Cryptographic operations (RSA) request rate","Value":1}],"NextToken":"2"}`,
		"servicequotas:ListServiceQuotas 2": `{"Quotas":[{"QuotaName":"Cryptographic operations (ECC) request rate","Value":1000}]}`,
		"servicequotas:GetServiceQuota":     `{"Quota":{"Value":6}}`,
		"ec2:DescribeVpcs":                  `<R><vpcSet><item><vpcId>vpc-1</vpcId><cidrBlockAssociationSet><item/></cidrBlockAssociationSet></item></vpcSet></R>`,
		"iam:GetAccountSummary":             `<R><GetAccountSummaryResult><SummaryMap><entry><key>Roles</key><value>40</value></entry><entry><key>RolesQuota</key><value>1000</value></entry></SummaryMap></GetAccountSummaryResult></R>`,
		"iam:GetRole":                       "404 NoSuchEntity",
		"iam:SimulatePrincipalPolicy":       "",
		"cloudformation:DescribeStacks":     "400 ValidationError Stack with id X does not exist",
		"kms:ListAliases":                   `{"Aliases":[{"AliasName":"alias/aws/s3"},{"AliasName":"alias/stile/other"}],"Truncated":true,"NextMarker":"2"}`,
		"kms:ListAliases 2":                 `{"Aliases":[]}`,
		"logs:DescribeLogGroups":            `{"logGroups":[{"logGroupName":"/stile/something-else"}]}`,
		"cloudtrail:DescribeTrails":         `{"trailList":[{"Name":"elsewhere","TrailARN":"arn:elsewhere","HomeRegion":"us-east-1"},{"Name":"all","TrailARN":"arn:all","HomeRegion":"us-east-1","IsMultiRegionTrail":true}]}`,
		"cloudtrail:GetTrailStatus":         `{"IsLogging":true}`,
		"cloudtrail:GetEventSelectors":      `{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"All"}]}`,
	}
	return all
}

// simulated answers a simulation with all that was asked as allowed, except for some.
func simulated(form url.Values, denied map[string]string) string {
	var b strings.Builder
	b.WriteString(`<R><SimulatePrincipalPolicyResult><EvaluationResults>`)
	for i := 1; form.Get(fmt.Sprintf("ActionNames.member.%d", i)) != ""; i++ {
		action := form.Get(fmt.Sprintf("ActionNames.member.%d", i))
		decision, organization := "allowed", "true"
		switch denied[action] {
		case "role":
			decision = "implicitDeny"
		case "organization":
			organization = "false"
		}
		fmt.Fprintf(&b, `<member><EvalActionName>%s</EvalActionName><EvalDecision>%s</EvalDecision><OrganizationsDecisionDetail><AllowedByOrganizations>%s</AllowedByOrganizations></OrganizationsDecisionDetail></member>`, action, decision, organization)
	}
	return b.String() + `</EvaluationResults><IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult></R>`
}

var (
	scope      = regexp.MustCompile(`Credential=AKIDEXAMPLE/\d+/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request`)
	operations = map[string]string{"/2016-08-19/account-settings": "GetAccountSettings"}
)

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	signed := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	body, err := io.ReadAll(r.Body)
	if err != nil || signed == nil {
		c.t.Errorf("%s %s, signed %q: %v", r.Method, r.URL, signed, err)
		return
	}
	region, service := signed[1], signed[2]
	if want := map[bool]string{true: "us-east-1", false: "eu-central-1"}[service == "iam"]; region != want {
		c.t.Errorf("%s is signed for %s", service, region)
	}
	form, _ := url.ParseQuery(string(body))
	var in map[string]any
	_ = json.Unmarshal(body, &in)
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if i := strings.LastIndexByte(operation, '.'); i >= 0 {
		operation = operation[i+1:]
	}
	argument := fmt.Sprint(in["NextToken"], in["Marker"], in["Name"], in["TrailName"], in["QuotaCode"])
	argument = strings.ReplaceAll(argument, "<nil>", "")
	argument = strings.TrimSpace(argument + form.Get("RoleName") + form.Get("StackName"))
	switch {
	case form.Get("Action") != "":
		operation = form.Get("Action")
	case operations[r.URL.Path] != "":
		operation = operations[r.URL.Path]
	case strings.HasPrefix(r.URL.Path, "/2015-03-31/functions/"):
		operation, argument = "GetFunctionConfiguration", strings.Split(r.URL.Path, "/")[3]
	}
	call := service + ":" + operation
	c.called = append(c.called, call)
	if c.busy[call] > 0 {
		c.busy[call]--
		http.Error(w, `{"__type":"com.amazon#ThrottlingException","message":"slow down"}`, http.StatusBadRequest)
		return
	}
	answer, known := c.answers[strings.TrimSpace(call+" "+argument)]
	if !known {
		answer, known = c.answers[call]
	}
	switch {
	case !known:
		answer = "403 AccessDeniedException " + call
	case call == "iam:SimulatePrincipalPolicy" && (answer == "" || strings.Contains(answer, "=")):
		denied := map[string]string{}
		for d := range strings.FieldsSeq(answer) {
			who, action, _ := strings.Cut(d, "=")
			denied[action] = who
		}
		answer = simulated(form, denied)
	}
	c.answer(w, form.Get("Action") != "", service, answer)
}

var failure = regexp.MustCompile(`^([3-5]\d\d) (\S+) ?(.*)$`)

// answer writes an error as the service would.
func (c *cloud) answer(w http.ResponseWriter, query bool, service, answer string) {
	m := failure.FindStringSubmatch(answer)
	if m == nil {
		_, _ = io.WriteString(w, answer)
		return
	}
	status := map[string]int{"3": 302, "4": 400, "5": 500}[m[1][:1]]
	switch {
	case service == "ec2":
		http.Error(w, "<Response><Errors><Error><Code>"+m[2]+"</Code><Message>"+m[3]+"</Message></Error></Errors></Response>", status)
	case query:
		http.Error(w, "<ErrorResponse><Error><Code>"+m[2]+"</Code><Message>"+m[3]+"</Message></Error></ErrorResponse>", status)
	case service == "lambda":
		w.Header().Set("X-Amzn-Errortype", m[2]+":http://internal.amazon.com/")
		http.Error(w, `{"Message":"`+m[3]+`"}`, status)
	default:
		http.Error(w, `{"__type":"com.amazonaws.x#`+m[2]+`","message":"`+m[3]+`"}`, status)
	}
}

// ask runs all checks on an account that differs from a fresh one.
func ask(t *testing.T, change func(*cloud)) ([]preflight.Row, *cloud, error) {
	t.Helper()
	c := &cloud{t: t, answers: fresh(), busy: map[string]int{}}
	if change != nil {
		change(c)
	}
	server := httptest.NewServer(c)
	defer server.Close()
	rows, err := preflight.Run(t.Context(), preflight.Config{
		AWS:  aws.Config{Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")},
		Wait: func(context.Context, int) {},
	})
	return rows, c, err
}

func golden(t *testing.T, name string, rows []preflight.Row) {
	t.Helper()
	raw, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := "testdata/" + name + ".json"
	if *update {
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(raw)+"\n", "\n")); d != "" {
		t.Errorf("%s is out of date; run the test with -update (-committed +now)\n%s", path, d)
	}
}

func TestAnAccountThatHasEverythingIsFine(t *testing.T) {
	rows, c, err := ask(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Verdict != preflight.OK || r.Hint != "" || r.Found == "" || r.Needed == "" {
			t.Errorf("%+v", r)
		}
	}
	if err := preflight.Judge(rows); err != nil {
		t.Error(err)
	}
	golden(t, "fine", rows)

	// The policy names what was called, and nothing that isn't a reading action.
	var policy struct {
		Statement []struct{ Action []string }
	}
	if err := json.Unmarshal([]byte(preflight.Policy()), &policy); err != nil {
		t.Fatal(err)
	}
	for _, action := range c.called {
		if action != "sts:GetCallerIdentity" && !slices.Contains(policy.Statement[0].Action, action) {
			t.Errorf("the policy lacks %s", action)
		}
	}
	for _, action := range policy.Statement[0].Action {
		if !regexp.MustCompile(`^[a-z0-9]+:(Get|List|Describe|Simulate)[A-Za-z]+$`).MatchString(action) {
			t.Errorf("the policy has %s", action)
		}
	}
}

// What a person sees of accounts in which something is in the way.
func TestWhatIsInTheWayIsFound(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"new account": {
			"ssm:GetParameter":              "400 ParameterNotFound",
			"lambda:GetAccountSettings":     `{"AccountLimit":{"ConcurrentExecutions":10,"UnreservedConcurrentExecutions":10}}`,
			"servicequotas:GetServiceQuota": "404 NoSuchResourceException", "servicequotas:GetAWSDefaultServiceQuota": `{"Quota":{"Value":1}}`,
			"iam:SimulatePrincipalPolicy": "404 NoSuchEntity", "cloudtrail:DescribeTrails": `{"trailList":[]}`,
			"servicequotas:ListServiceQuotas 2": `{"Quotas":[{"QuotaName":"Cryptographic operations (ECC) request rate","Value":10}]}`,
			"iam:GetAccountSummary":             `<R><GetAccountSummaryResult><SummaryMap><entry><key>Roles</key><value>991</value></entry><entry><key>RolesQuota</key><value>1000</value></entry></SummaryMap></GetAccountSummaryResult></R>`,
		},
		"leftovers": {
			"ssm:GetParameter": `{"Parameter":{"Value":"5"}}`,
			"lambda:GetFunctionConfiguration stile-publish": `{}`,
			"iam:GetRole stile-fleet-eu-central-1":          empty,
			"kms:ListAliases 2":                             `{"Aliases":[{"AliasName":"alias/stile/root"}]}`,
			"logs:DescribeLogGroups":                        `{"logGroups":[{"logGroupName":"/stile/api"},{"logGroupName":"/stile/proxy"}]}`,
			"cloudformation:DescribeStacks StileData":       `<R><DescribeStacksResult><Stacks><member><StackStatus>ROLLBACK_COMPLETE</StackStatus></member></Stacks></DescribeStacksResult></R>`,
		},
		"denied": {
			"iam:SimulatePrincipalPolicy":  "organization=kms:CreateKey role=lambda:CreateFunction",
			"cloudtrail:GetEventSelectors": `{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"All","ExcludeManagementEventSources":["kms.amazonaws.com"]}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rows, _, err := ask(t, func(c *cloud) { maps.Copy(c.answers, answers) })
			if err != nil {
				t.Fatal(err)
			}
			if err := preflight.Judge(rows); !fault.Is(err, fault.Conflict) {
				t.Errorf("it is judged as %v", err)
			}
			golden(t, strings.ReplaceAll(name, " ", "-"), rows)
		})
	}
}

func TestNamesBesideTheirStackAreItsOwn(t *testing.T) {
	rows, _, err := ask(t, func(c *cloud) {
		c.answers["lambda:GetFunctionConfiguration"], c.answers["iam:GetRole"] = `{}`, empty
		c.answers["cloudformation:DescribeStacks"] = `<R><DescribeStacksResult><Stacks><member><StackStatus>UPDATE_COMPLETE</StackStatus></member></Stacks></DescribeStacksResult></R>`
	})
	if err != nil || preflight.Judge(rows) != nil {
		t.Errorf("%+v, %v", rows, err)
	}
}

// Each name is held against the stack that makes it, and against nothing of a stack that has nothing yet.
func TestNamesBesideAnotherStackAreLeftovers(t *testing.T) {
	const there = `<R><DescribeStacksResult><Stacks><member><StackStatus>%s</StackStatus></member></Stacks></DescribeStacksResult></R>`
	for name, k := range map[string]struct{ state, says string }{
		"without its stack":           {"", "stile-image, without the stack StileFleet"},
		"before its stack has things": {"REVIEW_IN_PROGRESS", "stile-image, while the stack StileFleet is in REVIEW_IN_PROGRESS"},
		"after its stack failed":      {"ROLLBACK_COMPLETE", "stile-image, while the stack StileFleet is in ROLLBACK_COMPLETE"},
		"beside its stack":            {"UPDATE_ROLLBACK_COMPLETE", ""},
	} {
		rows, _, err := ask(t, func(c *cloud) {
			c.answers["lambda:GetFunctionConfiguration stile-image"], c.answers["lambda:GetFunctionConfiguration stile-api"] = `{}`, `{}`
			c.answers["cloudformation:DescribeStacks StileControl"] = fmt.Sprintf(there, "CREATE_COMPLETE")
			if k.state != "" {
				c.answers["cloudformation:DescribeStacks StileFleet"] = fmt.Sprintf(there, k.state)
			}
		})
		i := slices.IndexFunc(rows, func(r preflight.Row) bool { return r.Check == "names of functions" })
		if err != nil || (rows[i].Verdict == preflight.OK) != (k.says == "") || !strings.Contains(rows[i].Found, k.says) || !strings.Contains(rows[i].Found, "1, beside the stack StileControl") {
			t.Errorf("%s: %+v, %v", name, rows[i], err)
		}
	}
}

// Most deployments have no web ACL.
func TestWhatOnlyAParameterNeedsStopsNoDeployment(t *testing.T) {
	for answer, want := range map[string]preflight.Verdict{
		"role=wafv2:AssociateWebACL": preflight.Warn, "organization=apigateway:SetWebACL": preflight.Warn,
		"role=wafv2:AssociateWebACL role=ecr:CreateRepository": preflight.Blocked,
	} {
		rows, _, err := ask(t, func(c *cloud) { c.answers["iam:SimulatePrincipalPolicy"] = answer })
		i := slices.IndexFunc(rows, func(r preflight.Row) bool { return r.Check == "permissions" })
		if r := rows[i]; err != nil || r.Verdict != want || !strings.Contains(r.Found, "WebACL (needed only with the parameter WebAclArn)") || r.Hint == "" {
			t.Errorf("%s: %+v, %v", answer, r, err)
		}
	}
}

// TestSec_S85_WhatCouldNotBeAskedIsNeverFine: each call in turn is denied, answers nonsense, nothing, too much, or a redirect.
func TestSec_S85_WhatCouldNotBeAskedIsNeverFine(t *testing.T) {
	_, usual, err := ask(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Compact(slices.Sorted(slices.Values(usual.called)))
	for _, action := range all {
		if action == "sts:GetCallerIdentity" {
			continue
		}
		for kind, answer := range map[string]string{
			"denied": "403 AccessDenied no", "nonsense": "%", "another form": `[]`, "too much": strings.Repeat("x", 1<<20+1), "a redirect": "302 Found", "an error": "500 InternalFailure oh",
			"unknown": "400 SomethingNew what", "nothing": "{}", "nothing in XML": "<R/>",
		} {
			rows, _, err := ask(t, func(c *cloud) {
				for name := range c.answers {
					if name == action || strings.HasPrefix(name, action+" ") {
						delete(c.answers, name)
					}
				}
				c.answers[action] = answer
			})
			unknown := slices.IndexFunc(rows, func(r preflight.Row) bool { return r.Verdict == preflight.Unknown })
			if err != nil || unknown < 0 {
				// A resource that is there says so by any answer; that is in the way, and no more fine.
				if (action == "lambda:GetFunctionConfiguration" || action == "iam:GetRole") && preflight.Judge(rows) != nil {
					continue
				}
				t.Errorf("%s, %s: %+v, %v", action, kind, rows, err)
				continue
			}
			if r := rows[unknown]; kind == "denied" && (!strings.Contains(r.Found, action+" is denied") || !strings.Contains(r.Hint, action)) {
				t.Errorf("%s, %s: %+v", action, kind, r)
			}
			if preflight.Judge(rows) != nil {
				t.Errorf("%s, %s: what is unknown counts as blocked", action, kind)
			}
		}
	}
}

func TestAThrottledCallIsTriedAgain(t *testing.T) {
	for times, want := range map[int]preflight.Verdict{2: preflight.OK, 3: preflight.Unknown} {
		rows, _, err := ask(t, func(c *cloud) { c.busy["ssm:GetParameter"] = times })
		i := slices.IndexFunc(rows, func(r preflight.Row) bool { return r.Check == "CDK bootstrap" })
		if err != nil || rows[i].Verdict != want {
			t.Errorf("%d times: %+v, %v", times, rows[i], err)
		}
	}
}

func TestATrailMustHearSign(t *testing.T) {
	for selectors, hears := range map[string]bool{
		`{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"ReadOnly"}]}`:  true,
		`{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"WriteOnly"}]}`: false, // kms:Sign reads
		`{"EventSelectors":[{"IncludeManagementEvents":false,"ReadWriteType":"All"}]}`:      false,
		`{"EventSelectors":[]}`: false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]}]}`:                                                                 true,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]}]}]}`:                                                                       false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]}]}]}`:       false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["rdsdata.amazonaws.com"]}]}]}`:   true,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["false"]}]}]}`:                         false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"userIdentity.arn","NotStartsWith":["arn:aws:sts::1"]}]}]}`: false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventName","NotStartsWith":["Si"]}]}]}`:                    false,
		`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventSource","Equals":["kms.amazonaws.com"]}]}]}`:                                                            false,
	} {
		rows, _, err := ask(t, func(c *cloud) { c.answers["cloudtrail:GetEventSelectors"] = selectors })
		if last := rows[len(rows)-1]; err != nil || (last.Verdict == preflight.OK) != hears || !hears && last.Verdict != preflight.Warn {
			t.Errorf("%s: %+v, %v", selectors, last, err)
		}
	}
	for name, change := range map[string]func(*cloud){
		"one that is off": func(c *cloud) { c.answers["cloudtrail:GetTrailStatus"] = `{"IsLogging":false}` },
		"one of other Regions": func(c *cloud) {
			c.answers["cloudtrail:DescribeTrails"] = `{"trailList":[{"Name":"x","TrailARN":"arn:x","HomeRegion":"us-east-1"}]}`
		},
	} {
		rows, _, err := ask(t, change)
		if last := rows[len(rows)-1]; err != nil || last.Verdict != preflight.Warn {
			t.Errorf("%s: %+v, %v", name, last, err)
		}
	}
}

func TestWithoutAnIdentityNothingIsAsked(t *testing.T) {
	for _, answer := range []string{"403 ExpiredToken the token has expired", "403 RegionDisabledException off", "<R/>", "%", "500 Oh no"} {
		rows, c, err := ask(t, func(c *cloud) { c.answers["sts:GetCallerIdentity"] = answer })
		if f := fault.From(err); err == nil || len(rows) != 0 || f.Hint == "" || f.Code == fault.Internal || slices.ContainsFunc(c.called, func(s string) bool { return s != "sts:GetCallerIdentity" }) {
			t.Errorf("%s: %+v, %v, called %v", answer, rows, err, c.called)
		}
	}
	for _, region := range []string{"", "eu-central-1.evil.test/", "mars-north-1"} {
		if _, err := preflight.Run(context.Background(), preflight.Config{AWS: aws.Config{Region: region}}); !fault.Is(err, fault.BadInput) {
			t.Errorf("%q: %v", region, err)
		}
	}
	if _, err := preflight.Run(context.Background(), preflight.Config{AWS: aws.Config{Region: "eu-central-1"}}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without credentials: %v", err)
	}
}
