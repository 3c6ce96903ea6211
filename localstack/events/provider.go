package events

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/resource"
)

// Rule is a provisioned rule.
type Rule struct {
	Name     string
	ARN      string
	Schedule string // rate(…); "" for a rule with a pattern
	Pattern  json.RawMessage
	Enabled  bool
	Reads    bool // it hears read-only management events of CloudTrail, too
	Targets  []Target
}

// Target is where a rule sends events.
type Target struct {
	ID       string
	ARN      string
	Template string // of the message; "": the event as it is
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
	name := in.Required("Name")
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if r.New() && tx.Bucket(busBucket).Get([]byte(name)) != nil {
			return fmt.Errorf("event bus %s: %w", name, resource.ErrExists)
		}
		return tx.Bucket(busBucket).Put([]byte(name), []byte("{}"))
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: storing the bus: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": s.arn("event-bus/" + name)}}, nil
}

func (s *Service) provisionRule(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	in.Accept("Description")
	rule := Rule{Name: r.Name(64), Schedule: in.String("ScheduleExpression"), Enabled: true}
	state := in.String("State")
	rule.Reads = state == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
	if state != "ENABLED" && !rule.Reads {
		in.Fail("State", "%q is not supported here, only ENABLED and ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS are", state)
	}
	if in.Has("EventPattern") {
		raw, err := compact(in.Object("EventPattern"))
		if err == nil {
			err = checkPattern(raw)
		}
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
	return s.keepRule(r, rule)
}

func readTargets(in *resource.Reader, logicalID string) []Target {
	var out []Target
	for i, o := range in.Objects("Targets") {
		at := fmt.Sprintf("%s.Targets[%d]", logicalID, i)
		t := resource.ReadObject(at, o)
		target := Target{ID: t.Required("Id"), ARN: t.Required("Arn")}
		if t.Has("InputTransformer") {
			shape := resource.ReadObject(at+".InputTransformer", t.Object("InputTransformer"))
			target.Template = shape.Required("InputTemplate")
			if err := checkTemplate(target.Template); err != nil {
				shape.Fail("InputTemplate", "%w", err)
			}
			in.Add(shape.Done())
		}
		out = append(out, target)
		in.Add(t.Done())
	}
	return out
}

// compact writes a pattern as CloudFormation sends it, without escapes that would count as characters.
func compact(pattern map[string]any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(pattern)
	return bytes.TrimSpace(b.Bytes()), err
}

func (s *Service) keepRule(r resource.Resource, rule Rule) (resource.Outcome, error) {
	rule.ARN = s.arn("rule/" + rule.Name)
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

// Remove deletes a bus or rule.
func (s *Service) Remove(r resource.Resource) error {
	bucket := busBucket
	if r.Type == "AWS::Events::Rule" {
		bucket = ruleBucket
		if s.config.OnGone != nil {
			s.config.OnGone(s.arn("rule/" + r.PhysicalID))
		}
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(r.PhysicalID)) })
}
