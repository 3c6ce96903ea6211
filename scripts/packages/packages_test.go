package packages_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wanted are the files of the packages, with their modes; %s is where zsh looks for completions.
var wanted = map[string][]string{
	"stile-agent": {
		"drwxr-xr-x /etc/stile", "-rwxr-xr-x /usr/bin/stile-agent", "-rw-r--r-- /usr/lib/systemd/system/stile-agent.service",
		"-rw-r--r-- /usr/share/doc/stile-agent/agent.md", "-rw-r--r-- /usr/share/doc/stile-agent/copyright",
	},
	"stile": {
		"-rwxr-xr-x /usr/bin/stile", "-rw-r--r-- /usr/share/bash-completion/completions/stile", "-rw-r--r-- /usr/share/doc/stile/copyright",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/stile.fish", "-rw-r--r-- /usr/share/zsh/%s/_stile",
	},
}

func build(t *testing.T, arches string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("./build", dir)
	cmd.Env = append(os.Environ(), "ARCHES="+arches)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building packages (make .cache/bin/nfpm is needed once): %v\n%s", err, out)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPackagesHoldWhatTheyShouldAndAreTheSameEachTime(t *testing.T) {
	dir := build(t, "amd64 arm64")
	for name, files := range wanted {
		for _, arch := range []string{"amd64", "arm64"} {
			deb := only(t, filepath.Join(dir, name+"_*_"+arch+".deb"))
			if d := cmp.Diff(at(files, "vendor-completions"), listDeb(t, deb)); d != "" {
				t.Errorf("%s: %s", filepath.Base(deb), d)
			}
			rpm := only(t, filepath.Join(dir, name+"_*_"+arch+".rpm"))
			got, listed := readRPM(t, read(t, rpm))
			if d := cmp.Diff(at(files, "site-functions"), listed); d != "" {
				t.Errorf("%s: %s", filepath.Base(rpm), d)
			}
			if want := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]; got.arch != want || got.name != name {
				t.Errorf("%s is of %s for %s", filepath.Base(rpm), got.name, got.arch)
			}
			if name == "stile-agent" && (got.after != read(t, "after-install") || got.before != read(t, "before-remove")) {
				t.Error("the rpm has other scripts")
			}
		}
	}
	again := build(t, "amd64 arm64")
	if d := cmp.Diff(read(t, filepath.Join(dir, "SHA256SUMS")), read(t, filepath.Join(again, "SHA256SUMS"))); d != "" {
		t.Errorf("built again, packages differ: %s", d)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 10 {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is installed says which version it is, and so does its package.
func TestProgramsSayTheVersionOfTheirPackage(t *testing.T) {
	version, err := exec.Command("../version").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(version))
	if !regexp.MustCompile(`^(\d+\.\d+\.\d+|0~\d{14}\.[0-9a-f]{12})(\+dirty)?$`).MatchString(want) {
		t.Errorf("scripts/version prints %q", want)
	}
	dir := build(t, runtime.GOARCH)
	for name, before := range map[string]string{"stile": "stile ", "stile-agent": "stile-agent/"} {
		deb := only(t, filepath.Join(dir, name+"_*.deb"))
		field, err := exec.Command("dpkg-deb", "--field", deb, "Version").Output()
		if err != nil || strings.TrimSpace(string(field)) != want {
			t.Errorf("the package %s has the version %q, want %q: %v", name, field, want, err)
		}
		if got, _ := readRPM(t, read(t, only(t, filepath.Join(dir, name+"_*.rpm")))); got.version != want {
			t.Errorf("the rpm %s has the version %q, want %q", name, got.version, want)
		}
		root := t.TempDir()
		if out, err := exec.Command("dpkg-deb", "--extract", deb, root).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said, err := exec.Command(filepath.Join(root, "usr/bin", name), "version").CombinedOutput()
		if got, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(string(said), before)), " "); err != nil || got != want {
			t.Errorf("%s version says %q, want %s: %v", name, said, want, err)
		}
	}
}

func at(files []string, zsh string) (out []string) {
	for _, f := range files {
		out = append(out, strings.ReplaceAll(f, "%s", zsh))
	}
	return out
}

func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// listDeb lists files, and the directories that hold none of them.
func listDeb(t *testing.T, deb string) (out []string) {
	t.Helper()
	text, err := exec.Command("dpkg-deb", "--contents", deb).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[1] != "root/root" {
			t.Errorf("not root's: %s", line)
		}
		all = append(all, f[0]+" "+strings.TrimSuffix(strings.TrimPrefix(f[5], "."), "/"))
	}
	for _, entry := range all {
		_, path, _ := strings.Cut(entry, " ")
		if entry[0] != 'd' || !strings.Contains(strings.Join(all, "\n"), " "+path+"/") {
			out = append(out, entry)
		}
	}
	return out
}

// systemd lays out what systemd-analyze needs to judge a unit as if it were installed.
func systemd(t *testing.T, unit string) (string, error) {
	t.Helper()
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	if err := os.MkdirAll(units, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`[a-z-]+\.target`).FindAllString(unit+" sysinit.target basic.target shutdown.target", -1) {
		put(t, filepath.Join(units, name), "[Unit]\nDescription=A target\n", 0o644)
	}
	put(t, filepath.Join(units, "system.slice"), "[Unit]\nDescription=A slice\n", 0o644)
	put(t, filepath.Join(root, "usr/bin/stile-agent"), "", 0o755)
	put(t, filepath.Join(units, "stile-agent.service"), unit, 0o644)
	out, err := exec.Command("systemd-analyze", "verify", "--root="+root, "stile-agent.service").CombinedOutput()
	return string(out), err
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

const unitFile = "../../agent/install/stile-agent.service"

func TestSystemdAcceptsTheUnitWithoutAWord(t *testing.T) {
	unit := read(t, unitFile)
	if said, err := systemd(t, unit); err != nil || said != "" {
		t.Errorf("%v: %s", err, said)
	}
	for _, line := range []string{"Restart=always", "KillMode=process", "ExecStart=/usr/bin/stile-agent"} {
		key, _, _ := strings.Cut(line, "=")
		wrong := strings.ReplaceAll(unit, line, key+"=/no/such")
		if said, err := systemd(t, wrong); wrong == unit || err == nil && said == "" {
			t.Errorf("systemd has nothing against another %s, so this test sees nothing", key)
		}
	}
}

// What confines a service confines its children too (systemd.exec(5)), and an agent's are the shells of users.
func TestTheUnitConfinesNoSession(t *testing.T) {
	confines := regexp.MustCompile(`^(Protect|Private|Restrict|NoNew|Capability|Ambient|System|Memory|Lock|ReadOnly|Inaccessible|Temporary|Root|User|Group|Dynamic|Nice|OOMScore|UMask|Slice)`)
	for line := range strings.Lines(read(t, unitFile)) {
		if confines.MatchString(line) {
			t.Errorf("sessions inherit %s", line)
		}
	}
}

// A script of the package is run with stand-ins for systemctl and stile-agent, which say what they were asked for.
func script(t *testing.T, configured, running, idle bool, name string, args ...string) string {
	t.Helper()
	return scriptIn(t, t.TempDir(), configured, running, idle, name, args...)
}

func scriptIn(t *testing.T, root string, configured, running, idle bool, name string, args ...string) string {
	t.Helper()
	status := func(ok bool) string { return fmt.Sprint(map[bool]int{true: 0, false: 1}[ok]) }
	put(t, filepath.Join(root, "bin/systemctl"), "#!/bin/sh\necho \"systemctl $*\"\n[ \"$1\" != is-active ] || exit "+status(running)+"\n", 0o755)
	put(t, filepath.Join(root, "bin/stile-agent"), "#!/bin/sh\necho \"agent $*\"\nexit "+status(idle)+"\n", 0o755)
	if err := os.MkdirAll(filepath.Join(root, "systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if configured {
		put(t, filepath.Join(root, "agent.yaml"), "", 0o600)
	}
	text := strings.NewReplacer("/run/systemd/system", filepath.Join(root, "systemd"), "/etc/stile/agent.yaml", filepath.Join(root, "agent.yaml"),
		"/etc/systemd/system/", filepath.Join(root, "own")+"/").Replace(read(t, name))
	put(t, filepath.Join(root, name), text, 0o755)
	cmd := exec.Command("dash", append([]string{"-eu", filepath.Join(root, name)}, args...)...)
	cmd.Env = []string{"PATH=" + filepath.Join(root, "bin") + ":/usr/bin:/bin"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out.String())
	}
	return strings.ReplaceAll(out.String(), root, "")
}

func TestThePackagesScriptsStartAndStopOnlyWhatTheyMay(t *testing.T) {
	const reload, active, ask = "systemctl daemon-reload\n", "systemctl is-active --quiet stile-agent.service\n", "agent status --idle --config /agent.yaml\n"
	for name, c := range map[string]struct {
		configured, running, idle bool
		script                    string
		args                      []string
		want                      string
	}{
		"deb, new":                        {false, false, false, "after-install", []string{"configure", ""}, reload + "stile-agent: not configured yet; see: stile-agent install --help\n"},
		"rpm, new":                        {false, false, false, "after-install", []string{"1"}, reload + "stile-agent: not configured yet; see: stile-agent install --help\n"},
		"deb, with a configuration":       {true, false, false, "after-install", []string{"configure", ""}, reload + "systemctl enable stile-agent.service\nsystemctl start stile-agent.service\n"},
		"rpm, with a configuration":       {true, false, false, "after-install", []string{"1"}, reload + "systemctl enable stile-agent.service\nsystemctl start stile-agent.service\n"},
		"deb, upgrade without users":      {true, true, true, "after-install", []string{"configure", "1.0"}, reload + active + ask + "systemctl restart stile-agent.service\n"},
		"rpm, upgrade without users":      {true, true, true, "after-install", []string{"2"}, reload + active + ask + "systemctl restart stile-agent.service\n"},
		"deb, upgrade with users":         {true, true, false, "after-install", []string{"configure", "1.0"}, reload + active + ask + goesOn},
		"rpm, upgrade with users":         {true, true, false, "after-install", []string{"2"}, reload + active + ask + goesOn},
		"deb, upgrade of a stopped one":   {true, false, true, "after-install", []string{"configure", "1.0"}, reload + active + "stile-agent: it was stopped and stays so; start it with: systemctl start stile-agent\n"},
		"deb, another step":               {true, true, true, "after-install", []string{"abort-upgrade", "1.0"}, ""},
		"deb, removal for an upgrade":     {true, true, true, "before-remove", []string{"upgrade", "2.0"}, ""},
		"rpm, removal for an upgrade":     {true, true, true, "before-remove", []string{"1"}, ""},
		"deb, removal for good":           {true, true, true, "before-remove", []string{"remove"}, "systemctl disable --now stile-agent.service\n"},
		"rpm, removal for good":           {true, true, true, "before-remove", []string{"0"}, "systemctl disable --now stile-agent.service\n"},
		"deb, after the removal for good": {true, false, true, "after-remove", []string{"remove"}, reload},
	} {
		if d := cmp.Diff(c.want, script(t, c.configured, c.running, c.idle, c.script, c.args...)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// A unit below /etc takes the place of the package's: where it starts another program, the package's is not used, and says so.
func TestThePackageSaysThatAnotherUnitKeepsItFromBeingUsed(t *testing.T) {
	for program, used := range map[string]bool{"/usr/local/bin/stile-agent": false, "/usr/bin/stile-agent-2": false, "/usr/bin/stile-agent": true} {
		for _, args := range [][]string{{"configure", ""}, {"configure", "1.0"}, {"1"}, {"2"}} {
			root := t.TempDir()
			unit := strings.ReplaceAll(read(t, unitFile), "ExecStart=/usr/bin/stile-agent ", "ExecStart="+program+" ")
			put(t, filepath.Join(root, "own/stile-agent.service"), unit, 0o644)
			said := scriptIn(t, root, true, true, true, "after-install", args...)
			started := strings.Contains(said, "start stile-agent.service")
			if told := strings.Contains(said, "is not used until you run: rm /own/stile-agent.service && "); told == used || started != used {
				t.Errorf("%s, %q: %s", program, args, said)
			}
		}
	}
}

const goesOn = "stile-agent: the old version goes on, because a restart ends sessions; when it may, run: systemctl restart stile-agent\n"
