package events_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

const (
	deadQueue  = "arn:aws:sqs:us-east-1:" + account + ":dead"
	deliveryTo = "arn:aws:firehose:us-east-1:" + account + ":deliverystream/lake"
)

// catcher is a target that fails as often as it is told to, and a queue.
type catcher struct {
	mu    sync.Mutex
	fail  []error // of the next tries; none is left: it takes everything
	taken []string
	tries int
	dead  []events.Dead
	now   time.Time
}

func (c *catcher) target(_ events.Rule, _ events.Target, message []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	if len(c.fail) > 0 {
		err := c.fail[0]
		c.fail = c.fail[1:]
		return err
	}
	c.taken = append(c.taken, string(message))
	return nil
}

func (c *catcher) queue(_ events.Rule, t events.Target, d events.Dead) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.Dead != deadQueue {
		return errors.New("another queue")
	}
	c.dead = append(c.dead, d)
	return nil
}

func (c *catcher) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// settled waits until something was taken or is dead, while every look lets a time pass.
func (c *catcher) settled(t *testing.T, pass time.Duration) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		c.mu.Lock()
		done := len(c.taken)+len(c.dead) > 0
		c.now = c.now.Add(pass)
		c.mu.Unlock()
		if done {
			return
		}
	}
	t.Fatal("nothing was taken, and nothing is dead")
}

func (c *catcher) open(t *testing.T, dir string, a *iam.Authority) *events.Service {
	t.Helper()
	s, err := events.Open(events.Config{Dir: dir, Authority: a, OnEvent: c.target, OnDead: c.queue, Now: c.Now, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authority(t *testing.T) *iam.Authority {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// busRule is a rule of the bus "lake" with one target.
func busRule(id string, target map[string]any) resource.Resource {
	target = maps.Clone(target)
	target["Id"], target["Arn"] = "lake", deliveryTo
	return resource.Resource{Stack: "Lake", LogicalID: id, Type: "AWS::Events::Rule", Properties: map[string]any{
		"Name": "all", "EventBusName": "default", "State": "ENABLED", "EventPattern": map[string]any{"source": []any{"stile"}}, "Targets": []any{target},
	}}
}

func TestATargetIsTriedAgainUntilItTakesTheEvent(t *testing.T) {
	a, dir := authority(t), t.TempDir()
	c := &catcher{now: time.Now(), fail: []error{errors.New("busy"), errors.New("busy"), &events.Failure{Code: "THROTTLING", Err: errors.New("slow down")}}}
	s := c.open(t, dir, a)
	if _, err := s.Provision(busRule("Rule", map[string]any{})); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit("stile", "made", c.Now(), map[string]any{"id": "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // what waits, waits on disk
		t.Fatal(err)
	}
	s = c.open(t, dir, a)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	c.settled(t, time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.taken) != 1 || !strings.Contains(c.taken[0], `"id":"a"`) || c.tries != 4 || len(c.dead) != 0 {
		t.Errorf("%d tries, taken %q, dead %v", c.tries, c.taken, c.dead)
	}
}

func TestWhatNoTryDeliversIsDeadWithItsReasons(t *testing.T) {
	busy := errors.New("busy")
	forbidden := &events.Failure{Code: "NO_PERMISSIONS", Lasting: true, Err: errors.New("may not")}
	dead := map[string]any{"Arn": deadQueue}
	for name, c := range map[string]struct {
		fail  []error
		retry map[string]any
		pass  time.Duration
		tries int
		want  map[string]string
	}{
		"after its retries": {
			[]error{busy, busy, busy},
			map[string]any{"MaximumRetryAttempts": "2"},
			time.Second, 3,
			map[string]string{"ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": "busy", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "2"},
		},
		"without any": {
			[]error{busy},
			map[string]any{"MaximumRetryAttempts": 0},
			time.Second, 1,
			map[string]string{"ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": "busy", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "0"},
		},
		"when it is too old": {
			[]error{busy, busy, busy, busy},
			map[string]any{"MaximumEventAgeInSeconds": "60"},
			2 * time.Minute, 2,
			map[string]string{"ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": "busy", "EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds", "RETRY_ATTEMPTS": "1"},
		},
		"at once if that is of no use": {[]error{forbidden}, nil, time.Second, 1, map[string]string{"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "may not"}},
	} {
		t.Run(name, func(t *testing.T) {
			target := map[string]any{"DeadLetterConfig": dead, "InputPath": "$.detail"}
			if c.retry != nil {
				target["RetryPolicy"] = c.retry
			}
			catch := &catcher{now: time.Now(), fail: c.fail}
			s := catch.open(t, t.TempDir(), authority(t))
			out, err := s.Provision(busRule("Rule", target))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Emit("stile", "made", catch.Now(), map[string]any{"id": "a"}); err != nil {
				t.Fatal(err)
			}
			catch.settled(t, c.pass)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.want["RULE_ARN"], c.want["TARGET_ARN"] = out.Attributes["Arn"].(string), deliveryTo
			if len(catch.dead) != 1 || catch.tries != c.tries {
				t.Fatalf("%d tries, dead %v", catch.tries, catch.dead)
			}
			if diff := cmp.Diff(c.want, catch.dead[0].Attributes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var e events.Event
			if err := json.Unmarshal(catch.dead[0].Event, &e); err != nil || e.Source != "stile" {
				t.Errorf("event %s: %v", catch.dead[0].Event, err)
			}
		})
	}
}

func TestWithoutAQueueALostEventIsToldToWhoEmitsIt(t *testing.T) {
	c := &catcher{now: time.Now(), fail: []error{&events.Failure{Code: "NO_RESOURCE", Lasting: true, Err: errors.New("gone")}}}
	s := c.open(t, t.TempDir(), authority(t))
	if _, err := s.Provision(busRule("Rule", map[string]any{})); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit("stile", "made", c.Now(), map[string]any{}); err == nil || !strings.Contains(err.Error(), "NO_RESOURCE") {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestTargetsAreToldWhatTheyAskFor(t *testing.T) {
	for name, c := range map[string]struct {
		target map[string]any
		want   string
	}{
		"a part":            {map[string]any{"InputPath": "$.detail.list[1]"}, `{"n":12345678901234567890}`},
		"what is not there": {map[string]any{"InputPath": "$.detail.list[2]"}, `null`},
		"values": {map[string]any{"InputTransformer": map[string]any{
			"InputPathsMap": map[string]any{"id": "$.detail.id", "list": "$.detail['list']", "gone": "$.detail.gone", "source": "$.source"},
			"InputTemplate": `{"id":<id>,"text":"\"<id>\" of <source>: <list>, <gone>","list":<list>,"gone":<gone>,"rule":<aws.events.rule-name>}`,
		}}, `{"id":"a\"<b>","text":"\"a\"<b>\" of stile: [1,{\"n\":12345678901234567890}], ","list":[1,{"n":12345678901234567890}],"gone":null,"rule":"all"}`},
	} {
		t.Run(name, func(t *testing.T) {
			catch := &catcher{now: time.Now()}
			s := catch.open(t, t.TempDir(), authority(t))
			if _, err := s.Provision(busRule("Rule", c.target)); err != nil {
				t.Fatal(err)
			}
			if err := s.Emit("stile", "made", catch.Now(), json.RawMessage(`{"id":"a\"<b>","list":[1,{"n":12345678901234567890}]}`)); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal([]byte(strings.Join(catch.taken, "")), &got); err != nil {
				t.Fatalf("%s: %v", catch.taken, err)
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", catch.taken, diff)
			}
		})
	}
}

func TestARuleHearsItsBusAlone(t *testing.T) {
	var heard []string
	s, client := open(t, t.TempDir(), nil, func(r events.Rule, _ events.Target, message []byte) error {
		if strings.Contains(string(message), "eventBusName") {
			t.Errorf("the target is told of the bus: %s", message)
		}
		heard = append(heard, r.ARN)
		return nil
	})
	if _, err := s.Provision(bus("audit")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"default", "audit"} {
		r := busRule("Rule"+name, map[string]any{})
		r.Properties["EventBusName"] = name
		out, err := s.Provision(r)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"default": "all", "audit": "audit|all"}[name]; out.Ref != want {
			t.Errorf("the rule of %s is %s", name, out.Ref)
		}
	}
	putOne(t, client, "audit")
	if want := []string{"arn:aws:events:us-east-1:" + account + ":rule/audit/all"}; !slices.Equal(heard, want) {
		t.Errorf("heard by %v, want %v", heard, want)
	}
	gone := bus("audit")
	gone.PhysicalID = "audit"
	if err := s.Remove(gone); err == nil || !strings.Contains(err.Error(), "has rules") {
		t.Errorf("a bus that has rules was deleted: %v", err)
	}
	if err := s.Remove(resource.Resource{Type: "AWS::Events::Rule", PhysicalID: "audit|all"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(gone); err != nil {
		t.Errorf("a bus without rules: %v", err)
	}
}

func TestTargetsThatEventBridgeWouldRefuseAreRefused(t *testing.T) {
	s, _ := open(t, t.TempDir(), nil)
	for want, target := range map[string]map[string]any{
		"MaximumRetryAttempts":     {"RetryPolicy": map[string]any{"MaximumRetryAttempts": 186}},
		"MaximumEventAgeInSeconds": {"RetryPolicy": map[string]any{"MaximumEventAgeInSeconds": "59"}},
		"is no queue":              {"DeadLetterConfig": map[string]any{"Arn": deliveryTo}},
		"is not a path":            {"InputPath": "$.detail..id"},
		"either a path":            {"InputPath": "$.detail", "InputTransformer": map[string]any{"InputTemplate": `{}`}},
		"<other>":                  {"InputTransformer": map[string]any{"InputPathsMap": map[string]any{"id": "$.id"}, "InputTemplate": `{"a":<other>}`}},
		"AWSid":                    {"InputTransformer": map[string]any{"InputPathsMap": map[string]any{"AWSid": "$.id"}, "InputTemplate": `{"a":<AWSid>}`}},
		"no JSON":                  {"InputTransformer": map[string]any{"InputPathsMap": map[string]any{"id": "$.id"}, "InputTemplate": `a <id>`}},
	} {
		if _, err := s.Provision(busRule("Rule", target)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

// What is told later is not lost meanwhile, and had no try.
func TestATargetIsToldLaterWhenThatIsAsked(t *testing.T) {
	c, a, dir := &catcher{now: time.Now()}, authority(t), t.TempDir()
	late := func(events.Target) time.Duration { return time.Minute }
	s, err := events.Open(events.Config{Dir: dir, Authority: a, OnEvent: c.target, OnDead: c.queue, Later: late, Now: c.Now, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Provision(busRule("Rule", map[string]any{})); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit("stile", "session.start", time.Now(), map[string]any{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c.tries != 0 {
		t.Fatalf("%d tries before its time", c.tries)
	}
	c.fail = []error{errors.New("not yet")}
	s = c.open(t, dir, a)
	defer s.Close()
	c.settled(t, time.Minute)
	if len(c.taken) != 1 || c.tries != 2 || len(c.dead) != 0 {
		t.Errorf("%d tries, %d taken, %d dead", c.tries, len(c.taken), len(c.dead))
	}
}
