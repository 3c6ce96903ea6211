package issue

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// authenticate proves what is shown, and only then looks at the token that it is shown for.
func (h *Hosts) authenticate(ctx context.Context, a *arrival, ck proof.Checked, view document.View) error {
	if a.method() == resource.MethodIAM {
		return h.authenticateIAM(ctx, a, ck, view)
	}
	return h.authenticateSecret(ctx, a, ck, view)
}

func (h *Hosts) findToken(ctx context.Context, a *arrival) error {
	name, found, err := a.request.Join.Token, false, error(nil)
	switch {
	case name == resource.FleetToken && h.config.Fleet.Account != "":
		a.token, found = FleetToken(h.config.Fleet), true
	case name != resource.FleetToken:
		a.token, found, err = h.config.Store.Token(ctx, name)
	}
	if err != nil {
		return err
	}
	if !found {
		return fault.Newf(fault.Denied, "ask an administrator for a join token", "there is no join token %.63q", name)
	}
	if a.token.Spec.Method != a.method() {
		return fault.Newf(fault.Denied, "set the agent's method to the token's", "join token %s is for method %s, not for %s", name, a.token.Spec.Method, a.method())
	}
	return nil
}

// FleetToken is the built-in token that proxies join by, from the deployment's configuration. It grants no
// name, no label and no kind.
func FleetToken(m resource.IAMMatch) resource.Token {
	return resource.Token{
		Metadata: resource.Metadata{Name: resource.FleetToken, Scope: "/"},
		Spec:     resource.TokenSpec{Method: resource.MethodIAM, Allow: []resource.IAMMatch{m}, Resources: []string{}, Names: []string{}},
	}
}

// provePrior verifies the previous credential, if one is shown. It may have expired: then it only says which
// agent this is, and the method must admit it again.
func (a *arrival) provePrior(ck proof.Checked, view document.View) error {
	prior := a.request.Join.Prior
	if len(prior.Certificate) == 0 && len(prior.Signature) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(prior.Certificate)
	if err != nil {
		return a.badPrior("it can't be read", err)
	}
	at, now := a.now, view.State.Now(a.now)
	if a.lapsed = !now.Before(cert.NotAfter); a.lapsed {
		at = cert.NotAfter.Add(-time.Second)
	}
	host, err := certs.VerifyX509Host([][]byte{prior.Certificate}, view.State.Trust.CA(names.KeyHostX509), at, a.kind())
	if err != nil {
		return a.badPrior("this cluster did not issue it for this kind of host", err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	digest := certs.RenewDigest(a.request.Join.Challenge, ck.Keys)
	if !ok || !ecdsa.VerifyASN1(key, digest[:], prior.Signature) {
		return a.badPrior("its key did not sign this challenge and these keys", nil)
	}
	a.proven = true
	// A new secret admits the agent by itself, and the old credential only says which agent it is. So it doesn't matter if
	// its token was deleted and created again with that secret. What is issued is judged as well.
	if a.secret == "" || !a.lapsed {
		if err := view.State.Standing(host, document.Use{Now: a.now}); err != nil {
			return err
		}
	}
	if host.Token != a.request.Join.Token {
		f := a.badPrior("it came from another join token", nil)
		f.Hint = "set token to " + host.Token + " again, or " + a.afresh(host.Targets)
		return f
	}
	if a.again && a.prior.ID != host.ID {
		return a.badPrior("its agent is not the one that joined by this secret and these keys", nil)
	}
	a.prior = &host
	return nil
}

func (a *arrival) badPrior(why string, err error) *fault.Fault {
	var claimed []identity.Target
	for _, c := range a.request.Join.Targets {
		if t, err := identity.ParseTarget(c); err == nil {
			claimed = append(claimed, t)
		}
	}
	return fault.New(fault.Unauthenticated, "the previous credential is not accepted: "+why, a.afresh(claimed)).Because(err)
}

// afresh says how to join as another agent in the way that was tried, under names that the present one may still hold.
func (a *arrival) afresh(held []identity.Target) string {
	return identity.Host{Kind: a.kind(), Method: a.method(), Targets: held}.Again(identity.Ref{})
}

func (h *Hosts) authenticateIAM(ctx context.Context, a *arrival, ck proof.Checked, view document.View) error {
	var err error
	a.caller, err = callerOf(ctx, h.config.STS, *a.request.STS, Evidence{
		Now: a.now, Binding: ck.Binding(a.request.Join.Challenge, proof.Terms{Purpose: names.PurposeJoin, Cluster: h.config.Cluster}),
	})
	if err != nil {
		return err
	}
	a.proven = true
	if err = h.findToken(ctx, a); err == nil {
		err = a.allowed()
	}
	if err != nil {
		a.hidden = h.stranger(a)
		return err
	}
	if err := a.provePrior(ck, view); err != nil || a.prior != nil || a.kind() != identity.KindAgent {
		return err
	}
	if err := h.recall(ctx, a, ck, resource.MethodIAM, a.token.Metadata.Name, a.token.UID, a.caller.RoleID); err != nil {
		return err
	}
	return a.stands(view)
}

func (a *arrival) allowed() error {
	if !slices.ContainsFunc(a.token.Spec.Allow, func(m resource.IAMMatch) bool { return m.Matches(a.caller) }) {
		f := fault.Newf(fault.Denied, "ask an administrator to add the role to the token's spec.allow",
			"join token %s does not allow the role %s of account %s", a.token.Metadata.Name, a.caller.Role, a.caller.Account)
		if a.kind() == identity.KindProxy { // its token is the deployment's, and no resource
			f.Hint = "start the proxy with the task role of the fleet's stack"
		}
		return f
	}
	return nil
}

// stranger reports whether a caller is of an AWS account that neither the token nor the deployment names. Anybody can have an
// account, so such a caller doesn't learn which tokens there are; the event names what differs.
func (h *Hosts) stranger(a *arrival) bool {
	return !slices.ContainsFunc(append(slices.Clone(a.token.Spec.Allow), h.config.Fleet), func(m resource.IAMMatch) bool {
		return m.Account == a.caller.Account && cmp.Or(m.Partition, "aws") == a.caller.Partition
	})
}

// notAdmitted is the one answer to a stranger.
func notAdmitted() *fault.Fault {
	return fault.New(fault.Denied, "no such join token admits this AWS identity",
		"check token and method in the agent's configuration, or give the decision's id to an administrator: its event says what differs")
}

// authenticateSecret accepts a secret, whose use the admission counts, or a credential that is still valid.
func (h *Hosts) authenticateSecret(ctx context.Context, a *arrival, ck proof.Checked, view document.View) error {
	if a.request.Secret != "" {
		if err := h.proveSecret(ctx, a, ck); err != nil {
			return err
		}
		if err := a.stands(view); err != nil {
			return err
		}
	}
	if err := a.provePrior(ck, view); err != nil {
		return err
	}
	if !a.proven {
		return fault.New(fault.Unauthenticated, "neither a secret nor a previous credential was shown", "set secret_file in the agent's configuration")
	}
	if err := h.findToken(ctx, a); err != nil {
		return err
	}
	if a.secret == "" && a.lapsed {
		return fault.New(fault.Expired, "the previous credential has expired", a.afresh(a.prior.Targets))
	}
	return nil
}

// proveSecret looks a secret up by its hash: one read, whatever there is. Nothing secret is compared, so there is no
// comparison to be timed: how a hash that somebody looks up differs from those stored tells nothing about a secret of 32
// random bytes, and a token's name is compared only with that of a secret that was right.
// Keys that are proved beside it cost one read more, also whatever there is.
func (h *Hosts) proveSecret(ctx context.Context, a *arrival, ck proof.Checked) error {
	if !resource.IsSecret(a.request.Secret) {
		return badSecret("it has not the form of one")
	}
	hash := resource.HashSecret(a.request.Secret)
	known, err := h.config.Store.HashedSecret(ctx, hash)
	if err != nil {
		return err
	}
	if err := h.recall(ctx, a, ck, resource.MethodToken, hash); err != nil {
		return err
	}
	if known.Token != a.request.Join.Token || known.Uses < 1 && !a.again || !known.Expires.After(a.now) {
		return badSecret(fmt.Sprintf("it is of token %q, with %d uses left until %s", known.Token, known.Uses, known.Expires))
	}
	a.secret, a.proven = hash, true
	return nil
}

// badSecret is the one answer to whoever shows a secret that doesn't hold: it doesn't say whether the secret is wrong, another
// token's, used up or expired, nor whether there is such a token. Why is for the log.
func badSecret(why string) error {
	return fault.New(fault.Denied, "the join token and its secret are not accepted",
		"check token, method and secret_file in the agent's configuration, or ask an administrator for a new join token: a secret expires, and works for a limited number of uses").Because(errors.New(why))
}

func (a *arrival) kind() string {
	if a.request.Join.Token == resource.FleetToken {
		return identity.KindProxy
	}
	return identity.KindAgent
}

// grant gives the host what the token grants of what it claims; a claim beyond it is refused by name.
func (h *Hosts) grant(a *arrival, view document.View) error {
	targets, err := a.claimed(view.State.Trust.Name)
	if err != nil {
		return err
	}
	spec, claim := a.token.Spec, a.request.Join
	labels, err := spec.GrantLabels(claim.Labels)
	if err != nil {
		return err
	}
	a.host = identity.Host{
		Cluster: h.config.Cluster, ClusterName: view.State.Trust.Name, Certificate: identity.NewID("crt", h.entropy, a.now), Kind: a.kind(), ID: h.id(a), Targets: targets,
		Scope: scope(a.token.Metadata.Scope), Labels: labels, Method: a.method(), Token: a.token.Metadata.Name,
		Versions: view.Head.Versions(), IssuedAt: a.now.UTC().Truncate(time.Second),
	}
	if a.caller.Account != "" {
		a.host.AWS = proof.Name(a.caller)
	}
	return view.State.Standing(a.host, document.Use{Now: a.now})
}

// maxTargets is how many targets one agent may serve: all of them are in its certificate, and are claimed in one
// transaction.
const maxTargets = 32

// claimed reads what the host claims to serve and compares it with the token.
func (a *arrival) claimed(cluster string) ([]identity.Target, error) {
	claims := a.request.Join.Targets
	switch {
	case a.kind() == identity.KindProxy && len(claims) > 0:
		return nil, outside(a, "the target "+clip(claims[0]), "no target")
	case a.kind() == identity.KindProxy:
		return nil, nil
	case len(claims) == 0:
		return nil, fault.New(fault.BadInput, "the agent claims nothing to serve", "set name or targets in the agent's configuration").With("join.targets", "empty")
	case len(claims) > maxTargets:
		return nil, fault.Newf(fault.TooLarge, "run a second agent for the rest", "the agent claims %d targets; %d are allowed", len(claims), maxTargets)
	}
	var targets []identity.Target
	for i, c := range claims {
		t, err := identity.ParseTarget(c)
		switch {
		case err != nil:
			return nil, fault.From(err).With(fmt.Sprintf("join.targets[%d]", i), "not a target")
		case slices.Contains(targets, t):
			return nil, fault.Newf(fault.BadInput, "name it once", "the agent claims %s twice", t).With(fmt.Sprintf("join.targets[%d]", i), "appears twice")
		case t.Kind == names.KindNode && strings.HasSuffix(t.Name, "."+cluster):
			// web-1.stile is the full name of the node web-1 in the cluster stile.
			return nil, fault.Newf(fault.Denied, "choose another name", "no node's name may end with .%s, which is reserved for full names", cluster)
		case !a.token.Spec.Grants(t):
			return nil, outside(a, t.String(), "resources: "+list(a.token.Spec.Resources)+" with names: "+list(a.token.Spec.Names))
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// id stays the same across renewals; the server chooses a new one.
func (h *Hosts) id(a *arrival) string {
	if a.prior != nil {
		return a.prior.ID
	}
	prefix := "agt"
	if a.kind() == identity.KindProxy {
		prefix = "prx"
	}
	return identity.NewID(prefix, h.entropy, a.now)
}

func scope(s string) string {
	if s == "" {
		return "/"
	}
	return s
}

func outside(a *arrival, claim, granted string) error {
	f := fault.Newf(fault.Denied, "claim what the token grants, or ask an administrator to change the token",
		"join token %s does not grant %s; it grants %s", a.token.Metadata.Name, claim, granted)
	switch {
	case a.kind() == identity.KindProxy:
		f.Hint = "start the proxy without it: proxies serve no target"
	case !a.token.Spec.Changes():
		f.Hint = "claim what the token grants, or ask an administrator to create another token with what is missing"
	}
	return f
}

func list(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}
