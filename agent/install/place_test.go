package install_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/agent/install"
	"github.com/stile-dev/stile/pkg/fault"
)

func make0(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestSec_S88_NothingIsInstalledWhereOthersCanReplaceIt: the configuration and the unit say what root does.
func TestSec_S88_NothingIsInstalledWhereOthersCanReplaceIt(t *testing.T) {
	// The test's directory is below /tmp, where everybody may make files.
	dir := t.TempDir()
	real, link, loose := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "loose.yaml")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	make0(t, loose, "", 0o666)
	for path, want := range map[string]struct {
		code fault.Code
		says string
	}{
		"/etc/stile-of-no-test/below/agent.yaml": {"", ""},
		"/etc/passwd":                            {"", ""},
		"/etc":                                   {fault.BadInput, "/etc is not a file"},
		"/etc/passwd/agent.yaml":                 {fault.BadInput, "can't be read"},
		filepath.Join(real, "agent.yaml"):        {fault.Denied, "they can change /"},
		filepath.Join(real, "none/agent.yaml"):   {fault.Denied, "they can change /"},
		filepath.Join(link, "agent.yaml"):        {fault.BadInput, link + " is a symbolic link"},
		link:                                     {fault.BadInput, link + " is a symbolic link"},
		loose:                                    {fault.Denied, "they can change " + loose},
	} {
		err := install.Guarded(path, "make it root's")
		if want.code == "" {
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if f := fault.From(err); f.Code != want.code || !strings.Contains(f.Message, want.says) || f.Hint == "" {
			t.Errorf("%s: %v, %+v", path, err, f)
		}
	}
	p := install.Plan{Settings: minimal(), File: filepath.Join(real, "agent.yaml"), Program: executable(t)}
	if err := p.Show(new(strings.Builder)); fault.From(err).Code != fault.Denied || !strings.Contains(err.Error(), "agent.yaml") {
		t.Errorf("a plan for there: %v", err)
	}
}

// owned is a file of somebody's.
type owned struct {
	os.FileInfo
	user, group uint32
	mode        os.FileMode
}

func (o owned) Mode() os.FileMode { return o.mode }
func (o owned) Sys() any          { return &syscall.Stat_t{Uid: o.user, Gid: o.group} }

func TestSec_S88_OnlyWhatRootAloneMayChangeIsRoots(t *testing.T) {
	for _, c := range []struct {
		file   owned
		others bool
	}{
		{owned{mode: 0o755}, false},
		{owned{mode: 0o600}, false},
		{owned{mode: 0o755, group: 50}, false},
		{owned{mode: os.ModeDir | 0o755}, false},
		{owned{mode: 0o755, user: 1000}, true}, // who can give themselves the right to write
		{owned{mode: 0o555, user: 1000}, true},
		{owned{mode: 0o775, group: 50}, true},
		{owned{mode: 0o775}, true}, // by an access control list, as it may be
		{owned{mode: 0o757}, true},
		{owned{mode: os.ModeDir | os.ModeSticky | 0o777}, true},
	} {
		if got := install.Others(c.file); got != c.others {
			t.Errorf("%s of %d:%d: %v", c.file.mode, c.file.user, c.file.group, got)
		}
	}
}

// executable is a program that is root's.
func executable(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSec_S88_AFileIsReplacedWholeOrNotAtAll, by a new one: whatever lies where that is made is neither written to nor followed.
func TestSec_S88_AFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for name, prepare := range map[string]func(t *testing.T, path, others string){
		"nothing there":      func(*testing.T, string, string) {},
		"a former one":       func(t *testing.T, path, _ string) { make0(t, path, "former", 0o666) },
		"a rest":             func(t *testing.T, path, _ string) { make0(t, path+".new", "rest", 0o666) },
		"a link as its rest": func(t *testing.T, path, others string) { must(t, os.Symlink(others, path+".new")) },
		"a hard link":        func(t *testing.T, path, others string) { must(t, os.Link(others, path+".new")) },
		"a link":             func(t *testing.T, path, others string) { must(t, os.Symlink(others, path)) },
	} {
		dir := t.TempDir()
		path, others := filepath.Join(dir, "etc", "agent.yaml"), filepath.Join(dir, "others")
		make0(t, others, "others", 0o644)
		must(t, os.Mkdir(filepath.Dir(path), 0o755))
		prepare(t, path, others)
		must(t, install.Put(path, "new", 0o644))
		info, err := os.Lstat(path)
		must(t, err)
		left, err := os.ReadDir(filepath.Dir(path))
		must(t, err)
		if got := read(t, path) + " " + read(t, others); got != "new others" || info.Mode() != 0o644 || len(left) != 1 {
			t.Errorf("%s: %q, mode %s, %d files", name, got, info.Mode(), len(left))
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.yaml")
	must(t, os.MkdirAll(filepath.Join(path, "full"), 0o755))
	if err := install.Put(path, "new", 0o600); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("over a directory: %v", err)
	}
	if _, err := os.Lstat(path + ".new"); err == nil {
		t.Error("something is left")
	}
	must(t, os.MkdirAll(filepath.Join(dir, "other.new", "full"), 0o755))
	if err := install.Put(filepath.Join(dir, "other"), "new", 0o600); err == nil {
		t.Error("a directory was in the way, and no error")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}
