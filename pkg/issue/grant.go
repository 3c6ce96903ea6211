package issue

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
)

// SecretPrefix begins a token's secret; 32 random bytes in base64url follow.
const SecretPrefix = "stj_"

// HashSecret gives the hex SHA-256 under which a token's secret is kept. 32 random bytes need no slow hash.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// authenticate finds the token and runs its method under today's rules.
func (h *Hosts) authenticate(ctx context.Context, a *arrival, ck proof.Checked, view bundle.View) error {
	if err := h.findToken(ctx, a); err != nil {
		return err
	}
	if err := a.provePrior(ck, view); err != nil {
		return err
	}
	if a.method() == access.MethodIAM {
		return h.authenticateIAM(ctx, a, ck)
	}
	return a.authenticateSecret()
}

func (h *Hosts) findToken(ctx context.Context, a *arrival) error {
	name, found, err := a.request.Join.Token, false, error(nil)
	switch {
	case name == access.FleetToken && h.config.Fleet.Account != "":
		a.token, found = FleetToken(h.config.Fleet), true
	case name != access.FleetToken:
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
func FleetToken(m access.IAMMatch) access.Token {
	return access.Token{
		Metadata: access.Metadata{Name: access.FleetToken, Scope: "/"},
		Spec:     access.TokenSpec{Method: access.MethodIAM, Allow: []access.IAMMatch{m}, Resources: []string{}, Names: []string{}},
	}
}

// provePrior verifies the credential held so far, if one is shown. It may have lapsed: then it only tells which
// agent this is, and the method must admit it anew.
func (a *arrival) provePrior(ck proof.Checked, view bundle.View) error {
	prior := a.request.Join.Prior
	if len(prior.Certificate) == 0 && len(prior.Signature) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(prior.Certificate)
	if err != nil {
		return badPrior("it cannot be read", err)
	}
	at, now := a.now, view.State.Now(a.now)
	if !now.Before(cert.NotAfter) {
		a.lapsed, at = true, cert.NotAfter.Add(-time.Second)
	}
	host, err := certs.VerifyX509Host([][]byte{prior.Certificate}, view.State.Trust.CA(names.KeyHostX509), at, a.kind())
	if err != nil {
		return badPrior("it is not one of this cluster's for this kind of host", err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	digest := certs.RenewDigest(a.request.Join.Challenge, ck.Keys)
	if !ok || !ecdsa.VerifyASN1(key, digest[:], prior.Signature) {
		return badPrior("its key did not sign this challenge and these keys", nil)
	}
	if _, revoked := view.State.Revoked(host); revoked {
		return badPrior("it is revoked", nil)
	}
	if host.Token != a.token.Metadata.Name {
		return badPrior("it came from another join token", nil)
	}
	a.prior = &host
	return nil
}

func badPrior(why string, err error) error {
	return fault.New(fault.Unauthenticated, "the credential held so far is not accepted: "+why, "empty the agent's state directory and join anew").Because(err)
}

func (h *Hosts) authenticateIAM(ctx context.Context, a *arrival, ck proof.Checked) error {
	var err error
	if a.caller, err = h.config.STS.Caller(ctx, ck.STS); err != nil {
		return err
	}
	if !slices.ContainsFunc(a.token.Spec.Allow, func(m access.IAMMatch) bool { return m.Matches(a.caller) }) {
		return fault.Newf(fault.Denied, "ask an administrator to add the role to the token's spec.allow",
			"join token %s does not allow the role %s of account %s", a.token.Metadata.Name, a.caller.Role, a.caller.Account)
	}
	return nil
}

// authenticateSecret takes a secret, whose use the admission counts, or a credential that still holds.
func (a *arrival) authenticateSecret() error {
	secret := a.request.Secret
	if secret == "" {
		switch {
		case a.prior == nil:
			return fault.New(fault.Unauthenticated, "neither a secret nor a credential held so far was shown", "set secret_file in the agent's configuration")
		case a.lapsed:
			return fault.New(fault.Expired, "the credential held so far has expired", "ask an administrator for a new join token and set its secret_file")
		}
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(secret, SecretPrefix))
	if err != nil || !strings.HasPrefix(secret, SecretPrefix) || len(raw) != 32 {
		return badSecret()
	}
	a.secret = HashSecret(secret)
	return nil
}

// badSecret doesn't say whether the secret is wrong, another token's, used up or expired.
func badSecret() error {
	return fault.New(fault.Denied, "the join token's secret is not accepted", "ask an administrator for a new join token: secrets expire and are good for a number of uses")
}

func (a *arrival) kind() string {
	if a.request.Join.Token == access.FleetToken {
		return identity.KindProxy
	}
	return identity.KindAgent
}

// grant gives the host what the token grants of what it claims; a claim beyond it is refused by name.
func (h *Hosts) grant(a *arrival, view bundle.View) error {
	spec, claim := a.token.Spec, a.request.Join
	for _, kind := range claim.Resources {
		if !slices.Contains(spec.Resources, kind) {
			return outside(a, "to serve "+clip(kind), "resources: "+list(spec.Resources))
		}
	}
	var held []string
	switch {
	case a.kind() == identity.KindProxy:
		if claim.Name != "" {
			return outside(a, "the name "+clip(claim.Name), "no name")
		}
	case len(claim.Resources) == 0:
		return fault.New(fault.BadInput, "the agent claims nothing to serve", "set resources: [node]").With("join.resources", "empty")
	case !identity.ValidNodeName(claim.Name):
		return fault.Newf(fault.BadInput, "use lower-case letters, digits, dots and hyphens, at most 63", "%.70q is not a node name", claim.Name).With("join.name", "not a node name")
	case !spec.GrantsName(claim.Name):
		return outside(a, "the name "+claim.Name, "names: "+list(spec.Names))
	default:
		held = []string{claim.Name}
	}
	labels, err := spec.GrantLabels(claim.Labels)
	if err != nil {
		return err
	}
	a.host = identity.Host{
		Cluster: h.config.Cluster, Certificate: identity.NewID("crt", h.entropy, a.now), Kind: a.kind(), ID: h.id(a), Names: held,
		Resources: claim.Resources, Scope: scope(a.token.Metadata.Scope), Labels: labels, Method: a.method(), Token: a.token.Metadata.Name,
		Versions: view.Head.Versions(), IssuedAt: a.now.UTC().Truncate(time.Second),
	}
	if a.caller.Account != "" {
		a.host.AWS = proof.Name(a.caller)
	}
	if l, locked := view.State.Locked(a.host, a.now); locked {
		return fault.Newf(fault.Denied, "ask an administrator about lock "+l.ID, "%s %s is locked", l.Target, l.Value)
	}
	return nil
}

// id stays over renewals; the server chooses a new one.
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
	return fault.Newf(fault.Denied, "claim what the token grants, or ask an administrator to change the token",
		"join token %s does not grant %s; it grants %s", a.token.Metadata.Name, claim, granted)
}

func list(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}
