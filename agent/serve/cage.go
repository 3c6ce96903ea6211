package serve

import (
	"log/slog"

	"github.com/stile-dev/stile/agent/cgroup"
	"github.com/stile-dev/stile/agent/session"
)

// cages keeps each session's processes together: by its own cgroup, or by kinship where the machine has none for us.
type cages struct{ tree *cgroup.Tree }

func newCages(log *slog.Logger) cages {
	tree, err := cgroup.Open()
	if err != nil {
		log.Warn("Cgroups can't be used: a process that leaves its session's process tree and clears its environment survives when the session is cut", "reason", err.Error())
		return cages{}
	}
	return cages{tree}
}

// New implements [session.Cages].
func (c cages) New(name string) (session.Cage, error) {
	if c.tree == nil {
		return cgroup.NewKin(name)
	}
	return c.tree.New(name)
}
