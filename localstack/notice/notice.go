// Package notice is what of the local AWS tells people: SNS topics, which keep what is published to them in a file
// each, and CloudWatch alarms, which are checked as CloudWatch checks them and never ring, since nothing measures here.
//
// It knows no event and no metric. Its entry point is [New].
package notice

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Config says where messages are kept.
type Config struct {
	Dir       string // topic-<name>.ndjson
	Authority *iam.Authority
	Now       func() time.Time // default time.Now
}

// Service is the local SNS. It is safe for concurrent use.
type Service struct {
	config Config

	mu     sync.Mutex
	topics map[string]*topic // by ARN
}

type topic struct {
	path   string
	policy *iam.Policy // nil: nobody may publish
}

// New makes a service without topics.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{config: c, topics: map[string]*topic{}}
}

// Types names what the service provisions from templates.
func (*Service) Types() []string {
	return []string{"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::CloudWatch::Alarm"}
}

// Provision creates or updates a topic, its policy or an alarm.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	switch r.Type {
	case "AWS::SNS::TopicPolicy":
		return s.putPolicy(r)
	case "AWS::CloudWatch::Alarm":
		return s.checkAlarm(r)
	}
	var spec struct{ TopicName, DisplayName string }
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if spec.TopicName == "" {
		spec.TopicName = r.Name(256)
	}
	arn := s.arn("sns", spec.TopicName)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[arn] != nil && r.New() {
		return resource.Outcome{}, fmt.Errorf("topic %s: %w", spec.TopicName, resource.ErrExists)
	}
	if s.topics[arn] == nil {
		s.topics[arn] = &topic{path: filepath.Join(s.config.Dir, "topic-"+spec.TopicName+".ndjson")}
	}
	return resource.Outcome{Ref: arn, Attributes: map[string]any{"TopicArn": arn, "TopicName": spec.TopicName}}, nil
}

// Remove forgets what Provision made; messages stay in their file.
func (s *Service) Remove(r resource.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Type {
	case "AWS::SNS::Topic":
		delete(s.topics, r.PhysicalID)
	case "AWS::SNS::TopicPolicy":
		var spec policySpec
		if err := property.Decode(r.Properties, &spec); err != nil {
			return err
		}
		for _, arn := range spec.Topics {
			if t := s.topics[arn]; t != nil {
				t.policy = nil
			}
		}
	}
	return nil
}

func (s *Service) arn(service, rest string) string {
	a := s.config.Authority
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.Partition(), service, a.Region(), a.Account(), rest)
}

type policySpec struct {
	Topics         []string
	PolicyDocument map[string]any
}

func (s *Service) putPolicy(r resource.Resource) (resource.Outcome, error) {
	var spec policySpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	policy, err := iam.ParseValue("topic policy "+r.LogicalID, iam.ResourceShape, spec.PolicyDocument)
	if err == nil {
		err = errors.Join(s.config.Authority.CheckPrincipals(policy), unheard(spec.PolicyDocument))
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("property PolicyDocument: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, arn := range spec.Topics {
		if s.topics[arn] == nil {
			return resource.Outcome{}, fmt.Errorf("property Topics: there is no topic %s", arn)
		}
		s.topics[arn].policy = policy
	}
	name := r.Name(256)
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Id": name}}, nil
}

// unheard refuses a policy with which AWS delivers nothing and says nothing.
func unheard(document map[string]any) error {
	statements, several := document["Statement"].([]any)
	if !several {
		statements = []any{document["Statement"]}
	}
	for _, item := range statements {
		statement, _ := item.(map[string]any)
		principal, _ := statement["Principal"].(map[string]any)
		services, several := principal["Service"].([]any)
		if !several {
			services = []any{principal["Service"]}
		}
		for _, name := range services {
			if name == "events.amazonaws.com" && statement["Condition"] != nil {
				return errors.New("EventBridge doesn't deliver to a topic whose policy has a Condition for events.amazonaws.com, and tells nobody: " +
					`take the Condition away ("You can't use Condition blocks in Amazon SNS topic policies for EventBridge", ` +
					"https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html)")
			}
		}
	}
	return nil
}

// Publish keeps a message of an AWS service, if the topic's policy lets that service publish. EventBridge says for no
// rule where it comes from, so that the call has no condition key of a source.
func (s *Service) Publish(service, arn string, message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[arn]
	if t == nil {
		return fmt.Errorf("publishing to %s: there is no such topic", arn)
	}
	q := iam.Query{Action: "sns:Publish", Resource: arn}
	if t.policy != nil {
		q.ResourcePolicies = []*iam.Policy{t.policy}
	}
	if d := s.config.Authority.Decide(iam.ServicePrincipal(service), q); !d.Allowed {
		return fmt.Errorf("%s may not publish to %s %s", service, arn, d.Reason)
	}
	raw, err := json.Marshal(map[string]string{"Time": s.config.Now().UTC().Format(time.RFC3339), "TopicArn": arn, "Message": string(message)})
	if err == nil {
		err = appendLine(t.path, raw)
	}
	if err != nil {
		return fmt.Errorf("keeping a message to %s: %w", arn[strings.LastIndex(arn, ":")+1:], err)
	}
	return nil
}

func appendLine(path string, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
