package issue_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

const (
	keyCanary   = "ASIACANARYCANARYCAN1"
	keyImpostor = "ASIAIMPOSTORIMPOSTO1"
	canaryRole  = "stile-canary-eu-central-1"
)

// withCanary is a signer that knows the canary's role, and the role's session and that of one made again.
func withCanary(t *testing.T) *people {
	p := newPeople(t)
	p.sts[keyCanary] = resource.IAMIdentity{Partition: "aws", Account: account, Role: canaryRole, RoleID: "AROACANARY123456", Session: "stile-canary"}
	p.sts[keyImpostor] = resource.IAMIdentity{Partition: "aws", Account: account, Role: canaryRole, RoleID: "AROAANOTHER12345", Session: "stile-canary"}
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster,
		Methods: map[string]issue.Authenticator{
			resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings, Canary: resource.IAMMatch{Account: account, Role: canaryRole, RoleID: "AROACANARY123456"}},
		},
		Store: p.store, SSH: p.Authority(names.KeyUserSSH), X509: p.Authority(names.KeyUserX509), Now: p.Clock,
	})
	return p
}

// Whatever anybody writes, a synthetic login gives a certificate that may do nothing.
func TestSec_S87_TheCanaryGetsNothing(t *testing.T) {
	p := withCanary(t)
	match := resource.IAMMatch{Account: account, Role: canaryRole}
	p.store.mappings = append(p.store.mappings,
		resource.Mapping{Metadata: resource.Metadata{Name: "greedy"}, Spec: resource.MappingSpec{Match: match, User: "root", Roles: []string{"editor"}}},
		resource.Mapping{Metadata: resource.Metadata{Name: "canary"}, Spec: resource.MappingSpec{Match: match, User: "canary", Roles: []string{"access"}}})
	p.store.users["canary"] = resource.User{
		Metadata: resource.Metadata{Name: "canary"},
		Spec:     resource.UserSpec{Mapping: resource.CanaryMapping, Roles: []string{"editor", "access"}, Traits: map[string][]string{"logins": {"root"}}},
	}
	cred, err := p.users.Issue(t.Context(), p.login(t, keyCanary))
	if err != nil {
		t.Fatal(err)
	}
	if cred.User != "canary" || len(cred.Roles) > 0 || len(cred.Logins) > 0 || cred.SSHCertificate != nil {
		t.Errorf("the canary got roles %q, logins %q and an SSH certificate of %d bytes as %s", cred.Roles, cred.Logins, len(cred.SSHCertificate), cred.User)
	}
	view, _ := p.Fresh(t.Context())
	user, _, err := certs.VerifyX509User([][]byte{cred.TLSCertificate}, view.State.Trust.CA(names.KeyUserX509), p.Now)
	if err != nil {
		t.Fatal(err)
	}
	if user.Mapping != resource.CanaryMapping || user.Record != "" || len(user.Roles) > 0 || len(user.Traits) > 0 {
		t.Errorf("identity %+v", user)
	}
}

// A role of the same name that was made later is not the canary, and nobody without the deployment's word is.
func TestSec_S87_NobodyElseIsTheCanary(t *testing.T) {
	p := withCanary(t)
	_, err := p.users.Issue(t.Context(), p.login(t, keyImpostor))
	wantFault(t, err, fault.Denied, "no iam_mapping admits the role "+canaryRole)
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	if err != nil || !cmp.Equal(cred.Roles, []string{"access"}) {
		t.Errorf("roles %v, %v", cred.Roles, err)
	}
	p = newPeople(t) // a deployment without a canary
	p.sts[keyCanary] = resource.IAMIdentity{Partition: "aws", Account: account, Role: canaryRole, RoleID: "AROACANARY123456", Session: "stile-canary"}
	_, err = p.users.Issue(t.Context(), p.login(t, keyCanary))
	wantFault(t, err, fault.Denied, "no iam_mapping admits the role "+canaryRole)
}

// TestSec_S87_NobodyHasABuiltInUsersName by a mapping that stands in the table already, or by the name that the person has in
// IAM Identity Center. The event says who it was.
func TestSec_S87_NobodyHasABuiltInUsersName(t *testing.T) {
	for _, name := range []string{resource.CanaryUser, resource.BootstrapUser} {
		for how, give := range map[string]func(*people){
			"the mapping's": func(p *people) { p.store.mappings[0].Spec.User = name },
			"the session's": func(p *people) {
				who := p.sts[keyAlice]
				who.Session = name
				p.sts[keyAlice] = who
			},
		} {
			p := newPeople(t)
			give(p)
			_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
			wantFault(t, err, fault.Denied, name+" is the name of a built-in user, and iam_mapping engineers gives it")
			if e := p.store.last(); e.Type != audit.UserLoginRefused || !strings.HasPrefix(e.Actor, "aws/") || e.Data["mapping"] != "engineers" || e.Reason == "" {
				t.Errorf("%s, %s: event %+v", name, how, e)
			}
			if len(p.store.intents) != 0 {
				t.Errorf("%s, %s: an intent was written", name, how)
			}
			if cred, err := p.users.Issue(t.Context(), p.login(t, keyAdmin)); err != nil || cred.User != resource.BootstrapUser {
				t.Errorf("the first administrator is %q, %v", cred.User, err)
			}
		}
	}
}

// A first administrator of IAM Identity Center has the name from there, and nobody else is called admin then.
func TestAFirstAdministratorMayBeCalledAdmin(t *testing.T) {
	p := newPeople(t)
	who := p.sts[keyAlice]
	who.Session = resource.BootstrapUser
	p.sts[keyAlice], p.store.mappings = who, nil
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster,
		Methods: map[string]issue.Authenticator{
			resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings, Bootstrap: resource.IAMMatch{Account: account, Role: engineer}},
		},
		Store: p.store, SSH: p.Authority(names.KeyUserSSH), X509: p.Authority(names.KeyUserX509), Now: p.Clock,
	})
	if cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil || cred.User != resource.BootstrapUser {
		t.Errorf("%q, %v", cred.User, err)
	}
	who.Session = resource.CanaryUser
	p.sts[keyAlice] = who
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "canary is the name of a built-in user")
}
