package issue_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

const (
	account  = "111122223333"
	engineer = "AWSReservedSSO_Engineer_1f2e3d4c5b6a7980"
	keyAlice = "ASIAALICEALICEALICE1"
	keyAdmin = "ASIAADMINADMINADMIN1"
)

// people is a signer for people with its surroundings.
type people struct {
	*clustertest.Cluster
	store *tables
	sts   clustertest.STS
	users *issue.Users
}

func newPeople(t *testing.T) *people {
	p := &people{Cluster: clustertest.New(t), store: newTables(), sts: clustertest.STS{
		keyAlice: {Partition: "aws", Account: account, Role: engineer, RoleID: "AROAENGINEER1234", Session: "alice"},
		keyAdmin: {Partition: "aws", Account: account, Role: "PlatformAdmin", RoleID: "AROAADMINADMIN12", Session: "whoever"},
	}}
	p.store.mappings = []resource.Mapping{{
		Metadata: resource.Metadata{Name: "engineers"},
		Spec: resource.MappingSpec{
			Match: resource.IAMMatch{Account: account, Role: engineer}, Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ubuntu"}},
		},
	}}
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster,
		Methods: map[string]issue.Authenticator{
			resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings, Bootstrap: resource.IAMMatch{Account: account, Role: "PlatformAdmin"}},
		},
		Store: p.store, SSH: p.Authority(names.KeyUserSSH), X509: p.Authority(names.KeyUserX509), Now: p.Clock,
	})
	return p
}

// login makes a well-formed login of the holder of an access key.
func (p *people) login(t *testing.T, key string) proof.UserRequest {
	t.Helper()
	sshKey, tlsKey := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	challenge := p.Challenge(names.PurposeLogin, sshKey, tlsKey)
	return proof.UserRequest{
		Method: resource.MethodIAM, Challenge: challenge, SSHKey: sshKey, TLSKey: tlsKey, RequestID: "req-1", SourceIP: "192.0.2.1",
		Evidence: evidence(t, p.STSRequest(key, proof.Binding{Challenge: challenge, Purpose: names.PurposeLogin, Cluster: p.ID, Keys: certs.KeysHash(sshKey, tlsKey)})),
	}
}

// evidence writes a signed request as login sends it.
func evidence(t *testing.T, sts wire.STSRequest) json.RawMessage {
	t.Helper()
	b, err := proof.IAMEvidence(sts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantFault(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	f := fault.From(err)
	if err == nil || f.Code != code || !strings.Contains(f.Message, says) {
		t.Errorf("got %v (%v), want %s saying %q", err, errors.Unwrap(f), code, says)
	}
	if err != nil && f.Hint == "" {
		t.Errorf("%q has no hint", f.Message)
	}
}

func TestALoginGivesBothCertificatesOfOneIdentity(t *testing.T) {
	p := newPeople(t)
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	if err != nil {
		t.Fatal(err)
	}
	view, _ := p.Fresh(t.Context())
	user, cert, err := certs.VerifyX509User([][]byte{cred.TLSCertificate}, view.State.Trust.CA(names.KeyUserX509), p.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := cert.NotAfter.Sub(p.Now); got != 8*time.Hour {
		t.Errorf("good for %s, want 8h", got)
	}
	if user.Name != "alice" || !cmp.Equal(user.Roles, []string{"access"}) || user.Versions != view.Head.Versions() {
		t.Errorf("identity %+v", user)
	}
	key, err := ssh.ParsePublicKey(cred.SSHCertificate)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"ubuntu"}, key.(*ssh.Certificate).ValidPrincipals); d != "" {
		t.Error(d)
	}
	if e := p.store.last(); e.Type != audit.UserLogin || e.Outcome != audit.Success || e.Actor != "user/alice" {
		t.Errorf("event %+v", e)
	}
	if len(p.store.intents) != 1 || len(p.store.concluded) != 1 || len(p.store.concluded[0].Signed) != 2 {
		t.Errorf("%d intents, %d conclusions", len(p.store.intents), len(p.store.concluded))
	}
}

func TestTheUIDStaysWhileMappingAccountRoleAndPersonDo(t *testing.T) {
	p := newPeople(t)
	uid := func() string {
		t.Helper()
		if _, err := p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil {
			t.Fatal(err)
		}
		return p.store.last().Data["uid"]
	}
	first := uid()
	if again := uid(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	who := p.sts[keyAlice]
	who.RoleID = "AROAENGINEERNEW2"
	p.sts[keyAlice] = who
	if other := uid(); other == first {
		t.Error("a role that was made again has the old one's uid")
	}
}

func TestSec_S06_WithoutALoginThereIsNoSSHCertificate(t *testing.T) {
	p := newPeople(t)
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAdmin))
	if err != nil {
		t.Fatal(err)
	}
	if len(cred.SSHCertificate) != 0 || len(cred.Logins) != 0 || len(cred.TLSCertificate) == 0 {
		t.Errorf("ssh %d bytes, logins %v, tls %d bytes", len(cred.SSHCertificate), cred.Logins, len(cred.TLSCertificate))
	}
	if cred.User != "admin" || !cmp.Equal(cred.Roles, []string{"editor"}) {
		t.Errorf("%s with %v", cred.User, cred.Roles)
	}
}

func TestSec_S21_TheSameRoleNameInAnotherAccountIsRefusedColdAndWarm(t *testing.T) {
	p := newPeople(t)
	const keyB = "ASIAOTHERACCOUNT0001"
	who := p.sts[keyAlice]
	who.Account = "999999999999"
	p.sts[keyB] = who
	_, err := p.users.Issue(t.Context(), p.login(t, keyB))
	wantFault(t, err, fault.Denied, "no iam_mapping")
	if _, err := p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil {
		t.Fatal(err)
	}
	_, err = p.users.Issue(t.Context(), p.login(t, keyB))
	wantFault(t, err, fault.Denied, "no iam_mapping")
	if e := p.store.last(); e.Type != audit.UserLoginRefused || e.Outcome != audit.Denied || !strings.Contains(e.Actor, "999999999999") {
		t.Errorf("event %+v", e)
	}
}

func TestSec_S21_ARoleThatWasMadeAgainIsAnotherOne(t *testing.T) {
	p := newPeople(t)
	p.store.mappings[0].Spec.Match.RoleID = "AROAENGINEER1234"
	who := p.sts[keyAlice]
	who.RoleID = "AROAENGINEERNEW2"
	p.sts[keyAlice] = who
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "no iam_mapping")
}

func TestSec_S23_ASessionNameProvesNothingButForIdentityCenter(t *testing.T) {
	for name, role := range map[string]string{
		"a plain role":                        "Engineer",
		"one that looks like Identity Center": "AWSReservedSSO_Engineer_1f2e3d4c5b6a798",
		"one with upper-case hex":             "AWSReservedSSO_Engineer_1F2E3D4C5B6A7980",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			p.sts[keyAlice] = resource.IAMIdentity{Partition: "aws", Account: account, Role: role, RoleID: "AROAENGINEER1234", Session: "root-admin"}
			p.store.mappings[0].Spec.Match = resource.IAMMatch{Account: account, Role: role}
			_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
			wantFault(t, err, fault.Denied, "proves nothing")
			p.store.mappings[0].Spec.Match.Session = "root-admin"
			_, err = p.users.Issue(t.Context(), p.login(t, keyAlice))
			wantFault(t, err, fault.Denied, "no iam_mapping")
		})
	}
}

func TestSec_S24_EvidenceIsGoodOnceForOneClusterPurposeAndPairOfKeys(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *people, *proof.UserRequest)
		code   fault.Code
		says   string
	}{
		"another pair of keys": {func(t *testing.T, _ *people, r *proof.UserRequest) {
			r.TLSKey = clustertest.SPKI(t, clustertest.Key(t))
		}, fault.Denied, "for keys other than"},
		"keys exchanged": {func(_ *testing.T, _ *people, r *proof.UserRequest) {
			r.SSHKey, r.TLSKey = r.TLSKey, r.SSHKey
		}, fault.Denied, "for keys other than"},
		"one key twice": {func(_ *testing.T, p *people, r *proof.UserRequest) {
			r.TLSKey = r.SSHKey
			r.Challenge = p.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		}, fault.BadInput, "same key"},
		"a challenge of join": {func(_ *testing.T, p *people, r *proof.UserRequest) {
			r.Challenge = p.Challenge(names.PurposeJoin, r.SSHKey, r.TLSKey)
		}, fault.Denied, "for join"},
		"another cluster's challenge": {func(t *testing.T, _ *people, r *proof.UserRequest) {
			other := clustertest.New(t)
			other.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
			r.Challenge = other.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		}, fault.Denied, "another cluster's"},
		"a challenge that this cluster did not make": {func(t *testing.T, _ *people, r *proof.UserRequest) {
			r.Challenge = clustertest.New(t).Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		}, fault.Unauthenticated, "not made by this cluster"},
		"after a minute": {func(_ *testing.T, p *people, _ *proof.UserRequest) {
			p.Now = p.Now.Add(61 * time.Second)
		}, fault.Expired, "expired"},
		"from the future": {func(_ *testing.T, p *people, _ *proof.UserRequest) {
			p.Now = p.Now.Add(-10 * time.Second)
		}, fault.Unauthenticated, "in the future"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			r := p.login(t, keyAlice)
			c.change(t, p, &r)
			_, err := p.users.Issue(t.Context(), r)
			wantFault(t, err, c.code, c.says)
			if len(p.store.intents) != 0 {
				t.Error("an intent was written")
			}
		})
	}
	t.Run("replayed", func(t *testing.T) {
		p := newPeople(t)
		r := p.login(t, keyAlice)
		if _, err := p.users.Issue(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		_, err := p.users.Issue(t.Context(), r)
		wantFault(t, err, fault.Denied, "used before")
		if len(p.store.intents) != 1 || len(p.store.concluded) != 1 {
			t.Errorf("%d intents, %d conclusions", len(p.store.intents), len(p.store.concluded))
		}
	})
}

func TestTwoMappingsThatMatchAreRefusedByName(t *testing.T) {
	p := newPeople(t)
	second := p.store.mappings[0]
	second.Metadata.Name = "everybody"
	p.store.mappings = append(p.store.mappings, second)
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "engineers, everybody")
}

// Nobody keeps the first administrator out by writing a mapping.
func TestSec_S58_TheFirstAdministratorComesInWhateverElseMatches(t *testing.T) {
	p := newPeople(t)
	first := p.store.mappings[0]
	first.Metadata.Name, first.Spec.Roles = resource.BootstrapMapping, []string{"editor"}
	p.store.mappings = append(p.store.mappings, first)
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	if err != nil || !cmp.Equal(cred.Roles, []string{"editor"}) {
		t.Errorf("roles %v, %v", cred.Roles, err)
	}
}

// A permission set that is assigned again has a new role, and everybody who was mapped by the old one is told why they are
// not admitted, and whom it concerns: the bootstrap mapping is in the deployment, every other in the cluster.
func TestWhoseRoleHasANewSuffixIsToldWhatToChange(t *testing.T) {
	for name, k := range map[string]struct {
		mapping, session, says, hint string
	}{
		"an engineer":             {"engineers", "", "differs only in its suffix from the one that iam_mapping engineers admits", "into spec.match.role of iam_mapping engineers"},
		"the first administrator": {resource.BootstrapMapping, "", "differs only in its suffix", "deploy StileControl again with the role "},
		"somebody else":           {"engineers", "nobody-else", "no iam_mapping admits", "ask an administrator for an iam_mapping"},
	} {
		p := newPeople(t)
		m := &p.store.mappings[0]
		role := m.Spec.Match.Role
		m.Metadata.Name, m.Spec.Match.Role = k.mapping, role[:len(role)-16]+"ffffffffffffffff"
		if k.session != "" {
			m.Spec.Match.Session = k.session
		}
		_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
		wantFault(t, err, fault.Denied, k.says)
		if f := fault.From(err); !strings.Contains(f.Hint, k.hint) || strings.Contains(f.Message+f.Hint, "ffffffffffffffff") {
			t.Errorf("%s: %s; %s", name, f.Message, f.Hint)
		}
	}
}

// A deployment that doesn't say who its first administrator is admits nobody, whatever else is mapped.
func TestSec_S84_NobodyIsAdmittedByAWrongDeployment(t *testing.T) {
	p := newPeople(t)
	wrong := fault.New(fault.Internal, "the deployment is wrong", "deploy again")
	_, w, err := issue.IAM{STS: p.sts, Mappings: p.store.Mappings, Refuse: wrong}.Authenticate(t.Context(), issue.Evidence{})
	if !errors.Is(err, wrong) || w.Proven {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestAUserRecordAddsOnlyToItsOwnMapping(t *testing.T) {
	p := newPeople(t)
	record := resource.User{Metadata: resource.Metadata{Name: "alice"}, Spec: resource.UserSpec{Mapping: "engineers", Roles: []string{"auditor"}, Traits: map[string][]string{"logins": {"postgres"}}}}
	p.store.users["alice"] = record
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(cred.Roles, []string{"access", "auditor"}) || !cmp.Equal(cred.Logins, []string{"postgres", "ubuntu"}) {
		t.Errorf("roles %v, logins %v", cred.Roles, cred.Logins)
	}
	record.Spec.Mapping = "others"
	p.store.users["alice"] = record
	if cred, err = p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil || !cmp.Equal(cred.Roles, []string{"access"}) {
		t.Errorf("roles %v, %v", cred.Roles, err)
	}
}

func TestWhoIsDeniedEveryLoginIsToldByWhichRoles(t *testing.T) {
	for name, c := range map[string]struct {
		roles  []string
		denied resource.RoleBlock
		want   []string
	}{
		"all of them":        {[]string{"access", "block"}, resource.RoleBlock{Logins: []string{"*"}}, []string{"block"}},
		"none":               {[]string{"access", "block"}, resource.RoleBlock{Logins: []string{"root"}}, nil},
		"none are given":     {[]string{"block"}, resource.RoleBlock{Logins: []string{"*"}}, nil},
		"on some nodes only": {[]string{"access", "block"}, resource.RoleBlock{Logins: []string{"*"}, NodeLabels: resource.Labels{"env": {"prod"}}}, nil},
	} {
		p := newPeople(t)
		p.store.roles = []resource.Role{{Metadata: resource.Metadata{Name: "block", Scope: "/"}, Spec: resource.RoleSpec{Deny: c.denied}}}
		p.store.mappings[0].Spec.Roles = c.roles
		cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
		if err != nil || !cmp.Equal(cred.DeniedBy, c.want) || c.want != nil && (len(cred.Logins) > 0 || len(cred.SSHCertificate) > 0) {
			t.Errorf("%s: denied by %v, logins %v, %v", name, cred.DeniedBy, cred.Logins, err)
		}
	}
}

func TestARoleThatDoesNotExistLocksOutInsteadOfDroppingItsDenials(t *testing.T) {
	p := newPeople(t)
	p.store.mappings[0].Spec.Roles = []string{"access", "gone"}
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "gone, which does not exist")
}

func TestLifetimesAreTheShortestOfWhatIsAskedAndAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		asked int64
		role  time.Duration
		want  time.Duration
	}{
		"one second":              {1, 0, time.Second},
		"all that is allowed":     {12 * 3600, 0, 12 * time.Hour},
		"the role's limit":        {0, time.Hour, time.Hour},
		"less than the role's":    {60, time.Hour, time.Minute},
		"nothing asked, no limit": {0, 0, 8 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			p.store.roles = []resource.Role{{Metadata: resource.Metadata{Name: "short", Scope: "/"}, Spec: resource.RoleSpec{Options: resource.RoleOptions{MaxSessionTTL: resource.Duration(c.role)}}}}
			p.store.mappings[0].Spec.Roles = []string{"access", "short"}
			r := p.login(t, keyAlice)
			r.TTLSeconds = c.asked
			cred, err := p.users.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := cred.ExpiresAt.Sub(p.Now); got != c.want {
				t.Errorf("good for %s, want %s", got, c.want)
			}
		})
	}
}

func TestALifeThatNobodyMayHaveIsRefusedAndNotCut(t *testing.T) {
	for _, asked := range []int64{-1, 12*3600 + 1, 1 << 40} {
		p := newPeople(t)
		r := p.login(t, keyAlice)
		r.TTLSeconds = asked
		_, err := p.users.Issue(t.Context(), r)
		if f := fault.From(err); f.Code != fault.BadInput || len(f.Fields) != 1 || f.Fields[0].Path != "ttl_seconds" {
			t.Errorf("%d s: %v", asked, err)
		}
	}
}

// A newer release may have written more into a mapping: whom it matches waits, and all others come in.
func TestAMappingThatCanNotBeReadStopsThoseItMatchesAlone(t *testing.T) {
	p := newPeople(t)
	later := p.store.mappings[0]
	later.Metadata.Name, later.Unreadable = "later", true
	later.Spec.Match.Role = "SomebodyElse"
	p.store.mappings = append(p.store.mappings, later)
	if _, err := p.users.Issue(t.Context(), p.login(t, keyAlice)); err != nil {
		t.Errorf("one who is matched by another: %v", err)
	}
	p.store.mappings[0].Unreadable = true
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "iam_mapping "+p.store.mappings[0].Metadata.Name+" says something that this release doesn't know")
}

func TestALockedUserGetsNothing(t *testing.T) {
	p := newPeople(t)
	p.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "user", Value: "alice"}}})
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "locked")
}

func TestNothingIsHandedOutUnlessItIsWrittenDown(t *testing.T) {
	down := errors.New("table is down")
	for _, call := range []string{"Mappings", "Roles", "User", "Intend", "Conclude"} {
		for _, persisted := range []bool{false, true} {
			p := newPeople(t)
			p.store.fail, p.store.failure, p.store.persisted = call, down, persisted
			cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
			if !errors.Is(err, down) || len(cred.TLSCertificate) != 0 {
				t.Errorf("%s: %v, certificate of %d bytes", call, err, len(cred.TLSCertificate))
			}
			if len(p.store.concluded) > len(p.store.intents) {
				t.Errorf("%s: a signature without an intent", call)
			}
		}
	}
}

func TestARefusalStandsEvenWhenItsEventCannotBeWritten(t *testing.T) {
	p := newPeople(t)
	p.store.mappings = nil
	p.store.fail, p.store.failure = "Record", errors.New("table is down")
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	wantFault(t, err, fault.Denied, "no iam_mapping")
	if !identity.ValidID("dec", fault.From(err).DecisionID) {
		t.Errorf("decision id %q", fault.From(err).DecisionID)
	}
}

// Whatever is revoked once a login has begun to look somebody up has a higher version than the certificate, although the
// mapping was still read.
func TestSec_S59_ALoginThatOverlapsARevocationIsRevokedByIt(t *testing.T) {
	p := newPeople(t)
	overlapping := issue.IAM{STS: p.sts, Mappings: func(ctx context.Context) ([]resource.Mapping, error) {
		all, err := p.store.Mappings(ctx)
		p.Bar(identity.Ref{Target: "mapping", Value: "engineers"}) // deleted and published just after it was read
		return all, err
	}}
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster, Store: p.store, SSH: p.Authority(names.KeyUserSSH), X509: p.Authority(names.KeyUserX509), Now: p.Clock,
		Methods: map[string]issue.Authenticator{resource.MethodIAM: overlapping},
	})
	cred, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	if err != nil {
		return // refused at once is as good
	}
	view, err := p.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := view.State.Standing(p.user(t, cred), document.Use{Now: p.Now}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("it stands: %v", err)
	}
}
