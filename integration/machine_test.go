package integration_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/integration/stand"
)

// machine is a root directory that programs are run in as if it were the whole of a server, though without devices and a
// service manager. It takes root.
type machine struct{ root string }

// newMachine makes one that has the programs named, as this machine has them, and root as its only user.
func newMachine(t *testing.T, programs ...string) machine {
	t.Helper()
	m := machine{t.TempDir()}
	for _, name := range append(programs, "sh") {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("%v: install the Debian packages dpkg, coreutils, tar and dash", err)
		}
		m.add(t, path, filepath.Join("/usr/bin", name))
	}
	m.write(t, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	m.write(t, "/etc/nsswitch.conf", "passwd: files\ngroup: files\n", 0o644)
	m.write(t, "/etc/group", "root:x:0:\n", 0o644)
	m.write(t, "/var/lib/dpkg/status", "", 0o644)
	m.write(t, "/dev/null", "", 0o666)
	for _, dir := range []string{"/root", "/tmp", "/var/lib/dpkg/alternatives", "/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/log"} {
		m.mkdir(t, dir)
	}
	if err := os.Symlink("usr/bin", m.at("/bin")); err != nil {
		t.Fatal(err)
	}
	m.mkdir(t, "/proc")
	if err := syscall.Mount("proc", m.at("/proc"), "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(m.at("/proc"), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return m
}

// at is where a path of the machine lies.
func (m machine) at(path string) string { return filepath.Join(m.root, path) }

func (m machine) mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(m.at(path), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (m machine) write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	m.mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(m.at(path), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func (m machine) read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(m.at(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// add copies a program and what it is linked with.
func (m machine) add(t *testing.T, from, to string) {
	t.Helper()
	files := map[string]string{from: to}
	linked, _ := exec.Command("ldd", from).Output() // it fails for a static program and for a script
	for _, found := range library.FindAllStringSubmatch(string(linked), -1) {
		files[found[1]] = found[1]
	}
	for from, to := range files {
		m.mkdir(t, filepath.Dir(to))
		if err := stand.CopyFile(from, m.at(to)); err != nil {
			t.Fatal(err)
		}
	}
}

// command is one that is run there with an environment of its own.
func (m machine) command(ctx context.Context, env map[string]string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Path, cmd.Err, cmd.Dir = name, nil, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// must runs a command to its good end and returns all that it said.
func (m machine) must(t *testing.T, env map[string]string, name string, args ...string) string {
	t.Helper()
	out, err := m.command(t.Context(), env, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// instance returns a server's environment, with the role of a person, and puts the API's root certificate into the machine.
func (m machine) instance(t *testing.T, p *person) map[string]string {
	t.Helper()
	env := maps.Clone(p.Env)
	root, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "/etc/ssl/cert.pem", string(root), 0o644)
	env["SSL_CERT_FILE"] = "/etc/ssl/cert.pem"
	return env
}

// start runs a program there as a service manager would, until the test is over.
func (m machine) start(t *testing.T, env map[string]string, line string) *agent {
	t.Helper()
	words := strings.Fields(line)
	a := &agent{cmd: m.command(context.Background(), env, words[0], words[1:]...), ended: make(chan struct{})}
	a.begin(t)
	return a
}

// packages builds the packages of this machine's architecture, and returns where they are.
func packages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("../scripts/packages/build", dir)
	build.Env = append(os.Environ(), "ARCHES="+string(bytes.TrimSpace(arch)))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building packages (make .cache/bin/nfpm is needed once): %v\n%s", err, out)
	}
	return dir
}

// only returns the one file of a pattern.
func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}
