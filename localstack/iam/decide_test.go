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

func TestNobodyIsAllowedAndNoKeyIsMadeUp(t *testing.T) {
	a := open(t)
	q := iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: parse(t, toWhom("Allow", `"*"`))}
	if d := a.Decide(nil, q); d.Allowed {
		t.Error("nobody is allowed")
	}
	q.Context = map[string][]string{"kms:KeyColour": {"red"}}
	if d := a.Decide(session(t, a, iam.Role{Name: "r"}, allowSign), q); d.Allowed || !strings.Contains(d.Reason, "kms:KeyColour") {
		t.Errorf("a service supplied a key that is not in the list: %+v", d)
	}
}
