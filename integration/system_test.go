package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/clean"
)

// repository is where the tests run from.
const repository = ".."

// reader is a role of these tests alone that may read all tables and buckets, to see that nothing changed, and write items, to put wrong ones there.
const reader = "IntegrationReader"

// system is one whole system, in directories of its own and on ports of its own.
type system struct {
	root  string // bin, infra/templates and localstack/account.yaml, copied so that a test may change them
	state string
}

// shared is the system that most tests use. Whoever stops a part of it brings it back.
var shared *system

func TestMain(m *testing.M) { os.Exit(start(m)) }

// start gives the tests a directory of their own, and the user a clean home where it can: what somebody's login shell
// reads at its start is not ours to wait for.
func start(m *testing.M) int {
	dir := clean.Dir()
	if dir == "" {
		made, err := os.MkdirTemp("", "stile-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		dir = made
	}
	ran, status, err := clean.Run(dir)
	if ran {
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "note:", err)
	}
	if ran {
		return status
	}
	return run(m, dir)
}

func run(m *testing.M, dir string) int {
	var err error
	shared, err = newSystem(dir)
	if err == nil {
		_, err = shared.up()
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if code != 0 && shared != nil {
		fmt.Fprint(os.Stderr, shared.logs())
	}
	if shared != nil {
		if err := shared.down(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if clean.Dir() != "" {
		return code // who started this process removes the directory
	}
	if err := os.RemoveAll(dir); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// newSystem copies what a system is made of below dir, building the programs if they are missing.
func newSystem(dir string) (*system, error) {
	if _, err := os.Stat(filepath.Join(repository, "bin", "localstack")); errors.Is(err, fs.ErrNotExist) {
		if out, err := exec.Command("make", "-C", repository, "--no-print-directory", "build").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building: %w\n%s", err, out)
		}
	}
	s := &system{root: filepath.Join(dir, "root"), state: filepath.Join(dir, "state")}
	for _, part := range []string{"bin", "infra/templates", "localstack/account.yaml"} {
		if err := linkTree(filepath.Join(repository, part), filepath.Join(s.root, part)); err != nil {
			return nil, fmt.Errorf("copying %s: %w", part, err)
		}
	}
	return s, s.admitPeople()
}

// linkTree copies a tree; programs become links to the same file where the file system allows it.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if strings.Contains(filepath.ToSlash(from), "/bin") && os.Link(path, target) == nil {
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}

// admitPeople adds to the copies those whom only tests need: the reader with its policy in the Data stack, a
// node of the demo's role, and somebody whom no rule lets in.
func (s *system) admitPeople() error {
	account := filepath.Join(s.root, "localstack/account.yaml")
	text, err := os.ReadFile(account)
	if err != nil {
		return err
	}
	people := fmt.Sprintf("    admin: true\n  - {env: env.reader, home: reader, role: %s, session: reader}\n"+
		"  - {env: env.node, home: node, role: demo-node, session: i-0fedcba9876543210}\n"+
		"  - {env: env.stranger, home: stranger, role: Stranger, session: stranger}\n", reader)
	if err := os.WriteFile(account, []byte(strings.Replace(string(text), "    admin: true\n", people, 1)), 0o644); err != nil {
		return err
	}
	return s.changeTemplate("StileData", func(t map[string]any) error {
		t["Resources"].(map[string]any)["IntegrationReaderPolicy"] = map[string]any{
			"Type": "AWS::IAM::Policy",
			"Properties": map[string]any{
				"PolicyName": "read-everything",
				"Roles":      []any{reader},
				"PolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
					"Effect":   "Allow",
					"Action":   []any{"dynamodb:ListTables", "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:PutItem", "s3:ListAllMyBuckets", "s3:ListBucket", "s3:GetObject"},
					"Resource": "*",
				}}},
			},
		}
		return nil
	})
}

// changeTemplate rewrites one template of this system's copy.
func (s *system) changeTemplate(stack string, change func(map[string]any) error) error {
	path := filepath.Join(s.root, "infra/templates", stack+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var t map[string]any
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := change(t); err != nil {
		return err
	}
	if b, err = json.MarshalIndent(t, "", " "); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// localstack runs a command of the local AWS for this system and gives its output.
func (s *system) localstack(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := s.command(ctx, command).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("localstack %s: %w\n%s", command, err, out)
	}
	return string(out), nil
}

func (s *system) command(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "bin/localstack"), command, "-root", s.root, "-state", s.state)
	cmd.Env = append(os.Environ(), "STILE_PORTS=auto", "STILE_STATE="+s.state)
	return cmd
}

func (s *system) up() (string, error) { return s.localstack("up") }

func (s *system) down() error {
	_, err := s.localstack("down")
	return err
}

// logs gives the ends of all logs, for whoever reads why a test failed.
func (s *system) logs() string {
	var b strings.Builder
	names, _ := filepath.Glob(filepath.Join(s.state, "log", "*"))
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

// pid is the process id of a part of the system, as the local AWS recorded it.
func (s *system) pid(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.state, "run", name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(b, &record); err != nil || record.PID <= 1 {
		t.Fatalf("%s has no process id: %v in %s", name, err, b)
	}
	return record.PID
}

// eventually waits until the condition gives "" and fails with its last words after the deadline.
func eventually(t *testing.T, within time.Duration, condition func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := condition()
	for last != "" {
		select {
		case <-ctx.Done():
			t.Fatalf("still after %s: %s", within, last)
		case <-tick.C:
			last = condition()
		}
	}
}
