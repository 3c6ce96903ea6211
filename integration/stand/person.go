package stand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// The people of account.yaml, by their file of environment variables.
const (
	Engineer = "env"
	Admin    = "env.admin"
)

// EngineerRole is the AWS role of the engineers of account.yaml. It is one of Identity Center, so that the session's
// name is the user's.
const EngineerRole = "AWSReservedSSO_Engineer_1f2e3d4c5b6a7980"

// Person is somebody at a shell: the variables of their file, and a home of their own.
type Person struct {
	Env  map[string]string
	Home string // STILE_HOME
	Path string // the programs
}

// Person returns somebody with a home of their own, or with the one of their file if home is "".
func (s *System) Person(file, home string) (*Person, error) {
	env, err := s.environment(file)
	if err != nil {
		return nil, err
	}
	if home != "" {
		env["STILE_HOME"] = home
	}
	return &Person{Env: env, Home: env["STILE_HOME"], Path: filepath.Join(s.Root, "bin")}, nil
}

var export = regexp.MustCompile(`(?m)^export ([A-Z_]+)='(.*)'$`)

// environment reads what a shell would get from a file.
func (s *System) environment(file string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(s.State, file))
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, m := range export.FindAllStringSubmatch(string(b), -1) {
		env[m[1]] = strings.ReplaceAll(m[2], `'\''`, `'`)
	}
	if env["STILE_API"] == "" {
		return nil, errors.New(file + " sets no STILE_API")
	}
	return env, nil
}

// Environ returns the whole environment of the person's programs.
func (p *Person) Environ() []string {
	env := []string{
		"PATH=" + p.Path + ":" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.Home), "TERM=xterm", "USER=" + os.Getenv("USER"), "LANG=C.UTF-8",
	}
	for name, value := range p.Env {
		env = append(env, name+"="+value)
	}
	return env
}

// Command makes a command of the person's. A program of the system is found before one of the machine.
func (p *Person) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if !strings.Contains(name, "/") {
		own := filepath.Join(p.Path, name)
		if _, err := os.Stat(own); err == nil {
			name = own
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = p.Environ()
	return cmd
}

// Result is how a program ended.
type Result struct {
	Status   int
	Out, Err string
}

// Run runs stile to its end. The error says that it could not be run; a stile that hangs is made to say where.
func (p *Person) Run(ctx context.Context, in io.Reader, args ...string) (Result, error) {
	cmd := p.Command(ctx, "stile", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return Result{}, fmt.Errorf("stile %v: %w", args, err)
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}, nil
}
