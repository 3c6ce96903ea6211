package cloud

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/lambda"
)

// eventBridge is the service principal of rules.
const eventBridge = "events.amazonaws.com"

// rule puts a provisioned rule to work; one with a pattern works by itself.
func (s *Cloud) rule(r events.Rule) error {
	if r.Schedule == "" {
		var faults []error
		for _, t := range r.Targets {
			faults = append(faults, s.checkTarget(r, t))
		}
		return errors.Join(faults...)
	}
	schedule := lambda.Rule{Name: r.Name, ARN: r.ARN, Schedule: r.Schedule, Enabled: r.Enabled}
	for _, t := range r.Targets {
		if t.Dead != "" || t.Retries != nil || t.Age != nil || t.Role != "" || t.Path != "" || t.Template != "" {
			return fmt.Errorf("rule %s: a schedule's target has only an Id and an Arn here", r.Name)
		}
		schedule.Targets = append(schedule.Targets, t.ARN)
	}
	return s.Lambda.Run(schedule)
}

// checkTarget refuses a target of another service, a stream without a role, which EventBridge refuses as well, and a queue
// that there is not.
func (s *Cloud) checkTarget(r events.Rule, t events.Target) error {
	switch {
	case t.Dead != "" && !s.SQS.Has(t.Dead):
		return fmt.Errorf("rule %s: there is no dead-letter queue %s", r.Name, t.Dead)
	case serviceOf(t.ARN) == "firehose" && t.Role == "":
		return fmt.Errorf("rule %s: RoleArn is required for the target %s", r.Name, t.ARN)
	case serviceOf(t.ARN) == "sns" && t.Role != "":
		return fmt.Errorf("rule %s: a topic is no target with a RoleArn here", r.Name)
	}
	switch serviceOf(t.ARN) {
	case "sns", "sqs", "firehose":
		return nil
	}
	return fmt.Errorf("rule %s: only topics, queues and delivery streams are targets of patterns here, not %s", r.Name, t.ARN)
}

// serviceOf is the third part of an ARN.
func serviceOf(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 6 {
		return ""
	}
	return parts[2]
}

// called is how a rule's targets are told, by their service.
var called = map[string]string{"sns": "Publish", "sqs": "SendMessage", "firehose": "PutRecord"}

// later is how much later than its event a target is told, when that was ordered.
func (s *Cloud) later(t events.Target) time.Duration {
	return s.faults.Delay(serviceOf(t.ARN), called[serviceOf(t.ARN)])
}

// tell delivers an event to a target of a rule, unless that is ordered to fail.
func (s *Cloud) tell(r events.Rule, t events.Target, message []byte) error {
	return failure(s.faults.Fail(serviceOf(t.ARN), called[serviceOf(t.ARN)], func() error { return s.hand(r, t, message) }))
}

// hand delivers an event to a target of a rule, with the rule's permissions.
func (s *Cloud) hand(r events.Rule, t events.Target, message []byte) error {
	if serviceOf(t.ARN) == "sns" {
		if err := s.Notice.Publish(eventBridge, t.ARN, message); err != nil {
			return &events.Failure{Code: "NO_PERMISSIONS", Lasting: true, Err: err}
		}
		return nil
	}
	who := iam.ServicePrincipal(eventBridge)
	if t.Role != "" {
		var err error
		if who, err = s.sessions.of(s.Authority, r, t.Role); err != nil {
			return &events.Failure{Code: "FAILED_TO_ASSUME_ROLE", Lasting: true, Err: err}
		}
	}
	if serviceOf(t.ARN) == "sqs" {
		return s.SQS.Send(who, s.source(r), t.ARN, string(message), nil)
	}
	return s.Firehose.PutAs(who, t.ARN, message)
}

// dead sends what a target did not take to its queue, as EventBridge itself.
func (s *Cloud) dead(r events.Rule, t events.Target, d events.Dead) error {
	return s.SQS.Send(iam.ServicePrincipal(eventBridge), s.source(r), t.Dead, string(d.Event), d.Attributes)
}

// source is what a queue's policy may ask of a rule.
func (s *Cloud) source(r events.Rule) map[string][]string {
	return map[string][]string{"aws:SourceArn": {r.ARN}, "aws:SourceAccount": {s.Authority.Account()}}
}

// codes are EventBridge's words for the errors of targets; true if they last.
var codes = map[string]struct {
	code    string
	lasting bool
}{
	"AccessDenied": {"NO_PERMISSIONS", true}, "AccessDeniedException": {"NO_PERMISSIONS", true},
	"ResourceNotFoundException": {"NO_RESOURCE", true}, "QueueDoesNotExist": {"NO_RESOURCE", true},
	"ValidationException": {"INVALID_PARAMETER", true}, "InvalidParameterValue": {"INVALID_PARAMETER", true}, "InvalidMessageContents": {"INVALID_PARAMETER", true},
	"ServiceUnavailableException": {"THROTTLING", false},
}

func failure(err error) error {
	if e, ok := errors.AsType[*gate.Error](err); ok {
		if known, ok := codes[e.Code]; ok {
			return &events.Failure{Code: known.code, Lasting: known.lasting, Err: err}
		}
	}
	return err
}

// sessions are the roles that rules have become.
type sessions struct {
	mu    sync.Mutex
	known map[string]session // by the ARNs of rule and role
}

type session struct {
	who   *iam.Principal
	until time.Time
}

// keepSession is how long a session is used: not for long, so that a role that doesn't trust EventBridge any more is noticed.
const keepSession = time.Minute

// of is a rule's session of a role.
func (s *sessions) of(a *iam.Authority, r events.Rule, role string) (*iam.Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := time.Now(), r.ARN+" "+role
	if one, ok := s.known[key]; ok && now.Before(one.until) {
		return one.who, nil
	}
	_, who, err := a.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal(eventBridge), RoleARN: role, Session: "events", Duration: 15 * time.Minute,
		Context: map[string][]string{"aws:SourceArn": {r.ARN}, "aws:SourceAccount": {a.Account()}},
	})
	if err != nil {
		return nil, fmt.Errorf("assuming the role %s as EventBridge: %w", role, err)
	}
	if s.known == nil {
		s.known = map[string]session{}
	}
	s.known[key] = session{who, now.Add(keepSession)}
	return who, nil
}
