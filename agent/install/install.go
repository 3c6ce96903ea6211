// Package install sets up the agent on a machine: its configuration, its systemd unit and its start, and waits until it has
// joined, because an installation that can't is none.
//
// It joins nothing itself and downloads nothing. Its entry point is [Run].
package install

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// Unit is the unit of the package, which starts /usr/bin/stile-agent.
//
//go:embed stile-agent.service
var Unit string

// The unit's name, and where the package and an administrator put units.
const (
	name     = "stile-agent.service"
	packaged = "/usr/lib/systemd/system/" + name
	own      = "/etc/systemd/system/" + name
	program  = "/usr/bin/stile-agent" // the package's
)

// Plan is what to install.
type Plan struct {
	Settings []Setting     // of the configuration
	File     string        // where the configuration goes
	Program  string        // the agent's path
	Force    bool          // replace another configuration
	Wait     time.Duration // how long to wait until the agent has joined
}

// Run installs, starts and waits, and says what it did. Run again with the same plan it changes nothing, and restarts the
// agent only if it has no tunnel, or runs another program than the plan's and has no users. It fails when the agent did not
// join in time, with the agent's own reason.
func Run(ctx context.Context, p Plan, out io.Writer) error {
	text, c, err := p.configuration()
	if err != nil {
		return err
	}
	if err := p.safe(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fault.New(fault.Denied, "only root can install the agent", "run it with sudo")
	}
	changed, err := p.write(text, c, out)
	if err != nil {
		return err
	}
	if s, err := status.Ask(ctx, c.State); !changed && err == nil && s.Tunnels > 0 {
		fmt.Fprintf(out, "the agent runs with this configuration already, as %s\n", escape.Text(s.ID))
		if !p.renews(ctx, c.State, s.Users, out) {
			return nil
		}
	}
	if err := start(ctx, p); err != nil {
		return err
	}
	return await(ctx, c.State, p.Wait, out)
}

// Show writes the files that Run would write.
func (p Plan) Show(out io.Writer) error {
	text, _, err := p.configuration()
	if err == nil {
		err = p.safe()
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "# %s\n%s", p.File, text)
	if err == nil && p.needsUnit() {
		_, err = fmt.Fprintf(out, "\n# %s\n%s", own, p.unit())
	}
	return err
}

func (p Plan) configuration() (string, config.Config, error) {
	text, err := Write(p.Settings)
	if err != nil {
		return "", config.Config{}, err
	}
	c, err := config.Parse([]byte(text))
	return text, c, err
}

// plain are paths that mean the same to systemd, which knows specifiers and quotes, as to everybody else.
var plain = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)

// safe refuses paths that a unit could not name, and that others than root could replace: root runs the program, and does what
// the configuration and the unit say. Nor may another unit take the place of the package's.
func (p Plan) safe() error {
	for _, path := range []string{p.File, p.Program} {
		if !plain.MatchString(path) || filepath.Clean(path) != path {
			return fault.Newf(fault.BadInput, "use an absolute path of letters, digits, dots, hyphens and underscores", "%q can't be a path in a systemd unit", path)
		}
	}
	if !exists(p.Program) {
		return fault.Newf(fault.BadInput, elsewhere, "%s can't be read", p.Program)
	}
	if err := guarded(p.Program, elsewhere); err != nil {
		return err
	}
	if err := guarded(p.File, "make file and directories root's own, writable by nobody else, or use --config "+config.File); err != nil {
		return err
	}
	if !p.needsUnit() {
		return p.shadowed(own)
	}
	return guarded(own, "make it root's own, with the directories above it, and writable by nobody else")
}

// elsewhere is what to do with a program that is in no place for it.
const elsewhere = "put the agent at /usr/local/bin/stile-agent, owned by root, and start it from there"

// needsUnit reports whether the package's unit is not there or starts something else.
func (p Plan) needsUnit() bool {
	_, err := os.Stat(packaged)
	return err != nil || p.Program != program || p.File != config.File
}

// unit is the package's unit for this program and configuration.
func (p Plan) unit() string {
	return strings.NewReplacer(program, p.Program, config.File, p.File).Replace(Unit)
}

// write puts the files there, and reports whether one of them changed.
func (p Plan) write(text string, c config.Config, out io.Writer) (changed bool, err error) {
	switch have, err := config.Read(p.File); {
	case err == nil && reflect.DeepEqual(have, c): // as it is, with the comments that it may have
	case !p.Force && exists(p.File):
		return false, fault.Newf(fault.Conflict, "compare it with what --dry-run prints, and add --force to replace it", "%s exists with another configuration", p.File)
	default:
		if err := put(p.File, text, 0o600); err != nil {
			return false, err
		}
		fmt.Fprintf(out, "wrote %s\n", p.File)
		changed = true
	}
	if have, err := os.ReadFile(own); !p.needsUnit() || err == nil && string(have) == p.unit() {
		return changed, nil
	}
	if err := put(own, p.unit(), 0o644); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "wrote %s\n", own)
	return true, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// start has systemd run the agent, now and after each boot.
func start(ctx context.Context, p Plan) error {
	if _, err := exec.LookPath("systemctl"); err != nil || !exists("/run/systemd/system") {
		return fault.New(fault.Unavailable, "the agent is configured, but no systemd runs here that could start it",
			fmt.Sprintf("start it yourself, and again after each boot: %s run --config %s", p.Program, p.File))
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", name}, {"restart", name}} {
		if said, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
			return fault.Newf(fault.Unavailable, "run: systemctl status "+name, "systemctl %s failed: %s", strings.Join(args, " "), strings.TrimSpace(string(said))).Because(err)
		}
	}
	return nil
}
