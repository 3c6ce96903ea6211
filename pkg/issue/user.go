package issue

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// UserStore is what signing for people needs of the tables. All reads are strongly consistent.
type UserStore interface {
	Roles(context.Context) ([]resource.Role, error)
	// User returns the record of a user; found is false when there is none.
	User(ctx context.Context, name string) (u resource.User, found bool, err error)
	// Intend writes intent and single use in one transaction; ErrUsed when the use is recorded already.
	Intend(context.Context, Intent) error
	// Conclude writes signatures and event in one transaction.
	Conclude(context.Context, Conclusion) error
	claims
	// Record writes an event alone.
	Record(context.Context, audit.Event) error
}

// UserConfig is what a signer for people needs.
type UserConfig struct {
	Cluster   string
	Methods   map[string]Authenticator // by name: resource.MethodIAM, …
	Documents Documents
	MAC       MAC
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

// attempt collects what becomes known of a login on the way, for its event.
type attempt struct {
	request   proof.UserRequest
	now       time.Time
	terms     proof.Terms
	checked   proof.Checked
	view      document.View // read before anything is looked up
	witness   Witness
	principal Principal
	identity  identity.User
	logins    []string
	deniedBy  []string // if there is no login
}

// Issue judges a login and returns the credential, without the proxies' addresses. Refusals are faults; those of evidence
// that holds are also events. Until then nothing is looked up and nothing written: the front has counted the arrival.
func (u *Users) Issue(ctx context.Context, r proof.UserRequest) (wire.UserCredential, error) {
	a := &attempt{request: r, now: u.now()}
	a.terms = proof.Terms{Purpose: names.PurposeLogin, Cluster: u.config.Cluster, Now: a.now}
	var err error
	a.checked, err = proof.Check(proof.Claim{Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey}, a.terms)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.config.MAC.Verify(ctx, a.checked.Message, a.checked.MAC, a.checked.Challenge.IssuedAt); err != nil {
		return wire.UserCredential{}, err
	}
	cred, err := u.judged(ctx, a)
	if err != nil {
		return wire.UserCredential{}, u.refused(ctx, a, err)
	}
	return cred, nil
}

// judged goes from a genuine challenge to a credential: authenticate, identify, decide, template, lint, intent,
// sign, request ids, return.
func (u *Users) judged(ctx context.Context, a *attempt) (wire.UserCredential, error) {
	if err := u.authenticate(ctx, a); err != nil {
		return wire.UserCredential{}, err
	}
	view := a.view
	if err := u.identify(ctx, a, view); err != nil {
		return wire.UserCredential{}, err
	}
	until, err := u.decide(ctx, a, view)
	if err != nil {
		return wire.UserCredential{}, err
	}
	linted, err := u.template(a, until)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if err := u.intend(ctx, a, linted); err != nil {
		return wire.UserCredential{}, err
	}
	p, err := authorities{u.config.SSH, u.config.X509, userKeys[0], userKeys[1]}.sign(ctx, linted, view.State.Trust)
	if err != nil {
		return wire.UserCredential{}, unfinished(ctx, u.config.Store, a.identity.Certificate, p.signed, err)
	}
	if err := u.config.Store.Conclude(ctx, Conclusion{a.identity.Certificate, p.signed, u.event(a, audit.UserLogin, "")}); err != nil {
		return wire.UserCredential{}, unfinished(ctx, u.config.Store, a.identity.Certificate, p.signed, err)
	}
	return wire.UserCredential{
		Cluster: u.config.Cluster, User: a.identity.Name, Roles: a.identity.Roles, Logins: a.logins, DeniedBy: a.deniedBy,
		CertificateID: a.identity.Certificate, SSHCertificate: p.ssh, TLSCertificate: p.x509, ExpiresAt: linted.Until(),
		Trust: documents(view.Trust), Proxies: []string{},
	}, nil
}

// identify makes a user from the principal and its record.
func (u *Users) identify(ctx context.Context, a *attempt, view document.View) error {
	record, found, err := u.config.Store.User(ctx, a.principal.Name)
	if err != nil {
		return err
	}
	scope := ""
	if found && record.Spec.Mapping == a.principal.Mapping && a.principal.Mapping != resource.CanaryMapping {
		a.principal.add(record.Spec)
		if len(record.Spec.Roles)+len(record.Spec.Traits) > 0 {
			scope = record.Metadata.Scope
		}
	}
	a.identity = identity.User{
		Cluster: u.config.Cluster, Certificate: identity.NewID("crt", u.entropy, a.now), Name: a.principal.Name, Mapping: a.principal.Mapping, Record: scope,
		UID: a.principal.uid(u.config.Cluster), Roles: sortedUnique(a.principal.Roles), Traits: a.principal.Traits,
		Versions: view.Head.Versions(), IssuedAt: a.now.UTC().Truncate(time.Second),
	}
	return nil
}

func sortedUnique(roles []string) []string {
	sorted := slices.Clone(roles)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// decide says what the user gets: roles that exist and can be enforced, logins, and for how long; locks refuse.
func (u *Users) decide(ctx context.Context, a *attempt, view document.View) (time.Time, error) {
	stored, err := u.config.Store.Roles(ctx)
	if err != nil {
		return time.Time{}, err
	}
	roles := append(resource.Presets(), stored...)
	for _, r := range a.identity.Roles {
		// A role that was deleted may have denied something: without it the user would get more.
		if !slices.ContainsFunc(roles, func(have resource.Role) bool { return have.Metadata.Name == r }) {
			return time.Time{}, fault.Newf(fault.Denied, "ask an administrator to create the role, or remove it from the iam_mapping or user",
				"%s has the role %s, which does not exist", a.identity.Name, r)
		}
	}
	if err := view.State.Standing(a.identity, document.Use{Now: a.now}); err != nil {
		return time.Time{}, err
	}
	life, err := lifetime(a.request.TTLSeconds, policy.DefaultTTL, certs.MaxUserLife)
	if err != nil {
		return time.Time{}, err
	}
	set, sub := policy.Compile(roles), view.State.Subject(a.identity, a.now)
	if role, why := set.Barred(sub); why != "" {
		return time.Time{}, fault.Newf(fault.Denied, "ask an administrator to correct the role: stile get role/"+role, "%s has the role %s: %s", a.identity.Name, role, why)
	}
	if set.PinSourceIP(sub) {
		if a.identity.SourceAddress, err = pinned(a.request.SourceIP); err != nil {
			return time.Time{}, err
		}
	}
	a.logins = set.Principals(sub)
	if a.logins == nil {
		a.logins = []string{}
	}
	if len(a.logins) == 0 {
		a.deniedBy = set.Deniers(sub)
	}
	return a.identity.IssuedAt.Add(set.TTL(sub, life)), nil
}

// pinned returns the source address of a certificate that is valid from one address alone.
func pinned(source string) (string, error) {
	addr, err := netip.ParseAddr(source)
	if err != nil || addr.Zone() != "" {
		return "", fault.New(fault.Unavailable, "a role pins certificates to the address of the login, and that address is not known here",
			"tell an administrator: the API did not say where the request came from").Because(err)
	}
	return addr.Unmap().String(), nil
}

// template fills and lints the certificates. Without a login there is no SSH certificate: one without
// principals would be valid for every login to some verifiers (CVE-2024-7594).
func (u *Users) template(a *attempt, until time.Time) (certs.Linted, error) {
	r := certs.UserRequest{
		Identity: a.identity, SSHKey: a.checked.SSH, TLSKey: a.checked.TLS, Logins: a.logins, From: a.identity.IssuedAt, Until: until, Entropy: u.entropy,
	}
	if len(a.logins) == 0 {
		r.SSHKey = nil
	}
	t, err := certs.UserTemplate(r)
	if err != nil {
		return certs.Linted{}, err
	}
	return t.Lint()
}

func (u *Users) intend(ctx context.Context, a *attempt, l certs.Linted) error {
	d, err := l.Digest(a.identity)
	if err != nil {
		return err
	}
	err = u.config.Store.Intend(ctx, Intent{Certificate: a.identity.Certificate, Subject: a.identity.Name, Digest: d, At: a.now, Used: a.checked.UsedKey()})
	if errors.Is(err, ErrUsed) {
		return replayed()
	}
	return err
}
