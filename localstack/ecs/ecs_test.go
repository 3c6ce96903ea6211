package ecs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/balance"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
)

// bin is where the test container lies, as stile-task.
var bin string

func TestMain(m *testing.M) {
	code, err := withTask(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withTask(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "task")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "stile-task"), "./testdata/task")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // what runs in an image finds no libraries there
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building the test container: %w", err)
	}
	return m.Run(), nil
}

const (
	role      = "arn:aws:iam::111122223333:role/fleet"
	execution = "arn:aws:iam::111122223333:role/execution"
	taskTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole",
		"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnLike":{"aws:SourceArn":"arn:aws:ecs:us-east-1:111122223333:*"}}}]}`
)

// world is a host whose processes end with the test.
type world struct {
	*ecs.Host
	balancer, run, home string
	trust               string // the file of the API's root
	images              *shelf
	authority           *iam.Authority
}

func newWorld(t *testing.T) world {
	t.Helper()
	authority, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333", Settle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = authority.Close() })
	for _, name := range []string{"fleet", "execution"} {
		if _, err := authority.PutRole(iam.Role{Name: name, Trust: json.RawMessage(taskTrust)}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	roles, err := ecs.OpenCredentials(authority, t.TempDir(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle(ecs.CredentialsPath, roles)
	run := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	supervisor := process.NewSupervisor(run, log)
	t.Cleanup(func() {
		supervisor.Release()
		for _, r := range process.List(run) {
			if err := r.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	w := world{
		balancer: filepath.Join(t.TempDir(), "balancer.json"), run: run, home: t.TempDir(), trust: filepath.Join(t.TempDir(), "root.pem"),
		images: &shelf{image: image(t, nil)}, authority: authority,
	}
	if err := os.WriteFile(w.trust, []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Host, err = ecs.New(ecs.Config{
		Authority: authority, Supervisor: supervisor, Roles: roles, Registry: w.images, LogDir: t.TempDir(), HomeDir: w.home,
		Balancer: w.balancer, Endpoint: server.URL, TrustFile: w.trust, Port: ports{}.of, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ports are those of tasks, the same one each time for a name.
type ports map[string]int

func (p ports) of(name string) (int, error) {
	if port, ok := p[name]; ok {
		return port, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	p[name] = l.Addr().(*net.TCPAddr).Port
	return p[name], nil
}

func (w world) put(t *testing.T, typ string, properties map[string]any) resource.Outcome {
	t.Helper()
	out, err := w.Provision(resource.Resource{Stack: "S", StackID: "id", LogicalID: "L", Begun: true, Type: typ, Properties: properties})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func container(environment ...any) map[string]any {
	return map[string]any{
		"TaskRoleArn": role, "ExecutionRoleArn": execution, "Volumes": []any{map[string]any{"Name": "state"}},
		"ContainerDefinitions": []any{map[string]any{
			"Name": "proxy", "Image": "image", "Essential": true, "StopTimeout": "2", "ReadonlyRootFilesystem": true,
			"MountPoints": []any{map[string]any{"SourceVolume": "state", "ContainerPath": "/var/lib/task", "ReadOnly": false}},
			"Environment": append([]any{map[string]any{"Name": "STILE_LISTEN", "Value": ":8443"}}, environment...), "PortMappings": []any{map[string]any{"ContainerPort": "8443", "Protocol": "tcp"}},
		}},
	}
}

// deploy makes a service behind a load balancer and returns what its tasks answer.
func (w world) deploy(t *testing.T, count string, environment ...any) []answer {
	t.Helper()
	task := w.put(t, "AWS::ECS::TaskDefinition", container(append(environment, map[string]any{"Name": "STILE_PUBLIC_ADDR", "Value": "127.0.0.1:9443"})...))
	group := w.put(t, "AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"Protocol": "TCP", "Port": "8443", "TargetType": "ip", "TargetGroupAttributes": []any{map[string]any{"Key": "proxy_protocol_v2.enabled", "Value": "true"}}})
	lb := w.put(t, "AWS::ElasticLoadBalancingV2::LoadBalancer", map[string]any{"Type": "network", "Subnets": []any{"a"}})
	if lb.Attributes["DNSName"] != "127.0.0.1" {
		t.Errorf("DNS name %v", lb.Attributes["DNSName"])
	}
	// Metrics know both by the end of the ARN, which for a target group begins with its kind.
	if name, _ := lb.Attributes["LoadBalancerFullName"].(string); !strings.HasPrefix(name, "net/") || !strings.HasSuffix(lb.Ref, ":loadbalancer/"+name) {
		t.Errorf("the full name of %s is %q", lb.Ref, name)
	}
	if name, _ := group.Attributes["TargetGroupFullName"].(string); !strings.HasPrefix(name, "targetgroup/") || !strings.HasSuffix(group.Ref, ":"+name) {
		t.Errorf("the full name of %s is %q", group.Ref, name)
	}
	w.put(t, "AWS::ElasticLoadBalancingV2::Listener", map[string]any{"LoadBalancerArn": lb.Ref, "Port": "9443", "Protocol": "TCP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": group.Ref}}})
	w.put(t, "AWS::ECS::Service", map[string]any{
		"ServiceName": "proxy", "DeploymentConfiguration": rolling, "Cluster": "stile", "TaskDefinition": task.Ref, "DesiredCount": count,
		"LoadBalancers": []any{map[string]any{"ContainerName": "proxy", "ContainerPort": "8443", "TargetGroupArn": group.Ref}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(w.balancer)
	var layout balance.Layout
	if err == nil {
		err = json.Unmarshal(raw, &layout)
	}
	if err != nil || len(layout.Listeners) != 1 || layout.Listeners[0].Listen != "127.0.0.1:9443" || !layout.Listeners[0].ProxyProtocol {
		t.Fatalf("%v, layout %s", err, raw)
	}
	var answers []answer
	for _, target := range layout.Listeners[0].Targets {
		answers = append(answers, ask(t, target))
	}
	return answers
}

type answer struct {
	PID         int
	Env         []string
	Credentials string
	UID         int
	Files       []string // all that it sees
	Wrote       []string // where it could write
	TLS         string   // what became of a call to TLS_URL
}

func ask(t *testing.T, address string) (a answer) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestATaskRunsOnLoopbackWithItsRolesCredentials(t *testing.T) {
	t.Setenv("MY_SECRET", "from the developer's shell")
	a := newWorld(t).deploy(t, "1")[0]
	for _, want := range []string{"STILE_PUBLIC_ADDR=127.0.0.1:9443", "AWS_REGION=us-east-1", "HTTPS_PROXY=http://127.0.0.1:9", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"} {
		if !slices.Contains(a.Env, want) {
			t.Errorf("%s is missing in %v", want, a.Env)
		}
	}
	for _, variable := range a.Env {
		if strings.HasPrefix(variable, "MY_SECRET") || strings.HasPrefix(variable, "AWS_SECRET") || strings.HasPrefix(variable, "SSL_CERT") {
			t.Errorf("the environment holds %s", variable)
		}
		if listen, ok := strings.CutPrefix(variable, "STILE_LISTEN="); ok && !strings.HasPrefix(listen, "127.0.0.1:") {
			t.Errorf("the task listens on %s", listen)
		}
	}
	var credentials struct{ RoleArn, AccessKeyID, SecretAccessKey, Token, Expiration string }
	if err := json.Unmarshal([]byte(a.Credentials), &credentials); err != nil || credentials.RoleArn != role || !strings.HasPrefix(credentials.AccessKeyID, "ASIA") || credentials.Token == "" {
		t.Errorf("%v, credentials %s", err, a.Credentials)
	}
	if at, err := time.Parse(time.RFC3339, credentials.Expiration); err != nil || time.Until(at) < time.Hour {
		t.Errorf("%v, expiration %s", err, credentials.Expiration)
	}
}

func TestAServiceThatCouldNotStartAllItsTasksHasNone(t *testing.T) {
	w := newWorld(t)
	port := w.Port
	w.Port = func(name string) (int, error) {
		if name == "proxy-1" {
			return 0, errors.New("no port is free")
		}
		return port(name)
	}
	task := w.put(t, "AWS::ECS::TaskDefinition", container())
	r := resource.Resource{Stack: "S", StackID: "id", LogicalID: "L", Type: "AWS::ECS::Service", Properties: map[string]any{
		"ServiceName": "proxy", "DeploymentConfiguration": rolling, "Cluster": "stile", "TaskDefinition": task.Ref, "DesiredCount": "2",
	}}
	out, err := w.Provision(r)
	if err == nil || out.Ref == "" || len(process.List(w.run)) != 0 {
		t.Fatalf("%v, %+v, %v", err, out, process.List(w.run))
	}
	if _, err := w.Provision(r); !errors.Is(err, resource.ErrExists) {
		t.Errorf("a second service of that name: %v", err)
	}
	r.PhysicalID = out.Ref
	if err := w.Remove(r); err != nil {
		t.Fatal(err)
	}
	if left := process.List(w.run); len(left) != 0 {
		t.Errorf("there are still %v", left)
	}
}

func TestTheDesiredCountIsHonouredBothWays(t *testing.T) {
	w := newWorld(t)
	three := w.deploy(t, "3")
	if len(three) != 3 || three[0].PID == three[1].PID {
		t.Errorf("%d tasks", len(three))
	}
	w.deploy(t, "1")
	names := []string{}
	for _, r := range process.List(w.run) {
		names = append(names, r.Name)
	}
	if diff := cmp.Diff([]string{"proxy-0"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestSec_CredentialsNeedPathAndToken(t *testing.T) {
	w := newWorld(t)
	claim := ecs.Claim{Name: "x", Service: "ecs-tasks.amazonaws.com", Source: "arn:aws:ecs:us-east-1:111122223333:task/x", Role: role, Session: "task-0"}
	env, err := w.Roles.Grant(claim)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Roles.Grant(claim)
	if diff := cmp.Diff(env, again); err != nil || diff != "" {
		t.Errorf("%v, the second time %s", err, diff)
	}
	uri, token := env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	for _, c := range []struct {
		uri, token string
		want       int
	}{{uri, token, 200}, {uri, "", 403}, {uri, token + "x", 403}, {uri + "x", token, 403}, {strings.TrimSuffix(uri, filepath.Base(uri)), token, 403}} {
		request, err := http.NewRequest(http.MethodGet, c.uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", c.token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s with %q: %d, want %d", c.uri, c.token, response.StatusCode, c.want)
		}
	}
	for _, bad := range []ecs.Claim{
		{Name: "y", Service: "ec2.amazonaws.com", Source: claim.Source, Role: role, Session: "ab"},
		{Name: "y", Service: claim.Service, Source: "arn:aws:ecs:us-east-1:999999999999:task/x", Role: role, Session: "ab"},
		{Name: "y", Service: claim.Service, Source: claim.Source, Role: role + "x", Session: "ab"},
	} {
		if _, err := w.Roles.Grant(bad); err == nil {
			t.Errorf("%+v was granted", bad)
		}
	}
}

// without is a task definition that lacks a property.
func without(property string) map[string]any {
	c := container()
	delete(c, property)
	return c
}

func TestProvisionRefuses(t *testing.T) {
	w := newWorld(t)
	deaf := container()
	deaf["ContainerDefinitions"].([]any)[0].(map[string]any)["Environment"] = []any{}
	task := w.put(t, "AWS::ECS::TaskDefinition", deaf)
	for name, c := range map[string]struct {
		typ        string
		properties map[string]any
		want       string
	}{
		"a container that can't be told where": {"AWS::ECS::Service", map[string]any{"Cluster": "c", "DeploymentConfiguration": rolling, "TaskDefinition": task.Ref}, `no environment variable of container proxy is ":8443"`},
		"nobody who pulls":                     {"AWS::ECS::TaskDefinition", without("ExecutionRoleArn"), "ExecutionRoleArn"},
		"a volume that isn't declared":         {"AWS::ECS::TaskDefinition", without("Volumes"), "MountPoints"},
		"two containers":                       {"AWS::ECS::TaskDefinition", map[string]any{"ContainerDefinitions": []any{map[string]any{}, map[string]any{}}}, "exactly one container"},
		"an application load balancer":         {"AWS::ElasticLoadBalancingV2::LoadBalancer", map[string]any{"Type": "application"}, "only network"},
		"a TLS listener":                       {"AWS::ElasticLoadBalancingV2::Listener", map[string]any{"Protocol": "TLS", "Port": "1"}, "only a TCP listener"},
		"an unknown property":                  {"AWS::ECS::Cluster", map[string]any{"Colour": "red"}, `"Colour"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := resource.Resource{Stack: "S", LogicalID: "L", Type: c.typ, Properties: c.properties}
			if _, err := w.Provision(r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
