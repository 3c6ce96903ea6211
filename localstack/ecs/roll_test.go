package ecs_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/balance"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
)

// env is a variable of a container.
func env(name, value string) any { return map[string]any{"Name": name, "Value": value} }

// rolling is the only way to deploy that there is.
var rolling = map[string]any{
	"MinimumHealthyPercent": "100", "MaximumPercent": 200.0, "DeploymentCircuitBreaker": map[string]any{"Enable": true, "Rollback": "true"},
}

// service is what deploy makes, with a task definition of this environment.
func (w world) service(t *testing.T, count string, environment ...any) resource.Resource {
	t.Helper()
	task := w.put(t, "AWS::ECS::TaskDefinition", container(environment...))
	group := w.put(t, "AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"Protocol": "TCP", "Port": "8443", "TargetType": "ip"})
	w.put(t, "AWS::ElasticLoadBalancingV2::Listener", map[string]any{
		"LoadBalancerArn": "lb", "Port": "9443", "Protocol": "TCP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": group.Ref}},
	})
	return resource.Resource{Stack: "S", StackID: "id", LogicalID: "L", Begun: true, Type: "AWS::ECS::Service", Properties: map[string]any{
		"ServiceName": "proxy", "DeploymentConfiguration": rolling, "Cluster": "stile", "TaskDefinition": task.Ref, "DesiredCount": count,
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

// takes reports whether somebody takes connections at an address.
func takes(address string) bool {
	conn, err := net.Dial("tcp", address)
	return err == nil && conn.Close() == nil
}

func TestTasksAreDeregisteredBeforeTheyAreToldToEndAndNewOnesRunByThen(t *testing.T) {
	w := newWorld(t)
	w.Late = 120 // new targets a second and a half, old ones a second, and a deregistration delay of two and a half
	if _, err := w.Provision(w.service(t, "2")); err != nil {
		t.Fatal(err)
	}
	old := w.layout(t).Listeners[0].Targets
	next, done := w.service(t, "2", env("NEW", "1")), make(chan error, 1)
	go func() { _, err := w.Provision(next); done <- err }()
	most := 0
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
			most = max(most, len(targets))
			for _, address := range targets {
				mayStart := len(targets) > 2 && !slices.Contains(old, address)
				if !mayStart && !takes(address) && slices.Contains(w.layout(t).Listeners[0].Targets, address) {
					t.Errorf("of %v, %s takes no connections", targets, address)
				}
			}
			if len(targets) < 2 {
				t.Fatalf("only %v are registered", targets)
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

func TestNewTasksAreHealthyOnceTheyHaveStayedUpAndFailWhenTheyKeepEnding(t *testing.T) {
	began := time.Unix(1000, 0)
	type look struct {
		after time.Duration
		ended int
		up    bool
		says  string // "" for go on waiting, "healthy", or part of the reason
	}
	for name, looks := range map[string][]look{
		"they stay up":             {{0, 0, false, ""}, {1, 0, true, ""}, {3, 0, true, ""}, {4, 0, true, "healthy"}},
		"one ends between":         {{0, 0, true, ""}, {1, 0, false, ""}, {2, 1, true, ""}, {4, 1, true, ""}, {5, 1, true, "healthy"}},
		"one ends between looks":   {{0, 0, true, ""}, {2, 1, true, ""}, {3, 1, true, ""}, {5, 1, true, "healthy"}},
		"they keep ending":         {{0, 1, false, ""}, {1, 2, true, ""}, {2, 3, true, "ended 3 times"}},
		"they never listen":        {{0, 0, false, ""}, {60, 0, false, ""}, {61, 0, false, "does not listen"}},
		"they listen just in time": {{59, 0, true, ""}, {61, 0, true, ""}, {62, 0, true, "healthy"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := ecs.NewWatch(began.Add(time.Minute), 3*time.Second)
			for _, l := range looks {
				healthy, reason := ecs.Judge(w, l.ended, l.up, began.Add(l.after*time.Second))
				if healthy {
					reason = "healthy"
				}
				if (l.says == "") != (reason == "") || !strings.Contains(reason, l.says) {
					t.Errorf("after %d s it is %q, not %q", l.after, reason, l.says)
				}
			}
		})
	}
}

func TestOldTasksStayUntilTheBalancerSendsSomebodyToTheNewOnes(t *testing.T) {
	w := newWorld(t)
	if first, next := w.Hold(false), w.Hold(true); first != 0 || next != 2*time.Second {
		t.Errorf("new tasks wait for %s and %s", first, next)
	}
	w.Late = 60
	if next := w.Hold(true); next < 3*time.Second+balance.Reread {
		t.Errorf("old tasks leave after %s, and the balancer uses the new ones 3 s after it has read of them", next)
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
			before = w.service(t, "2")
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

func TestAnotherWayToDeployIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.service(t, "1")
	for name, change := range map[string]map[string]any{
		"fewer stay":    {"MinimumHealthyPercent": 50.0},
		"fewer start":   {"MaximumPercent": "150"},
		"no breaker":    {"DeploymentCircuitBreaker": nil},
		"not switched":  {"DeploymentCircuitBreaker": map[string]any{"Enable": false, "Rollback": true}},
		"no rollback":   {"DeploymentCircuitBreaker": map[string]any{"Enable": true, "Rollback": false}},
		"another way":   {"Strategy": "BLUE_GREEN"},
		"with an alarm": {"Alarms": map[string]any{"Enable": true, "AlarmNames": []any{"a"}, "Rollback": true}},
	} {
		given := maps.Clone(rolling)
		maps.Copy(given, change)
		r.Properties["DeploymentConfiguration"] = given
		if _, err := w.Provision(r); err == nil || len(alive(t, w)) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
