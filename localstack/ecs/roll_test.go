package ecs_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/balance"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
)

// env is a variable of a container.
func env(name, value string) any { return map[string]any{"Name": name, "Value": value} }

// service is what deploy makes, with a task definition of this environment.
func (w world) service(t *testing.T, count string, environment ...any) resource.Resource {
	t.Helper()
	task := w.put(t, "AWS::ECS::TaskDefinition", container(environment...))
	group := w.put(t, "AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"Protocol": "TCP", "Port": "8443", "TargetType": "ip"})
	w.put(t, "AWS::ElasticLoadBalancingV2::Listener", map[string]any{
		"LoadBalancerArn": "lb", "Port": "9443", "Protocol": "TCP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": group.Ref}},
	})
	return resource.Resource{Stack: "S", StackID: "id", LogicalID: "L", Begun: true, Type: "AWS::ECS::Service", Properties: map[string]any{
		"ServiceName": "proxy", "Cluster": "stile", "TaskDefinition": task.Ref, "DesiredCount": count,
		"LoadBalancers": []any{map[string]any{"ContainerName": "proxy", "ContainerPort": "8443", "TargetGroupArn": group.Ref}},
	}}
}

// layout is what the load balancer is told now.
func (w world) layout(t *testing.T) balance.Layout {
	t.Helper()
	raw, err := os.ReadFile(w.balancer)
	var layout balance.Layout
	if err = errors.Join(err, json.Unmarshal(raw, &layout)); err != nil || len(layout.Listeners) != 1 {
		t.Fatalf("%v: %s", err, raw)
	}
	return layout
}

func alive(t *testing.T, w world) (names []string) {
	t.Helper()
	for _, r := range process.List(w.run) {
		if r.Alive() {
			names = append(names, r.Name)
		}
	}
	return names
}

func TestNewTasksRunAndAreInRotationBeforeOldOnesAreToldToEnd(t *testing.T) {
	w := newWorld(t)
	w.Late = 120 // a second and a half, and a second
	if _, err := w.Provision(w.service(t, "2")); err != nil {
		t.Fatal(err)
	}
	old := w.layout(t).Listeners[0].Targets
	done := make(chan error, 1)
	next := w.service(t, "2", env("NEW", "1"))
	go func() { _, err := w.Provision(next); done <- err }()
	began, most := time.Now(), 0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deployed := false; !deployed; {
		select {
		case err := <-done:
			if deployed = true; err != nil {
				t.Fatal(err)
			}
		case <-tick.C:
			targets := w.layout(t).Listeners[0].Targets
			if most = max(most, len(targets)); len(targets) < 2 {
				t.Fatalf("only %v are registered", targets)
			}
			for _, address := range old {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					_ = conn.Close()
				} else if time.Since(began) < 1500*time.Millisecond {
					t.Fatalf("an old task ended before a new one could be in rotation: %v", err)
				}
			}
		}
	}
	if l := w.layout(t); most != 4 || len(l.Listeners[0].Targets) != 2 || l.Late.Register != 1500*time.Millisecond || l.Late.Deregister != time.Second {
		t.Errorf("up to %d were registered, now %+v", most, l)
	}
	if names := strings.Join(alive(t, w), " "); names != "proxy-2 proxy-3" {
		t.Errorf("there run %s", names)
	}
}

func TestTasksThatDoNotStayUpFailTheDeploymentAndTheOldOnesGoOn(t *testing.T) {
	for name, variable := range map[string]any{"before they listen": env("STILE_EXIT", "0s"), "a second later": env("STILE_EXIT", "1s")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.service(t, "2")
			out, err := w.Provision(before)
			if err != nil {
				t.Fatal(err)
			}
			targets, pids := w.layout(t).Listeners[0].Targets, map[string]int{}
			for _, r := range process.List(w.run) {
				pids[r.Name] = r.PID
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			failed := make(chan error, 1)
			broken := w.service(t, "2", variable)
			broken.PhysicalID = out.Ref
			go func() { _, err := w.Provision(broken); failed <- err }()
			select {
			case err = <-failed:
			case <-ctx.Done():
				t.Fatal("the deployment goes on and on")
			}
			if err == nil || !strings.Contains(err.Error(), "circuit breaker") || !strings.Contains(err.Error(), "proxy-2.log") {
				t.Errorf("it failed with %v", err)
			}
			before.PhysicalID = out.Ref
			if _, err := w.Provision(before); err != nil { // the rollback
				t.Fatal(err)
			}
			for _, r := range process.List(w.run) {
				if pids[r.Name] != r.PID {
					t.Errorf("%s is process %d, and was %d", r.Name, r.PID, pids[r.Name])
				}
			}
			if now := w.layout(t).Listeners[0].Targets; strings.Join(now, " ") != strings.Join(targets, " ") || len(alive(t, w)) != 2 {
				t.Errorf("registered are %v, and were %v; there run %v", now, targets, alive(t, w))
			}
		})
	}
}
