// Package sqs is the local Simple Queue Service: standard queues that keep their messages on disk, hide what was received
// for a while and give it again unless it is deleted.
//
// Its entry point is [Open].
package sqs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Config says where messages are kept.
type Config struct {
	Dir       string // sqs.bolt
	Authority *iam.Authority
	Now       func() time.Time // default time.Now
}

// Service is the local SQS. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB

	mu    sync.Mutex
	woken map[string]chan struct{} // by a queue's name: closed when a message comes
}

// queue is a queue as it is kept.
type queue struct {
	Name       string
	Created    time.Time
	Modified   time.Time
	Retention  int // seconds
	Visibility int // seconds
	Encrypted  bool
	Policy     json.RawMessage `json:",omitempty"`
	Declared   json.RawMessage `json:",omitempty"` // the policy as the template has it
}

var (
	queueBucket   = []byte("queue")
	messageBucket = []byte("message") // a bucket for each queue
)

// Open reads or creates the queues kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening sqs: Config.Authority is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening sqs: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "sqs.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening sqs: another process may have %s open: %w", c.Dir, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(queueBucket)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(messageBucket)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening sqs: %w", err), db.Close())
	}
	return &Service{config: c, db: db, woken: map[string]chan struct{}{}}, nil
}

// Close releases the files.
func (s *Service) Close() error { return s.db.Close() }

// Name is the signing name.
func (*Service) Name() string { return "sqs" }

// Operations lists what the service answers.
func (*Service) Operations() []string {
	return []string{"DeleteMessage", "GetQueueAttributes", "PurgeQueue", "ReceiveMessage", "SendMessage", "SendMessageBatch"}
}

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	operations := map[string]func(*gate.Call) (any, error){}
	for name, operation := range map[string]func(*gate.Call, queue) (any, error){
		"DeleteMessage": s.deleteMessage, "GetQueueAttributes": s.getQueueAttributes, "PurgeQueue": s.purgeQueue,
		"ReceiveMessage": s.receiveMessage, "SendMessage": s.sendMessage, "SendMessageBatch": s.sendMessageBatch,
	} {
		operations[name] = func(c *gate.Call) (any, error) { return s.serve(c, name, operation) }
	}
	gate.ServeJSON(w, c, gate.JSON10, "SQS", "AmazonSQS.", operations)
}

// actions are those that an operation needs where its name isn't the operation's.
var actions = map[string]string{"SendMessageBatch": "SendMessage"}

func (s *Service) serve(c *gate.Call, name string, operation func(*gate.Call, queue) (any, error)) (any, error) {
	var in struct {
		QueueURL string `json:"QueueUrl"`
	}
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	if in.QueueURL == "" {
		return nil, missing("QueueUrl")
	}
	queueName := in.QueueURL[strings.LastIndex(in.QueueURL, "/")+1:]
	q, there, err := s.find(queueName)
	if err != nil {
		return nil, err
	}
	policies, err := q.policies()
	if err != nil {
		return nil, err
	}
	action := "sqs:" + name
	if other, ok := actions[name]; ok {
		action = "sqs:" + other
	}
	if err := c.Authorize(iam.Query{Action: action, Resource: s.arn(queueName), ResourcePolicies: policies}); err != nil {
		return nil, err
	}
	if !there {
		return nil, noQueue()
	}
	return operation(c, q)
}

func noQueue() error {
	return &gate.Error{Code: "QueueDoesNotExist", Message: "The specified queue does not exist."}
}

func missing(name string) error {
	return &gate.Error{Code: "MissingParameter", Message: "The request must contain the parameter " + name + "."}
}

func bad(format string, args ...any) error {
	return &gate.Error{Code: "InvalidParameterValue", Message: fmt.Sprintf(format, args...)}
}

func (s *Service) find(name string) (q queue, there bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(queueBucket).Get([]byte(name))
		if there = raw != nil; there {
			return json.Unmarshal(raw, &q)
		}
		return nil
	})
	return q, there, err
}

// policies are a queue's own, none or one.
func (q queue) policies() ([]*iam.Policy, error) {
	if len(q.Policy) == 0 {
		return nil, nil
	}
	p, err := iam.Parse("policy of queue "+q.Name, iam.ResourceShape, q.Policy)
	if err != nil {
		return nil, err
	}
	return []*iam.Policy{p}, nil
}

func (s *Service) arn(name string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":sqs:" + a.Region() + ":" + a.Account() + ":" + name
}

func (s *Service) url(name string) string {
	a := s.config.Authority
	return fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", a.Region(), a.Account(), name)
}

// Has reports whether there is a queue with an ARN.
func (s *Service) Has(arn string) bool {
	name := arn[strings.LastIndex(arn, ":")+1:]
	_, there, err := s.find(name)
	return err == nil && there && s.arn(name) == arn
}
