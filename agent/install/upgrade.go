package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
)

// renews reports whether the agent in state is to be restarted because it runs another program than the plan's, and says so.
// As with the package, one with users goes on: the command may have been typed into one of their sessions.
func (p Plan) renews(ctx context.Context, state string, users int, out io.Writer) bool {
	running, err := status.Program(ctx, state)
	if err != nil {
		return false // in a container of its own, say, with its program
	}
	if wanted, err := os.Stat(p.Program); err != nil || os.SameFile(running, wanted) {
		return false
	}
	if users > 0 {
		fmt.Fprintf(out, "the program that it runs is not the one at %s: it goes on, because a restart ends sessions; when it may, run: systemctl restart stile-agent\n", p.Program)
		return false
	}
	fmt.Fprintf(out, "the program that it runs is not the one at %s: restarting it\n", p.Program)
	return true
}

// shadowed refuses the package's program where a unit below /etc takes the place of the package's and starts another program:
// install writes such a one where there is no package.
func (p Plan) shadowed(unit string) error {
	text, err := os.ReadFile(unit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the unit: %w", err)
	}
	if strings.Contains(string(text), "\nExecStart="+p.Program+" ") {
		return nil
	}
	return fault.Newf(fault.Conflict, "run: rm "+unit+", and install again", "%s takes the place of the package's unit, and doesn't start %s", unit, p.Program)
}
