package compare

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/names"
)

// mostReason is how many bytes a statement says of an error.
const mostReason = 500

// tell tells what is wrong with an hour, by one event of what the lake lacks and one of what it shouldn't have.
func (r *run) tell(ctx context.Context, h *owed.Hour) error {
	var events []audit.Event
	if h.Missing > 0 {
		e := r.event(audit.LakeMissing, h, h.Missing, h.Lacking)
		e.Reason = fmt.Sprintf("the lake lacks %d of %d events that the ledger received from %s on, though they were sent again", h.Missing, h.Looked, e.Data["from"])
		events = append(events, e)
	}
	if n := h.Foreign + h.Altered; n > 0 {
		e := r.event(audit.LakeForeign, h, n, h.Strange)
		e.Reason = fmt.Sprintf("the lake has %d events from %s on that the ledger doesn't, and %d of the ledger's aren't what it received", h.Foreign, e.Data["from"], h.Altered)
		e.Data["foreign"], e.Data["altered"] = strconv.Itoa(h.Foreign), strconv.Itoa(h.Altered)
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil
	}
	r.report.Found += h.Missing + h.Foreign + h.Altered
	return r.config.Ledger.Append(ctx, events...)
}

// event is what is said of an hour, the same each time.
func (r *run) event(kind audit.Type, h *owed.Hour, n int, keys []string) audit.Event {
	from := h.From.UTC().Format(time.RFC3339)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", r.config.Cluster, kind, from))
	e := audit.New(kind, bytes.NewReader(sum[:]), h.Settled)
	e.Cluster, e.Source, e.Actor = r.config.Cluster, names.WriterFunction+"sweep", names.WriterFunction+"sweep"
	e.TargetKind, e.Target, e.Scope, e.Outcome = names.AuditLake, names.LakeTable, "/", audit.Failure
	e.Data = map[string]string{
		"from": from, "to": h.End().UTC().Format(time.RFC3339), "count": strconv.Itoa(n), "examples": strings.Join(keys, ", "),
	}
	return e
}
