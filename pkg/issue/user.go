package issue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

// defaultUserLife is a user's certificate's when nothing else is asked for.
const defaultUserLife = 8 * time.Hour

// UserStore is what signing for people needs of the tables. All reads are strongly consistent.
type UserStore interface {
	Mappings(context.Context) ([]access.Mapping, error)
	Roles(context.Context) ([]access.Role, error)
	// User gives the record of a user; found is false when there is none.
	User(ctx context.Context, name string) (u access.User, found bool, err error)
	// Intend writes intent and single use in one transaction; ErrUsed when the use is recorded already.
	Intend(context.Context, Intent) error
	// Conclude writes signatures and event in one transaction.
	Conclude(context.Context, Conclusion) error
	// Record writes an event alone.
	Record(context.Context, audit.Event) error
}

// UserConfig is what a signer for people is given.
type UserConfig struct {
	Cluster   string
	Bootstrap access.IAMMatch // the first administrator; zero for none
	Documents Documents
	MAC       MAC
	STS       STS
	Store     UserStore
	SSH, X509 Authority
	Now       func() time.Time // nil: time.Now
	Entropy   io.Reader        // nil: crypto/rand
}

// Users signs for people. It may be used by several goroutines.
type Users struct {
	config UserConfig
	runtime
}

// NewUsers makes a signer for people.
func NewUsers(c UserConfig) *Users { return &Users{c, newRuntime(c.Now, c.Entropy)} }

// UserRequest is what functions/login sends: the evidence as it came, and where from.
type UserRequest struct {
	Login     wire.LoginIAMRequest `json:"login"`
	RequestID string               `json:"request_id"`
	SourceIP  string               `json:"source_ip"`
}

// attempt collects what becomes known of a login on the way, for its event.
type attempt struct {
	request  UserRequest
	now      time.Time
	caller   access.IAMIdentity
	person   person
	identity identity.User
	logins   []string
}

// Issue judges a login and gives the credential, without the proxies' addresses. Refusals are faults; those
// of evidence whose challenge is genuine are also events.
func (u *Users) Issue(ctx context.Context, r UserRequest) (wire.UserCredential, error) {
	a := &attempt{request: r, now: u.now()}
	ck, err := proof.Check(proof.Claim{
		Challenge: r.Login.Challenge, SSHKey: r.Login.SSHKey, TLSKey: r.Login.TLSKey, STS: &r.Login.STS,
	}, proof.Terms{Purpose: names.PurposeLogin, Cluster: u.config.Cluster, Now: a.now})
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.config.MAC.Verify(ctx, ck.Message, ck.MAC); err != nil {
		return wire.UserCredential{}, err
	}
	cred, err := u.judged(ctx, a, ck)
	if err != nil {
		return wire.UserCredential{}, u.refused(ctx, a, err)
	}
	return cred, nil
}

// judged is the way from genuine evidence to a credential: identify, decide, template, lint, intent, sign,
// request ids, return.
func (u *Users) judged(ctx context.Context, a *attempt, ck proof.Checked) (wire.UserCredential, error) {
	var err error
	if a.caller, err = u.config.STS.Caller(ctx, ck.STS); err != nil {
		return wire.UserCredential{}, err
	}
	view, err := u.config.Documents.Fresh(ctx)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.identify(ctx, a, view); err != nil {
		return wire.UserCredential{}, err
	}
	until, err := u.decide(ctx, a, view)
	if err != nil {
		return wire.UserCredential{}, err
	}
	t, err := u.template(a, ck, until)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.intend(ctx, a, ck, t); err != nil {
		return wire.UserCredential{}, err
	}
	p, err := authorities{u.config.SSH, u.config.X509, userKeys[0], userKeys[1]}.sign(ctx, t, view.State.Trust)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.config.Store.Conclude(ctx, Conclusion{a.identity.Certificate, p.signed, u.event(a, audit.UserLogin, "")}); err != nil {
		return wire.UserCredential{}, err
	}
	return wire.UserCredential{
		Cluster: u.config.Cluster, User: a.identity.Name, Roles: a.identity.Roles, Logins: a.logins,
		CertificateID: a.identity.Certificate, SSHCertificate: p.ssh, TLSCertificate: p.x509, ExpiresAt: t.X509.NotAfter,
		Trust: documents(view.Trust), Proxies: []string{},
	}, nil
}

// identify turns the AWS identity into a user by the mappings and the user's record.
func (u *Users) identify(ctx context.Context, a *attempt, view bundle.View) error {
	mappings, err := u.config.Store.Mappings(ctx)
	if err != nil {
		return err
	}
	m, err := mapped(append(u.builtin(), mappings...), a.caller)
	if err != nil {
		return err
	}
	if a.person, err = named(u.config.Cluster, m, a.caller); err != nil {
		return err
	}
	record, found, err := u.config.Store.User(ctx, a.person.name)
	if err != nil {
		return err
	}
	if found && record.Spec.Mapping == a.person.mapping {
		a.person.add(record.Spec)
	}
	a.identity = identity.User{
		Cluster: u.config.Cluster, Certificate: identity.NewID("crt", u.entropy, a.now), Name: a.person.name, Mapping: a.person.mapping, UID: a.person.uid,
		Roles: a.person.roles, Traits: a.person.traits, Versions: view.Head.Versions(), IssuedAt: a.now.UTC().Truncate(time.Second),
	}
	return nil
}

// builtin is the first administrator's mapping, from the deployment's configuration.
func (u *Users) builtin() []access.Mapping {
	if u.config.Bootstrap.Account == "" {
		return nil
	}
	return []access.Mapping{BootstrapMapping(u.config.Bootstrap)}
}

// BootstrapMapping is the built-in mapping of the first administrator. A role of IAM Identity Center brings
// the person's own name; any other is one person, called admin.
func BootstrapMapping(m access.IAMMatch) access.Mapping {
	spec := access.MappingSpec{Match: m, Roles: []string{"editor"}}
	if !access.IsSSO(m.Role) {
		spec.User = "admin"
	}
	return access.Mapping{Metadata: access.Metadata{Name: access.BootstrapMapping, Scope: "/"}, Spec: spec}
}

// add gives a person what the user's record holds beside the mapping.
func (p *person) add(s access.UserSpec) {
	p.roles = append(slices.Clone(p.roles), s.Roles...)
	traits := maps.Clone(p.traits)
	if traits == nil {
		traits = map[string][]string{}
	}
	for k, v := range s.Traits {
		traits[k] = append(slices.Clone(traits[k]), v...)
	}
	p.traits = traits
}

// decide says what the user gets: roles that exist, logins, and for how long; locks bar.
func (u *Users) decide(ctx context.Context, a *attempt, view bundle.View) (time.Time, error) {
	slices.Sort(a.identity.Roles)
	a.identity.Roles = slices.Compact(a.identity.Roles)
	stored, err := u.config.Store.Roles(ctx)
	if err != nil {
		return time.Time{}, err
	}
	roles := append(access.Presets(), stored...)
	for _, r := range a.identity.Roles {
		// A role that is gone may have denied something: without it the user would get more.
		if !slices.ContainsFunc(roles, func(have access.Role) bool { return have.Metadata.Name == r }) {
			return time.Time{}, fault.Newf(fault.Denied, "an administrator creates the role, or takes it out of the iam_mapping or user",
				"%s has the role %s, which does not exist", a.identity.Name, r)
		}
	}
	set, err := policy.Compile(roles)
	if err != nil {
		return time.Time{}, fmt.Errorf("compiling the roles: %w", err)
	}
	if l, locked := view.State.Locked(a.identity, a.now); locked {
		return time.Time{}, fault.Newf(fault.Denied, "ask an administrator about lock "+l.ID, "%s %s is locked", l.Target, l.Value)
	}
	life, err := lifetime(a.request.Login.TTLSeconds, defaultUserLife, certs.MaxUserLife)
	if err != nil {
		return time.Time{}, err
	}
	sub := policy.Subject{Roles: a.identity.Roles, Traits: a.identity.Traits}
	a.logins = set.Principals(sub)
	if a.logins == nil {
		a.logins = []string{}
	}
	return a.identity.IssuedAt.Add(set.TTL(sub, life)), nil
}

// template fills and lints the certificates. Without a login there is no SSH certificate: one without
// principals would be good for every login to some verifiers (CVE-2024-7594).
func (u *Users) template(a *attempt, ck proof.Checked, until time.Time) (certs.Template, error) {
	r := certs.UserRequest{
		Identity: a.identity, SSHKey: ck.SSH, TLSKey: ck.TLS, Logins: a.logins, From: a.identity.IssuedAt, Until: until, Entropy: u.entropy,
		// What is really allowed on a node is decided there; these extensions only leave it open.
		AgentForwarding: true, PortForwarding: true,
	}
	if len(a.logins) == 0 {
		r.SSHKey = nil
	}
	t, err := certs.UserTemplate(r)
	if err != nil {
		return certs.Template{}, err
	}
	return t, t.Lint()
}

func (u *Users) intend(ctx context.Context, a *attempt, ck proof.Checked, t certs.Template) error {
	d, err := digest(t, a.identity)
	if err != nil {
		return err
	}
	err = u.config.Store.Intend(ctx, Intent{Certificate: a.identity.Certificate, Subject: a.identity.Name, Digest: d, At: a.now, Used: ck.UsedKey()})
	if errors.Is(err, ErrUsed) {
		return replayed()
	}
	return err
}
