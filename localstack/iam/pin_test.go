package iam_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// signerNamed lets a role use the key, by its name as a principal or by its ARN in a condition.
var signerNamed = map[string]string{
	"as a principal":      `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:role/pinned"]},"Action":"kms:Sign","Resource":"*"}]}`,
	"by its PrincipalArn": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:Sign","Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/pinned"}}}]}`,
}

func TestAPolicyThatNamesARoleMeansNoLaterRoleOfThatName(t *testing.T) {
	a := open(t)
	role := iam.Role{
		Name: "pinned", Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"own": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Sign","Resource":"*"}}`)}},
	}
	pinned := map[string]*iam.Policy{}
	may := func(how string) bool {
		c, err := a.Mint("arn:aws:iam::111122223333:role/pinned", "fn", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, who, err := a.Lookup(c.AccessKeyID)
		if err != nil {
			t.Fatal(err)
		}
		return a.Decide(who, iam.Query{Action: "kms:Sign", Resource: keyARN, ResourcePolicies: []*iam.Policy{pinned[how]}, Mode: iam.KeyPolicy}).Allowed
	}
	for how, doc := range signerNamed {
		policy, err := iam.Parse(how, iam.ResourceShape, json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Pin(policy, json.RawMessage(doc)); how == "as a principal" && (err == nil || !strings.Contains(err.Error(), "no such entity")) {
			t.Errorf("a policy that names nobody was taken: %v", err)
		}
	}
	make := func() {
		if _, err := a.PutRole(role); err != nil {
			t.Fatal(err)
		}
	}
	make()
	for how, doc := range signerNamed {
		policy, err := iam.Parse(how, iam.ResourceShape, json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := a.Pin(policy, json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		if pinned[how], err = iam.Parse(how, iam.ResourceShape, raw); err != nil {
			t.Fatal(err)
		}
		if !may(how) {
			t.Errorf("named %s, the role may not sign", how)
		}
	}
	if err := a.DeleteRole("pinned"); err != nil {
		t.Fatal(err)
	}
	make()
	if may("as a principal") {
		t.Error("a role that was made again is the principal of a policy that was put before")
	}
	if !may("by its PrincipalArn") {
		t.Error("a role that was made again is locked out by a condition on its ARN")
	}
}
