package serve

import (
	"os"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
)

func (a *agent) status() status.Status {
	s := status.Status{Tunnels: a.links.Up(), Users: a.sessions.Users(), Versions: a.shelf.Versions(), Stale: a.fresh.stale(), Software: a.options.Software, Warnings: warnings(os.Geteuid()), Recordings: recordings(a.records)}
	if c := a.keeper.Current(); c != nil {
		s.ID, s.Targets, s.Expires = c.Host.ID, c.Host.Targets, &c.Until
	}
	if f, next := a.links.Refusal(); f != nil {
		s.Refusals = append(s.Refusals, refusal(f, "try the next proxy address that is known, or the same one if there is no other", next))
	}
	if f, next := a.keeper.Refusal(); f != nil {
		s.Refusals = append(s.Refusals, refusal(f, a.keeper.Next(), next))
	}
	return s
}

func recordings(s *record.Spool) *status.Recordings {
	u := s.Usage()
	return &status.Recordings{Used: u.Bytes, Limit: u.Limit, Waiting: u.Waiting, Full: u.Full}
}

func refusal(f *fault.Fault, next string, at time.Time) status.Refusal {
	return status.Refusal{Code: string(f.Code), Reason: f.Message, Hint: f.Hint, Next: next, RetryAt: at.UTC().Truncate(time.Second)}
}
