package iam_test

import (
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

func TestARolesNewPoliciesTakeEffectWhenTheyHaveSettled(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account, Settle: 30 * time.Second, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	p := iam.NewProvider(a)
	var made resource.Outcome
	put := func(action string) {
		r := cfnRole(map[string]any{"Policies": cfnPolicies(action)})
		r.PhysicalID = made.Ref
		if made, err = p.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	may := func(action string) bool {
		c, err := a.Mint(made.Attributes["Arn"].(string), "fn", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, who, err := a.Lookup(c.AccessKeyID)
		if err != nil {
			t.Fatal(err)
		}
		return a.Decide(who, iam.Query{Action: action, Resource: keyARN}).Allowed
	}
	put("kms:Sign")
	now = now.Add(29 * time.Second)
	if may("kms:Sign") || a.Unsettled(made.Ref) != time.Second {
		t.Errorf("a new role may sign %s before its policy has settled", a.Unsettled(made.Ref))
	}
	put("kms:Sign") // unchanged: it doesn't begin to settle again
	now = now.Add(time.Second)
	if !may("kms:Sign") || a.Unsettled(made.Ref) != 0 {
		t.Error("a role may not sign when its policy has settled")
	}
	put("kms:Verify")
	if !may("kms:Sign") || may("kms:Verify") {
		t.Error("a changed policy took effect at once")
	}
	now = now.Add(30 * time.Second)
	if may("kms:Sign") || !may("kms:Verify") {
		t.Error("a changed policy did not take effect")
	}
}
