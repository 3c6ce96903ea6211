package iam_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

const (
	account = "111122223333"
	root    = "arn:aws:iam::" + account + ":root"
	keyARN  = "arn:aws:kms:us-east-1:" + account + ":key/k"
)

func open(t *testing.T) *iam.Authority {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func doc(statements ...string) json.RawMessage {
	return json.RawMessage(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
}

var trustAccount = doc(`{"Effect":"Allow","Principal":{"AWS":"` + root + `"},"Action":"sts:AssumeRole"}`)

// session makes a role with one inline policy and a session of it.
func session(t *testing.T, a *iam.Authority, r iam.Role, statements ...string) *iam.Principal {
	t.Helper()
	if r.Trust == nil {
		r.Trust = trustAccount
	}
	if len(statements) > 0 {
		r.Inline = map[string]iam.Inline{"p": {Document: doc(statements...)}}
	}
	made, err := a.PutRole(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Mint(made.ARN, "sess", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := a.Lookup(c.AccessKeyID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(t *testing.T, statements ...string) []*iam.Policy {
	t.Helper()
	p, err := iam.Parse("resource", iam.ResourceShape, doc(statements...))
	if err != nil {
		t.Fatal(err)
	}
	return []*iam.Policy{p}
}

const (
	allowSign = `{"Effect":"Allow","Action":"kms:Sign","Resource":"*"}`
	denySign  = `{"Sid":"No","Effect":"Deny","Action":"kms:Sign","Resource":"*"}`
)

func toWhom(effect, principal string) string {
	return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"kms:Sign","Resource":"*"}`
}

// TestEvaluationWithinOneAccount holds each combination of sides against what AWS documents for it.
func TestEvaluationWithinOneAccount(t *testing.T) {
	role := `{"AWS":"arn:aws:iam::` + account + `:role/r"}`
	self := `{"AWS":"arn:aws:sts::` + account + `:assumed-role/r/sess"}`
	whole := `{"AWS":"` + root + `"}`
	cases := map[string]struct {
		identity string
		boundary string
		resource string
		mode     iam.Mode
		want     bool
	}{
		"nothing allows":                                  {want: false},
		"identity allows":                                 {identity: allowSign, want: true},
		"identity allows and denies":                      {identity: allowSign + "," + denySign, want: false},
		"resource allows the role":                        {resource: toWhom("Allow", role), want: true},
		"resource allows the account only":                {resource: toWhom("Allow", whole), want: false},
		"resource allows everyone":                        {resource: toWhom("Allow", `"*"`), want: true},
		"resource denies the account":                     {identity: allowSign, resource: toWhom("Deny", whole), want: false},
		"resource denies another role":                    {identity: allowSign, resource: toWhom("Deny", `{"AWS":"arn:aws:iam::`+account+`:role/other"}`), want: true},
		"key policy is silent":                            {identity: allowSign, resource: toWhom("Deny", `{"AWS":"arn:aws:iam::`+account+`:role/other"}`), mode: iam.KeyPolicy, want: false},
		"key policy hands over to identity":               {identity: allowSign, resource: toWhom("Allow", whole), mode: iam.KeyPolicy, want: true},
		"key policy hands over, identity is silent":       {resource: toWhom("Allow", whole), mode: iam.KeyPolicy, want: false},
		"key policy names the role":                       {resource: toWhom("Allow", role), mode: iam.KeyPolicy, want: true},
		"key policy names the role, identity denies":      {identity: denySign, resource: toWhom("Allow", role), mode: iam.KeyPolicy, want: false},
		"boundary is silent":                              {identity: allowSign, boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, want: false},
		"boundary allows alone":                           {boundary: allowSign, want: false},
		"boundary and identity allow":                     {identity: allowSign, boundary: allowSign, want: true},
		"boundary is silent, resource names the role":     {boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, resource: toWhom("Allow", role), want: false},
		"boundary is silent, resource names the session":  {boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, resource: toWhom("Allow", self), want: true},
		"boundary denies, resource names the session":     {boundary: denySign, resource: toWhom("Allow", self), want: false},
		"deny for all but the session alone spares none":  {identity: allowSign, resource: `{"Effect":"Deny","NotPrincipal":` + self + `,"Action":"kms:Sign","Resource":"*"}`, want: false},
		"deny for all but account, role and session":      {identity: allowSign, resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["` + root + `","arn:aws:iam::` + account + `:role/r","arn:aws:sts::` + account + `:assumed-role/r/sess"]},"Action":"kms:Sign","Resource":"*"}`, want: true},
		"allow everything but another action":             {identity: `{"Effect":"Allow","NotAction":"kms:Verify","Resource":"*"}`, want: true},
		"allow everything but this action":                {identity: `{"Effect":"Allow","NotAction":"KMS:si*","Resource":"*"}`, want: false},
		"allow all resources but this":                    {identity: `{"Effect":"Allow","Action":"kms:*","NotResource":"` + keyARN + `"}`, want: false},
		"allow all but a resource of an unknown variable": {identity: `{"Effect":"Allow","Action":"kms:*","NotResource":"arn:aws:kms:*:*:key/${aws:PrincipalTag/none}"}`, want: false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := open(t)
			r := iam.Role{Name: "r"}
			if c.boundary != "" {
				arn, err := a.PutManagedPolicy("/", "boundary", doc(c.boundary))
				if err != nil {
					t.Fatal(err)
				}
				r.Boundary = arn
			}
			var statements []string
			if c.identity != "" {
				statements = []string{c.identity}
			}
			q := iam.Query{Action: "kms:Sign", Resource: keyARN, Mode: c.mode}
			if c.resource != "" {
				q.ResourcePolicies = parse(t, c.resource)
			}
			if d := a.Decide(session(t, a, r, statements...), q); d.Allowed != c.want {
				t.Errorf("allowed %t, want %t: %s", d.Allowed, c.want, d.Reason)
			}
		})
	}
}

func TestADenialTellsWhichStatement(t *testing.T) {
	a := open(t)
	p := session(t, a, iam.Role{Name: "r"}, allowSign, denySign)
	d := a.Decide(p, iam.Query{Action: "kms:Sign", Resource: keyARN})
	if !d.Explicit || d.Policy != "role/r/p" || d.Sid != "No" || d.Reason != "with an explicit deny in an identity-based policy" {
		t.Errorf("%+v", d)
	}
	d = a.Decide(p, iam.Query{Action: "kms:Verify", Resource: keyARN})
	if d.Explicit || d.Reason != "because no identity-based policy allows the kms:Verify action" {
		t.Errorf("%+v", d)
	}
}

func TestAnotherAccountNeedsBothSides(t *testing.T) {
	a := open(t)
	foreign := session(t, a, iam.Role{Account: "999988887777", Name: "f"}, allowSign)
	silent := session(t, a, iam.Role{Account: "999988887777", Name: "g"})
	both := parse(t, toWhom("Allow", `{"AWS":"arn:aws:iam::999988887777:root"}`))
	named := parse(t, toWhom("Allow", `{"AWS":"arn:aws:iam::999988887777:role/g"}`))
	if d := a.Decide(foreign, iam.Query{Action: "kms:Sign", Resource: keyARN}); d.Allowed {
		t.Error("identity alone is enough")
	}
	if d := a.Decide(foreign, iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: both, Mode: iam.KeyPolicy}); !d.Allowed {
		t.Errorf("both sides allow: %s", d.Reason)
	}
	if d := a.Decide(silent, iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: named}); d.Allowed {
		t.Error("the resource alone is enough")
	}
}

func TestServicesHaveNoIdentityPolicies(t *testing.T) {
	a := open(t)
	lambda := iam.ServicePrincipal("lambda.amazonaws.com")
	q := iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: parse(t, toWhom("Allow", `{"Service":"lambda.amazonaws.com"}`))}
	if d := a.Decide(lambda, q); !d.Allowed {
		t.Errorf("a named service: %s", d.Reason)
	}
	if d := a.Decide(iam.ServicePrincipal("ec2.amazonaws.com"), q); d.Allowed {
		t.Error("another service is allowed")
	}
	if d := a.Decide(nil, q); d.Allowed {
		t.Error("nobody is allowed")
	}
}

// conditional decides for a statement with that condition in a context.
func conditional(t *testing.T, a *iam.Authority, p *iam.Principal, condition string, context map[string][]string) iam.Decision {
	t.Helper()
	rp := parse(t, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:role/c"},"Action":"kms:Sign","Resource":"*","Condition":`+condition+`}`)
	return a.Decide(p, iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: rp, Context: context})
}

func TestConditions(t *testing.T) {
	a := open(t)
	p := session(t, a, iam.Role{Name: "c", Path: "/", Tags: map[string]string{"team": "pay", "wild": "*"}})
	ctx := func(pairs ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = append(m[pairs[i]], pairs[i+1])
		}
		return m
	}
	keys := func(values ...string) map[string][]string {
		return map[string][]string{"dynamodb:LeadingKeys": append([]string{}, values...)}
	}
	cases := []struct {
		condition string
		context   map[string][]string
		want      bool
	}{
		{`{"StringEquals":{"x:k":"v"}}`, ctx("X:K", "v"), true},
		{`{"StringEquals":{"x:k":"v"}}`, ctx("x:k", "V"), false},
		{`{"StringEquals":{"x:k":["u","v"]}}`, ctx("x:k", "v"), true},
		{`{"StringEquals":{"x:k":"v*"}}`, ctx("x:k", "vv"), false},
		{`{"StringEquals":{"x:k":"v"}}`, nil, false},
		{`{"StringEqualsIfExists":{"x:k":"v"}}`, nil, true},
		{`{"StringEqualsIfExists":{"x:k":"v"}}`, ctx("x:k", "u"), false},
		{`{"StringNotEquals":{"x:k":"v"}}`, nil, true},
		{`{"StringNotEquals":{"x:k":["u","v"]}}`, ctx("x:k", "v"), false},
		{`{"StringNotEquals":{"x:k":["u","v"]}}`, ctx("x:k", "w"), true},
		{`{"StringEqualsIgnoreCase":{"x:k":"V"}}`, ctx("x:k", "v"), true},
		{`{"StringLike":{"x:k":"a?c*"}}`, ctx("x:k", "abcd"), true},
		{`{"StringLike":{"x:k":"a?c"}}`, ctx("x:k", "ac"), false},
		{`{"StringNotLike":{"x:k":"a*"}}`, ctx("x:k", "abc"), false},
		{`{"StringEquals":{"x:k":"${aws:PrincipalTag/team}"}}`, ctx("x:k", "pay"), true},
		{`{"StringLike":{"x:k":"${aws:PrincipalTag/wild}"}}`, ctx("x:k", "anything"), false},
		{`{"StringLike":{"x:k":"${aws:PrincipalTag/none, 'dflt'}"}}`, ctx("x:k", "dflt"), true},
		{`{"StringEquals":{"x:k":"${aws:PrincipalTag/none}"}}`, ctx("x:k", ""), false},
		{`{"StringLike":{"x:k":"${*}"}}`, ctx("x:k", "*"), true},
		{`{"StringLike":{"x:k":"${*}"}}`, ctx("x:k", "a"), false},
		{`{"StringLike":{"aws:userid":"AROA*:sess"}}`, nil, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::` + account + `:role/c"}}`, nil, true},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}`, nil, true},
		{`{"ArnLike":{"x:k":"arn:aws:s3:*:b"}}`, ctx("x:k", "arn:aws:s3:::b"), false},
		{`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}`, nil, false},
		{`{"Bool":{"x:k":true}}`, ctx("x:k", "true"), true},
		{`{"Bool":{"x:k":"false"}}`, ctx("x:k", "true"), false},
		{`{"BoolIfExists":{"x:k":"true"}}`, nil, true},
		{`{"Null":{"x:k":"true"}}`, nil, true},
		{`{"Null":{"x:k":"false"}}`, nil, false},
		{`{"Null":{"x:k":false}}`, ctx("x:k", ""), true},
		{`{"NumericLessThanEquals":{"x:k":60}}`, ctx("x:k", "60"), true},
		{`{"NumericGreaterThan":{"x:k":"60"}}`, ctx("x:k", "60"), false},
		{`{"NumericNotEquals":{"x:k":60}}`, ctx("x:k", "61"), true},
		{`{"NumericEquals":{"x:k":60}}`, ctx("x:k", "sixty"), false},
		{`{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, nil, true},
		{`{"DateLessThan":{"aws:EpochTime":"1577836800"}}`, nil, false},
		{`{"IpAddress":{"x:k":["10.0.0.0/8","::1"]}}`, ctx("x:k", "10.1.2.3"), true},
		{`{"IpAddress":{"x:k":"10.0.0.0/8"}}`, ctx("x:k", "11.1.2.3"), false},
		{`{"NotIpAddress":{"x:k":"10.0.0.0/8"}}`, ctx("x:k", "10.1.2.3"), false},
		{`{"StringEquals":{"x:a":"1","x:b":"2"}}`, ctx("x:a", "1"), false},
		{`{"StringEquals":{"x:a":"1"},"Bool":{"x:b":"true"}}`, ctx("x:a", "1", "x:b", "true"), true},

		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]}}`, keys("user#1", "user#2"), true},
		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]}}`, keys("user#1", "role#2"), false},
		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]}}`, nil, true},
		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]}}`, keys(), true},
		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]},"Null":{"dynamodb:LeadingKeys":"false"}}`, nil, false},
		{`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]},"Null":{"dynamodb:LeadingKeys":"false"}}`, keys(), false},
		{`{"ForAllValues:StringNotEquals":{"dynamodb:LeadingKeys":["a","b"]}}`, keys("c", "a"), false},
		{`{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}`, ctx("kms:ResourceAliases", "alias/b", "kms:ResourceAliases", "alias/a"), true},
		{`{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}`, nil, false},
		{`{"ForAnyValue:StringNotEquals":{"kms:ResourceAliases":"alias/a"}}`, nil, false},
		{`{"ForAnyValue:StringEqualsIfExists":{"kms:ResourceAliases":"alias/a"}}`, nil, true},
		{`{"StringEquals":{"dynamodb:LeadingKeys":"user#1"}}`, keys("user#1", "role#2"), false},
	}
	for _, c := range cases {
		if d := conditional(t, a, p, c.condition, c.context); d.Allowed != c.want {
			t.Errorf("%s in %v: allowed %t, want %t (%s)", c.condition, c.context, d.Allowed, c.want, d.Reason)
		}
	}
}

func TestResources(t *testing.T) {
	a := open(t)
	p := session(t, a, iam.Role{Name: "r", Tags: map[string]string{"team": "pay", "evil": "*", "colon": "a:b"}})
	cases := []struct {
		pattern, resource string
		want              bool
	}{
		{"*", "arn:aws:s3:::b/k", true},
		{"*", "*", true},
		{"arn:aws:s3:::b/*", "*", false},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b:c", true},
		{"arn:aws:s3:::b", "arn:aws:s3:::b/a", false},
		{"arn:aws:s3:::B/k", "arn:aws:s3:::b/k", false},
		{"arn:aws:s3:::b/?", "arn:aws:s3:::b/k", true},
		{"arn:aws:s3:::b/?", "arn:aws:s3:::b/", false},
		{"arn:aws:dynamodb:*:111122223333:table/*", "arn:aws:dynamodb:us-east-1:111122223333:table/t/index/i", true},
		{"arn:aws:dynamodb:*:table/t", "arn:aws:dynamodb:us-east-1:111122223333:table/t", false},
		{"arn:aws:sqs", "arn:aws:sqs:us-east-1:111122223333:q", true},
		{"arn:*:s3:::b", "arn:aws:s3:::b", true},
		{"arn:aws:s3:::${aws:PrincipalTag/team}/*", "arn:aws:s3:::pay/k", true},
		{"arn:aws:s3:::${aws:PrincipalTag/evil}/*", "arn:aws:s3:::pay/k", false},
		{"arn:aws:s3:::${aws:PrincipalTag/none}/*", "arn:aws:s3:::/k", false},
		{"arn:aws:s3:::b/${aws:PrincipalTag/colon}", "arn:aws:s3:::b/a:b", true},
		{"arn:aws:s3:::b/${aws:userid}", "arn:aws:s3:::b/" + p.UserID, true},
	}
	for _, c := range cases {
		rp := parse(t, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:role/r"},"Action":"s3:GetObject","Resource":"`+c.pattern+`"}`)
		d := a.Decide(p, iam.Query{Action: "S3:getobject", Resource: c.resource, ResourcePolicies: rp, ResourceAccount: account})
		if d.Allowed != c.want {
			t.Errorf("%s on %s: allowed %t, want %t", c.pattern, c.resource, d.Allowed, c.want)
		}
	}
}

func TestVariablesAreTextInTheOldVersion(t *testing.T) {
	a := open(t)
	p := session(t, a, iam.Role{Name: "r", Tags: map[string]string{"team": "pay"}})
	old, err := iam.Parse("old", iam.ResourceShape, []byte(`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::${aws:PrincipalTag/team}"}}`))
	if err != nil {
		t.Fatal(err)
	}
	q := iam.Query{Action: "s3:GetObject", Resource: "arn:aws:s3:::pay", ResourcePolicies: []*iam.Policy{old}}
	if d := a.Decide(p, q); d.Allowed {
		t.Error("the variable was filled in")
	}
}
