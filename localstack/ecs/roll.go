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
	startLimit  = time.Minute            // for all new tasks to listen
	steady      = 2 * time.Second        // for which they have to run before others are stopped in their favour
	look        = 50 * time.Millisecond  // between two looks at new tasks
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

// await returns when every new task takes connections and is in rotation. Where others are to be stopped in favour of the
// new ones, these have to stay up for a while.
func (h *Host) await(ctx context.Context, spec serviceSpec, task taskDefinition, f fleet) error {
	if len(f.fresh) == 0 {
		return nil
	}
	hold := time.Duration(0)
	if len(f.leave) > 0 {
		hold = max(steady, h.late().Register+balance.Reread)
	}
	w := watch{last: map[int]int{}, limit: time.Now().Add(startLimit)}
	for {
		faults, up := 0, true
		for _, n := range f.fresh {
			record, _ := h.Supervisor.Find(taskName(spec.ServiceName, n))
			address, err := h.address(spec.ServiceName, n, task)
			if err != nil {
				return err
			}
			up = w.see(n, record.PID, record.Alive()) && listens(ctx, address) && up
		}
		if faults = w.failures; faults >= maxFailures {
			return h.broken(spec, f, "its new tasks ended %d times before they were healthy", faults)
		}
		if w.healthy(up, time.Now(), hold) {
			return nil
		}
		if !up && time.Now().After(w.limit) {
			return h.broken(spec, f, "a new task does not listen after %s", startLimit)
		}
		if pause(ctx, look); ctx.Err() != nil {
			return fmt.Errorf("deploying service %s: %w", spec.ServiceName, ctx.Err())
		}
	}
}

func (h *Host) broken(spec serviceSpec, f fleet, format string, args ...any) error {
	return fmt.Errorf("service %s: the deployment circuit breaker was triggered: %s; see the end of %s",
		spec.ServiceName, fmt.Sprintf(format, args...), h.logOf(taskName(spec.ServiceName, f.fresh[0])))
}

// watch counts how often new tasks end, and knows since when all are up.
type watch struct {
	last     map[int]int // process id by slot; 0 once its end was counted
	failures int
	since    time.Time
	limit    time.Time
}

// see notes which process a slot has, and reports whether it runs.
func (w *watch) see(slot, pid int, alive bool) bool {
	last, known := w.last[slot]
	if known && last != 0 && (last != pid || !alive) {
		w.failures++
	}
	if w.last[slot] = pid; !alive {
		w.last[slot] = 0
	}
	if !known && !alive {
		w.failures++
	}
	return alive
}

// healthy reports whether all have been up for long enough without an end between.
func (w *watch) healthy(up bool, now time.Time, hold time.Duration) bool {
	if !up {
		w.since = time.Time{}
		return false
	}
	if w.since.IsZero() {
		w.since = now
	}
	return now.Sub(w.since) >= hold
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
