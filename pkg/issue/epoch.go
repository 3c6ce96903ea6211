package issue

import (
	"context"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// A state table that was restored begins an epoch, with records of an earlier time. An agent that has renewed since then shows a
// certificate that its record never heard of. So does a copy that took its keys since then, and nothing in the table tells the two
// apart. Of what was issued later than the record's certificate, one renewal passes in the new epoch, and says so in an event.
// It writes the record anew, and that judges whoever comes next: of an agent and its copy, one is the second. What was issued
// earlier was superseded already when the backup was made, and is a copy's in any epoch.

// Unjudged is a renewal that a record can't judge.
type Unjudged struct {
	Record Record      // as it was read: the renewal passes only while it stands there
	Event  audit.Event // written with the admission
}

// misses reports whether a record of an earlier epoch can't know a host's certificate, because it was issued after what the
// record was restored from. Ids of certificates begin with the time of issue.
func (r Record) misses(shown identity.Host, epoch uint64) bool {
	return r.Epoch < epoch && shown.Versions.Trust.Epoch < epoch && r.Certificate != "" && r.Certificate < shown.Certificate
}

// epoch is the one that the documents are in by which an arrival is judged.
func (a *arrival) epoch() uint64 { return a.head.Trust.Epoch }

// pass admits an agent by a certificate that its record misses.
func (h *Hosts) pass(ctx context.Context, a *arrival, admission Admission, r Record) error {
	e := h.event(a, audit.AgentUnjudged, "")
	e.Data["shown"], e.Data["restored"], e.Data["epoch"] = admission.Shown, r.Certificate, fmt.Sprint(a.epoch())
	e.Reason = fmt.Sprintf("the record of %s is of epoch %d, and older than the certificate that was shown: a copy made since then would have passed as well",
		a.host.ID, r.Epoch)
	admission.Unjudged = &Unjudged{r, e}
	return h.write(ctx, a, admission)
}

// removed refuses a host that has no record.
func removed(a *arrival) error {
	f := fault.Newf(fault.Denied, a.prior.Again(identity.Ref{Target: "agent", Value: a.host.ID}), "%s was removed by an administrator", a.host.ID)
	if a.prior.Versions.Trust.Epoch < a.epoch() {
		f.Message += ", or joined after the backup from which the state table was restored"
	}
	return f
}

// unbegun refuses to call somebody a copy by a table that was restored, before it has begun an epoch: a deployment puts it in place
// some minutes earlier than that.
func unbegun(a *arrival) error {
	f := fault.Newf(fault.Unavailable, "wait until the deployment that puts the table in place has ended; the agent tries again by itself",
		"the state table is a copy of %s as it was at an earlier time, and can't judge the certificate of %s before it begins an epoch", a.head.CopyOf, a.host.ID)
	f.RetryAfter = time.Minute
	return f
}

// overtaken refuses a host by documents that are older than its record.
func overtaken(a *arrival, r Record) error {
	f := fault.Newf(fault.Unavailable, "try again in a few seconds; if it keeps happening, ask an administrator whether a former state table was put back",
		"the record of %s is of epoch %d, and the documents here are of epoch %d", a.host.ID, r.Epoch, a.epoch())
	f.RetryAfter = time.Second
	return f
}
