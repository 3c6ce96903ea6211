package lambda

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Rule is a rule of the local EventBridge whose targets are functions.
type Rule struct {
	Name     string
	ARN      string
	Schedule string // rate(N minutes|hours|days)
	Enabled  bool
	Targets  []string // ARNs of functions
}

var rate = regexp.MustCompile(`^rate\((\d+) (minute|hour|day)s?\)$`)

// Run puts a schedule to work, in place of the one that the rule had before. A function's permission names the
// rule and is made after it, so that whether the rule may invoke is asked at each call.
func (h *Host) Run(r Rule) error {
	parts := rate.FindStringSubmatch(r.Schedule)
	if parts == nil {
		return fmt.Errorf("rule %s: only schedules of the form rate(N minutes|hours|days) run here, not %q; the bus delivers events to nobody", r.Name, r.Schedule)
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 1 {
		return fmt.Errorf("rule %s: %q is not a rate", r.Name, r.Schedule)
	}
	for _, target := range r.Targets {
		if !strings.Contains(target, ":lambda:") {
			return fmt.Errorf("rule %s: only functions are targets here, not %s", r.Name, target)
		}
	}
	every := time.Duration(n) * h.Minute * map[string]time.Duration{"minute": 1, "hour": 60, "day": 24 * 60}[parts[2]]
	h.loop(r.ARN, func(ctx context.Context) {
		for r.Enabled && sleep(ctx, every) == nil {
			h.fire(r, h.tick(r))
		}
	})
	return nil
}

// tick is the event of a schedule.
func (h *Host) tick(r Rule) []byte {
	a := h.Authority
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": requestID(), "detail-type": "Scheduled Event", "source": "aws.events", "account": a.Account(),
		"time": h.Now().UTC().Format(time.RFC3339), "region": a.Region(), "resources": []string{r.ARN}, "detail": map[string]any{},
	})
	if err != nil {
		return []byte("{}")
	}
	return raw
}

// fire invokes every target, each on its own.
func (h *Host) fire(r Rule, event []byte) {
	for _, target := range r.Targets {
		h.background(func() { h.reach(r, target, event) })
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

func (h *Host) reach(r Rule, target string, event []byte) {
	why := h.attempts(func(ctx context.Context, id string) (Result, error) {
		return h.passed(ctx, func() (Result, error) {
			return h.invokeAs(ctx, id, "events.amazonaws.com", r.ARN, target, event)
		})
	})
	if why != "" {
		h.Log.Error("A rule's target failed", "rule", r.Name, "target", target, "cause", why)
	}
}

// attempts tries an asynchronous invocation three times under one request id, and returns why the last one failed,
// or "". AWS waits a minute and then two; here both are a thirtieth.
func (h *Host) attempts(invoke func(ctx context.Context, id string) (Result, error)) string {
	why, id := "", requestID()
	for try := range 3 {
		if try > 0 && sleep(h.ctx, time.Duration(try)*h.Minute/30) != nil {
			return "the local AWS was stopped"
		}
		result, err := invoke(h.ctx, id)
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
	if why := h.attempts(func(ctx context.Context, id string) (Result, error) {
		return h.invoke(ctx, id, f.Name, orObject(payload))
	}); why != "" {
		h.Log.Error("An asynchronous invocation failed", "function", f.Name, "cause", why)
	}
}
