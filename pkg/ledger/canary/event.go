package canary

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// text is what something between the ledger and the lake may take for its own: of JSON, of CSV, of SQL, of Java's strings.
const text = "two\nlines\tand \"quotes\", '--; a \\ and \\n, {\"a\":[1]}, a, b; <&> ä € 𝄞 \u2028 end"

// event is the canary of an hour: it has a value in each field, and as many bytes as an event may have. Its ids are of nothing that
// there is, and its address is one that documentation uses.
func event(cluster string, entropy io.Reader, now time.Time) (audit.Event, error) {
	hour := now.UTC().Truncate(checked.Hour)
	seq := uint64(hour.Unix() / int64(checked.Hour/time.Second))
	e := audit.New(audit.EvidenceCanary, entropy, now)
	e.Cluster, e.Source, e.Actor = cluster, names.WriterFunction+"sweep", names.WriterFunction+"sweep"
	e.ActorRoles = []string{"canary", `a "second" rôle`}
	e.TargetKind, e.Target, e.Scope = names.AuditLake, names.LakeTable, "/"
	e.SessionID, e.RequestID, e.DecisionID = identity.NewID("ses", entropy, now), "canary", identity.NewID("dec", entropy, now)
	e.Reason = `nobody did anything: this event has a value in each field, to show that each "arrives" in the lake (ä, €, 𝄞, \)`
	e.SourceIP = "192.0.2.1"
	e.SourceEpoch, e.Seq, e.SourceAfter = "canary", seq, fmt.Sprintf("canary:%d", seq-1)
	e.Data = map[string]string{"hour": hour.Format(time.RFC3339), "text": text, "filler": ""}
	raw, err := json.Marshal(e)
	if err != nil {
		return audit.Event{}, fmt.Errorf("measuring a canary: %w", err)
	}
	const fill = "canary "
	room := max(audit.MaxSize-len(raw), 0)
	e.Data["filler"] = strings.Repeat(fill, room/len(fill)+1)[:room]
	return e, nil
}
