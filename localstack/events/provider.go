package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/resource"
)

// Rule is a provisioned rule.
type Rule struct {
	Name     string
	ARN      string
	Bus      string `json:",omitempty"` // "" for the default one
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
	Role     string            `json:",omitempty"` // as which EventBridge uses the target; "": as itself
	Path     string            `json:",omitempty"` // of the part of the event that is the message
	Paths    map[string]string `json:",omitempty"` // of what the template names
	Template string            // of the message; "": the event as it is
	Dead     string            `json:",omitempty"` // the ARN of the queue for what could not be delivered
	Retries  *int              `json:",omitempty"` // nil: 185
	Age      *int              `json:",omitempty"` // seconds for which it is tried; nil: a day
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
	physical := r
	physical.PhysicalID = r.PhysicalID[strings.Index(r.PhysicalID, "|")+1:]
	rule := Rule{Name: physical.Name(64), Schedule: in.String("ScheduleExpression"), Enabled: true}
	if in.Has("Name") {
		rule.Name = in.String("Name")
	}
	rule.Bus = s.readBus(in)
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
	if rule.Bus != "" && rule.Schedule != "" {
		in.Fail("ScheduleExpression", "schedules are of the default bus alone")
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

// readBus is the name of a rule's bus, "" for the default one.
func (s *Service) readBus(in *resource.Reader) string {
	name := strings.TrimPrefix(in.String("EventBusName"), s.arn("event-bus/"))
	if name != "" && !s.has(name) {
		in.Fail("EventBusName", "there is no bus %s", name)
	}
	if name == defaultBus {
		return ""
	}
	return name
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
	if rule.Bus != "" {
		rule.ARN = s.arn("rule/" + rule.Bus + "/" + rule.Name)
	}
	if r.PhysicalID != "" && r.PhysicalID != rule.id() {
		return resource.Outcome{}, fmt.Errorf("%s: rule %s cannot become %s", r.LogicalID, r.PhysicalID, rule.id())
	}
	raw, err := json.Marshal(rule)
	if err == nil {
		err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(ruleBucket).Put([]byte(rule.id()), raw) })
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: storing the rule: %w", r.LogicalID, err)
	}
	if s.config.OnRule != nil {
		if err := s.config.OnRule(rule); err != nil {
			return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
		}
	}
	return resource.Outcome{Ref: rule.id(), Attributes: map[string]any{"Arn": rule.ARN}}, nil
}

// id is what Ref returns: of a rule on another bus than the default one, with the bus.
func (r Rule) id() string {
	if r.Bus == "" {
		return r.Name
	}
	return r.Bus + "|" + r.Name
}

// Remove deletes a rule, or a bus that has none.
func (s *Service) Remove(r resource.Resource) error {
	bucket := busBucket
	if r.Type == "AWS::Events::Rule" {
		bucket = ruleBucket
		if s.config.OnGone != nil {
			s.config.OnGone(s.arn("rule/" + strings.Replace(r.PhysicalID, "|", "/", 1)))
		}
	} else {
		rules, err := s.rules()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(rules, func(one Rule) bool { return one.Bus == r.PhysicalID }) {
			return fmt.Errorf("event bus %s can't be deleted since it has rules", r.PhysicalID)
		}
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(r.PhysicalID)) })
}
