package issue

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// FullError is a store's error for a bound that leaves no place for another agent.
type FullError struct{ Bound Bound }

func (e *FullError) Error() string { return "all places of " + e.Bound.Of + " are taken" }

// Bound says how many agents there may be at once by something.
type Bound struct {
	Of   string // token, or AWS role and token, that they are there by
	Most int
}

// Errors of a store when an admission's conditions aren't met.
var (
	ErrRecord  = errors.New("the agent's record does not allow this renewal")
	ErrSecret  = errors.New("no such secret with uses left")
	ErrJoining = errors.New("the same keys have joined meanwhile")
)

// TakenError is a store's error for a target that another agent holds.
type TakenError struct{ Target identity.Target }

func (e *TakenError) Error() string { return "another agent holds " + e.Target.String() }

// HostStore is what signing for agents and proxies needs of the tables. All reads are strongly consistent.
type HostStore interface {
	// Token returns a join token; found is false when there is none.
	Token(ctx context.Context, name string) (t resource.Token, found bool, err error)
	// HashedSecret returns what is known of a token's secret by its hash; the zero value when there is none.
	HashedSecret(ctx context.Context, hash string) (Secret, error)
	// Joined returns the agent that joined by evidence and keys, see [Joined]; the zero value when there is none. An agent
	// that was removed has left only its id.
	Joined(ctx context.Context, key string, now time.Time) (Joined, error)
	// Admit writes, in one transaction, intent and single use, the agent's record, its claims of targets and the
	// use of a secret, and takes or keeps a place within each bound; the record never goes back to an earlier epoch. ErrUsed, *TakenError, *FullError, ErrRecord,
	// ErrSecret or ErrJoining when a condition is not met; then nothing is written.
	Admit(context.Context, Admission) error
	// Agent returns an agent's or a proxy's record; the zero value when it was removed.
	Agent(ctx context.Context, id string) (Record, error)
	// Copied writes, in one transaction, single use, that the agent whose record this is was copied, and the event.
	// ErrUsed, or ErrRecord when the record is another by now; then nothing is written.
	Copied(ctx context.Context, i Intent, r Record, e audit.Event) error
	// Quarantine writes single use, the claim of a target that is taken, and its event in one transaction.
	Quarantine(ctx context.Context, a Admission, taken identity.Target, e audit.Event) error
	// Conclude writes signatures and event in one transaction.
	Conclude(context.Context, Conclusion) error
	claims
	// Record writes an event alone.
	Record(context.Context, audit.Event) error
}

// Secret is what is known of a token's secret.
type Secret struct {
	Token   string // the token's name
	Uses    int    // how many are left
	Expires time.Time
}

// Joined is an agent that joined by evidence and keys.
type Joined struct {
	Agent   string        // its id, "" for none
	Host    identity.Host // as it was last admitted; zero when the agent was removed
	Expires time.Time     // of its certificate
}

// Admission is what is written when a host is admitted.
type Admission struct {
	Intent  Intent
	Host    identity.Host
	Renewal bool              // the agent's record must be there already, and allow it, see [Record]
	Shown   string            // for a renewal: the certificate that it is of
	Dropped []identity.Target // for a renewal: what the agent held and no longer claims
	Secret  string            // hex SHA-256 of the token's secret whose use is counted; "" for none
	Expires time.Time         // of the certificate
	Token   string            // uid of the token; "" when that has none
	Same    bool              // for a renewal: the agent is there by this very token, not by an earlier one of its name
	Bounds  []Bound           // the agent needs a place within each
	Places  time.Time         // until when it has them
	Repeat  string            // names evidence and keys, so that they may join again, see [Joined]; "" for not
	Stale   string            // the agent that joined by them before, and was removed
	InForce bool              // the renewal is of a certificate in force: it needs no place where none is left

	Unjudged *Unjudged // for a renewal that the agent's record can't judge; nil for all others
}

// HostConfig is what a signer for agents and proxies needs.
type HostConfig struct {
	Cluster   string
	Fleet     resource.IAMMatch // the proxies' role; zero for none
	Documents Documents         // policy included: agents get it with the credential
	MAC       MAC
	STS       STS
	Store     HostStore
	SSH, X509 Authority
	Now       func() time.Time // nil: time.Now
	Entropy   io.Reader        // nil: crypto/rand
}

// Hosts signs for agents and proxies. It may be used by several goroutines.
type Hosts struct {
	config HostConfig
	runtime
}

// NewHosts makes a signer for agents and proxies.
func NewHosts(c HostConfig) *Hosts { return &Hosts{c, newRuntime(c.Now, c.Entropy)} }

// arrival collects what becomes known of a join on the way.
type arrival struct {
	request proof.HostRequest
	now     time.Time
	proven  bool // a secret, an AWS identity or a previous credential holds; until then it is anybody
	hidden  bool // what is wrong is for the event alone: the answer is the same for all who are nobody here
	token   resource.Token
	caller  resource.IAMIdentity
	prior   *identity.Host // the previous credential, verified
	lapsed  bool           // prior has expired
	secret  string         // hex SHA-256
	holds   bool           // both keys are proved
	repeat  string         // names evidence and keys
	again   bool           // prior is not shown, but what these keys joined as before by the same evidence
	stale   string         // what they joined as was removed
	host    identity.Host
	head    document.Head // of the documents that judge it
}

// Issue judges a join or renewal and returns the credential, without the proxies' addresses. Refusals are
// faults; those of whoever has proven something are also events. Who has not is told nothing that depends on what there
// is, and leaves nothing behind: the front has counted the arrival.
func (h *Hosts) Issue(ctx context.Context, r proof.HostRequest) (wire.HostCredential, error) {
	a := &arrival{request: r, now: h.now()}
	ck, err := proof.Check(proof.Claim{Challenge: r.Join.Challenge, SSHKey: r.Join.SSHKey, TLSKey: r.Join.TLSKey},
		proof.Terms{Purpose: names.PurposeJoin, Cluster: h.config.Cluster, Now: a.now})
	if err != nil {
		return wire.HostCredential{}, err
	}
	if err := h.config.MAC.Verify(ctx, ck.Message, ck.MAC, ck.Challenge.IssuedAt); err != nil {
		return wire.HostCredential{}, err
	}
	if err := a.proveKeys(ck); err != nil {
		return wire.HostCredential{}, err
	}
	cred, err := h.judged(ctx, a, ck)
	if err != nil {
		return wire.HostCredential{}, h.refused(ctx, a, err)
	}
	return cred, nil
}

// judged goes from a genuine challenge to a credential: authenticate, grant, template, lint, admit, sign,
// request ids, return.
func (h *Hosts) judged(ctx context.Context, a *arrival, ck proof.Checked) (wire.HostCredential, error) {
	view, err := h.config.Documents.Fresh(ctx)
	if err != nil {
		return wire.HostCredential{}, err
	}
	a.head = view.Head
	if err := h.authenticate(ctx, a, ck, view); err != nil {
		return wire.HostCredential{}, err
	}
	if err := h.grant(a, view); err != nil {
		return wire.HostCredential{}, err
	}
	linted, err := h.template(a, ck)
	if err != nil {
		return wire.HostCredential{}, err
	}
	if err := h.admit(ctx, a, ck, linted); err != nil {
		return wire.HostCredential{}, err
	}
	p, err := authorities{h.config.SSH, h.config.X509, hostKeys[0], hostKeys[1]}.sign(ctx, linted, view.State.Trust)
	if err != nil {
		return wire.HostCredential{}, unfinished(ctx, h.config.Store, a.host.Certificate, p.signed, err)
	}
	if err := h.config.Store.Conclude(ctx, Conclusion{a.host.Certificate, p.signed, h.event(a, admitted(a), "")}); err != nil {
		return wire.HostCredential{}, unfinished(ctx, h.config.Store, a.host.Certificate, p.signed, err)
	}
	return h.credential(a, p, linted.Until(), view), nil
}

func (h *Hosts) credential(a *arrival, p pair, until time.Time, view document.View) wire.HostCredential {
	c := wire.HostCredential{
		Cluster: h.config.Cluster, ID: a.host.ID, Targets: []string{}, Labels: a.host.Labels, CertificateID: a.host.Certificate,
		SSHCertificate: p.ssh, TLSCertificate: p.x509, ExpiresAt: until, Trust: documents(view.Trust), Proxies: []string{},
	}
	for _, t := range a.host.Targets {
		c.Targets = append(c.Targets, t.String())
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	return c
}

// template fills and lints the certificates; a proxy has no SSH certificate, since nobody speaks SSH to it.
func (h *Hosts) template(a *arrival, ck proof.Checked) (certs.Linted, error) {
	life, err := lifetime(a.request.Join.TTLSeconds, certs.MaxHostLife, certs.MaxHostLife)
	if err != nil {
		return certs.Linted{}, err
	}
	r := certs.HostRequest{
		Identity: a.host, SSHKey: ck.SSH, TLSKey: ck.TLS, From: a.host.IssuedAt, Until: a.host.IssuedAt.Add(life), Entropy: h.entropy,
	}
	if a.host.Kind == identity.KindProxy {
		r.SSHKey = nil
	}
	t, err := certs.HostTemplate(r)
	if err != nil {
		return certs.Linted{}, err
	}
	return t.Lint()
}

// admit writes everything down before anything is signed. An agent that claims a taken name is quarantined.
func (h *Hosts) admit(ctx context.Context, a *arrival, ck proof.Checked, l certs.Linted) error {
	d, err := l.Digest(a.host)
	if err != nil {
		return err
	}
	admission := Admission{
		Intent: Intent{Certificate: a.host.Certificate, Subject: a.host.ID, Digest: d, At: a.now, Used: ck.UsedKey()},
		Host:   a.host, Renewal: a.prior != nil, Shown: a.shown(), Dropped: a.dropped(), Expires: l.Until(),
		Token: a.token.UID, Same: a.secret == "" || a.again, Bounds: a.bounds(), Places: a.now.Add(certs.MaxHostLife), InForce: a.prior != nil && !a.lapsed,
	}
	if !a.again {
		admission.Secret, admission.Repeat, admission.Stale = a.secret, a.repeat, a.stale
	}
	return h.write(ctx, a, admission)
}

func (h *Hosts) write(ctx context.Context, a *arrival, admission Admission) error {
	err := h.config.Store.Admit(ctx, admission)
	if full, ok := errors.AsType[*FullError](err); ok {
		return a.full(full.Bound)
	}
	if taken, ok := errors.AsType[*TakenError](err); ok {
		return h.quarantine(ctx, a, admission, taken.Target)
	}
	switch {
	case errors.Is(err, ErrUsed):
		return replayed()
	case errors.Is(err, ErrSecret): // another used it up meanwhile
		a.proven = false
		return badSecret("another join used it up")
	case errors.Is(err, ErrJoining):
		f := fault.New(fault.Unavailable, "the same keys have joined a moment ago", "try again: they are let in as the same agent").Because(err)
		f.RetryAfter = time.Second
		return f
	case errors.Is(err, ErrRecord) && admission.Unjudged != nil:
		return renewedMeanwhile()
	case errors.Is(err, ErrRecord):
		return h.unrenewed(ctx, a, admission)
	default:
		return err
	}
}

// dropped lists what the previous credential was for and the new one is not: those names become free.
func (a *arrival) dropped() []identity.Target {
	if a.prior == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.prior.Targets), func(t identity.Target) bool { return slices.Contains(a.host.Targets, t) })
}

// errQuarantined marks a refusal whose event has already been written.
var errQuarantined = errors.New("the event of the quarantine is written")

func (h *Hosts) quarantine(ctx context.Context, a *arrival, admission Admission, taken identity.Target) error {
	f := fault.Newf(fault.Quarantined, "ask an administrator to free the name with stile rm "+taken.String()+" if this is the right machine, then join again",
		"another agent already holds %s", taken)
	f.DecisionID = identity.NewID("dec", h.entropy, a.now)
	e := h.event(a, audit.AgentQuarantined, f.DecisionID)
	explain(&e, f)
	switch err := h.config.Store.Quarantine(ctx, admission, taken, e); {
	case errors.Is(err, ErrUsed):
		return replayed()
	case err != nil:
		return err
	}
	return f.Because(errQuarantined)
}

func admitted(a *arrival) audit.Type {
	switch {
	case a.prior != nil && !a.again:
		return audit.AgentRenew
	case a.host.Kind == identity.KindProxy:
		return audit.ProxyJoin
	}
	return audit.AgentJoin
}

func (h *Hosts) event(a *arrival, t audit.Type, decision string) audit.Event {
	e := audit.New(t, h.entropy, a.now)
	e.Cluster, e.Source, e.RequestID, e.SourceIP, e.DecisionID = h.config.Cluster, sourceHost, a.request.RequestID, a.request.SourceIP, decision
	e.Actor = outsider(a.caller)
	e.Data = map[string]string{"token": clip(a.request.Join.Token), "claimed": clip(strings.Join(a.request.Join.Targets, " ")), "method": a.method()}
	if a.again {
		e.Data["repeated"] = "true"
	}
	if a.caller.Account != "" {
		e.Data["aws"] = proof.Name(a.caller)
	}
	if a.host.ID != "" {
		e.Actor, e.TargetKind, e.Target = a.host.Kind+"/"+a.host.ID, "certificate", a.host.Certificate
		e.Scope = a.host.Scope
	}
	return e
}

func (h *Hosts) refused(ctx context.Context, a *arrival, cause error) error {
	if errors.Is(cause, errQuarantined) || !a.proven {
		return cause
	}
	e := h.event(a, audit.AgentJoinRefused, identity.NewID("dec", h.entropy, a.now))
	explain(&e, cause)
	if a.hidden {
		cause = notAdmitted().Because(cause)
	}
	return recorded(ctx, h.config.Store, e, cause)
}

func (a *arrival) method() string {
	if a.request.STS != nil {
		return resource.MethodIAM
	}
	return resource.MethodToken
}

// clip bounds what an outsider says about itself in an event.
func clip(s string) string { return s[:min(len(s), 100)] }
