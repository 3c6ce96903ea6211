package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/lambda"
	"github.com/stile-dev/stile/localstack/resource"
)

// bin is where the test function lies, as functions/fn.
var bin string

func TestMain(m *testing.M) {
	code, err := withFunction(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withFunction(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "fn")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "functions", "fn"), "./testdata/fn")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building the test function: %w", err)
	}
	return m.Run(), nil
}

const role = "arn:aws:iam::111122223333:role/fn"

func trust(service string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`
}

func authority(t *testing.T) *iam.Authority {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := a.PutRole(iam.Role{Name: "fn", Trust: json.RawMessage(trust("lambda.amazonaws.com"))}); err != nil {
		t.Fatal(err)
	}
	return a
}

// world is a host with room for changes of its configuration.
type world struct {
	*lambda.Host
	log, state string
}

func newWorld(t *testing.T, change func(*lambda.Config)) world {
	t.Helper()
	c := lambda.Config{
		Authority: authority(t), BinDir: bin, LogDir: t.TempDir(), StateDir: t.TempDir(), Endpoint: "http://127.0.0.1:1",
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	h, err := lambda.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return world{h, c.LogDir, c.StateDir}
}

func (w world) put(t *testing.T, name string, more map[string]any) {
	t.Helper()
	if _, err := w.Provision(function(name, more)); err != nil {
		t.Fatal(err)
	}
}

func function(name string, more map[string]any) resource.Resource {
	properties := map[string]any{"FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Timeout": "10", "Code": map[string]any{"S3Bucket": "b", "S3Key": "k"}}
	maps.Copy(properties, more)
	return resource.Resource{Stack: "S", StackID: "id", LogicalID: "L" + name, Type: "AWS::Lambda::Function", Properties: properties, Metadata: map[string]any{"stile:binary": "functions/fn"}}
}

func (w world) call(t *testing.T, name, payload string) lambda.Result {
	t.Helper()
	result, err := w.Invoke(t.Context(), name, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestInvokeEchoes(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", nil)
	for _, name := range []string{"fn", "arn:aws:lambda:us-east-1:111122223333:function:fn", "111122223333:function:fn", "fn:$LATEST"} {
		if got := w.call(t, name, `{"a": 1}`); string(got.Payload) != `{"a": 1}` || got.Failed {
			t.Errorf("%s answered %s, failed %v", name, got.Payload, got.Failed)
		}
	}
	if _, err := w.Invoke(t.Context(), "nobody", nil); !errors.Is(err, lambda.ErrNoFunction) {
		t.Errorf("error %v", err)
	}
}

func TestTheEnvironmentIsLambdasAndTheTemplatesAlone(t *testing.T) {
	t.Setenv("MY_SECRET", "from the developer's shell")
	w := newWorld(t, nil)
	w.put(t, "fn", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"STILE_TABLE": "t", "AWS_REGION": "mars-1"}}})
	var got struct{ All []string }
	if err := json.Unmarshal(w.call(t, "fn", `{"Do": "env"}`).Payload, &got); err != nil {
		t.Fatal(err)
	}
	has := func(prefix string) bool {
		return slices.ContainsFunc(got.All, func(v string) bool { return strings.HasPrefix(v, prefix) })
	}
	for _, want := range []string{
		"STILE_TABLE=t", "AWS_REGION=us-east-1", "AWS_LAMBDA_FUNCTION_NAME=fn", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/fn", "AWS_LAMBDA_LOG_STREAM_NAME=", "AWS_ACCESS_KEY_ID=ASIA", "AWS_SESSION_TOKEN=", "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=",
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1",
	} {
		if !has(want) {
			t.Errorf("%s is missing in %v", want, got.All)
		}
	}
	if has("MY_SECRET") || has("HOME=") || has("AWS_REGION=mars") {
		t.Errorf("the environment holds what it must not: %v", got.All)
	}
}

func TestFailuresHaveLambdasShape(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", map[string]any{"Timeout": "1"})
	w.put(t, "init-crash", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"INIT": "crash"}}})
	w.put(t, "init-error", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"INIT": "error"}}})
	for _, c := range []struct{ function, payload, kind, message string }{
		{"fn", `{"Do": "fail"}`, "Mine", "on purpose"},
		{"fn", `{"Do": "crash"}`, "Runtime.ExitError", "exit status 7"},
		{"fn", `{"Do": "hang"}`, "Sandbox.Timedout", "Task timed out after 1.00 seconds"},
		{"fn", `{"Do": "big"}`, "Function.ResponseSizeTooLarge", "exceeded maximum"},
		{"init-crash", `{}`, "Runtime.ExitError", "exit status 3"},
		{"init-error", `{}`, "Bad.Config", "no table"},
	} {
		t.Run(c.function+" "+c.payload, func(t *testing.T) {
			result := w.call(t, c.function, c.payload)
			var shape struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal(result.Payload, &shape); err != nil || !result.Failed || shape.ErrorType != c.kind || !strings.Contains(shape.ErrorMessage, c.message) {
				t.Errorf("failed %v, payload %s", result.Failed, result.Payload)
			}
		})
	}
	if got := w.call(t, "fn", `{"ok": 1}`); got.Failed { // a new instance took the place of those that died
		t.Errorf("after the failures: %s", got.Payload)
	}
}

func TestAnInstanceTakesOneRequestAtATimeAndAtMostFourStand(t *testing.T) {
	for name, c := range map[string]struct {
		more map[string]any
		most int
	}{
		"none reserved": {nil, 4},
		"two reserved":  {map[string]any{"ReservedConcurrentExecutions": "2"}, 2},
		"more reserved": {map[string]any{"ReservedConcurrentExecutions": 9}, 4},
	} {
		t.Run(name, func(t *testing.T) { atMost(t, c.more, c.most) })
	}
}

// atMost wants so many instances of a function to stand, however many requests wait.
func atMost(t *testing.T, more map[string]any, most int) {
	t.Helper()
	w := newWorld(t, nil)
	w.put(t, "fn", more)
	gate := filepath.Join(t.TempDir(), "gate")
	const requests = 9
	var group sync.WaitGroup
	pids := make(chan int, requests)
	payload, err := json.Marshal(map[string]string{"Do": "wait", "File": gate})
	if err != nil {
		t.Fatal(err)
	}
	for range requests {
		group.Go(func() {
			result, err := w.Invoke(context.Background(), "fn", payload)
			var got struct{ PID int }
			if err == nil {
				err = json.Unmarshal(result.Payload, &got)
			}
			if err != nil {
				t.Error(err)
			}
			pids <- got.PID
		})
	}
	started := func() int {
		raw, err := os.ReadFile(filepath.Join(w.log, "fn.log"))
		if err != nil {
			return 0
		}
		return strings.Count(string(raw), "started")
	}
	eventually(t, "the instances", func() bool { return started() == most })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	close(pids)
	seen := map[int]int{}
	for pid := range pids {
		seen[pid]++
	}
	if len(seen) != most || started() != most {
		t.Errorf("%d processes answered, %d were started: %v", len(seen), started(), seen)
	}
}

func TestAFullQueueIsRefused(t *testing.T) {
	w := newWorld(t, func(c *lambda.Config) { c.Instances, c.Queue = 1, 1 })
	w.put(t, "fn", nil)
	gate := filepath.Join(t.TempDir(), "gate")
	payload := []byte(`{"Do": "wait", "File": "` + gate + `"}`)
	var group sync.WaitGroup
	refused := make(chan error, 1)
	eventually(t, "a refusal", func() bool {
		group.Go(func() {
			if _, err := w.Invoke(context.Background(), "fn", payload); err != nil {
				select {
				case refused <- err:
				default:
				}
			}
		})
		return len(refused) == 1
	})
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if err := <-refused; !errors.Is(err, lambda.ErrBusy) {
		t.Errorf("error %v", err)
	}
}

func TestAnIdleInstanceIsEnded(t *testing.T) {
	w := newWorld(t, func(c *lambda.Config) { c.Idle = 50 * time.Millisecond })
	w.put(t, "fn", nil)
	var got struct{ PID int }
	if err := json.Unmarshal(w.call(t, "fn", `{"Do": "env"}`).Payload, &got); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is gone", func() bool { return errors.Is(syscall.Kill(got.PID, 0), syscall.ESRCH) })
	if again := w.call(t, "fn", `{"x": 1}`); again.Failed {
		t.Errorf("after idling out: %s", again.Payload)
	}
}

func TestWarmStartsOneInstance(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", nil)
	w.put(t, "broken", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"INIT": "crash"}}})
	for range 2 {
		if err := w.Warm(t.Context(), "fn"); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(w.log, "fn.log"))
	if err != nil || strings.Count(string(raw), "started") != 1 {
		t.Errorf("%v: log %s", err, raw)
	}
	if err := w.Warm(t.Context(), "broken"); err == nil || !strings.Contains(err.Error(), "broken.log") {
		t.Errorf("error %v", err)
	}
}

func TestProvisionRefuses(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]struct {
		change func(*resource.Resource)
		want   string
	}{
		"a function without a binary":    {func(r *resource.Resource) { r.Metadata = nil }, `"stile:binary" is missing`},
		"a binary that is not built":     {func(r *resource.Resource) { r.Metadata = map[string]any{"stile:binary": "functions/none"} }, "no binary"},
		"a binary outside the directory": {func(r *resource.Resource) { r.Metadata = map[string]any{"stile:binary": "../../bin/sh"} }, "not a path below"},
		"another runtime":                {func(r *resource.Resource) { r.Properties["Runtime"] = "python3.13" }, "only provided"},
		"an unknown property":            {func(r *resource.Resource) { r.Properties["VpcConfig"] = map[string]any{} }, `"VpcConfig"`},
		"no execution at all":            {func(r *resource.Resource) { r.Properties["ReservedConcurrentExecutions"] = 0 }, "ReservedConcurrentExecutions"},
		"a role that does not exist":     {func(r *resource.Resource) { r.Properties["Role"] = role + "x" }, "cannot be assumed by Lambda"},
	} {
		t.Run(name, func(t *testing.T) {
			r := function("fn", nil)
			c.change(&r)
			if _, err := w.Provision(r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestARoleThatDoesNotTrustLambdaRunsNothing(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Authority.PutRole(iam.Role{Name: "other", Trust: json.RawMessage(trust("ecs-tasks.amazonaws.com"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Provision(function("fn", map[string]any{"Role": "arn:aws:iam::111122223333:role/other"})); err == nil || !strings.Contains(err.Error(), "cannot be assumed by Lambda") {
		t.Errorf("error %v", err)
	}
}

func TestAServiceNeedsAPermission(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", nil)
	const api = "arn:aws:execute-api:us-east-1:111122223333:abc/prod/GET/v1/me"
	if _, err := w.InvokeAs(t.Context(), "apigateway.amazonaws.com", api, "fn", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "AWS::Lambda::Permission is missing") {
		t.Fatalf("error %v", err)
	}
	permit := resource.Resource{Stack: "S", LogicalID: "P", Type: "AWS::Lambda::Permission", Properties: map[string]any{
		"Action": "lambda:InvokeFunction", "FunctionName": "fn", "Principal": "apigateway.amazonaws.com",
		"SourceArn": "arn:aws:execute-api:us-east-1:111122223333:abc/prod/*",
	}}
	if _, err := w.Provision(permit); err != nil {
		t.Fatal(err)
	}
	if _, err := w.InvokeAs(t.Context(), "apigateway.amazonaws.com", api, "fn", []byte(`{}`)); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"apigateway.amazonaws.com", strings.Replace(api, ":abc/", ":xyz/", 1)}, {"events.amazonaws.com", api}} {
		if _, err := w.InvokeAs(t.Context(), c[0], c[1], "fn", []byte(`{}`)); err == nil {
			t.Errorf("%s may invoke for %s", c[0], c[1])
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

func contextFor(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
