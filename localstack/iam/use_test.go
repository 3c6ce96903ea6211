package iam_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/iam"
)

// uses reads what an authority has written below dir.
func uses(t *testing.T, dir string) (out []iam.Use) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, iam.UsesFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var u iam.Use
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

func TestWhatARoleNeededIsWrittenDownOnceAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	a, err := iam.Open(iam.Config{Dir: dir, Account: account})
	if err != nil {
		t.Fatal(err)
	}
	p := session(t, a, iam.Role{Name: "r"},
		`{"Sid":"Sign","Effect":"Allow","Action":["kms:Verify","kms:Sign"],"Resource":["arn:aws:kms:*:*:alias/x","`+keyARN+`"]}`,
		`{"Sid":"Again","Effect":"Allow","Action":"kms:Sign","Resource":"*"}`,
		`{"Sid":"Items","Effect":"Allow","Action":"dynamodb:*Item","Resource":"arn:aws:dynamodb:*:*:table/*","Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["role","user","event#*"]}}}`,
		`{"Sid":"Never","Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}`, `{"Sid":"No","Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}`)
	const table = "arn:aws:dynamodb:us-east-1:111122223333:table/t"
	ask := func(q iam.Query, want bool) {
		t.Helper()
		if d := a.Decide(p, q); d.Allowed != want {
			t.Errorf("%s: %+v", q.Action, d)
		}
	}
	for range 2 {
		ask(iam.Query{Action: "kms:Sign", Resource: keyARN}, true)
	}
	ask(iam.Query{Action: "dynamodb:GetItem", Resource: table, Context: map[string][]string{"dynamodb:LeadingKeys": {"event#1", "event#2", "user"}}}, true)
	ask(iam.Query{Action: "dynamodb:GetItem", Resource: table, Context: map[string][]string{"dynamodb:LeadingKeys": {"role", "other"}}}, false)
	ask(iam.Query{Action: "kms:Encrypt", Resource: keyARN}, false)
	ask(iam.Query{Action: "kms:Decrypt", Resource: keyARN, ResourcePolicies: parse(t, `{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`)}, true)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	want := []iam.Use{
		{Role: "r", Sid: "Sign", Action: "kms:Sign", Resource: keyARN},
		{Role: "r", Sid: "Items", Action: "dynamodb:*Item", Resource: "arn:aws:dynamodb:*:*:table/*", Value: "user"},
		{Role: "r", Sid: "Items", Action: "dynamodb:*Item", Resource: "arn:aws:dynamodb:*:*:table/*", Value: "event#*"},
	}
	if diff := cmp.Diff(want, uses(t, dir)); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
}

func TestAListOfUsesThatCannotBeWrittenIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, iam.UsesFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if a, err := iam.Open(iam.Config{Dir: dir, Account: account}); err == nil {
		_ = a.Close()
		t.Error("it was opened")
	}
}
