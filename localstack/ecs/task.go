package ecs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// taskSpec is AWS::ECS::TaskDefinition.
type taskSpec struct {
	Family                  string
	CPU, Memory             property.Text
	NetworkMode             string
	RequiresCompatibilities []string
	RuntimePlatform         raw
	TaskRoleArn             string
	ExecutionRoleArn        string
	Volumes                 raw
	ContainerDefinitions    []containerSpec
}

type containerSpec struct {
	Name                   string
	Image                  string
	Essential              property.Bool
	Environment            []struct{ Name, Value property.Text }
	PortMappings           []portSpec
	StopTimeout            property.Int
	ReadonlyRootFilesystem property.Bool
	LogConfiguration       raw
	LinuxParameters        raw
	Ulimits                raw
	MountPoints            raw
}

type portSpec struct {
	ContainerPort property.Int
	Protocol      string
}

// taskDefinition is what a service starts.
type taskDefinition struct {
	role      string
	path      string // of the binary
	container containerSpec
}

func (h *Host) putTask(r resource.Resource) (resource.Outcome, error) {
	var spec taskSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if len(spec.ContainerDefinitions) != 1 {
		return resource.Outcome{}, fmt.Errorf("property ContainerDefinitions: a task must have exactly one container here, not %d", len(spec.ContainerDefinitions))
	}
	if spec.TaskRoleArn == "" {
		return resource.Outcome{}, errors.New("property TaskRoleArn is missing")
	}
	path, err := h.binary(r.Metadata["stile:binary"])
	if err != nil {
		return resource.Outcome{}, err
	}
	arn := h.arn("ecs", fmt.Sprintf("task-definition/%s:%d", spec.Family, r.Generation+1))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tasks[arn] = taskDefinition{role: spec.TaskRoleArn, path: path, container: spec.ContainerDefinitions[0]}
	return resource.Outcome{Ref: arn}, nil
}

// binary finds the program that a template names: a path below BinDir, or the name without its stile-.
func (h *Host) binary(metadata any) (string, error) {
	name, _ := metadata.(string)
	if name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf(`metadata "stile:binary" is %q; it must name the binary that runs here, such as "proxy"`, name)
	}
	for _, candidate := range []string{name, "stile-" + name} {
		path := filepath.Join(h.BinDir, filepath.FromSlash(candidate))
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no binary %s or stile-%s in %s; build it, or correct the metadata stile:binary", name, name, h.BinDir)
}

// taskName returns the name that task n of a service has as a process.
func taskName(service string, n int) string { return fmt.Sprintf("%s-%d", service, n) }

// start makes sure that task n of a service is running and returns the address that it listens on, "" without a port.
func (h *Host) start(ctx context.Context, service string, n int, t taskDefinition) (string, error) {
	name := taskName(service, n)
	identity, err := h.Roles.Grant(Claim{
		Name: "task/" + name, Service: "ecs-tasks.amazonaws.com", Source: h.arn("ecs", "task/"+name), Role: t.role, Session: "task-" + strconv.Itoa(n),
	})
	if err != nil {
		return "", err
	}
	home := filepath.Join(h.HomeDir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("starting task %s: %w", name, err)
	}
	env := map[string]string{
		"PATH": imagePath, "TZ": "UTC", "HOME": home, "SSL_CERT_FILE": h.TrustFile,
		"AWS_REGION": h.Authority.Region(), "AWS_DEFAULT_REGION": h.Authority.Region(), "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_ENDPOINT_URL": h.Endpoint,
	}
	maps.Copy(env, closedProxy)
	for _, variable := range t.container.Environment {
		env[string(variable.Name)] = string(variable.Value)
	}
	maps.Copy(env, identity)
	address, err := h.listen(name, t.container, env)
	if err != nil {
		return "", err
	}
	list := make([]string, 0, len(env))
	for key, value := range env {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return address, h.Supervisor.Ensure(ctx, process.Spec{
		Name: name, Path: t.path, Env: list, Dir: home,
		Log: filepath.Join(h.LogDir, name+".log"), StopTimeout: time.Duration(t.container.StopTimeout) * time.Second,
	})
}

// imagePath is the PATH of an image that sets none.
const imagePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// closedProxy sends clients that forget the endpoint to a port where nobody listens (9, discard).
var closedProxy = map[string]string{
	"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
	"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
}

// listen gives a task its own port on loopback. On Fargate each task has its own address and listens on
// all of it; here tasks share one machine, so every variable that says ":<container port>" is given the
// task's address instead.
func (h *Host) listen(name string, c containerSpec, env map[string]string) (string, error) {
	if len(c.PortMappings) == 0 {
		return "", nil
	}
	if len(c.PortMappings) > 1 {
		return "", errors.New("property PortMappings: one port is supported")
	}
	port, err := h.Port(name)
	if err != nil {
		return "", err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	wanted, told := fmt.Sprintf(":%d", c.PortMappings[0].ContainerPort), false
	for key, value := range env {
		if value == wanted || value == "0.0.0.0"+wanted || value == "[::]"+wanted {
			env[key], told = address, true
		}
	}
	if !told {
		return "", fmt.Errorf("no environment variable of container %s is %q: it can't be told where to listen", c.Name, wanted)
	}
	return address, nil
}
