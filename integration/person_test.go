package integration_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The people of account.yaml, by their file of environment variables.
const (
	engineer = "env"
	admin    = "env.admin"
)

// person is somebody at a shell: the variables of their file, and a home of their own.
type person struct {
	env  map[string]string
	home string // STILE_HOME
	path string // the programs
}

// person makes one whose home is empty.
func (s *system) person(t *testing.T, file string) *person {
	t.Helper()
	env, err := s.environment(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{env: env, home: filepath.Join(t.TempDir(), "home"), path: filepath.Join(s.root, "bin")}
	p.env["STILE_HOME"] = p.home
	return p
}

var export = regexp.MustCompile(`(?m)^export ([A-Z_]+)='(.*)'$`)

// environment reads what a shell would get from a file.
func (s *system) environment(file string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(s.state, file))
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

// environ is the whole environment of the person's programs.
func (p *person) environ() []string {
	env := []string{"PATH=" + p.path + ":" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.home), "TERM=xterm", "USER=" + os.Getenv("USER"), "LANG=C.UTF-8"}
	for name, value := range p.env {
		env = append(env, name+"="+value)
	}
	return env
}

// userName is whose account the tests run in; USER isn't set everywhere.
func userName() string {
	me, err := user.Current()
	if err != nil {
		return os.Getenv("USER")
	}
	return me.Username
}

// result is how a program ended.
type result struct {
	status   int
	out, err string
}

// command makes a command of the person's.
func (p *person) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if !strings.Contains(name, "/") {
		if own := filepath.Join(p.path, name); exists(own) {
			name = own
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = p.environ()
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs stile to its end.
func (p *person) run(t *testing.T, in io.Reader, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // cleaning up runs programs too
	defer cancel()
	cmd := p.command(ctx, "stile", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it says where it hangs
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("stile %v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs stile, which must succeed, and gives its output.
func (p *person) must(t *testing.T, args ...string) string {
	t.Helper()
	r := p.run(t, nil, args...)
	if r.status != 0 {
		t.Fatalf("stile %s ended with %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
	}
	return r.out
}

// login logs the person in.
func (p *person) login(t *testing.T, args ...string) *person {
	t.Helper()
	p.must(t, append([]string{"login", "--iam"}, args...)...)
	return p
}

// typeName is what no message may hold: a name of Go.
var typeName = regexp.MustCompile(`\b(wire|access|fault|certs|bundle|tunnel|frame|strict|json|x509|tls|ssh|http|net)\.[A-Z]\w+|\bcannot unmarshal\b|\bgoroutine\b|\bmap\[string\]|0x[0-9a-f]{8}`)

// refused checks that a refusal is one that people can use.
func (r result) refused(t *testing.T, status int, words ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("ended with %d, want %d\n%s%s", r.status, status, r.out, r.err)
	}
	if !strings.HasPrefix(r.err, "stile: error: ") || !strings.Contains(r.err, "\nstile: hint: ") {
		t.Errorf("no error and hint in %q", r.err)
	}
	if m := typeName.FindString(r.err); m != "" {
		t.Errorf("%q is no word for people, in %q", m, r.err)
	}
	for _, word := range words {
		if !strings.Contains(r.err, word) {
			t.Errorf("%q is not in %q", word, r.err)
		}
	}
}
