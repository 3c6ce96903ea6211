package operation_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// What is issued lives on by itself: a change that takes something away must end it, and no other may.
func TestWhatIsTakenAwayIsRevokedInTheSameChange(t *testing.T) {
	eve := `{"kind":"user","metadata":{"name":"eve"},"spec":{"mapping":"engineers","roles":["dev","dba"],"traits":{"logins":["ubuntu","postgres"]}}}`
	user := func(change ...string) string { return strings.NewReplacer(change...).Replace(eve) }
	const path, mapping = "/v1/admin/resources/user/eve", "/v1/admin/resources/iam_mapping/engineers"
	engineers := `{"kind":"iam_mapping","metadata":{"name":"engineers"},"spec":{"match":{"account":"111122223333","role":"Engineer"},"user":"team","roles":["dev","dba"]}}`
	team := func(change ...string) string { return strings.NewReplacer(change...).Replace(engineers) }
	for name, c := range map[string]struct {
		method, path, body string
		target, value      string // "" for no revocation
		life               time.Duration
	}{
		"a user's record is deleted":  {http.MethodDelete, path, "", "user", "eve", certs.MaxUserLife},
		"a role is taken away":        {http.MethodPut, path, user(`,"dba"`, ""), "record", "engineers/eve", certs.MaxUserLife},
		"one role replaces another":   {http.MethodPut, path, user(`"dba"`, `"dbb"`), "record", "engineers/eve", certs.MaxUserLife},
		"all roles are taken away":    {http.MethodPut, path, user(`"roles":["dev","dba"],`, ""), "record", "engineers/eve", certs.MaxUserLife},
		"a trait's value goes":        {http.MethodPut, path, user(`,"postgres"`, ""), "record", "engineers/eve", certs.MaxUserLife},
		"a trait goes":                {http.MethodPut, path, user(`"logins"`, `"groups"`), "record", "engineers/eve", certs.MaxUserLife},
		"another mapping":             {http.MethodPut, path, user("engineers", "contractors"), "record", "engineers/eve", certs.MaxUserLife},
		"a mapping is deleted":        {http.MethodDelete, mapping, "", "mapping", "engineers", certs.MaxUserLife},
		"a mapping gives less":        {http.MethodPut, mapping, team(`,"dba"`, ""), "mapping", "engineers", certs.MaxUserLife},
		"a mapping is for others":     {http.MethodPut, mapping, team("Engineer", "Contractor"), "mapping", "engineers", certs.MaxUserLife},
		"a mapping gives more":        {http.MethodPut, mapping, team(`"dba"`, `"dba","ops"`), "", "", 0},
		"a node's name is given free": {http.MethodDelete, "/v1/admin/resources/node/node-1", "", "agent", agentOnline, certs.MaxHostLife},
		"a database's name is freed":  {http.MethodDelete, "/v1/admin/resources/db/orders", "", "agent", agentOnline, certs.MaxHostLife},
		"a join token is deleted":     {http.MethodDelete, "/v1/admin/resources/token/lab", "", "token", "lab", certs.MaxHostLife},
		"nothing changes":             {http.MethodPut, path, user(), "", "", 0},
		"the order changes":           {http.MethodPut, path, user(`"dev","dba"`, `"dba","dev"`), "", "", 0},
		"a role is added":             {http.MethodPut, path, user(`"dba"`, `"dba","ops"`), "", "", 0},
		"a trait's value is added":    {http.MethodPut, path, user(`"postgres"`, `"postgres","root"`), "", "", 0},
		"a role is deleted":           {http.MethodDelete, "/v1/admin/resources/role/spare", "", "", "", 0},
		"a user's record is made":     {http.MethodPost, "/v1/admin/resources/user/new", user("eve", "new"), "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			record, err := resource.DecodeJSON("user", []byte(eve))
			if err != nil {
				t.Fatal(err)
			}
			record.Metadata.Revision = 1
			s.store.resources["user/eve"] = record
			if record, err = resource.DecodeJSON("iam_mapping", []byte(engineers)); err != nil {
				t.Fatal(err)
			}
			record.Metadata.Revision = 1
			s.store.resources["iam_mapping/engineers"] = record
			s.store.resources["role/spare"] = resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: "spare", Scope: "/", Revision: 1}, Spec: &resource.RoleSpec{}}
			s.store.resources["token/lab"] = resource.Resource{Kind: "token", Metadata: resource.Metadata{Name: "lab", Scope: "/", Revision: 1}, Spec: &resource.TokenSpec{Method: resource.MethodToken}}
			s.store.hold("node/node-1", agentOnline, nil)
			s.store.hold("db/orders", agentOnline, nil)
			if status, p, _ := s.call(s.user("ada", "editor"), c.method, c.path, c.body); status != http.StatusOK {
				t.Fatalf("%d %+v", status, p)
			}
			if c.target == "" {
				if len(s.store.revoked) != 0 {
					t.Errorf("revoked %+v", s.store.revoked)
				}
				return
			}
			if len(s.store.revoked) != 1 {
				t.Fatalf("revoked %+v", s.store.revoked)
			}
			got := s.store.revoked[0]
			if got.Ref != (identity.Ref{Target: c.target, Value: c.value}) || !got.Until.After(s.Now.Add(c.life)) {
				t.Errorf("revoked %+v", got)
			}
			if said := s.store.events[len(s.store.events)-1].Data["revoked"]; said != c.target+" "+c.value {
				t.Errorf("the event says %q", said)
			}
		})
	}
}

// Too many roles would stop the publication of roles: the last one is refused where it is written.
func TestARoleForWhichThePolicyHasNoRoomIsRefused(t *testing.T) {
	s := newSite(t)
	for i := range 126 {
		r := resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: fmt.Sprintf("large-%d", i), Scope: "/"}, Spec: &resource.RoleSpec{
			Allow: resource.RoleBlock{NodeLabels: resource.Labels{"env": slices.Repeat([]string{strings.Repeat("x", 250)}, 245)}},
		}}
		s.store.resources["role/"+r.Metadata.Name] = r
	}
	admin := s.user("ada", "editor")
	const path = "/v1/admin/resources/role/dev"
	large := `{"kind":"role","metadata":{"name":"dev"},"spec":{"allow":{"node_labels":{"env":["` + strings.Repeat(strings.Repeat("x", 250)+`","`, 230) + `x"]}}}}`
	if status, p, _ := s.call(admin, http.MethodPost, path, large); status != http.StatusRequestEntityTooLarge || !strings.Contains(p.Detail, "no room") || s.store.resources["role/dev"].Spec != nil {
		t.Errorf("%d %+v", status, p)
	}
	if status, p, _ := s.call(admin, http.MethodPost, path, roleDev); status != http.StatusOK {
		t.Errorf("a small one: %d %+v", status, p)
	}
	if status, p, _ := s.call(admin, http.MethodPut, path, large); status != http.StatusRequestEntityTooLarge {
		t.Errorf("one that grows: %d %+v", status, p)
	}
	if status, p, _ := s.call(admin, http.MethodDelete, path, ""); status != http.StatusOK {
		t.Errorf("deleting: %d %+v", status, p)
	}
}

func TestARevisionThatIsNotThereIsNotCreated(t *testing.T) {
	s := newSite(t)
	status, p, _ := s.call(s.user("ada", "editor"), http.MethodPost, "/v1/admin/resources/role/dev", strings.Replace(roleDev, `"name":"dev"`, `"name":"dev","revision":7`, 1))
	if status != http.StatusConflict || !strings.Contains(p.Detail, "revision 7") || len(s.store.resources) != 0 {
		t.Errorf("%d %+v, %v", status, p, s.store.resources)
	}
}

// What is written may wait for what comes after it in a file, but nobody should find out at a login.
func TestWhatGivesNobodyAnythingIsWarnedOf(t *testing.T) {
	s := newSite(t)
	admin := s.user("ada", "editor")
	mapping := func(name, match string) (string, string) {
		return "/v1/admin/resources/iam_mapping/" + name, fmt.Sprintf(`{"kind":"iam_mapping","metadata":{"name":"%s"},"spec":{"match":{"account":"111122223333",%s},"user":"team","roles":["access"]}}`, name, match)
	}
	record := func(mapping string) string {
		return fmt.Sprintf(`{"kind":"user","metadata":{"name":"bob"},"spec":{"mapping":"%s","roles":["access"]}}`, mapping)
	}
	const sso = `"role":"AWSReservedSSO_Dev_0123456789abcdef"`
	first, body := mapping("engineers", `"role":"Engineer"`)
	other, otherBody := mapping("other", `"role":"Engineer","role_id":"AROAEXAMPLE00000000AB"`)
	third, thirdBody := mapping("third", `"role":"Engineer","role_id":"AROAEXAMPLE00000000CD"`)
	ann, annBody := mapping("ann", sso+`,"session":"ann"`)
	ben, benBody := mapping("ben", sso+`,"session":"ben"`)
	all, allBody := mapping("all", sso)
	for _, c := range []struct{ name, method, path, body, warning string }{
		{"a record before its mapping", http.MethodPost, "/v1/admin/resources/user/bob", record("engineers"), "there is no iam_mapping engineers yet"},
		{"the mapping", http.MethodPost, first, body, ""},
		{"the record again", http.MethodPut, "/v1/admin/resources/user/bob", record("engineers"), ""},
		{"a mapping written again", http.MethodPut, first, body, ""},
		{"a mapping that is a part of another", http.MethodPost, other, otherBody, "iam_mapping engineers can match the same identities"},
		{"one that overlaps one and not the other", http.MethodPost, third, thirdBody, "iam_mapping engineers can"},
		{"one session", http.MethodPost, ann, annBody, ""},
		{"another session", http.MethodPost, ben, benBody, ""},
		{"every session", http.MethodPost, all, allBody, "iam_mapping ann, ben can"},
	} {
		status, p, answer := s.call(admin, c.method, c.path, c.body)
		if status != http.StatusOK || (c.warning == "") == strings.Contains(answer, `"warning"`) || !strings.Contains(answer, c.warning) {
			t.Errorf("%s: %d %+v %s", c.name, status, p, answer)
		}
	}
}

// A role that somebody is given must not go: nobody of theirs could log in any more, since a missing role might have denied something.
func TestARoleThatIsGivenIsNotDeletedAndOneThatIsMissingIsWarnedOf(t *testing.T) {
	s := newSite(t)
	admin := s.user("ada", "editor")
	const mapping = "/v1/admin/resources/iam_mapping/engineers"
	give := func(role string) string {
		return fmt.Sprintf(`{"kind":"iam_mapping","metadata":{"name":"engineers"},"spec":{"match":{"account":"111122223333","role":"Engineer"},"user":"team","roles":["access","%s"]}}`, role)
	}
	status, _, body := s.call(admin, http.MethodPost, mapping, give("dev"))
	if status != http.StatusOK || !strings.Contains(body, "there is no role dev yet") {
		t.Errorf("a mapping with a missing role: %d %s", status, body)
	}
	s.store.resources["role/dev"] = resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: "dev", Scope: "/", Revision: 1}, Spec: &resource.RoleSpec{}}
	status, p, _ := s.call(admin, http.MethodDelete, "/v1/admin/resources/role/dev", "")
	if status != http.StatusConflict || !strings.Contains(p.Detail, "iam_mapping/engineers") || p.Hint == "" {
		t.Errorf("a role that is given was deleted: %d %+v", status, p)
	}
	status, _, body = s.call(admin, http.MethodPut, mapping, give("auditor"))
	if status != http.StatusOK || strings.Contains(body, "warning") {
		t.Errorf("a mapping with a preset role: %d %s", status, body)
	}
	if status, p, _ := s.call(admin, http.MethodDelete, "/v1/admin/resources/role/dev", ""); status != http.StatusOK {
		t.Errorf("a role that nobody is given: %d %+v", status, p)
	}
}
