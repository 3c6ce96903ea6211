package events

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/resource"
)

// Rule is a provisioned rule.
type Rule struct {
	Name     string
	ARN      string
	Bus      string // "default" unless named
	Schedule string // rate(…) or cron(…); "" for a rule with a pattern
	Pattern  json.RawMessage
	Enabled  bool
	Targets  []Target
}

// Target is where a rule sends events.
type Target struct {
	ID             string
	ARN            string
	RoleARN        string
	Input          string // constant text in place of the event; "" sends the event
	DeadLetterARN  string
	MaximumRetries int // -1 when not given
}

// Types names what the service provisions from templates.
func (*Service) Types() []string {
	return []string{"AWS::Events::EventBus", "AWS::Events::Rule"}
}

// Provision creates or updates a bus or rule.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	if r.Type == "AWS::Events::Rule" {
		return s.provisionRule(r)
	}
	in := resource.Read(r)
	in.Accept("Description")
	name := in.Required("Name")
	in.Tags("Tags")
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(busBucket).Put([]byte(name), []byte("{}")) })
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: storing the bus: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": s.arn("event-bus/" + name), "Name": name}}, nil
}

// Remove deletes a bus or rule; events that were written stay.
func (s *Service) Remove(r resource.Resource) error {
	bucket := busBucket
	if r.Type == "AWS::Events::Rule" {
		bucket = ruleBucket
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(r.PhysicalID)) })
}

func (s *Service) provisionRule(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	in.Accept("Description")
	in.Tags("Tags")
	rule := Rule{Name: in.String("Name"), Bus: in.String("EventBusName"), Schedule: in.String("ScheduleExpression")}
	switch state := in.String("State"); state {
	case "", "ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS":
		rule.Enabled = true
	case "DISABLED":
	default:
		in.Fail("State", "%q is neither ENABLED nor DISABLED", state)
	}
	if rule.Name == "" {
		rule.Name = r.Name(64)
	}
	if rule.Bus = strings.TrimPrefix(rule.Bus, s.arn("event-bus/")); rule.Bus == "" {
		rule.Bus = "default"
	}
	if in.Has("EventPattern") {
		raw, err := json.Marshal(in.Object("EventPattern"))
		if err != nil {
			in.Fail("EventPattern", "%w", err)
		}
		rule.Pattern = raw
	}
	if (rule.Pattern == nil) == (rule.Schedule == "") {
		in.Fail("ScheduleExpression", "a rule has either a schedule or a pattern")
	}
	rule.Targets = readTargets(in, r.LogicalID)
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	if !s.has(rule.Bus) {
		return resource.Outcome{}, fmt.Errorf("%s.EventBusName: no such bus: %s", r.LogicalID, rule.Bus)
	}
	return s.keepRule(r, rule)
}

func readTargets(in *resource.Reader, logicalID string) []Target {
	var out []Target
	for i, o := range in.Objects("Targets") {
		at := fmt.Sprintf("%s.Targets[%d]", logicalID, i)
		t := resource.ReadObject(at, o)
		target := Target{ID: t.Required("Id"), ARN: t.Required("Arn"), RoleARN: t.String("RoleArn"), Input: t.String("Input"), MaximumRetries: -1}
		if dead := t.Object("DeadLetterConfig"); dead != nil {
			d := resource.ReadObject(at+".DeadLetterConfig", dead)
			target.DeadLetterARN = d.String("Arn")
			in.Add(d.Done())
		}
		if retry := t.Object("RetryPolicy"); retry != nil {
			p := resource.ReadObject(at+".RetryPolicy", retry)
			p.Accept("MaximumEventAgeInSeconds")
			if p.Has("MaximumRetryAttempts") {
				target.MaximumRetries = p.Int("MaximumRetryAttempts")
			}
			in.Add(p.Done())
		}
		in.Add(t.Done())
		out = append(out, target)
	}
	return out
}

func (s *Service) keepRule(r resource.Resource, rule Rule) (resource.Outcome, error) {
	path := rule.Name
	if rule.Bus != "default" {
		path = rule.Bus + "/" + rule.Name
	}
	rule.ARN = s.arn("rule/" + path)
	raw, err := json.Marshal(rule)
	if err == nil {
		err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(ruleBucket).Put([]byte(rule.Name), raw) })
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: storing the rule: %w", r.LogicalID, err)
	}
	if s.config.OnRule != nil {
		if err := s.config.OnRule(rule); err != nil {
			return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
		}
	}
	return resource.Outcome{Ref: rule.Name, Attributes: map[string]any{"Arn": rule.ARN}}, nil
}
