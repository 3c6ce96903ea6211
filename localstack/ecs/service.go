package ecs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/balance"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types lists what the host provides.
func (h *Host) Types() []string {
	return []string{
		"AWS::ECS::Cluster", "AWS::ECS::TaskDefinition", "AWS::ECS::Service",
		"AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::ElasticLoadBalancingV2::Listener",
	}
}

// Provision creates or updates one resource.
func (h *Host) Provision(r resource.Resource) (resource.Outcome, error) {
	switch r.Type {
	case "AWS::ECS::Cluster":
		return h.putCluster(r)
	case "AWS::ECS::TaskDefinition":
		return h.putTask(r)
	case "AWS::ECS::Service":
		return h.putService(r)
	case "AWS::ElasticLoadBalancingV2::LoadBalancer":
		return h.putBalancer(r)
	case "AWS::ElasticLoadBalancingV2::TargetGroup":
		return h.putGroup(r)
	case "AWS::ElasticLoadBalancingV2::Listener":
		return h.putListener(r)
	}
	return resource.Outcome{}, fmt.Errorf("the local ECS does not provide %s", r.Type)
}

func (h *Host) putCluster(r resource.Resource) (resource.Outcome, error) {
	var spec struct{ ClusterName string }
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	return resource.Outcome{Ref: spec.ClusterName, Attributes: map[string]any{"Arn": h.arn("ecs", "cluster/"+spec.ClusterName)}}, nil
}

// serviceSpec is AWS::ECS::Service.
type serviceSpec struct {
	ServiceName    string
	Cluster        string
	TaskDefinition string
	DesiredCount   *property.Int
	LaunchType     string
	PropagateTags  string // nothing here has tags
	LoadBalancers  []struct {
		ContainerName  string
		ContainerPort  property.Int
		TargetGroupArn string
	}
	HealthCheckGracePeriodSeconds property.Int
	NetworkConfiguration          raw
	DeploymentConfiguration       deployment
}

// deployment is how a service is to be deployed.
type deployment struct {
	MinimumHealthyPercent, MaximumPercent *property.Int
	DeploymentCircuitBreaker              struct{ Enable, Rollback property.Bool }
}

// check refuses what isn't done here.
func (d deployment) check() error {
	if d.MinimumHealthyPercent != nil && *d.MinimumHealthyPercent != 100 || d.MaximumPercent != nil && *d.MaximumPercent != 200 {
		return errors.New("property DeploymentConfiguration: only a MinimumHealthyPercent of 100 and a MaximumPercent of 200 are supported")
	}
	if b := d.DeploymentCircuitBreaker; !bool(b.Enable) || !bool(b.Rollback) {
		return errors.New("property DeploymentConfiguration: DeploymentCircuitBreaker must be enabled, with rollback: " +
			"without it ECS goes on with a deployment that can't succeed until CloudFormation gives up, after three hours")
	}
	return nil
}

func (h *Host) putService(r resource.Resource) (resource.Outcome, error) {
	var spec serviceSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if err := spec.DeploymentConfiguration.check(); err != nil {
		return resource.Outcome{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	task, ok := h.tasks[spec.TaskDefinition]
	if !ok {
		return resource.Outcome{}, fmt.Errorf("property TaskDefinition: no task definition %s", spec.TaskDefinition)
	}
	// ECS starts a task again that couldn't pull its image, so a service outlasts the time that a new role's policies need.
	<-time.After(h.Authority.Unsettled(task.execution))
	count := 1
	if spec.DesiredCount != nil {
		count = max(0, min(int(*spec.DesiredCount), MaxTasks))
	}
	name := spec.ServiceName
	if h.services[name] && r.New() {
		return resource.Outcome{}, fmt.Errorf("service %s: %w", name, resource.ErrExists)
	}
	h.services[name] = true
	arn := h.arn("ecs", "service/"+spec.Cluster[strings.LastIndexByte(spec.Cluster, '/')+1:]+"/"+name)
	return resource.Outcome{Ref: arn, Attributes: map[string]any{"Name": name, "ServiceArn": arn}}, h.roll(context.Background(), spec, task, count)
}

// listener is one port of a load balancer.
type listener struct {
	port  int
	group string
}

// targetGroup is where a listener's connections go.
type targetGroup struct {
	proxyProtocol bool
	delay         time.Duration // of deregistration
}

// defaultDelay is the deregistration delay of a target group that says nothing about it.
const defaultDelay = 300

// read takes over the attributes that have an effect here.
func (g *targetGroup) read(attributes []attribute) error {
	seconds := defaultDelay
	for _, a := range attributes {
		switch a.Key {
		case "proxy_protocol_v2.enabled":
			g.proxyProtocol = a.Value == "true"
		case "deregistration_delay.timeout_seconds":
			n, err := strconv.Atoi(string(a.Value))
			if err != nil || n < 0 || n > 3600 {
				return fmt.Errorf("property TargetGroupAttributes: %s is %q, and must be a number from 0 to 3600", a.Key, a.Value)
			}
			seconds = n
		}
	}
	g.delay = time.Duration(seconds) * time.Second
	return nil
}

// attribute is an entry of LoadBalancerAttributes and TargetGroupAttributes.
type attribute struct{ Key, Value property.Text }

func (h *Host) putBalancer(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		Type, Scheme, IPAddressType string
		LoadBalancerAttributes      []attribute
		Subnets, SecurityGroups     raw
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if spec.Type != "network" {
		return resource.Outcome{}, fmt.Errorf("property Type: only network is supported, not %q", spec.Type)
	}
	full := fmt.Sprintf("net/%s/%016x", r.LogicalID, r.Generation)
	arn := h.arn("elasticloadbalancing", "loadbalancer/"+full)
	return resource.Outcome{Ref: arn, Attributes: map[string]any{"DNSName": "127.0.0.1", "LoadBalancerFullName": full}}, nil
}

func (h *Host) putGroup(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		Protocol, TargetType, VpcID, HealthCheckProtocol                                                      string
		Port                                                                                                  property.Int
		TargetGroupAttributes                                                                                 []attribute
		HealthCheckEnabled                                                                                    property.Bool
		HealthCheckIntervalSeconds, HealthCheckTimeoutSeconds, HealthyThresholdCount, UnhealthyThresholdCount property.Int
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if spec.Protocol != "TCP" || (spec.HealthCheckProtocol != "" && spec.HealthCheckProtocol != "TCP") {
		return resource.Outcome{}, errors.New("properties Protocol and HealthCheckProtocol: only TCP is supported")
	}
	full := fmt.Sprintf("targetgroup/%s/%016x", r.LogicalID, r.Generation)
	arn := h.arn("elasticloadbalancing", full)
	var group targetGroup
	if err := group.read(spec.TargetGroupAttributes); err != nil {
		return resource.Outcome{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups[arn] = group
	return resource.Outcome{Ref: arn, Attributes: map[string]any{"TargetGroupFullName": full}}, nil
}

func (h *Host) putListener(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		LoadBalancerArn, Protocol string
		Port                      property.Int
		DefaultActions            []struct{ Type, TargetGroupArn string }
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if spec.Protocol != "TCP" || len(spec.DefaultActions) != 1 || spec.DefaultActions[0].Type != "forward" || spec.DefaultActions[0].TargetGroupArn == "" {
		return resource.Outcome{}, errors.New("properties Protocol and DefaultActions: only a TCP listener that forwards to one target group is supported")
	}
	arn := spec.LoadBalancerArn + "/listener/" + r.LogicalID
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[arn] = listener{port: int(spec.Port), group: spec.DefaultActions[0].TargetGroupArn}
	return resource.Outcome{Ref: arn}, h.publish()
}

// publish writes the load balancer's configuration; h.mu is held. Nothing is written until a service is up: a
// balancer that an earlier local AWS left goes on with what it has.
func (h *Host) publish() error {
	layout := h.layout()
	if len(layout.Listeners) == 0 {
		return nil
	}
	return layout.Write(h.Balancer)
}

// layout is the load balancer's configuration, without the listeners that have no targets; h.mu is held.
func (h *Host) layout() (layout balance.Layout) {
	layout.Late = h.late()
	for _, l := range h.listeners {
		if targets := h.targets[l.group]; len(targets) > 0 {
			layout.Listeners = append(layout.Listeners, balance.Listener{Listen: fmt.Sprintf("127.0.0.1:%d", l.port), Targets: targets, ProxyProtocol: h.groups[l.group].proxyProtocol})
		}
	}
	return layout
}
