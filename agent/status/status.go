// Package status lets a running agent report its state, on a socket in its state directory, and asks for it.
//
// It changes nothing. Its entry points are [Serve], [Ask] and [Program].
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// Status is what an agent says about itself.
type Status struct {
	ID       string            `json:"id"` // "" before it joined
	Targets  []identity.Target `json:"targets"`
	Tunnels  int               `json:"tunnels"` // that are up
	Users    int               `json:"users"`   // connected
	Expires  *time.Time        `json:"expires_at,omitempty"`
	Versions identity.Versions `json:"versions"`              // of the documents held
	Stale    *time.Time        `json:"stale_since,omitempty"` // when no newer documents had come for minutes
	Software string            `json:"software"`
	Warnings []string          `json:"warnings,omitempty"` // what is weaker than it could be on this machine
	Refusals []Refusal         `json:"refusals,omitempty"` // why a tunnel or a renewed credential is missing

	Recordings *Recordings `json:"recordings,omitempty"` // on this machine's disk; none by an older agent
}

// Recordings is what the agent keeps of recordings until S3 holds it.
type Recordings struct {
	Used    int64 `json:"used_bytes"`
	Limit   int64 `json:"limit_bytes"`    // as configured
	Waiting int   `json:"waiting"`        // recordings of sessions that have ended, of which S3 doesn't hold all
	Full    bool  `json:"full,omitempty"` // no further session is recorded: there is no room within the limit, or on the disk
}

// Refusal is why the agent didn't get something, and what to do.
type Refusal struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`

	Next    string    `json:"next"`     // what the agent does by itself
	RetryAt time.Time `json:"retry_at"` // and when, or earlier if a proxy tells it of others
}

const (
	name  = "agent.sock"
	limit = 2 * time.Second
)

// Serve answers on the socket in dir until the context ends.
func Serve(ctx context.Context, dir string, now func() Status) error {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("serving the status: %w", err)
	}
	short, done, err := reach(dir)
	if err != nil {
		return fmt.Errorf("serving the status: %w", err)
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: short})
	if err != nil {
		return fmt.Errorf("serving the status: %w", err)
	}
	l.SetUnlinkOnClose(false)
	defer os.Remove(path)
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("serving the status: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("serving the status: %w", err)
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		_ = json.NewEncoder(c).Encode(now())
		_ = c.Close()
	}
}

// reach returns a path to the socket that fits an address of 108 bytes, whatever the directory's length.
func reach(dir string) (string, func(), error) {
	path := filepath.Join(dir, name)
	if len(path) < 100 {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), func() { _ = d.Close() }, nil
}

// Ask asks the agent whose state directory this is. It fails with a fault when the agent isn't running or doesn't answer.
func Ask(ctx context.Context, dir string) (Status, error) {
	var s Status
	c, err := dial(ctx, dir)
	if err != nil {
		return s, err
	}
	defer c.Close()
	if err := json.NewDecoder(c).Decode(&s); err != nil {
		return s, silent(dir, err)
	}
	return s, nil
}

// dial reaches the agent in dir, for as long as an answer may take.
func dial(ctx context.Context, dir string) (*net.UnixConn, error) {
	path, done, err := reach(dir)
	if err != nil {
		return nil, silent(dir, err)
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := new(net.Dialer).DialUnix(ctx, "unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, silent(dir, err)
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	return c, nil
}

func silent(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fault.Newf(fault.Denied, "run: sudo stile-agent status --state "+dir,
			"the agent in %s answers only root and the user it runs as, and you are neither", dir).Because(err)
	}
	return fault.Newf(fault.Unreachable, "start it with stile-agent run, or name its state directory with --state",
		"no agent is answering in %s", dir).Because(err)
}
