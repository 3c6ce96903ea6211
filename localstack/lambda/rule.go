package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Bus is the local EventBridge, which hands its events to rules.
type Bus interface {
	// Subscribe calls deliver with each event put on a bus from now on, as JSON, in the shape that targets
	// get. The subscription of the same id before is replaced. deliver must not block.
	Subscribe(id, busNameOrARN string, deliver func(event []byte))
}

// ruleSpec is AWS::Events::Rule.
type ruleSpec struct {
	Name               string
	Description        string
	State              string
	EventBusName       string
	ScheduleExpression string
	EventPattern       json.RawMessage
	RoleArn            string
	Targets            []targetSpec
}

type targetSpec struct {
	Id               string
	Arn              string
	Input            string
	RetryPolicy      json.RawMessage // three tries, whatever it says
	DeadLetterConfig struct{ Arn string }
}

// rule runs functions by the clock or for events.
type rule struct {
	ruleSpec
	arn  string
	host *Host
}

var rate = regexp.MustCompile(`^rate\((\d+) (minute|hour|day)s?\)$`)

func (h *Host) putRule(r resource.Resource) (resource.Outcome, error) {
	ru := &rule{host: h}
	if err := property.Decode(r.Properties, &ru.ruleSpec); err != nil {
		return resource.Outcome{}, err
	}
	if ru.Name == "" {
		ru.Name = physicalName(r)
	}
	a := h.Authority
	path := ru.Name
	if bus := busName(ru.EventBusName); bus != "" && bus != "default" {
		path = bus + "/" + ru.Name
	}
	ru.arn = fmt.Sprintf("arn:%s:events:%s:%s:rule/%s", a.Partition(), a.Region(), a.Account(), path)
	// A target's Permission names this rule and is made after it, so that whether the service may invoke is
	// asked at each call.
	outcome := resource.Outcome{Ref: ru.Name, Attributes: map[string]any{"Arn": ru.arn}}
	if ru.State == "DISABLED" {
		return outcome, nil
	}
	switch {
	case ru.ScheduleExpression != "" && len(ru.EventPattern) == 0:
		return outcome, ru.schedule()
	case len(ru.EventPattern) > 0 && ru.ScheduleExpression == "":
		return outcome, ru.subscribe()
	}
	return resource.Outcome{}, errors.New("a rule has either ScheduleExpression or EventPattern")
}

func busName(nameOrARN string) string {
	for i := len(nameOrARN) - 1; i >= 0; i-- {
		if nameOrARN[i] == '/' {
			return nameOrARN[i+1:]
		}
	}
	return nameOrARN
}

func (r *rule) schedule() error {
	parts := rate.FindStringSubmatch(r.ScheduleExpression)
	if parts == nil {
		return fmt.Errorf("property ScheduleExpression: only rate(N minutes|hours|days) is supported, not %q", r.ScheduleExpression)
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 1 {
		return fmt.Errorf("property ScheduleExpression: %q is no rate", r.ScheduleExpression)
	}
	every := time.Duration(n) * map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[parts[2]]
	r.host.loop(r.arn, func(ctx context.Context) {
		for sleep(ctx, every) == nil {
			r.fire(r.tick())
		}
	})
	return nil
}

// tick is the event of a schedule.
func (r *rule) tick() []byte {
	a := r.host.Authority
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": requestID(), "detail-type": "Scheduled Event", "source": "aws.events", "account": a.Account(),
		"time": r.host.Now().UTC().Format(time.RFC3339), "region": a.Region(), "resources": []string{r.arn}, "detail": map[string]any{},
	})
	if err != nil {
		return []byte("{}")
	}
	return raw
}

func (r *rule) subscribe() error {
	if r.host.Bus == nil {
		return errors.New("property EventPattern: no event bus is here")
	}
	pattern, err := ParsePattern(r.EventPattern)
	if err != nil {
		return fmt.Errorf("property EventPattern: %w", err)
	}
	r.host.Bus.Subscribe(r.arn, busName(r.EventBusName), func(event []byte) {
		if pattern.Matches(event) {
			r.fire(event)
		}
	})
	return nil
}

// fire invokes every target, each on its own.
func (r *rule) fire(event []byte) {
	for _, target := range r.Targets {
		payload := event
		if target.Input != "" {
			payload = []byte(target.Input)
		}
		r.host.background(func() { r.reach(target, payload) })
	}
}

// background runs work that Close waits for; after Close it runs nothing.
func (h *Host) background(work func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() == nil {
		h.loops.Go(work)
	}
}

func (r *rule) reach(target targetSpec, payload []byte) {
	why := r.host.attempts(func(ctx context.Context) (Result, error) {
		return r.host.InvokeAs(ctx, "events.amazonaws.com", r.arn, target.Arn, payload)
	})
	if why == "" {
		return
	}
	r.host.Log.Error("A rule's target failed", "rule", r.Name, "target", target.Arn, "cause", why)
	if target.DeadLetterConfig.Arn != "" {
		r.host.bury(target.DeadLetterConfig.Arn, map[string]any{"ruleArn": r.arn, "targetArn": target.Arn, "cause": why, "event": json.RawMessage(payload)})
	}
}

// attempts tries an asynchronous invocation three times, and returns why the last one failed, or "".
func (h *Host) attempts(invoke func(context.Context) (Result, error)) string {
	why := ""
	for try := range 3 {
		if try > 0 && sleep(h.ctx, time.Duration(try)*2*time.Second) != nil {
			return "the local AWS went down"
		}
		result, err := invoke(h.ctx)
		switch {
		case err != nil:
			why = err.Error()
		case result.Failed:
			why = string(result.Payload)
		default:
			return ""
		}
	}
	return why
}

func (h *Host) retry(f *function, payload []byte) {
	if why := h.attempts(func(ctx context.Context) (Result, error) { return h.Invoke(ctx, f.Name, orObject(payload)) }); why != "" {
		h.Log.Error("An asynchronous invocation failed", "function", f.Name, "cause", why)
	}
}
