package sqs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// queueSpec is AWS::SQS::Queue.
type queueSpec struct {
	QueueName              string
	MessageRetentionPeriod *property.Int
	VisibilityTimeout      *property.Int
	SqsManagedSseEnabled   *property.Bool
}

// policySpec is AWS::SQS::QueuePolicy.
type policySpec struct {
	Queues         []string
	PolicyDocument map[string]any
}

// Defaults and bounds, from "CreateQueue" in the API reference.
const (
	standardRetention  = 345600 // seconds: four days
	leastRetention     = 60
	mostRetention      = 1209600
	standardVisibility = 30
	maxVisibility      = 43200
	maxPolicy          = 8192 // bytes
)

var queueForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::SQS::Queue", "AWS::SQS::QueuePolicy"} }

// Provision creates or updates a queue or the policy of queues.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	if r.Type == "AWS::SQS::QueuePolicy" {
		return s.provisionPolicy(r)
	}
	var spec queueSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	name := spec.QueueName
	if name == "" {
		physical := r
		physical.PhysicalID = r.PhysicalID[strings.LastIndex(r.PhysicalID, "/")+1:] // a queue's is its URL
		name = physical.Name(80)
	}
	q := queue{Name: name, Retention: standardRetention, Visibility: standardVisibility, Encrypted: spec.SqsManagedSseEnabled == nil || bool(*spec.SqsManagedSseEnabled)}
	if spec.MessageRetentionPeriod != nil {
		q.Retention = int(*spec.MessageRetentionPeriod)
	}
	if spec.VisibilityTimeout != nil {
		q.Visibility = int(*spec.VisibilityTimeout)
	}
	switch {
	case !queueForm.MatchString(name):
		return resource.Outcome{}, fmt.Errorf("property QueueName: %q is none: use 1 to 80 letters, digits, - and _; FIFO queues are not supported here", name)
	case r.PhysicalID != "" && r.PhysicalID != s.url(name):
		return resource.Outcome{}, fmt.Errorf("property QueueName: %s cannot be renamed to %s", r.PhysicalID, name)
	case q.Retention < leastRetention || q.Retention > mostRetention:
		return resource.Outcome{}, fmt.Errorf("property MessageRetentionPeriod: %d is not %d to %d", q.Retention, leastRetention, mostRetention)
	case q.Visibility < 0 || q.Visibility > maxVisibility:
		return resource.Outcome{}, fmt.Errorf("property VisibilityTimeout: %d is not 0 to %d", q.Visibility, maxVisibility)
	}
	err := s.change(name, func(was *queue, there bool) error {
		if there && r.New() {
			return fmt.Errorf("queue %s: %w", name, resource.ErrExists)
		}
		now := s.config.Now().UTC()
		if q.Created, q.Modified = now, now; there {
			q.Created, q.Policy, q.Declared = was.Created, was.Policy, was.Declared
		}
		*was = q
		return nil
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: s.url(name), Attributes: map[string]any{"Arn": s.arn(name), "QueueName": name, "QueueUrl": s.url(name)}}, nil
}

// change writes a queue as do leaves it.
func (s *Service) change(name string, do func(q *queue, there bool) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		var q queue
		raw := tx.Bucket(queueBucket).Get([]byte(name))
		if raw != nil {
			if err := json.Unmarshal(raw, &q); err != nil {
				return err
			}
		}
		if err := do(&q, raw != nil); err != nil {
			return err
		}
		raw, err := json.Marshal(q)
		if err != nil {
			return err
		}
		return tx.Bucket(queueBucket).Put([]byte(name), raw)
	})
}

func (s *Service) provisionPolicy(r resource.Resource) (resource.Outcome, error) {
	var spec policySpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	policy, err := iam.ParseValue("queue policy "+r.LogicalID, iam.ResourceShape, spec.PolicyDocument)
	if err == nil {
		err = s.config.Authority.CheckPrincipals(policy)
	}
	raw, err2 := json.Marshal(spec.PolicyDocument)
	if err == nil {
		err = err2
	}
	if err == nil && len(raw) > maxPolicy {
		err = fmt.Errorf("has %d bytes, and SQS takes %d", len(raw), maxPolicy)
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("property PolicyDocument: %w", err)
	}
	if len(spec.Queues) == 0 {
		return resource.Outcome{}, fmt.Errorf("property Queues is missing")
	}
	pinned, err := s.config.Authority.Pin(policy, raw)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	for _, url := range spec.Queues {
		name := url[strings.LastIndex(url, "/")+1:]
		err := s.change(name, func(q *queue, there bool) error {
			if !there || s.url(name) != url {
				return fmt.Errorf("property Queues: there is no queue %s; name queues by their URLs", url)
			}
			if !bytes.Equal(q.Declared, raw) { // one that is as before isn't put again, so that its ids stay
				q.Policy, q.Declared = pinned, raw
			}
			return nil
		})
		if err != nil {
			return resource.Outcome{}, err
		}
	}
	name := r.Name(256)
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Id": name}}, nil
}

// Remove deletes a queue with its messages, or takes a policy off its queues.
func (s *Service) Remove(r resource.Resource) error {
	if r.Type == "AWS::SQS::Queue" {
		name := r.PhysicalID[strings.LastIndex(r.PhysicalID, "/")+1:]
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := drop(tx, name); err != nil {
				return err
			}
			return tx.Bucket(queueBucket).Delete([]byte(name))
		})
	}
	var spec policySpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return err
	}
	for _, url := range spec.Queues {
		name := url[strings.LastIndex(url, "/")+1:]
		if _, there, err := s.find(name); err != nil || !there {
			continue
		}
		if err := s.change(name, func(q *queue, _ bool) error { q.Policy, q.Declared = nil, nil; return nil }); err != nil {
			return err
		}
	}
	return nil
}
