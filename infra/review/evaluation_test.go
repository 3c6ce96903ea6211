package review_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/review"
)

// evaluation is a case of what AWS documents about policies; localstack/iam, the other reader, is held against the
// same cases and says there what each field means.
type evaluation struct {
	Name, Source, Says, Principal, Version, Action, Resource, Expect string

	Identity, Boundary, Session, Trust, Bucket, Key, Table, Function []map[string]any
	Context                                                          map[string][]string
}

func evaluations(t *testing.T) []evaluation {
	t.Helper()
	files, err := filepath.Glob("../../localstack/iam/testdata/evaluation/*.json")
	if err != nil || len(files) < 9 {
		t.Fatalf("files %q, %v", files, err)
	}
	var all []evaluation
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// This reader sees templates, in which account and partition are not known yet.
		text := strings.NewReplacer("111122223333", "<account>", "arn:aws:", "arn:<partition>:").Replace(string(raw))
		var some []evaluation
		if err := json.Unmarshal([]byte(text), &some); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, some...)
	}
	return all
}

// role is the ARN by which this reader knows the principal: sessions are their role. "" is for whom it isn't asked
// about: services and other accounts.
func (e evaluation) role() string {
	if name, ok := strings.CutPrefix(e.Principal, "arn:<partition>:sts::<account>:assumed-role/"); ok {
		name, _, _ = strings.Cut(name, "/")
		return "arn:<partition>:iam::<account>:role/" + name
	}
	if strings.HasPrefix(e.Principal, "arn:<partition>:iam::<account>:") {
		return e.Principal
	}
	return ""
}

// template is one with a single resource.
func template(t *testing.T, kind string, properties map[string]any) *review.Account {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"Resources": map[string]any{"It": map[string]any{"Type": kind, "Properties": properties}}})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, map[string][]byte{"Case": raw})
}

func document(statements []map[string]any) map[string]any {
	return map[string]any{"Statement": statements}
}

var values = regexp.MustCompile(`[*?]|\$\{`)

// beyond says what in a key's policy this reader leaves unread, and so must refuse: "" for nothing.
func beyond(key []map[string]any) string {
	for _, s := range key {
		for element := range s {
			if strings.HasPrefix(element, "Not") {
				return element
			}
		}
		operators, _ := s["Condition"].(map[string]any)
		for operator, keys := range operators {
			if !slices.Contains([]string{"StringEquals", "StringNotEquals", "ArnEquals", "ArnNotEquals"}, operator) {
				return operator
			}
			for _, v := range keys.(map[string]any) {
				if values.MatchString(fmt.Sprint(v)) {
					return fmt.Sprint(v)
				}
			}
		}
	}
	return ""
}

// A key's policy is asked on its own, IAM taken to allow everything: so the cases are those in which it does, nothing
// else limits the principal, and the principal is of the account.
func TestKeyPoliciesAreReadAsAWSDocumentsIt(t *testing.T) {
	asked := 0
	everything := []map[string]any{{"Effect": "Allow", "Action": "*", "Resource": "*"}}
	for _, e := range evaluations(t) {
		free := fmt.Sprint(e.Identity) == fmt.Sprint(everything) && e.Boundary == nil && e.Session == nil
		if e.Key == nil || !free || e.role() == "" {
			continue
		}
		asked++
		t.Run(e.Name, func(t *testing.T) {
			key := template(t, "AWS::KMS::Key", map[string]any{"KeyPolicy": document(e.Key)}).Keys()[0]
			for i := range key.Policy {
				for n, r := range key.Policy[i].Resources {
					key.Policy[i].Resources[n] = strings.Replace(r, e.Resource, key.ARN, 1)
				}
			}
			q := review.Query{Principal: e.role(), Action: e.Action, Context: map[string]string{}}
			for name, v := range e.Context {
				q.Context[name] = v[0]
			}
			got, err := key.Allows(q)
			unread := beyond(e.Key)
			switch {
			case (err != nil) != (unread != ""):
				t.Errorf("error %v, while %q is beyond this reader", err, unread)
			case err == nil && got != (e.Expect == "allow"):
				t.Errorf("allowed %t, want %s\n%s says: %s", got, e.Expect, e.Source, e.Says)
			}
		})
	}
	if asked < 15 {
		t.Errorf("%d cases", asked)
	}
}

// shows says whether a line of the table tells that the role may do the action on items of these partition keys.
func shows(line, action string, leading []string) bool {
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[0] != "reader" {
		return false
	}
	verb := func(pattern string) bool {
		return like(strings.ToLower(pattern), strings.ToLower(action[strings.Index(action, ":")+1:]))
	}
	if !slices.ContainsFunc(fields, verb) {
		return false
	}
	if fields[1] != "item" {
		return true // nothing is said about keys
	}
	return len(leading) > 0 && !slices.ContainsFunc(leading, func(k string) bool { return !like(fields[3], k) })
}

func like(pattern, text string) bool {
	form := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + form + "$").MatchString(text)
}

// What a role's policies allow by themselves stands in the table, or the table is refused: nothing is hidden, and a
// limit to partition keys is told only where AWS keeps it.
func TestTheTableHidesNothingThatAWSAllows(t *testing.T) {
	asked := 0
	for _, e := range evaluations(t) {
		alone := len(slices.Concat(e.Bucket, e.Key, e.Trust, e.Table, e.Function, e.Boundary, e.Session)) == 0
		if e.Expect != "allow" || !alone || !strings.Contains(e.role(), ":role/") {
			continue
		}
		asked++
		t.Run(e.Name, func(t *testing.T) {
			policies := []any{map[string]any{"PolicyName": "p", "PolicyDocument": document(e.Identity)}}
			table, err := template(t, "AWS::IAM::Role", role("Policies", policies)).Table()
			refused := slices.ContainsFunc(e.Identity, func(s map[string]any) bool {
				return s["Effect"] != "Allow" || s["NotAction"] != nil || s["NotResource"] != nil
			})
			if (err != nil) != refused {
				t.Fatalf("error %v, while the policy holds what is beyond this reader: %t", err, refused)
			}
			line := func(line string) bool { return shows(line, e.Action, e.Context["dynamodb:LeadingKeys"]) }
			if err == nil && !slices.ContainsFunc(strings.Split(table, "\n"), line) {
				t.Errorf("AWS allows %s with keys %q, and the table doesn't tell:\n%s", e.Action, e.Context["dynamodb:LeadingKeys"], table)
			}
		})
	}
	if asked < 15 {
		t.Errorf("%d cases", asked)
	}
}

// Whoever is let in by a trust policy without saying on whose behalf is found by the search for deputies, unless they
// are of the account and named.
func TestSec_S26_WhomAWSLetsInIsFound(t *testing.T) {
	asked := 0
	for _, e := range evaluations(t) {
		open := fmt.Sprint(e.Trust) != strings.Replace(fmt.Sprint(e.Trust), "AWS:*", "", 1)
		if e.Trust == nil || e.Expect != "allow" || e.Context != nil || e.role() != "" && !open {
			continue
		}
		asked++
		t.Run(e.Name, func(t *testing.T) {
			a := template(t, "AWS::IAM::Role", map[string]any{"RoleName": "target", "AssumeRolePolicyDocument": document(e.Trust)})
			given := slices.ContainsFunc(allowed(a), func(s review.Statement) bool { return passed(s, e.Principal) })
			if found := deputies(a); len(found) == 0 && !given {
				t.Errorf("AWS lets %s in: %s says %s", e.Principal, e.Source, e.Says)
			}
		})
	}
	if asked < 5 {
		t.Errorf("%d cases", asked)
	}
}

// role is the properties of a role that Lambda may assume, with one more.
func role(name string, value any) map[string]any {
	lambda := map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
	return map[string]any{"RoleName": "reader", "AssumeRolePolicyDocument": document([]map[string]any{lambda}), name: value}
}

func trusting(s map[string]any) map[string]any {
	return role("AssumeRolePolicyDocument", document([]map[string]any{s}))
}

func TestWhatIsNotReadIsToldNotHidden(t *testing.T) {
	for name, r := range map[string]struct {
		kind       string
		properties map[string]any
	}{
		"a managed policy":      {"AWS::IAM::Role", role("ManagedPolicyArns", []any{"arn:aws:iam::aws:policy/AdministratorAccess"})},
		"an identity provider":  {"AWS::IAM::Role", trusting(map[string]any{"Effect": "Allow", "Principal": map[string]any{"Federated": "accounts.google.com"}, "Action": "sts:AssumeRole"})},
		"a denial of trust":     {"AWS::IAM::Role", trusting(map[string]any{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"})},
		"a policy by itself":    {"AWS::IAM::Policy", map[string]any{"PolicyName": "p"}},
		"a user":                {"AWS::IAM::User", map[string]any{}},
		"a key of another kind": {"AWS::KMS::Key", map[string]any{"KeyPolicy": document([]map[string]any{{"Effect": "Allow", "Principal": "*", "Action": "kms:Sign", "Resource": "arn:of:another"}})}},
		"an unknown effect":     {"AWS::KMS::Key", map[string]any{"KeyPolicy": document([]map[string]any{{"Effect": "allow", "Principal": "*", "Action": "kms:Sign", "Resource": "*"}})}},
	} {
		t.Run(name, func(t *testing.T) {
			if table, err := template(t, r.kind, r.properties).Table(); err == nil || !strings.Contains(err.Error(), "is not read here") {
				t.Errorf("error %v\n%s", err, table)
			}
		})
	}
}

// What IAM allows and the key's policy refuses is marked: the form that IAM demands is the form that is asked.
func TestTheTableMarksWhatAKeysPolicyRefuses(t *testing.T) {
	const whole = `{"Effect":"Allow","Principal":{"AWS":{"Fn::Sub":"arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},"Action":"kms:Sign","Resource":"*","Condition":{"StringEquals":{"kms:MessageType":"DIGEST"}}}`
	for name, c := range map[string]struct {
		condition string
		want      string // "" for an error
	}{
		"the form that the key demands": {`{"StringEquals":{"kms:MessageType":"DIGEST"}}`, "Sign  if"},
		"another form":                  {`{"StringEquals":{"kms:MessageType":"RAW"}}`, "Sign (REFUSED by the key policy)  if"},
		"any form":                      {`{}`, "Sign (REFUSED by the key policy)\n"},
		"either form":                   {`{"StringEquals":{"kms:MessageType":["DIGEST","RAW"]}}`, ""},
		"all forms but one":             {`{"StringNotEquals":{"kms:MessageType":"RAW"}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := read(t, map[string][]byte{"S": []byte(`{"Resources":{
				"Key":{"Type":"AWS::KMS::Key","Properties":{"KeyPolicy":{"Statement":[` + whole + `]}}},
				"Role":{"Type":"AWS::IAM::Role","Properties":{"RoleName":"signer",
					"AssumeRolePolicyDocument":{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}},
					"Policies":[{"PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"kms:Sign","Resource":{"Fn::GetAtt":["Key","Arn"]},"Condition":` + c.condition + `}]}}]}}}}`)}).Table()
			if (err != nil) != (c.want == "") || !strings.Contains(table, c.want) {
				t.Errorf("error %v, want %q in\n%s", err, c.want, table)
			}
		})
	}
}
