package iam_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

func TestARestartKeepsRolesUsersAndLivingSessions(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	config := iam.Config{Dir: t.TempDir(), Account: account, Now: func() time.Time { return now }}
	a, err := iam.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	sso := iam.Role{Name: "AWSReservedSSO_Engineer_0123456789abcdef", Path: "/aws-reserved/sso.amazonaws.com/", Trust: trustAccount}
	role, err := a.PutRole(sso)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.PutUser(iam.UserRecord{Name: "u"}); err != nil {
		t.Fatal(err)
	}
	key, err := a.CreateAccessKey("u")
	if err != nil {
		t.Fatal(err)
	}
	long, err := a.Mint(role.ARN, "alice@example.com", 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	short, err := a.Mint(role.ARN, "alice@example.com", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2*time.Hour + time.Minute)
	if a, err = iam.Open(config); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	again, err := a.PutRole(sso)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(role, again); diff != "" {
		t.Errorf("the role changed: %s", diff)
	}
	if _, _, err := a.Lookup(short.AccessKeyID); err == nil {
		t.Error("an expired session came back")
	}
	if _, p, err := a.Lookup(key.AccessKeyID); err != nil || p.ARN != "arn:aws:iam::"+account+":user/u" {
		t.Errorf("the user's key: %v %v", p, err)
	}
	c, p, err := a.Lookup(long.AccessKeyID)
	if err != nil {
		t.Fatal(err)
	}
	if c.SessionToken != long.SessionToken || p.ARN != "arn:aws:sts::"+account+":assumed-role/AWSReservedSSO_Engineer_0123456789abcdef/alice@example.com" ||
		p.UserID != role.ID+":alice@example.com" || len(role.ID) != 21 || !strings.HasPrefix(role.ID, "AROA") {
		t.Errorf("%+v", p)
	}
	if mode := fileMode(t, filepath.Join(config.Dir, "iam.bolt")); mode != 0o600 {
		t.Errorf("iam.bolt has mode %o", mode)
	}
}

func fileMode(t *testing.T, name string) os.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestSessionsDieWithTheirRole(t *testing.T) {
	a := open(t)
	p := session(t, a, iam.Role{Name: "r"}, allowSign)
	before, err := a.Role("r")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteRole("r"); err != nil {
		t.Fatal(err)
	}
	if d := a.Decide(p, iam.Query{Action: "kms:Sign", Resource: keyARN}); d.Allowed {
		t.Error("a session of a deleted role is allowed")
	}
	after, err := a.PutRole(iam.Role{Name: "r", Trust: trustAccount})
	if err != nil {
		t.Fatal(err)
	}
	if after.ID == before.ID {
		t.Error("a new role has the old one's id")
	}
	if _, _, err := a.Lookup(p.AccessKeyID); err == nil {
		t.Error("the new role took over the old one's session")
	}
}

func TestAssumeAsksTheTrustPolicy(t *testing.T) {
	a := open(t)
	caller := session(t, a, iam.Role{Name: "caller"}, `{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}`)
	silent := session(t, a, iam.Role{Name: "silent"})
	role := func(name, statement string) string {
		r, err := a.PutRole(iam.Role{Name: name, Trust: doc(statement)})
		if err != nil {
			t.Fatal(err)
		}
		return r.ARN
	}
	byAccount := role("by-account", `{"Effect":"Allow","Principal":{"AWS":"`+root+`"},"Action":"sts:AssumeRole"}`)
	byName := role("by-name", `{"Effect":"Allow","Principal":{"AWS":"`+silent.RoleARN+`"},"Action":"sts:AssumeRole"}`)
	external := role("external", `{"Effect":"Allow","Principal":{"AWS":"`+root+`"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"s3cret"}}}`)
	lambda := role("lambda", `{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}`)
	cases := []struct {
		who      *iam.Principal
		role, id string
		want     bool
	}{
		{caller, byAccount, "", true},
		{silent, byAccount, "", false},
		{silent, byName, "", true},
		{caller, byName, "", false},
		{caller, external, "", false},
		{caller, external, "wrong", false},
		{caller, external, "s3cret", true},
		{caller, lambda, "", false},
		{iam.ServicePrincipal("lambda.amazonaws.com"), lambda, "", true},
		{iam.ServicePrincipal("lambda.amazonaws.com"), byAccount, "", false},
		{nil, byAccount, "", false},
	}
	for _, c := range cases {
		_, _, err := a.Assume(iam.AssumeRequest{Caller: c.who, RoleARN: c.role, Session: "sess", ExternalID: c.id})
		if (err == nil) != c.want {
			t.Errorf("%v assumes %s with %q: %v", c.who, c.role, c.id, err)
		}
		if refused, ok := errors.AsType[*iam.Refusal](err); err != nil && (!ok || !refused.Denied) {
			t.Errorf("%v assumes %s: not a denial but %v", c.who, c.role, err)
		}
	}
}

func TestASessionPolicyOnlyNarrows(t *testing.T) {
	a := open(t)
	caller := session(t, a, iam.Role{Name: "r"}, `{"Effect":"Allow","Action":["sts:AssumeRole","kms:Sign"],"Resource":"*"}`)
	_, p, err := a.Assume(iam.AssumeRequest{
		Caller: caller, RoleARN: caller.RoleARN, Session: "narrow", Policy: doc(`{"Effect":"Allow","Action":["kms:Sign","kms:Verify"],"Resource":"` + keyARN + `"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range map[[2]string]bool{{"kms:Sign", keyARN}: true, {"kms:Sign", keyARN + "2"}: false, {"kms:Verify", keyARN}: false} {
		if d := a.Decide(p, iam.Query{Action: q[0], Resource: q[1]}); d.Allowed != want {
			t.Errorf("%v: allowed %t (%s)", q, d.Allowed, d.Reason)
		}
	}
}

func TestManyMintAtOnce(t *testing.T) {
	a := open(t)
	role, err := a.PutRole(iam.Role{Name: "r", Trust: trustAccount})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	seen := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			c, err := a.Mint(role.ARN, fmt.Sprintf("s-%d", i), time.Hour)
			if err != nil {
				t.Error(err)
			}
			seen <- c.AccessKeyID
		})
	}
	wg.Wait()
	close(seen)
	ids := map[string]bool{}
	for id := range seen {
		ids[id] = true
	}
	if len(ids) != 16 {
		t.Errorf("%d different keys", len(ids))
	}
}

func TestCredentialsDoNotPrintTheirSecrets(t *testing.T) {
	c := iam.Credentials{AccessKeyID: "ASIAX", SecretAccessKey: "hush", SessionToken: "hush"}
	if s := fmt.Sprintf("%v %s %+v", c, c, []any{c}); strings.Contains(s, "hush") {
		t.Error(s)
	}
}

// cfnRole is a role as templates write it.
func cfnRole(more map[string]any) resource.Resource {
	properties := map[string]any{
		"RoleName": "signer", "Description": "signs",
		"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
			"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": map[string]any{"Service": "lambda.amazonaws.com"},
		}}},
		"Policies": cfnPolicies("kms:Sign"),
	}
	maps.Copy(properties, more)
	return resource.Resource{Stack: "Control", StackID: "arn:aws:cloudformation:x", LogicalID: "SignerRole", Type: "AWS::IAM::Role", Properties: properties}
}

func cfnPolicies(action string) []any {
	return []any{map[string]any{"PolicyName": "own", "PolicyDocument": map[string]any{
		"Version": "2012-10-17", "Statement": []any{map[string]any{"Action": action, "Effect": "Allow", "Resource": keyARN}},
	}}}
}

func TestTemplatesMakeRolesAndReplaceTheirPolicies(t *testing.T) {
	a := open(t)
	p := iam.NewProvider(a)
	provision := func(r resource.Resource) resource.Outcome {
		t.Helper()
		out, err := p.Provision(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	role := provision(cfnRole(nil))
	known := func(r resource.Resource) resource.Resource { r.PhysicalID = role.Ref; return r }
	if again := provision(known(cfnRole(nil))); cmp.Diff(role, again) != "" {
		t.Errorf("the same role again: %s", cmp.Diff(role, again))
	}
	if _, err := p.Provision(cfnRole(nil)); !errors.Is(err, resource.ErrExists) {
		t.Errorf("another resource took over the role: %v", err)
	}
	c, err := a.Mint(role.Attributes["Arn"].(string), "fn", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	may := func(action string) bool {
		_, who, err := a.Lookup(c.AccessKeyID)
		if err != nil {
			t.Fatal(err)
		}
		return a.Decide(who, iam.Query{Action: action, Resource: keyARN}).Allowed
	}
	if !may("kms:Sign") {
		t.Error("the role lost its policy when it was provisioned again")
	}
	if provision(known(cfnRole(map[string]any{"Policies": cfnPolicies("kms:Verify")}))); may("kms:Sign") || !may("kms:Verify") {
		t.Error("the policy was not replaced")
	}
	if _, err := p.Provision(known(cfnRole(map[string]any{"RoleName": "another"}))); err == nil || !strings.Contains(err.Error(), "cannot be renamed") {
		t.Errorf("renaming a role: %v", err)
	}
	for range 2 { // the second time it is gone
		if err := p.Remove(known(cfnRole(nil))); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Role("signer"); !errors.Is(err, iam.ErrNotFound) {
		t.Errorf("a role that was removed: %v", err)
	}
}

func TestTemplatesWithUnknownThingsAreRefused(t *testing.T) {
	p := iam.NewProvider(open(t))
	for want, r := range map[string]resource.Resource{
		"SignerRole (AWS::IAM::Role).Colour":            cfnRole(map[string]any{"Colour": "red"}),
		"SignerRole (AWS::IAM::Role).ManagedPolicyArns": cfnRole(map[string]any{"ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AdministratorAccess"}}),
		"Principal is missing":                          cfnRole(map[string]any{"AssumeRolePolicyDocument": map[string]any{"Statement": map[string]any{"Effect": "Allow", "Action": "sts:AssumeRole"}}}),
		`"Sign" is not an action`:                       cfnRole(map[string]any{"Policies": cfnPolicies("Sign")}),
		"AssumeRolePolicyDocument: must be an o":        cfnRole(map[string]any{"AssumeRolePolicyDocument": "x"}),
	} {
		if _, err := p.Provision(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}
