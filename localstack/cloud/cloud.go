// Package cloud puts the services of the local AWS together: one account, whose stores, hosts and gate know each
// other and nobody else.
//
// It listens on nothing and deploys nothing by itself. Its entry point is [Open].
package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/stile-dev/stile/localstack/apigateway"
	"github.com/stile-dev/stile/localstack/athena"
	"github.com/stile-dev/stile/localstack/dynamodb"
	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/firehose"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/kms"
	"github.com/stile-dev/stile/localstack/lambda"
	"github.com/stile-dev/stile/localstack/notice"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
	"github.com/stile-dev/stile/localstack/sqs"
	"github.com/stile-dev/stile/localstack/sts"
)

// Config says whose account this is and where everything lies. All paths are absolute.
type Config struct {
	Account, Region, Partition string

	Dir       string // what was created: tables, keys, buckets, stacks
	BinDir    string // what runs: functions, see [lambda.Config], and the programs of images
	LogDir    string // a file for each function and task
	RunDir    string // process records
	HomeDir   string // a directory for each task, whose root is in it
	Balancer  string // the load balancer's configuration file
	TrustFile string // the API's root certificate, for tasks and functions
	Endpoint  string // the URL at which Gate will answer
	Port      func(task string) (int, error)
	Log       *slog.Logger
	Minute    time.Duration // of schedules and of retries; 0 means a minute
	Settle    time.Duration // until a role's new policies take effect; 0 means at once
	Late      int           // see [ecs.Config]
}

// Cloud is all services of one account, opened and ready to be deployed into.
type Cloud struct {
	Authority  *iam.Authority
	DynamoDB   *dynamodb.Server
	KMS        *kms.Service
	S3         *s3.Service
	ECR        *ecr.Service
	Events     *events.Service
	SQS        *sqs.Service
	Glue       *glue.Service
	Athena     *athena.Service
	Firehose   *firehose.Service
	Lambda     *lambda.Host
	Notice     *notice.Service
	API        *apigateway.Gateway
	ECS        *ecs.Host
	Roles      *ecs.Credentials
	Supervisor *process.Supervisor
	Gate       *gate.Gate

	config   Config
	faults   *gate.Faults
	sessions sessions
	closers  []func() error // in the order of opening
}

// Open opens everything below c.Dir. Close it when done.
func Open(c Config) (*Cloud, error) {
	s := &Cloud{config: c, faults: gate.NewFaults(), Supervisor: process.NewSupervisor(c.RunDir, c.Log)}
	err := s.openStores(c)
	if err == nil {
		err = s.openHosts(c)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Cloud) openStores(c Config) (err error) {
	if s.Authority, err = iam.Open(iam.Config{Dir: c.Dir, Account: c.Account, Partition: c.Partition, Region: c.Region, Settle: c.Settle}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.Authority.Close)
	if s.DynamoDB, err = dynamodb.Open(dynamodb.Config{Dir: c.Dir + "/dynamodb", Account: c.Account, Region: c.Region, Partition: c.Partition, Logger: c.Log}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.DynamoDB.Close)
	if s.KMS, err = kms.Open(kms.Config{Dir: c.Dir + "/kms", Authority: s.Authority, Logger: c.Log, OnCall: s.called}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.KMS.Close)
	if s.S3, err = s3.Open(s3.Config{Dir: c.Dir + "/s3", Authority: s.Authority, OnCreated: s.created}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.S3.Close)
	if s.ECR, err = ecr.Open(ecr.Config{Dir: c.Dir + "/ecr", Authority: s.Authority}); err != nil {
		return err
	}
	s.Notice = notice.New(notice.Config{Dir: c.Dir + "/notice", Authority: s.Authority})
	return s.openLake(c)
}

// openLake opens what carries events on, and keeps them.
func (s *Cloud) openLake(c Config) (err error) {
	if s.SQS, err = sqs.Open(sqs.Config{Dir: c.Dir + "/sqs", Authority: s.Authority}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.SQS.Close)
	if s.Glue, err = glue.Open(glue.Config{Dir: c.Dir + "/glue", Authority: s.Authority}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.Glue.Close)
	if s.Athena, err = athena.Open(athena.Config{Dir: c.Dir + "/athena", Authority: s.Authority, Buckets: s.S3, Catalog: s.Glue, Engine: c.BinDir + "/duck", Log: c.Log}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.Athena.Close)
	if s.Firehose, err = firehose.Open(firehose.Config{Dir: c.Dir + "/firehose", Authority: s.Authority, Buckets: buckets{s.S3, s.faults}, Catalog: s.Glue, Log: c.Log}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.Firehose.Close)
	pause := time.Second
	if c.Minute > 0 {
		pause = c.Minute / 60
	}
	if s.Events, err = events.Open(events.Config{
		Dir: c.Dir + "/events", Authority: s.Authority, OnRule: s.rule, OnEvent: s.tell, Later: s.later, OnDead: s.dead, OnGone: func(arn string) { s.Lambda.Stop(arn) }, Pause: pause, Log: c.Log,
	}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.Events.Close)
	return nil
}

func (s *Cloud) openHosts(c Config) (err error) {
	if s.Lambda, err = lambda.New(lambda.Config{
		Authority: s.Authority, BinDir: c.BinDir, LogDir: c.LogDir, StateDir: c.Dir + "/lambda", Endpoint: c.Endpoint, TrustFile: c.TrustFile, Streams: streams{s.DynamoDB, s.faults}, Buckets: s.S3, Queues: s.SQS, Pass: s.faults.Pass, Log: c.Log, Minute: c.Minute,
	}); err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { s.Lambda.Close(); return nil })
	s.API = apigateway.New(apigateway.Config{Account: c.Account, Region: c.Region, Partition: c.Partition, Invoker: invoker{s.Lambda}, Log: c.Log, LogDir: c.LogDir})
	if s.Roles, err = ecs.OpenCredentials(s.Authority, c.Dir, c.Endpoint); err != nil {
		return err
	}
	if s.ECS, err = ecs.New(ecs.Config{
		Authority: s.Authority, Supervisor: s.Supervisor, Roles: s.Roles, Registry: s.ECR, LogDir: c.LogDir, HomeDir: c.HomeDir,
		Balancer: c.Balancer, Endpoint: c.Endpoint, TrustFile: c.TrustFile, Port: c.Port, Log: c.Log, Late: c.Late,
	}); err != nil {
		return err
	}
	s.Gate, err = gate.New(gate.Config{
		Authority: s.Authority, Logger: c.Log, Faults: s.faults,
		Services: []gate.Service{s.DynamoDB, s.ECR, s.KMS, s.S3, s.SQS, s.Glue, s.Athena, s.Firehose, sts.New(), s.Events, s.Lambda.Service()},
		Mounts:   map[string]http.Handler{"/_local/flush": http.HandlerFunc(s.flush)},
	})
	return err
}

// flush answers POST /_local/flush: it delivers what streams keep by now.
func (s *Cloud) flush(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST to deliver what is in the buffers", http.StatusMethodNotAllowed)
		return
	}
	if err := s.Firehose.Flush(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Providers are everybody who makes resources.
func (s *Cloud) Providers() []resource.Provider {
	return []resource.Provider{iam.NewProvider(s.Authority), s.DynamoDB, s.KMS, s.S3, s.ECR, s.SQS, s.Glue, s.Athena, s.Firehose, s.Events, s.Notice, s.Lambda, s.API, s.ECS}
}

// Close ends every function and closes every store. Tasks, agents and the load balancer go on.
func (s *Cloud) Close() error {
	s.Supervisor.Release()
	var faults []error
	for _, closer := range slices.Backward(s.closers) {
		faults = append(faults, closer())
	}
	return errors.Join(faults...)
}

// called tells EventBridge of a call of KMS, as CloudTrail does.
func (s *Cloud) called(e kms.Event) {
	s.emitted(s.Events.Emit("aws.kms", "AWS API Call via CloudTrail", e.EventTime, e))
}

// created tells EventBridge of a new object.
func (s *Cloud) created(e s3.Created) {
	arn := fmt.Sprintf("arn:%s:s3:::%s", s.Authority.Partition(), e.Bucket.Name)
	s.emitted(s.Events.Emit("aws.s3", "Object Created", time.Now(), e, arn))
}

// emitted logs a message that a rule could not deliver: on AWS the metric FailedInvocations alone says so.
func (s *Cloud) emitted(err error) {
	if err != nil {
		s.config.Log.Error("A rule's target failed", "cause", err)
	}
}

// streams lets event source mappings read DynamoDB's streams.
type streams struct {
	server *dynamodb.Server
	faults *gate.Faults
}

func (s streams) Shard(arn string) string { return s.server.Shard(arn) }

func (s streams) Records(ctx context.Context, arn, after string, limit int) ([]lambda.Record, error) {
	var found []dynamodb.Record
	err := s.faults.Pass(ctx, "dynamodb", "GetRecords", func() (err error) {
		found, err = s.server.Records(ctx, arn, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	records := make([]lambda.Record, len(found))
	for i, r := range found {
		raw, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("writing a stream record: %w", err)
		}
		records[i] = lambda.Record{Sequence: r.Change.SequenceNumber, Created: time.Unix(r.Change.ApproximateCreationDateTime, 0), Event: raw}
	}
	return records, nil
}

// buckets lets delivery streams write objects.
type buckets struct {
	*s3.Service
	faults *gate.Faults
}

// Put writes an object as a principal, whose policies and the bucket's decide.
func (b buckets) Put(who *iam.Principal, bucket, key string, body []byte) error {
	return b.faults.Pass(context.Background(), "s3", "PutObject", func() error { return b.Service.Put(who, bucket, key, body) })
}

// invoker lets API Gateway run functions.
type invoker struct{ host *lambda.Host }

func (i invoker) InvokeAPI(ctx context.Context, source, function string, event []byte) ([]byte, bool, error) {
	result, err := i.host.InvokeAs(ctx, "apigateway.amazonaws.com", source, function, event)
	if errors.Is(err, lambda.ErrBusy) {
		err = fmt.Errorf("%w: %w", apigateway.ErrBusy, err)
	}
	return result.Payload, result.Failed, err
}
