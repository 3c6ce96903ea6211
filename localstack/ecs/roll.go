package ecs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/balance"
)

// slots is how many tasks of a service run at once while a deployment replaces them (MaximumPercent 200).
const slots = 2 * MaxTasks

// How late a load balancer of AWS is
// (https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1834, https://github.com/aws/containers-roadmap/issues/470).
const (
	registerLate   = 180 * time.Second
	deregisterLate = 120 * time.Second
)

// When a deployment fails. ECS counts tasks that ended before they were healthy, and gives up at the third of a small service
// (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html).
const (
	maxFailures = 3
	startLimit  = time.Minute     // for all new tasks to listen
	steady      = 2 * time.Second // for which they have to run before others are stopped in their favour
	lookEvery   = 50 * time.Millisecond
	lookLimit   = 500 * time.Millisecond // for one of them to take a connection
)

// scaled is how long something takes here that takes d on AWS.
func (h *Host) scaled(d time.Duration) time.Duration {
	if h.Late == 0 {
		return 0
	}
	return d / time.Duration(h.Late)
}

func (h *Host) late() balance.Late {
	return balance.Late{Register: h.scaled(registerLate), Deregister: h.scaled(deregisterLate)}
}

// Linger is for how many seconds the load balancer goes on sending people to a task that is told to end.
func (h *Host) Linger() int {
	if h.Late == 0 {
		return 0
	}
	return int((h.late().Deregister + balance.Reread + time.Second - 1) / time.Second)
}

// fleet is the tasks of a service at the beginning of a deployment, by slot.
type fleet struct {
	keep, fresh, leave []int
}

// roll brings a service to as many tasks of a definition as are wanted, as ECS does: new ones start beside the old ones,
// and have to be healthy and in rotation before those are deregistered and, after the delay, told to end. If they don't
// stay up, they are ended and the others go on. h.mu is held.
func (h *Host) roll(ctx context.Context, spec serviceSpec, task taskDefinition, count int) error {
	f, err := h.survey(ctx, spec.ServiceName, task, count)
	if err != nil {
		return err
	}
	for _, n := range slices.Concat(f.keep, f.fresh) {
		if err := h.start(ctx, spec.ServiceName, n, task); err != nil {
			return errors.Join(err, h.retreat(spec, task, f))
		}
	}
	if err := h.register(spec, task, slices.Concat(f.keep, f.fresh, f.leave)); err != nil {
		return err
	}
	if err := h.await(ctx, spec, task, f); err != nil {
		return errors.Join(err, h.retreat(spec, task, f))
	}
	if err := h.register(spec, task, slices.Concat(f.keep, f.fresh)); err != nil {
		return err
	}
	if len(f.leave) > 0 {
		pause(ctx, h.scaled(h.deregistrationDelay(spec)))
	}
	return h.retire(spec.ServiceName, f.leave)
}

// survey finds which tasks run already as the definition says, and in which slots those start that are missing.
func (h *Host) survey(ctx context.Context, service string, task taskDefinition, count int) (f fleet, err error) {
	var free []int
	for n := range slots {
		record, known := h.Supervisor.Find(taskName(service, n))
		if !known {
			free = append(free, n)
			continue
		}
		spec, _, err := h.prepare(service, n, task, h.Roles.variables(claimName(service, n)))
		if err != nil {
			return fleet{}, err
		}
		spec, _ = h.possible(spec)
		same, err := record.Runs(spec)
		switch {
		case err != nil:
			return fleet{}, err
		case same && len(f.keep) < count:
			f.keep = append(f.keep, n)
		case same || record.Alive():
			f.leave = append(f.leave, n)
		default: // it ended, and its supervisor may be about to start it again
			if err := h.Supervisor.Stop(ctx, record.Name); err != nil {
				return fleet{}, err
			}
			free = append(free, n)
		}
	}
	missing := count - len(f.keep)
	if missing > len(free) {
		return fleet{}, fmt.Errorf("%d tasks of service %s are still ending; wait until they have, or end them: localstack ps lists them", len(f.leave), service)
	}
	f.fresh = free[:missing]
	return f, nil
}

// await returns when every new task takes connections and has stayed up for long enough, or says why that won't be.
func (h *Host) await(ctx context.Context, spec serviceSpec, task taskDefinition, f fleet) error {
	if len(f.fresh) == 0 {
		return nil
	}
	w := watch{limit: time.Now().Add(startLimit), hold: h.hold(f)}
	for {
		ended, up, err := h.look(ctx, spec.ServiceName, task, f.fresh)
		if err != nil {
			return err
		}
		done, reason := w.judge(ended, up, time.Now())
		if reason != "" {
			return fmt.Errorf("service %s: the deployment circuit breaker was triggered: %s; see the end of %s",
				spec.ServiceName, reason, h.logOf(taskName(spec.ServiceName, f.fresh[0])))
		}
		if done {
			return nil
		}
		if pause(ctx, lookEvery); ctx.Err() != nil {
			return fmt.Errorf("deploying service %s: %w", spec.ServiceName, ctx.Err())
		}
	}
}

// hold is how long new tasks have to stay up: those that others are to be stopped for until the load balancer sends them
// somebody.
func (h *Host) hold(f fleet) time.Duration {
	if len(f.leave) == 0 {
		return 0
	}
	return max(steady, h.late().Register+balance.Reread)
}

// look counts how often tasks have ended, and says whether all of them take connections.
func (h *Host) look(ctx context.Context, service string, task taskDefinition, tasks []int) (ended int, up bool, err error) {
	up = true
	for _, n := range tasks {
		address, err := h.address(service, n, task)
		if err != nil {
			return 0, false, err
		}
		record, known := h.Supervisor.Find(taskName(service, n))
		up = up && known && record.Alive() && listens(ctx, address)
		ended += h.Supervisor.Ended(taskName(service, n))
	}
	return ended, up, nil
}

// watch is what a deployment knows of its new tasks.
type watch struct {
	limit time.Time     // until which they have to listen
	hold  time.Duration // for which they have to stay up
	since time.Time     // since when they do
	ended int           // how often they had ended then
}

// judge says whether the tasks are healthy: all have been up for long enough, and none ended between. A reason says that
// they won't be.
func (w *watch) judge(ended int, up bool, now time.Time) (healthy bool, reason string) {
	switch {
	case ended >= maxFailures:
		return false, fmt.Sprintf("its new tasks ended %d times before they were healthy", ended)
	case !up && now.After(w.limit):
		return false, fmt.Sprintf("a new task does not listen after %s", startLimit)
	case !up:
		w.since = time.Time{}
		return false, ""
	case w.since.IsZero() || ended != w.ended:
		w.since, w.ended = now, ended
	}
	return now.Sub(w.since) >= w.hold, ""
}

// retreat ends the new tasks of a deployment that failed; what served before goes on.
func (h *Host) retreat(spec serviceSpec, task taskDefinition, f fleet) error {
	err := h.register(spec, task, slices.Concat(f.keep, f.leave))
	return errors.Join(err, h.retire(spec.ServiceName, f.fresh))
}

// register tells the load balancer where a service's tasks listen; h.mu is held.
func (h *Host) register(spec serviceSpec, task taskDefinition, tasks []int) error {
	var addresses []string
	for _, n := range tasks {
		address, err := h.address(spec.ServiceName, n, task)
		if err != nil {
			return err
		}
		if address != "" {
			addresses = append(addresses, address)
		}
	}
	for _, lb := range spec.LoadBalancers {
		h.targets[lb.TargetGroupArn] = addresses
	}
	return h.publish()
}

// deregistrationDelay is how long ECS waits from a task's deregistration until it tells it to end.
func (h *Host) deregistrationDelay(spec serviceSpec) (delay time.Duration) {
	for _, lb := range spec.LoadBalancers {
		delay = max(delay, h.groups[lb.TargetGroupArn].delay)
	}
	return delay
}

// retire ends tasks, side by side: each waits for its sessions.
func (h *Host) retire(service string, tasks []int) error {
	faults := make([]error, len(tasks))
	var group sync.WaitGroup
	for i, n := range tasks {
		group.Go(func() {
			name := taskName(service, n)
			if faults[i] = h.Supervisor.Stop(context.Background(), name); faults[i] == nil {
				faults[i] = h.tidy(name, "")
			}
		})
	}
	group.Wait()
	return errors.Join(faults...)
}

// listens reports whether somebody takes connections at an address; nobody has to without one.
func listens(ctx context.Context, address string) bool {
	if address == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	return err == nil && conn.Close() == nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
