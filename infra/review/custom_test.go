package review_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/review"
)

// customs are the custom resources of an account.
func customs(a *review.Account) []review.Resource {
	return slices.DeleteFunc(a.Resources(), func(r review.Resource) bool {
		return !strings.HasPrefix(r.Type, "Custom::") && r.Type != "AWS::CloudFormation::CustomResource"
	})
}

// hasty finds the custom resources that CloudFormation may call before their function can answer, or give up on while it
// still could.
func hasty(a *review.Account) []string {
	var found []string
	for _, r := range customs(a) {
		say := func(format string, args ...any) {
			found = append(found, r.Stack+"."+r.ID+" "+fmt.Sprintf(format, args...))
		}
		function, ok := a.Find(r.Stack, target(r.Properties["ServiceToken"]))
		if !ok || function.Type != "AWS::Lambda::Function" {
			say("is answered by no function of its stack")
			continue
		}
		limit, err := strconv.Atoi(fmt.Sprint(r.Properties["ServiceTimeout"]))
		timeout, _ := function.Properties["Timeout"].(float64)
		switch {
		case err != nil:
			say("has no ServiceTimeout: CloudFormation waits an hour for it")
		case limit > 900:
			say("is waited for longer than any function runs")
		case timeout == 0 || float64(limit) <= timeout:
			say("is given up after %d s, while its function may answer for %v", limit, timeout)
		}
		before := a.Before(r)
		for _, p := range a.Resources("AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy") {
			if p.Stack == r.Stack && slices.Contains(roles(p), target(function.Properties["Role"])) && !slices.Contains(before, p.ID) {
				say("may be called before the policy %s of its function's role", p.ID)
			}
		}
	}
	return found
}

// roles are the roles that a policy of its own is attached to.
func roles(p review.Resource) []string {
	list, _ := p.Properties["Roles"].([]any)
	out := []string{target(p.Properties["RoleName"])}
	for _, r := range list {
		out = append(out, target(r))
	}
	return out
}

var named = regexp.MustCompile(`^map\[(?:Ref:|Fn::GetAtt:\[)([A-Za-z0-9]+)( Arn\])?\]$`)

// target is the resource that a property refers to.
func target(v any) string {
	if m := named.FindStringSubmatch(fmt.Sprint(v)); m != nil {
		return m[1]
	}
	return ""
}

func TestCustomResourcesAreCalledWhenTheirFunctionsCanAnswer(t *testing.T) {
	a := account(t)
	for _, found := range hasty(a) {
		t.Error(found)
	}
	if n := len(customs(a)); n < 2 {
		t.Errorf("%d custom resources are declared", n)
	}
}

func TestHastyCustomResourcesAreFound(t *testing.T) {
	const policy = `,"Policy":{"Type":"AWS::IAM::Policy","Properties":{"Roles":[{"Ref":"Role"}]}}`
	for name, k := range map[string]struct{ rest, more, says string }{
		"none":                        {`"ServiceTimeout":"300"`, "", ""},
		"without a limit":             {``, "", "has no ServiceTimeout"},
		"with too high a one":         {`"ServiceTimeout":"3600"`, "", "longer than any function runs"},
		"with one below the function": {`"ServiceTimeout":"60"`, "", "given up after 60 s"},
		"before a policy":             {`"ServiceTimeout":"300"`, policy, "before the policy Policy"},
		"before a role's policy": {
			`"ServiceTimeout":"300"`, `,"P":{"Type":"AWS::IAM::RolePolicy","Properties":{"RoleName":{"Ref":"Role"}}}`, "before the policy P",
		},
		"after a policy":                {`"ServiceTimeout":"300"},"DependsOn":["Policy"],"Metadata":{`, policy, ""},
		"after what is after a policy":  {`"ServiceTimeout":"300"},"DependsOn":"Next","Metadata":{`, policy + `,"Next":{"Type":"X","Properties":{"V":{"Fn::Sub":"a-${Policy}"}}}`, ""},
		"beside a policy of another":    {`"ServiceTimeout":"300"`, `,"P":{"Type":"AWS::IAM::Policy","Properties":{"Roles":[{"Ref":"Other"}]}}`, ""},
		"answered from somewhere else":  {`"ServiceTimeout":"300"`, "", "no function of its stack"},
		"after a policy, by a property": {`"ServiceTimeout":"300","V":{"Fn::Join":["",["a",{"Fn::GetAtt":["Policy","Id"]}]]}`, policy, ""},
	} {
		function := "Fn"
		if strings.Contains(name, "somewhere else") {
			function = "Role"
		}
		if k.rest != "" {
			k.rest = "," + k.rest
		}
		a := read(t, map[string][]byte{"S": []byte(`{"Resources":{
			"Role":{"Type":"AWS::IAM::Role","Properties":{}},
			"Fn":{"Type":"AWS::Lambda::Function","Properties":{"Timeout":60,"Role":{"Fn::GetAtt":["Role","Arn"]}}},
			"It":{"Type":"Custom::It","Properties":{"ServiceToken":{"Fn::GetAtt":["` + function + `","Arn"]}` + k.rest + `}}` + k.more + `}}`)})
		found := strings.Join(hasty(a), "\n")
		if (found == "") != (k.says == "") || !strings.Contains(found, k.says) {
			t.Errorf("%s: found %q, want %q", name, found, k.says)
		}
	}
}

// A wrong first administrator fails the resource that checks it before a function has it.
func TestTheFirstAdministratorIsCheckedBeforeAnybodyIsGivenIt(t *testing.T) {
	a := account(t)
	checked, given := "", 0
	for _, r := range customs(a) {
		if target(r.Properties["BootstrapAdmin"]) == "BootstrapAdmin" {
			checked = r.ID
		}
	}
	for _, f := range a.Resources("AWS::Lambda::Function") {
		environment, _ := f.Properties["Environment"].(map[string]any)
		variables, _ := environment["Variables"].(map[string]any)
		for name, value := range variables {
			if target(value) != "BootstrapAdmin" {
				continue
			}
			given++
			if !slices.Contains(a.Before(f), checked) {
				t.Errorf("%s gets %s before %q has checked it", f.ID, name, checked)
			}
		}
	}
	if checked == "" || given == 0 {
		t.Errorf("it is checked by %q and given to %d functions", checked, given)
	}
}
