// Package stand puts up whole systems for those who try the product out: each with a state directory and ports of its
// own, and if need be with programs, templates and people of its own.
//
// It knows what `make up` shows to anybody: the local AWS's commands, its files of environment variables, its logs and
// process ids. Its entry points are [Copy] and [System].
package stand

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// System is one whole system.
type System struct {
	Root  string // holds bin, infra/templates and localstack/account.yaml: the repository, or a copy that may be changed
	State string // the state directory
}

// Limit is how long a command of the local AWS may take.
const Limit = 5 * time.Minute

// Command makes a command of the local AWS for this system.
func (s *System) Command(ctx context.Context, command string, args ...string) *exec.Cmd {
	args = append([]string{command, "-root", s.Root, "-state", s.State}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.Root, "bin/localstack"), args...)
	cmd.Env = append(os.Environ(), "STILE_PORTS=auto", "STILE_STATE="+s.State)
	return cmd
}

// Localstack runs a command of the local AWS for this system and returns its standard output.
func (s *System) Localstack(ctx context.Context, command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	cmd := s.Command(ctx, command, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("localstack %s: %w\n%s%s", command, err, out, errs.String())
	}
	return string(out), err
}

// Process is one entry of what ps prints.
type Process struct {
	Name string
	PID  int
	Addr string
}

// PS returns what runs.
func (s *System) PS(ctx context.Context) (list []Process, err error) {
	out, err := s.Localstack(ctx, "ps", "--format", "json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("reading what runs: %w in %q", err, out)
	}
	return list, nil
}

// PID returns the process id of a part of the system, as the local AWS recorded it. The process may have ended.
func (s *System) PID(name string) (int, error) {
	var record struct {
		PID int `json:"pid"`
	}
	b, err := os.ReadFile(filepath.Join(s.State, "run", name+".pid"))
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	if err == nil && record.PID <= 1 {
		err = fmt.Errorf("%d is no process id", record.PID)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the process id of %s: %w", name, err)
	}
	return record.PID, nil
}

// AgentHome returns the home directory of an agent that the local AWS runs. Its state directory is "state" in it.
func (s *System) AgentHome(name string) string { return filepath.Join(s.State, "home", name) }

// Tunnels returns how many tunnels the agent with this state directory says that it has.
func (s *System) Tunnels(ctx context.Context, dir string) (int, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Root, "bin/stile-agent"), "status", "--state", dir).Output()
	var status struct{ Tunnels int }
	if err == nil {
		err = json.Unmarshal(out, &status)
	}
	if err != nil {
		return 0, fmt.Errorf("asking the agent of %s: %w", dir, err)
	}
	return status.Tunnels, nil
}

// Logs returns the ends of all logs, for whoever reads why something failed.
func (s *System) Logs() string {
	var b strings.Builder
	names, _ := filepath.Glob(filepath.Join(s.State, "log", "*"))
	for _, name := range names {
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(name), tail(name, 2<<10))
	}
	return b.String()
}

func tail(name string, size int64) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		_, _ = f.Seek(-size, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return string(b)
}
