package issue

import (
	"context"
	"errors"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// Who holds an agent's keys can renew its certificate, and so can a copy of its state directory. But each renewal goes on from
// one certificate, and of two that both renew, one falls behind. An agent's record holds the certificate in force and the one
// that it is the renewal of. The latter still renews, since the answer may have been lost, or the agent killed before it could
// keep it, until the one in force was used. What the signer sees of use is a renewal: whoever shows the certificate in force
// has got it, and the one before it renews no more. Who shows any other is a copy, or was restored from one, or has been copied.

// Record is what the tables know of an agent or a proxy. The zero value is none: it was removed.
type Record struct {
	ID          string
	Token       string // uid of the token that it is there by; "" when that has none
	Certificate string // the one in force; "" in a record that an earlier release wrote, which tells nothing of certificates
	Previous    string // the one that it is the renewal of; "" for none
	Copied      bool   // somebody renewed by another certificate; nothing renews it any more
	Epoch       uint64 // in which it was written
}

// Renews reports whether the agent of this record may renew by a certificate.
func (r Record) Renews(certificate string) bool {
	return r.ID != "" && !r.Copied && certificate != "" && (r.Certificate == "" || certificate == r.Certificate || certificate == r.Previous)
}

// shown is the certificate that is to be renewed, "" for a join.
func (a *arrival) shown() string {
	if a.prior == nil {
		return ""
	}
	return a.prior.Certificate
}

// unrenewed says why a record did not allow a renewal. An agent that was copied is quarantined: which of the two is the right
// one can't be told from here, and both hold the same keys.
func (h *Hosts) unrenewed(ctx context.Context, a *arrival, admission Admission) error {
	r, err := h.config.Store.Agent(ctx, a.host.ID)
	switch {
	case err != nil:
		return err
	case r.ID == "":
		return removed(a)
	case admission.Same && r.Token != admission.Token:
		return fault.Newf(fault.Denied, a.prior.Again(identity.Ref{Target: "token", Value: a.host.Token}),
			"the join token that %s joined by was deleted, and created again", a.host.ID)
	case r.Copied:
		return copied(a.host)
	case r.Renews(admission.Shown):
		return renewedMeanwhile()
	case a.head.CopyOf != "":
		return unbegun(a)
	case r.Epoch > a.epoch():
		return overtaken(a, r)
	case r.misses(*a.prior, a.epoch()):
		return h.pass(ctx, a, admission, r)
	}
	f := copied(a.host)
	f.DecisionID = identity.NewID("dec", h.entropy, a.now)
	e := h.event(a, audit.AgentCopied, f.DecisionID)
	explain(&e, f)
	e.Data["shown"], e.Data["in_force"] = admission.Shown, r.Certificate
	switch err := h.config.Store.Copied(ctx, admission.Intent, r, e); {
	case errors.Is(err, ErrUsed):
		return replayed()
	case errors.Is(err, ErrRecord):
		return renewedMeanwhile()
	case err != nil:
		return err
	}
	return f.Because(errQuarantined)
}

func copied(host identity.Host) *fault.Fault {
	if host.Kind == identity.KindProxy || len(host.Targets) == 0 {
		return fault.Newf(fault.Quarantined, "start it again without its old credential", "somebody renewed %s by a superseded certificate: it was copied", host.ID)
	}
	by := ""
	if host.Method == resource.MethodToken {
		by = ", by a secret that has uses left"
	}
	return fault.Newf(fault.Quarantined, "ask an administrator to run stile rm "+host.Targets[0].String()+", then empty the state directory on each machine that has a copy of it, and join again"+by,
		"somebody renewed %s by a superseded certificate: its state directory was copied, or restored from a copy", host.ID)
}

func renewedMeanwhile() error {
	f := fault.New(fault.Unavailable, "the agent's record was changed a moment ago", "try again in a few seconds")
	f.RetryAfter = time.Second
	return f
}
