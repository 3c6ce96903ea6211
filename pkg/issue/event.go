package issue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// Sources of the signers' events.
const (
	sourceUser = "function/sign-user"
	sourceHost = "function/sign-host"
)

// outsider names somebody who is not a user yet by what AWS says about the identity.
func outsider(c resource.IAMIdentity) string {
	if c.Account == "" {
		return "aws/unknown"
	}
	return "aws/" + proof.Name(c) + "/" + c.Session
}

// event reports a login that succeeded.
func (u *Users) event(a *attempt, t audit.Type, decision string) audit.Event {
	e := audit.New(t, u.entropy, a.now)
	e.Cluster, e.Source, e.RequestID, e.SourceIP, e.DecisionID = u.config.Cluster, sourceUser, a.request.RequestID, a.request.SourceIP, decision
	e.Actor, e.ActorRoles = cmp.Or(a.witness.Actor, audit.Unknown), a.identity.Roles
	e.Data = map[string]string{"method": clip(a.request.Method)}
	maps.Copy(e.Data, a.witness.Data)
	if a.identity.Name != "" {
		e.Actor, e.TargetKind, e.Target = "user/"+a.identity.Name, "certificate", a.identity.Certificate
		e.Data["uid"], e.Data["logins"] = a.identity.UID, strings.Join(a.logins, ",")
	}
	return e
}

// refused writes the event of a refusal and returns the fault with its decision id. Our own failures are not
// decisions about anyone, but they are written too: somebody could not get in. Who has proven nothing is nobody, and writes
// nothing: the function's log has the refusal.
func (u *Users) refused(ctx context.Context, a *attempt, cause error) error {
	if !a.witness.Proven {
		return cause
	}
	decision := identity.NewID("dec", u.entropy, a.now)
	e := u.event(a, audit.UserLoginRefused, decision)
	explain(&e, cause)
	return recorded(ctx, u.config.Store, e, cause)
}

// explain fills in outcome and reason. What is not our refusal is reported as a failure.
func explain(e *audit.Event, cause error) {
	f := fault.From(cause)
	e.Outcome, e.Reason = audit.Denied, f.Message
	if f.Code == fault.Internal || f.Code == fault.Unavailable {
		e.Outcome = audit.Failure
	}
	e.Data["code"] = string(f.Code)
}

type recorder interface {
	Record(context.Context, audit.Event) error
}

// recorded writes the event. A refusal that can't be written stays a refusal: the write's fault joins the
// cause, for the log.
func recorded(ctx context.Context, r recorder, e audit.Event, cause error) error {
	f := *fault.From(cause)
	f.DecisionID = e.DecisionID
	why := errors.Unwrap(fault.From(cause))
	if err := r.Record(ctx, e); err != nil {
		why = errors.Join(why, fmt.Errorf("recording the refusal: %w", err))
	}
	return f.Because(why)
}
