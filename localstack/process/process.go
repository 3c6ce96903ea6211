// Package process starts programs that outlive the one that started them, remembers them in files, and
// finds them again: a record holds the process's start stamp, so that a recycled process id is never taken
// for the program that once had it.
//
// It doesn't know what the programs do. Its entry points are [Start] and [Supervisor].
package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Name        string   // names the record and the log; safe in a file name
	Path        string   // the program
	Args        []string // without the program's own name
	Env         []string // the whole environment
	Dir         string   // working directory; "" is the caller's
	Log         string   // file that stdout and stderr are appended to
	StopTimeout time.Duration
	Jail        *Jail // nil: it runs as the caller does
}

// Jail confines a program to a directory: Path and Dir of its spec are below Root, and there is no way out of it.
type Jail struct {
	Root     string
	UID, GID int // what it runs as; never root
}

// file is where the program lies for us.
func (s Spec) file() string {
	if s.Jail == nil {
		return s.Path
	}
	return filepath.Join(s.Jail.Root, s.Path)
}

// hash names a spec and the program's bytes: another hash means that a running process is out of date.
func (s Spec) hash() (string, error) {
	program, err := FileHash(s.file())
	if err != nil {
		return "", err
	}
	env := slices.Sorted(slices.Values(s.Env))
	raw, err := json.Marshal([]any{program, s.Path, s.Args, env, s.Dir, s.Jail})
	if err != nil {
		return "", fmt.Errorf("hashing process %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}

// FileHash is the SHA-256 of a file's bytes in hex.
func FileHash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hashing a program: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing a program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Record is what is remembered about a started process, in <run>/<name>.pid as JSON.
type Record struct {
	Name        string        `json:"name"`
	PID         int           `json:"pid"`
	Stamp       string        `json:"stamp"` // when it started, as the kernel tells it
	Hash        string        `json:"hash"`
	StopTimeout time.Duration `json:"stop_timeout_ns"`
}

func recordPath(run, name string) string { return filepath.Join(run, name+".pid") }

// Load reads the record of a name; ok is false if there is none.
func Load(run, name string) (r Record, ok bool) {
	raw, err := os.ReadFile(recordPath(run, name))
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return Record{}, false
	}
	return r, true
}

// List reads all records of a directory.
func List(run string) []Record {
	paths, _ := filepath.Glob(filepath.Join(run, "*.pid"))
	var records []Record
	for _, path := range paths {
		name := filepath.Base(path)
		if r, ok := Load(run, name[:len(name)-len(".pid")]); ok {
			records = append(records, r)
		}
	}
	return records
}

// Remove deletes the record.
func (r Record) Remove(run string) error {
	if err := os.Remove(recordPath(run, r.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the record of %s: %w", r.Name, err)
	}
	return nil
}

// Alive reports whether the very process that was recorded is still running.
func (r Record) Alive() bool {
	stamp, ok := stampOf(r.PID)
	return ok && stamp == r.Stamp
}

// Runs reports whether the process was started by this very spec and is of the program's present bytes, alive or not.
func (r Record) Runs(s Spec) (bool, error) {
	hash, err := s.hash()
	return hash == r.Hash, err
}

// Stop asks the process to end and, after its stop timeout (10 s if none), kills it. It returns when the
// process is gone.
func (r Record) Stop(ctx context.Context) error {
	timeout := r.StopTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, timeout}, {syscall.SIGKILL, 5 * time.Second}} {
		if !r.Alive() {
			return nil
		}
		if err := syscall.Kill(r.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stopping %s (process %d): %w", r.Name, r.PID, err)
		}
		if r.waitGone(ctx, step.wait) {
			return nil
		}
	}
	return fmt.Errorf("stopping %s: process %d is still there after SIGKILL", r.Name, r.PID)
}

func (r Record) waitGone(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.Alive() {
		select {
		case <-ctx.Done():
			return !r.Alive()
		case <-tick.C:
		}
	}
	return true
}

// Start runs a spec in its own session and records it in run. The returned function waits for its end
// and must be called, so that no zombie stays.
func Start(spec Spec, run string) (Record, func() error, error) {
	hash, err := spec.hash()
	if err != nil {
		return Record{}, nil, err
	}
	if err := errors.Join(os.MkdirAll(run, 0o700), os.MkdirAll(filepath.Dir(spec.Log), 0o700)); err != nil {
		return Record{}, nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Record{}, nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	defer func() { _ = log.Close() }()
	keepInherited()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, spec.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := spec.Jail.close(cmd); err != nil {
		return Record{}, nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return Record{}, nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	stamp, _ := stampOf(cmd.Process.Pid)
	r := Record{Name: spec.Name, PID: cmd.Process.Pid, Stamp: stamp, Hash: hash, StopTimeout: spec.StopTimeout}
	if err := r.save(run); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return Record{}, nil, err
	}
	return r, cmd.Wait, nil
}

func (r Record) save(run string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.Name, err)
	}
	path := recordPath(run, r.Name)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("recording %s: %w", r.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("recording %s: %w", r.Name, err)
	}
	return nil
}
