package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/template"
)

// programs is where the tests' own function and container were built.
var programs string

// TestMain plays this very program when up starts it again as serve or balance.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "balance") {
		main()
		return
	}
	code, err := withPrograms(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withPrograms(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "localstack")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs = dir
	for name, source := range map[string]string{"fn": "./lambda/testdata/fn", "task": "./ecs/testdata/task", "image": "../functions/image", "stock": "../functions/stock"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // what runs in an image finds no libraries there
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return 1, fmt.Errorf("building %s: %w", source, err)
		}
	}
	return m.Run(), nil
}

// The command line and the agent of the tests: the first remembers what exists in a file, the second is up
// while it runs.
const (
	fakeStile = `#!/bin/sh
mkdir -p "$STILE_HOME"
echo "$@" >> "$STILE_HOME/calls"
case "$1" in
get) grep -qx "$2" "$STILE_HOME/made" 2>/dev/null || exit 5 ;;
ls) echo '[{"name": "node-1", "online": true}, {"name": "node-2", "online": true}, {"name": "node-3", "online": false}]' ;;
create) sed -n 's/^kind: //p; s/^  name: //p' "$3" | paste -sd/ >> "$STILE_HOME/made" ;;
esac
`
	fakeAgent = `#!/bin/sh
case "$1" in
run) cp "$3" copy.yaml; env > env; touch state; exec sleep 1000 ;;
status) test -f "$(dirname "$3")/state" ;;
esac
`
)

// repository lays out a root with the real templates and account.yaml, and the tests' programs.
func repository(t *testing.T) place {
	t.Helper()
	root := t.TempDir()
	copyFile := func(from, to string, mode os.FileMode) {
		t.Helper()
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(root, to)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, to), raw, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range stacks {
		copyFile("../infra/templates/"+name+".json", "infra/templates/"+name+".json", 0o644)
		raw, err := os.ReadFile("../infra/templates/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`"(functions/[a-z-]+)"`).FindAllStringSubmatch(string(raw), -1) {
			copyFile(filepath.Join(programs, "fn"), "bin/"+match[1], 0o755)
		}
	}
	for _, function := range []string{"image", "stock"} {
		copyFile(filepath.Join(programs, function), "bin/functions/"+function, 0o755)
	}
	for _, program := range []string{"stile-proxy", "stile-agent-amd64", "stile-agent-arm64"} {
		copyFile(filepath.Join(programs, "task"), "bin/"+program, 0o755)
	}
	copyFile("account.yaml", "localstack/account.yaml", 0o644)
	for name, script := range map[string]string{"stile": fakeStile, "stile-agent": fakeAgent} {
		if err := os.WriteFile(filepath.Join(root, "bin", name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p, err := newPlace(root, filepath.Join(root, ".stile"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down(context.Background(), p, io.Discard); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustUp(t *testing.T, p place) string {
	t.Helper()
	var out bytes.Buffer
	if err := up(t.Context(), p, scale{}, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pidOf(t *testing.T, p place, name string) int {
	t.Helper()
	r, ok := process.Load(p.run(), name)
	if !ok || !r.Alive() {
		t.Fatalf("%s does not run", name)
	}
	return r.PID
}

func stackID(t *testing.T, p place) string {
	t.Helper()
	state, err := template.OpenState(filepath.Join(p.aws(), "stacks.json"))
	if err != nil {
		t.Fatal(err)
	}
	return state.Stacks["StileData"].ID
}

func TestUpTwiceDownAndUpAgain(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	first := mustUp(t, p)
	if n := strings.Count(first, "\n"); n > 10 || !strings.HasPrefix(first, "stile is up\n") || !strings.Contains(first, "env && stile login --iam") {
		t.Errorf("%d lines:\n%s", n, first)
	}
	proxy, serve, cluster := pidOf(t, p, "stile-proxy-0"), pidOf(t, p, serveName), stackID(t, p)

	if second := mustUp(t, p); !strings.HasPrefix(second, "stile is already up\n") || pidOf(t, p, serveName) != serve {
		t.Errorf("the second time:\n%s", second)
	}
	calls, err := os.ReadFile(filepath.Join(p.home("ada"), "calls"))
	want := "login --iam\nget iam_mapping/engineers\ncreate -f " + p.run() + "/iam_mapping-engineers.yaml\nget token/demo-nodes\ncreate -f " + p.run() + "/token-demo-nodes.yaml\n"
	if err != nil || string(calls) != want {
		t.Errorf("%v, the administrator typed\n%s", err, calls)
	}

	if err := syscall.Kill(serve, syscall.SIGKILL); err != nil { // what it started goes on and is adopted
		t.Fatal(err)
	}
	mustUp(t, p)
	if pidOf(t, p, "stile-proxy-0") != proxy {
		t.Error("the proxy was restarted though it lived")
	}

	record, _ := process.Load(p.run(), "stile-proxy-0")
	var out bytes.Buffer
	if err := down(t.Context(), p, &out); err != nil || !strings.Contains(out.String(), "stile is down") {
		t.Fatalf("%v: %s", err, out.String())
	}
	if left := process.List(p.run()); len(left) != 0 || record.Alive() {
		t.Errorf("after down: %v", left)
	}
	mustUp(t, p)
	if stackID(t, p) != cluster {
		t.Error("the cluster got another id")
	}
}

func TestStacksAreDeletedAndCreatedAgain(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	mustUp(t, p)
	cluster := stackID(t, p)
	if err := down(t.Context(), p, io.Discard); err != nil {
		t.Fatal(err)
	}
	mustUp(t, p) // the second deployment turns termination protection on
	remove := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"delete", "-root", p.root, "-state", p.state}, args...), &out)
		return out.String(), err
	}
	for _, c := range []struct{ stack, want string }{
		{"StileData", "termination protection is enabled"}, {"Other", "name one stack"},
	} {
		if _, err := remove(c.stack); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("deleting %s: %v", c.stack, err)
		}
	}
	for _, name := range []string{"StileFleet", "StileControl"} {
		if text, err := remove(name); err != nil || text != name+" is deleted\n" {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if _, runs := process.Load(p.run(), "stile-proxy-0"); runs {
		t.Error("the proxy of a deleted stack runs")
	}
	text, err := remove("-unprotect", "StileData")
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{"AWS::DynamoDB::Table": 4, "AWS::S3::BucketPolicy": 5, "AWS::KMS::Key": 7, "AWS::Events::EventBus": 1, "AWS::KMS::Alias": 0} {
		if got := strings.Count(text, "  kept "+kind); got != want {
			t.Errorf("%d of %s were kept, want %d:\n%s", got, kind, want, text)
		}
	}
	mustUp(t, p)
	if stackID(t, p) == cluster {
		t.Error("the cluster that was created again has the id of the one before")
	}
	pidOf(t, p, "stile-proxy-0")
}

func TestANewBuildReplacesWhatRuns(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	mustUp(t, p)
	proxy, serve := pidOf(t, p, "stile-proxy-0"), pidOf(t, p, serveName)
	created := answered(t, p)
	touch := func(name string) {
		t.Helper()
		path := filepath.Join(p.bin(), name)
		raw, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path+".new", append(raw, 0), 0o755)
		}
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	touch("functions/rotate")
	mustUp(t, p)
	if pidOf(t, p, serveName) == serve {
		t.Error("the local AWS still runs the earlier build")
	}
	if pidOf(t, p, "stile-proxy-0") != proxy {
		t.Error("the proxy was restarted though its program is the same")
	}
	if got := answered(t, p); got != created+1 {
		t.Errorf("the custom resource was asked %d times, then %d", created, got)
	}
	touch("stile-proxy")
	mustUp(t, p)
	if pidOf(t, p, "stile-proxy-1") == proxy { // it started beside the old one
		t.Error("the proxy still runs the earlier build")
	}
	if _, runs := process.Load(p.run(), "stile-proxy-0"); runs {
		t.Error("the proxy of the earlier build is still there")
	}
}

// answered counts the answers that the function of the trust custom resource put to S3.
func answered(t *testing.T, p place) int {
	t.Helper()
	raw, err := os.ReadFile(p.logOf("stile-rotate"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), "custom: 200 OK")
}

func TestTheEnvironmentFilesCanBeSourced(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	mustUp(t, p)
	for file, home := range map[string]string{"env": "alice", "env.admin": "ada"} {
		path := filepath.Join(p.state, file)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", err, info)
		}
		out, err := exec.Command("/bin/sh", "-c", `set -eu; AWS_PROFILE=x; export AWS_PROFILE; . "$1"; . "$1"; env`, "sh", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			env[name] = value
		}
		if env["STILE_HOME"] != p.home(home) || !strings.HasSuffix(env["STILE_API"], "/prod") || !strings.HasPrefix(env["AWS_ACCESS_KEY_ID"], "ASIA") ||
			env["SSL_CERT_FILE"] != p.trust() || env["AWS_PROFILE"] != "" || strings.Count(env["PATH"], p.bin()) != 1 || !strings.HasPrefix(env["PATH"], p.bin()+":") {
			t.Errorf("%s gives %v", file, env)
		}
	}
}

func TestTheAgentGetsItsRoleAndItsConfiguration(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	mustUp(t, p)
	raw, err := os.ReadFile(filepath.Join(p.home("node-1"), "copy.yaml"))
	if err != nil || !strings.Contains(string(raw), "token: demo-nodes") || !strings.Contains(string(raw), "api: https://127.0.0.1:") {
		t.Errorf("%v, configuration\n%s", err, raw)
	}
	env, err := os.ReadFile(filepath.Join(p.home("node-1"), "env"))
	if err != nil || !strings.Contains(string(env), "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:") || strings.Contains(string(env), "AWS_SECRET_ACCESS_KEY") ||
		strings.Contains(string(env), "AWS_REGION") {
		t.Errorf("%v, environment\n%s", err, env)
	}
}

func TestSec_OnlyTheTokenOpensTheControl(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	mustUp(t, p)
	u, err := newUp(p, scale{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.run(), "control.token"), []byte("guess"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.control(t.Context(), "people"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("error %v", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Setenv("STILE_PORTS", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	o := &ports{path: filepath.Join(p.run(), "ports.json"), AWS: port, API: 1, Proxy: 2}
	if err := o.save(); err != nil {
		t.Fatal(err)
	}
	refused := func(port int, run string) {
		t.Helper()
		err := up(t.Context(), p, scale{}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "port "+strconv.Itoa(port)+" is in use") || !strings.HasSuffix(err.Error(), ": "+run) {
			t.Errorf("error %v", err)
		}
	}
	refused(port, "STILE_PORTS=auto STILE_STATE=.stile-2 make up && . .stile-2/env") // others know the ports
	// Nothing has started in a new one, so there it is enough to choose others; the first choice isn't remembered.
	p = repository(t)
	if l, err := net.Listen("tcp", "127.0.0.1:9010"); err == nil { // else somebody has it
		defer func() { _ = l.Close() }()
	}
	refused(9010, "STILE_PORTS=auto make up")
	if o, err := p.loadPorts(true); err != nil || o.kept || o.AWS == 9010 {
		t.Errorf("ports %+v, %v", o, err)
	}
}

func TestAFailedDeploymentShowsItsCause(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	path := filepath.Join(p.templates(), "StileFleet.json")
	if err := os.WriteFile(path, []byte(`{"Parameters":{"PublicPort":{"Type":"Number"},"DesiredCount":{"Type":"Number"},"ProxyProtocolSources":{"Type":"String"},"LingerSeconds":{"Type":"Number"}},"Resources":{"Q":{"Type":"AWS::Braket::Device"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	err := up(t.Context(), p, scale{}, io.Discard)
	for _, want := range []string{"AWS::Braket::Device is unknown to the local AWS", "The end of " + p.logOf(serveName), "run make up again"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestEveryTypeThatRunsHasAProvider(t *testing.T) {
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	o := &ports{path: filepath.Join(p.run(), "ports.json"), AWS: 1, API: 2, Proxy: 3}
	a, err := account.Load(p.account(), p.variables(o))
	if err != nil {
		t.Fatal(err)
	}
	s, err := cloud.Open(p.cloud(o, a, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d, err := template.New(template.Config{Providers: s.Providers()})
	if err != nil {
		t.Fatal(err)
	}
	if missing := d.Orphans(); len(missing) > 0 {
		t.Errorf("the table says that these run, but nobody provides them: %v", missing)
	}
}

func TestTheREADMEHoldsTheTableOfTypes(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), template.Markdown()) {
		t.Error("README.md does not hold what `localstack types` prints; paste it there")
	}
}

func TestFixedPortsUnlessAutoIsAsked(t *testing.T) {
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	o, err := p.loadPorts(false)
	if err != nil || o.AWS != 9010 || o.API != 9011 || o.Proxy != 9443 {
		t.Errorf("%v, ports %+v", err, o)
	}
}
