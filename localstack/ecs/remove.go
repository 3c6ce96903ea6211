package ecs

import (
	"fmt"
	"strings"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Remove deletes what Provision made. A service is gone when its tasks have ended.
func (h *Host) Remove(r resource.Resource) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Type {
	case "AWS::ECS::Service":
		return h.dropService(r)
	case "AWS::ECS::TaskDefinition":
		delete(h.tasks, r.PhysicalID)
	case "AWS::ElasticLoadBalancingV2::Listener":
		delete(h.listeners, r.PhysicalID)
		return h.layout().Write(h.Balancer)
	case "AWS::ElasticLoadBalancingV2::TargetGroup":
		for arn, l := range h.listeners {
			if l.group == r.PhysicalID {
				return fmt.Errorf("target group %s is currently in use by listener %s", r.PhysicalID, arn)
			}
		}
		delete(h.groups, r.PhysicalID)
		delete(h.targets, r.PhysicalID)
	case "AWS::ElasticLoadBalancingV2::LoadBalancer":
		for arn := range h.listeners {
			if strings.HasPrefix(arn, r.PhysicalID+"/") {
				delete(h.listeners, arn)
			}
		}
		return h.layout().Write(h.Balancer)
	}
	return nil
}

// dropService takes the tasks off the load balancer, and ends them; h.mu is held.
func (h *Host) dropService(r resource.Resource) error {
	var spec serviceSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return err
	}
	for _, lb := range spec.LoadBalancers {
		delete(h.targets, lb.TargetGroupArn)
	}
	if err := h.layout().Write(h.Balancer); err != nil {
		return err
	}
	delete(h.services, spec.ServiceName)

	all := make([]int, slots)
	for n := range all {
		all[n] = n
	}
	return h.retire(spec.ServiceName, all)
}
