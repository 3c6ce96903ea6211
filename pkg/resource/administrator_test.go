package resource_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
)

const ada = "AWSReservedSSO_Admin_0123456789abcdef"

func TestADeploymentNamesOneAdministrator(t *testing.T) {
	for raw, want := range map[string]resource.IAMMatch{
		`{"account":"111122223333","role":"PlatformAdmin"}`: {Account: "111122223333", Role: "PlatformAdmin"},
		`{"account":"111122223333","role":"` + ada + `","session":"ada","partition":"aws-cn","role_id":"AROAABCDEFGHIJKLMNOP"}`: {
			Account: "111122223333", Role: ada, Session: "ada", Partition: "aws-cn", RoleID: "AROAABCDEFGHIJKLMNOP",
		},
	} {
		if m, err := resource.ParseAdministrator(raw); err != nil || m != want {
			t.Errorf("%s: %+v, %v", raw, m, err)
		}
	}
}

// TestSec_S84_AWrongAdministratorIsRefused: each of these was accepted by a deployment, and then nobody, or more than one
// person, was the administrator.
func TestSec_S84_AWrongAdministratorIsRefused(t *testing.T) {
	for raw, says := range map[string]string{
		`{`:                                   "ends too early",
		`{}`:                                  "account: ",
		`{"account":"111122223333"}`:          "role: ",
		`{"account":"1111","role":"R"}`:       `account: "1111" is not an account id`,
		`{"account":111122223333,"role":"R"}`: "account: ",
		`{"account":"111122223333","role":"arn:aws:iam::111122223333:role/R"}`:                "is not a role name",
		`{"account":"111122223333","role":"team/R"}`:                                          "is not a role name",
		`{"account":"111122223333","role":"*"}`:                                               "is not a role name",
		`{"account":"111122223333","role":"R","user":"ada"}`:                                  "user: ",
		`{"account":"111122223333","role":"R","role":"S"}`:                                    "role: ",
		`{"account":"111122223333","role":"R","session":"ada"}`:                               "session: ",
		`{"account":"111122223333","role":"` + ada + `"}`:                                     "every user with the permission set",
		`{"account":"111122223333","role":"AWSReservedSSO_Admin","session":"ada"}`:            "session: ",
		`{"account":"111122223333","role":"AWSReservedSSO_Admin"}`:                            "named in full",
		`{"account":"111122223333","role":"R","role_id":"AIDA"}`:                              "role_id: ",
		`{"account":"111122223333","role":"R","partition":"aws-moon"}`:                        "partition: ",
		`{"account":"111122223333","role":"R"} {}`:                                            "",
		`{"account":"111122223333","role":"R","session":"` + strings.Repeat("x", 5000) + `"}`: "",
	} {
		m, err := resource.ParseAdministrator(raw)
		f := fault.From(err)
		if !fault.Is(err, fault.BadInput) || m != (resource.IAMMatch{}) {
			t.Errorf("%.90s: %+v, %v", raw, m, err)
			continue
		}
		said := f.Message
		for _, field := range f.Fields {
			said += "; " + field.Path + ": " + field.Reason
		}
		if !strings.Contains(said, says) || !strings.Contains(f.Message, "BootstrapAdmin") || strings.Contains(said, "match.") || !strings.Contains(f.Hint, "deploy StileControl again") {
			t.Errorf("%.90s: %q doesn't say %q", raw, said, says)
		}
	}
}

func TestARoleWithAnotherSuffixIsTheSameAssignment(t *testing.T) {
	meant := resource.IAMMatch{Account: "111122223333", Role: ada, RoleID: "AROAABCDEFGHIJKLMNOP", Session: "ada"}
	again := resource.IAMIdentity{Partition: "aws", Account: "111122223333", Role: "AWSReservedSSO_Admin_fedcba9876543210", RoleID: "AROAQQQQQQQQQQQQQQQQ", Session: "ada"}
	for name, k := range map[string]struct {
		change func(*resource.IAMMatch, *resource.IAMIdentity)
		want   bool
	}{
		"it alone":             {func(*resource.IAMMatch, *resource.IAMIdentity) {}, true},
		"nobody in particular": {func(m *resource.IAMMatch, _ *resource.IAMIdentity) { m.Session = "" }, true},
		"the same role":        {func(_ *resource.IAMMatch, w *resource.IAMIdentity) { w.Role = ada }, false},
		"another person":       {func(_ *resource.IAMMatch, w *resource.IAMIdentity) { w.Session = "eve" }, false},
		"another account":      {func(_ *resource.IAMMatch, w *resource.IAMIdentity) { w.Account = "999988887777" }, false},
		"another partition":    {func(_ *resource.IAMMatch, w *resource.IAMIdentity) { w.Partition = "aws-cn" }, false},
		"another set":          {func(_ *resource.IAMMatch, w *resource.IAMIdentity) { w.Role = "AWSReservedSSO_Admi_fedcba9876543210" }, false},
		"a set that begins so": {func(_ *resource.IAMMatch, w *resource.IAMIdentity) {
			w.Role = "AWSReservedSSO_Admin_x_fedcba9876543210"
		}, false},
		"a role that anybody may make": {func(m *resource.IAMMatch, w *resource.IAMIdentity) {
			m.Role, m.Session, w.Role = "Admin_0123456789abcdef", "", "Admin_fedcba9876543210"
		}, false},
	} {
		m, w := meant, again
		k.change(&m, &w)
		if m.Remade(w) != k.want {
			t.Errorf("%s: %v", name, !k.want)
		}
	}
}
