package ecs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
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
	Volumes                 []volumeSpec
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
	MountPoints            []mountSpec
}

type volumeSpec struct{ Name string }

type mountSpec struct {
	SourceVolume  string
	ContainerPath string
	ReadOnly      property.Bool
}

type portSpec struct {
	ContainerPort property.Int
	Protocol      string
}

// taskDefinition is what a service starts.
type taskDefinition struct {
	role      string
	execution string // the role that pulls the image
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
	if err := spec.check(); err != nil {
		return resource.Outcome{}, err
	}
	arn := h.arn("ecs", fmt.Sprintf("task-definition/%s:%d", spec.Family, r.Generation+1))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tasks[arn] = taskDefinition{role: spec.TaskRoleArn, execution: spec.ExecutionRoleArn, container: spec.ContainerDefinitions[0]}
	return resource.Outcome{Ref: arn}, nil
}

// check refuses what would be another container here than on Fargate.
func (s taskSpec) check() error {
	c := s.ContainerDefinitions[0]
	if s.ExecutionRoleArn == "" {
		return errors.New("property ExecutionRoleArn is missing: nobody may pull the image")
	}
	if !c.ReadonlyRootFilesystem {
		return errors.New("property ReadonlyRootFilesystem: only true is supported")
	}
	for _, m := range c.MountPoints {
		declared := slices.ContainsFunc(s.Volumes, func(v volumeSpec) bool { return v.Name == m.SourceVolume })
		if !declared || bool(m.ReadOnly) || !inside(m.ContainerPath) {
			return fmt.Errorf("property MountPoints: %q at %q must be a volume of the task, writable, at an absolute path", m.SourceVolume, m.ContainerPath)
		}
	}
	return nil
}

// taskName returns the name that task n of a service has as a process.
func taskName(service string, n int) string { return fmt.Sprintf("%s-%d", service, n) }

// claimName names the credentials of task n of a service.
func claimName(service string, n int) string { return "task/" + taskName(service, n) }

// logOf returns where a task writes what it says.
func (h *Host) logOf(name string) string { return filepath.Join(h.LogDir, name+".log") }

// start makes sure that task n of a service is running.
func (h *Host) start(ctx context.Context, service string, n int, t taskDefinition) error {
	name := taskName(service, n)
	identity, err := h.Roles.Grant(Claim{
		Name: claimName(service, n), Service: "ecs-tasks.amazonaws.com", Source: h.arn("ecs", "task/"+name), Role: t.role, Session: "task-" + strconv.Itoa(n),
	})
	if err != nil {
		return err
	}
	spec, root, err := h.prepare(service, n, t, identity)
	if err != nil {
		return err
	}
	spec, why := h.possible(spec)
	if why != nil {
		h.Log.Warn("A task runs unconfined, with this user's rights", "name", name, "cause", why.Error())
	}
	if err := h.Supervisor.Ensure(ctx, spec); err != nil {
		return err
	}
	return h.tidy(name, root)
}

// prepare unpacks a task's image, and returns how the task is run and the root that it has.
func (h *Host) prepare(service string, n int, t taskDefinition, identity map[string]string) (spec process.Spec, root string, err error) {
	name := taskName(service, n)
	box, err := h.unpack(name, t)
	if err != nil {
		return spec, "", fmt.Errorf("starting task %s: %w", name, err)
	}
	env := map[string]string{
		"PATH": imagePath, "TZ": "UTC", "HOME": "/",
		"AWS_REGION": h.Authority.Region(), "AWS_DEFAULT_REGION": h.Authority.Region(), "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_ENDPOINT_URL": h.Endpoint,
	}
	maps.Copy(env, closedProxy)
	for _, variable := range t.container.Environment {
		env[string(variable.Name)] = string(variable.Value)
	}
	maps.Copy(env, identity)
	if err := h.listen(service, n, t, env); err != nil {
		return spec, "", err
	}
	list := make([]string, 0, len(env))
	for key, value := range env {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	spec = process.Spec{
		Name: name, Path: box.entrypoint[0], Args: box.entrypoint[1:], Env: list, Dir: box.dir,
		Log: h.logOf(name), StopTimeout: time.Duration(t.container.StopTimeout) * time.Second,
		Jail: &process.Jail{Root: box.root, UID: box.uid, GID: box.gid},
	}
	return spec, box.root, nil
}

// possible returns how a task can be run on this machine, and why it is unconfined then, nil if it is confined.
func (h *Host) possible(s process.Spec) (process.Spec, error) {
	if err := s.Jail.Possible(); err != nil {
		return h.unconfined(s), err
	}
	return s, nil
}

// unconfined runs a program from its unpacked image, where this user can't be given a root of its own.
func (h *Host) unconfined(s process.Spec) process.Spec {
	s.Path, s.Dir = filepath.Join(s.Jail.Root, s.Path), s.Jail.Root
	s.Env = append(slices.Clone(s.Env), "SSL_CERT_FILE="+filepath.Join(s.Jail.Root, rootsPath))
	s.Jail = nil
	return s
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
func (h *Host) listen(service string, n int, t taskDefinition, env map[string]string) error {
	address, err := h.address(service, n, t)
	if err != nil || address == "" {
		return err
	}
	wanted, told := fmt.Sprintf(":%d", t.container.PortMappings[0].ContainerPort), false
	for key, value := range env {
		if value == wanted || value == "0.0.0.0"+wanted || value == "[::]"+wanted {
			env[key], told = address, true
		}
	}
	if !told {
		return fmt.Errorf("no environment variable of container %s is %q: it can't be told where to listen", t.container.Name, wanted)
	}
	return nil
}

// address returns where task n of a service listens, "" for one without a port.
func (h *Host) address(service string, n int, t taskDefinition) (string, error) {
	switch len(t.container.PortMappings) {
	case 0:
		return "", nil
	case 1:
		port, err := h.Port(taskName(service, n))
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
	}
	return "", errors.New("property PortMappings: one port is supported")
}
