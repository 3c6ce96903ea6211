package issue_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// badges authenticates by a badge that names its holder: all that another way of logging in has to be.
type badges struct {
	holders map[string]issue.Principal
	asked   []issue.Evidence
}

func (b *badges) Authenticate(ctx context.Context, e issue.Evidence) (issue.Principal, issue.Witness, error) {
	proven := e.Proven
	e.Proven = nil
	b.asked = append(b.asked, e)
	var badge string
	if err := json.Unmarshal(e.Raw, &badge); err != nil {
		return issue.Principal{}, issue.Witness{}, fault.New(fault.BadInput, "this is no badge", "show your badge").Because(err)
	}
	w := issue.Witness{Proven: true, Actor: "badge/" + badge, Data: map[string]string{"mapping": badge}}
	if err := proven(ctx); err != nil {
		return issue.Principal{}, w, err
	}
	p, ok := b.holders[badge]
	if !ok {
		return issue.Principal{}, w, fault.New(fault.Denied, "the badge is not known", "get a badge")
	}
	return p, w, nil
}

// newBadges is people whose signer takes badges beside AWS identities. Badge A is what AWS says of alice.
func newBadges(t *testing.T) (*people, *badges) {
	t.Helper()
	p := newPeople(t)
	b := &badges{holders: map[string]issue.Principal{"A": {
		Name: "alice", Mapping: "engineers", Subject: []string{"aws", account, "AROAENGINEER1234", "alice"},
		Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ubuntu"}},
	}}}
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster, Store: p.store, SSH: p.Authority(names.KeyUserSSH), X509: p.Authority(names.KeyUserX509), Now: p.Clock,
		Methods: map[string]issue.Authenticator{resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings}, "badge": b},
	})
	return p, b
}

// badge makes a well-formed login by a badge.
func (p *people) badge(t *testing.T, badge string) proof.UserRequest {
	t.Helper()
	r := p.login(t, keyAlice)
	r.Method, r.Evidence = "badge", json.RawMessage(`"`+badge+`"`)
	return r
}

// user reads both certificates of a credential, which must be of one identity, and that identity.
func (p *people) user(t *testing.T, cred wire.UserCredential) identity.User {
	t.Helper()
	view, err := p.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, cert, err := certs.VerifyX509User([][]byte{cred.TLSCertificate}, view.State.Trust.CA(names.KeyUserX509), p.Now)
	if err != nil {
		t.Fatal(err)
	}
	if u.Certificate != cred.CertificateID || !cert.NotAfter.Equal(cred.ExpiresAt) {
		t.Errorf("certificate %s until %s, the answer says %s until %s", u.Certificate, cert.NotAfter, cred.CertificateID, cred.ExpiresAt)
	}
	if len(cred.SSHCertificate) == 0 {
		return u
	}
	key, err := ssh.ParsePublicKey(cred.SSHCertificate)
	if err != nil {
		t.Fatal(err)
	}
	same, err := certs.IdentifySSHUser(key.(*ssh.Certificate), view.State.Trust.CA(names.KeyUserSSH), p.Now)
	if d := cmp.Diff(u, same); err != nil || d != "" {
		t.Error(err, d)
	}
	if d := cmp.Diff(cred.Logins, key.(*ssh.Certificate).ValidPrincipals); d != "" {
		t.Error(d)
	}
	return u
}

func TestWhateverTheEvidenceTheSamePrincipalGetsTheSameCertificate(t *testing.T) {
	for name, record := range map[string]*resource.UserSpec{
		"without a record":                     nil,
		"with a record of its mapping":         {Mapping: "engineers", Roles: []string{"auditor", "access"}, Traits: map[string][]string{"logins": {"postgres"}, "team": {"web"}}},
		"with a record of another's mapping":   {Mapping: "others", Roles: []string{"editor"}, Traits: map[string][]string{"logins": {"root"}}},
		"with a record that gives only traits": {Mapping: "engineers", Traits: map[string][]string{"team": {"web"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := newBadges(t)
			if record != nil {
				p.store.users["alice"] = resource.User{Metadata: resource.Metadata{Name: "alice"}, Spec: *record}
			}
			byAWS, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
			if err != nil {
				t.Fatal(err)
			}
			byBadge, err := p.users.Issue(t.Context(), p.badge(t, "A"))
			if err != nil {
				t.Fatal(err)
			}
			want, got := p.user(t, byAWS), p.user(t, byBadge)
			if d := cmp.Diff(want, got, cmpopts.IgnoreFields(identity.User{}, "Certificate")); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(byAWS, byBadge, cmpopts.IgnoreFields(wire.UserCredential{}, "CertificateID", "SSHCertificate", "TLSCertificate")); d != "" {
				t.Error(d)
			}
			roles := map[bool][]string{false: {"access"}, true: {"access", "auditor"}}[name == "with a record of its mapping"]
			if d := cmp.Diff(roles, got.Roles); d != "" {
				t.Error(d)
			}
			if len(p.store.intents) != 2 || len(p.store.concluded) != 2 || p.store.intents[0].Digest == p.store.intents[1].Digest {
				t.Errorf("intents %+v", p.store.intents)
			}
			e := p.store.last()
			if e.Type != audit.UserLogin || e.Actor != "user/alice" || e.Data["method"] != "badge" || e.Data["mapping"] != "A" || e.Data["uid"] != want.UID {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// The principal's own lists are the authenticator's: a record adds to what is issued, not to them.
func TestARecordAddsNothingToTheAuthenticatorsOwnPrincipal(t *testing.T) {
	p, b := newBadges(t)
	holder := b.holders["A"]
	holder.Roles = append(make([]string, 0, 8), holder.Roles...)
	holder.Traits["logins"] = append(make([]string, 0, 8), holder.Traits["logins"]...)
	b.holders["A"] = holder
	p.store.users["alice"] = resource.User{Metadata: resource.Metadata{Name: "alice"}, Spec: resource.UserSpec{Mapping: "engineers", Roles: []string{"auditor"}, Traits: map[string][]string{"logins": {"postgres"}, "team": {"web"}}}}
	for range 2 {
		if _, err := p.users.Issue(t.Context(), p.badge(t, "A")); err != nil {
			t.Fatal(err)
		}
	}
	want := issue.Principal{
		Name: "alice", Mapping: "engineers", Subject: holder.Subject, Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ubuntu"}},
	}
	if d := cmp.Diff(want, b.holders["A"]); d != "" {
		t.Error(d)
	}
	// Nor into what lies behind them, which another login may be reading.
	if behind := []string{holder.Roles[:2][1], holder.Traits["logins"][:2][1]}; !cmp.Equal(behind, []string{"", ""}) {
		t.Errorf("behind the lists stands %q", behind)
	}
}

func TestAnAuthenticatorIsToldWhatTheEvidenceMustBeFor(t *testing.T) {
	p, b := newBadges(t)
	r := p.badge(t, "A")
	if _, err := p.users.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []issue.Evidence{{
		Raw: json.RawMessage(`"A"`), Now: p.Now,
		Binding: proof.Binding{Challenge: r.Challenge, Purpose: names.PurposeLogin, Cluster: p.ID, Keys: certs.KeysHash(r.SSHKey, r.TLSKey)},
	}}
	if d := cmp.Diff(want, b.asked); d != "" {
		t.Error(d)
	}
	for name, change := range map[string]func(*proof.UserRequest){
		"a challenge of another's": func(r *proof.UserRequest) { r.Challenge = p.badge(t, "A").Challenge },
		"one key twice": func(r *proof.UserRequest) {
			r.TLSKey = r.SSHKey
			r.Challenge = p.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		},
		"no challenge": func(r *proof.UserRequest) { r.Challenge = "" },
	} {
		r := p.badge(t, "A")
		change(&r)
		if _, err := p.users.Issue(t.Context(), r); err == nil || len(b.asked) != 1 {
			t.Errorf("%s: %v after %d evidences", name, err, len(b.asked))
		}
	}
}

func TestARefusalTellsWhatTheAuthenticatorSaw(t *testing.T) {
	p, _ := newBadges(t)
	for name, c := range map[string]struct {
		change      func(*proof.UserRequest)
		code        fault.Code
		says, actor string
	}{
		"a badge that nobody has": {func(r *proof.UserRequest) { r.Evidence = json.RawMessage(`"Z"`) }, fault.Denied, "not known", "badge/Z"},
		// Who proves nothing leaves nothing.
		"no badge":                {func(r *proof.UserRequest) { r.Evidence = json.RawMessage(`7`) }, fault.BadInput, "no badge", ""},
		"a way that there is not": {func(r *proof.UserRequest) { r.Method = "magic" }, fault.BadInput, `"magic" is not a way to log in`, ""},
		"no way":                  {func(r *proof.UserRequest) { r.Method = "" }, fault.BadInput, `"" is not a way to log in`, ""},
		"evidence of another way": {func(r *proof.UserRequest) { r.Method = resource.MethodIAM }, fault.BadInput, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.badge(t, "A")
			c.change(&r)
			events := len(p.store.events)
			_, err := p.users.Issue(t.Context(), r)
			wantFault(t, err, c.code, c.says)
			e := p.store.last()
			if c.actor == "" {
				if len(p.store.events) != events || len(p.store.intents) != 0 {
					t.Errorf("events %+v", p.store.events)
				}
				return
			}
			if e.Type != audit.UserLoginRefused || e.Outcome != audit.Denied || e.Actor != c.actor || e.Data["code"] != string(c.code) || e.DecisionID == "" {
				t.Errorf("event %+v", e)
			}
			if len(p.store.intents) != 0 {
				t.Error("an intent was written")
			}
		})
	}
}

// What names a principal decides its uid, part by part; what it is given does not.
func TestTheUIDIsOfClusterMappingAndSubject(t *testing.T) {
	p, b := newBadges(t)
	uid := func(holder issue.Principal) string {
		t.Helper()
		b.holders["A"] = holder
		cred, err := p.users.Issue(t.Context(), p.badge(t, "A"))
		if err != nil {
			t.Fatal(err)
		}
		return p.user(t, cred).UID
	}
	base := issue.Principal{Name: "alice", Mapping: "engineers", Subject: []string{"ab", "c"}, Roles: []string{"access"}}
	first := uid(base)
	same := base
	same.Name, same.Roles, same.Traits = "alice2", []string{"auditor"}, map[string][]string{"a": {"b"}}
	if got := uid(same); got != first {
		t.Errorf("%s, then %s: a name, roles and traits change", first, got)
	}
	seen := map[string]string{first: "the first"}
	for name, change := range map[string]func(*issue.Principal){
		"another mapping":                 func(h *issue.Principal) { h.Mapping = "others" },
		"another subject":                 func(h *issue.Principal) { h.Subject = []string{"ab", "d"} },
		"the parts parted otherwise":      func(h *issue.Principal) { h.Subject = []string{"a", "bc"} },
		"the parts as one":                func(h *issue.Principal) { h.Subject = []string{"abc"} },
		"a part that is empty":            func(h *issue.Principal) { h.Subject = []string{"ab", "c", ""} },
		"a part that looks like two":      func(h *issue.Principal) { h.Subject = []string{"ab1:c"} },
		"a mapping that holds the length": func(h *issue.Principal) { h.Mapping, h.Subject = "engineers2:ab", []string{"c"} },
		"no subject":                      func(h *issue.Principal) { h.Subject = nil },
	} {
		other := base
		change(&other)
		got := uid(other)
		if was, there := seen[got]; there {
			t.Errorf("%s has the uid of %s", name, was)
		}
		seen[got] = name
	}
}

func TestARoleThatPinsPutsTheAddressIntoBothCertificates(t *testing.T) {
	pinned := resource.Role{Metadata: resource.Metadata{Name: "pinned", Scope: "/"}, Spec: resource.RoleSpec{Options: resource.RoleOptions{PinSourceIP: true}}}
	for name, c := range map[string]struct {
		role, from, want string
	}{
		"an IPv4 address":           {"pinned", "192.0.2.7", "192.0.2.7"},
		"an IPv6 address":           {"pinned", "2001:db8::7", "2001:db8::7"},
		"an IPv4 address in IPv6":   {"pinned", "::ffff:192.0.2.7", "192.0.2.7"},
		"a role that does not pin":  {"auditor", "192.0.2.7", ""},
		"nobody asks for what from": {"auditor", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			p.store.roles = []resource.Role{pinned}
			p.store.mappings[0].Spec.Roles = []string{"access", c.role}
			r := p.login(t, keyAlice)
			r.SourceIP = c.from
			cred, err := p.users.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.user(t, cred).SourceAddress; got != c.want {
				t.Errorf("the identity is pinned to %q", got)
			}
			key, err := ssh.ParsePublicKey(cred.SSHCertificate)
			if err != nil {
				t.Fatal(err)
			}
			if got, is := key.(*ssh.Certificate).CriticalOptions["source-address"]; got != c.want || is != (c.want != "") {
				t.Errorf("the SSH certificate is pinned to %q: %t", got, is)
			}
		})
	}
	for _, from := range []string{"", "somewhere", "192.0.2.7:443", "192.0.2.0/24", "fe80::1%eth0"} {
		p := newPeople(t)
		p.store.roles = []resource.Role{pinned}
		p.store.mappings[0].Spec.Roles = []string{"access", "pinned"}
		r := p.login(t, keyAlice)
		r.SourceIP = from
		_, err := p.users.Issue(t.Context(), r)
		wantFault(t, err, fault.Unavailable, "that address is not known here")
		if len(p.store.intents) != 0 {
			t.Errorf("from %q: an intent was written", from)
		}
	}
}

// A role that says what nothing enforces is not kept in part: who has it gets nothing, and is told what is wrong with it.
func TestAStoredRoleThatCannotBeKeptBarsItsHolderAtLogin(t *testing.T) {
	yes := true
	stored := func(spec resource.RoleSpec) resource.Role {
		return resource.Role{Metadata: resource.Metadata{Name: "old", Scope: "/"}, Spec: spec}
	}
	for field, role := range map[string]resource.Role{
		"spec.options.record":              stored(resource.RoleSpec{Options: resource.RoleOptions{Record: "sometimes"}}),
		"spec.options.forward_agent":       stored(resource.RoleSpec{Options: resource.RoleOptions{ForwardAgent: &yes}}),
		"spec.options.port_forwarding":     stored(resource.RoleSpec{Options: resource.RoleOptions{PortForwarding: &yes}}),
		"spec.options.require_session_mfa": stored(resource.RoleSpec{Options: resource.RoleOptions{RequireSessionMFA: true}}),
		"spec.allow.rules[0].where":        stored(resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"role"}, Verbs: []string{"list"}, Where: "own"}}}}),
		"spec.deny.logins[0]":              stored(resource.RoleSpec{Deny: resource.RoleBlock{Logins: []string{"ro*t"}}}),
		"unreadable":                       resource.Unreadable(resource.Metadata{Name: "old", Scope: "/"}),
	} {
		t.Run(field, func(t *testing.T) {
			p := newPeople(t)
			p.store.roles = []resource.Role{role}
			if _, err := p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil {
				t.Errorf("who does not have it: %v", err)
			}
			p.store.mappings[0].Spec.Roles = []string{"access", "old"}
			before := len(p.store.intents)
			_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
			wantFault(t, err, fault.Denied, "alice has the role old: the role can't be enforced as it is: "+field)
			if f := fault.From(err); !strings.Contains(f.Hint, "role/old") {
				t.Errorf("hint %q", f.Hint)
			}
			if len(p.store.intents) != before {
				t.Error("an intent was written")
			}
			if e := p.store.last(); e.Type != audit.UserLoginRefused || !strings.Contains(e.Reason, field) {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// stuck is a source of randomness that has broken: serial numbers of it are no random bits.
type stuck struct{}

func (stuck) Read(b []byte) (int, error) {
	clear(b)
	if len(b) > 15 {
		b[15] = 1
	}
	return len(b), nil
}

// untouched returns an authority that must not be asked.
func untouched(t *testing.T) issue.Authority {
	return func(context.Context) (issue.Signer, error) {
		t.Error("the authority was asked")
		return nil, errors.New("the authority was asked")
	}
}

func TestWhatTheLintRefusesReachesNoSigner(t *testing.T) {
	const says = "serial number is not 128 random bits"
	t.Run("of a user", func(t *testing.T) {
		p := newPeople(t)
		p.users = issue.NewUsers(issue.UserConfig{
			Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster, Store: p.store, SSH: untouched(t), X509: untouched(t), Now: p.Clock, Entropy: stuck{},
			Methods: map[string]issue.Authenticator{resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings}},
		})
		cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
		wantFault(t, err, fault.BadInput, says)
		if len(cred.TLSCertificate)+len(cred.SSHCertificate)+len(p.store.intents)+len(p.store.concluded) > 0 {
			t.Errorf("%+v with %d intents", cred, len(p.store.intents))
		}
		if e := p.store.last(); e.Type != audit.UserLoginRefused || !strings.Contains(e.Reason, says) {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("of a host", func(t *testing.T) {
		m := newMachines(t)
		m.hosts = issue.NewHosts(issue.HostConfig{
			Cluster: m.ID, Documents: m.Cluster, MAC: m.Cluster, STS: m.sts, Store: m.store, SSH: untouched(t), X509: untouched(t), Now: m.Clock, Entropy: stuck{},
		})
		cred, err := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, nil))
		wantFault(t, err, fault.BadInput, says)
		if len(cred.TLSCertificate)+len(cred.SSHCertificate)+len(m.store.intents)+len(m.store.agents)+len(m.store.targets) > 0 {
			t.Errorf("%+v with %d intents", cred, len(m.store.intents))
		}
		if e := m.store.last(); e.Type != audit.AgentJoinRefused || !strings.Contains(e.Reason, says) {
			t.Errorf("event %+v", e)
		}
	})
}

func TestOneKeyTwiceIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	p, b := newBadges(t)
	r := p.badge(t, "A")
	r.TLSKey = r.SSHKey
	r.Challenge = p.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
	_, err := p.users.Issue(t.Context(), r)
	wantFault(t, err, fault.BadInput, "same key")
	if len(b.asked) != 0 || len(p.store.events) != 0 || len(p.store.intents) != 0 {
		t.Errorf("asked %d times, %d events", len(b.asked), len(p.store.events))
	}
	m := newMachines(t)
	m.refused(t, &machine{}, keyNode, fault.BadInput, "same key", func(r *proof.HostRequest) {
		r.Join.TLSKey = r.Join.SSHKey
		r.Join.Challenge = m.Challenge(names.PurposeJoin, r.Join.SSHKey, r.Join.TLSKey)
	})
	if len(m.store.events) != 0 || len(m.store.agents) != 0 {
		t.Errorf("%d events, %d agents", len(m.store.events), len(m.store.agents))
	}
}
