package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/apigateway"
	"github.com/stile-dev/stile/localstack/dynamodb"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/kms"
	"github.com/stile-dev/stile/localstack/lambda"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
	"github.com/stile-dev/stile/localstack/sts"
)

// services are all services of the local AWS, opened and ready to be deployed into.
type services struct {
	authority  *iam.Authority
	dynamodb   *dynamodb.Server
	kms        *kms.Service
	s3         *s3.Service
	events     *events.Service
	lambda     *lambda.Host
	api        *apigateway.Gateway
	ecs        *ecs.Host
	roles      *ecs.Credentials
	supervisor *process.Supervisor
	gate       *gate.Gate

	closers []func() error // in the order of opening
}

// openServices opens everything on the state directory. Close it when done, even after an error.
func openServices(p place, o *ports, a *account.Account, log *slog.Logger) (*services, error) {
	s := &services{supervisor: process.NewSupervisor(p.run(), log)}
	err := s.openStores(p, a, log)
	if err == nil {
		err = s.openHosts(p, o, log)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *services) openStores(p place, a *account.Account, log *slog.Logger) (err error) {
	if s.authority, err = iam.Open(iam.Config{Dir: p.aws(), Account: a.Account, Partition: a.Partition, Region: a.Region}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.authority.Close)
	if s.dynamodb, err = dynamodb.Open(dynamodb.Config{Dir: p.aws() + "/dynamodb", Account: a.Account, Region: a.Region, Partition: a.Partition, Logger: log}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.dynamodb.Close)
	if s.kms, err = kms.Open(kms.Config{Dir: p.aws() + "/kms", Authority: s.authority, Logger: log}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.kms.Close)
	if s.s3, err = s3.Open(s3.Config{Dir: p.aws() + "/s3", Authority: s.authority}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.s3.Close)
	s.events, err = events.Open(events.Config{Dir: p.aws() + "/events", Authority: s.authority, OnRule: s.rule})
	if err == nil {
		s.closers = append(s.closers, s.events.Close)
	}
	return err
}

func (s *services) openHosts(p place, o *ports, log *slog.Logger) (err error) {
	if s.lambda, err = lambda.New(lambda.Config{
		Authority: s.authority, BinDir: p.bin(), LogDir: p.log(), StateDir: p.aws() + "/lambda", Endpoint: o.endpoint(), Streams: streams{s.dynamodb}, Log: log,
	}); err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { s.lambda.Close(); return nil })
	s.api = apigateway.New(apigateway.Config{
		Account: s.authority.Account(), Region: s.authority.Region(), Partition: s.authority.Partition(), Invoker: invoker{s.lambda}, Log: log,
	})
	if s.roles, err = ecs.OpenCredentials(s.authority, p.aws(), o.endpoint()); err != nil {
		return err
	}
	if s.ecs, err = ecs.New(ecs.Config{
		Authority: s.authority, Supervisor: s.supervisor, Roles: s.roles, BinDir: p.bin(), LogDir: p.log(), HomeDir: p.home(""),
		Balancer: p.balancer(), Endpoint: o.endpoint(), TrustFile: p.trust(), Port: o.task, Log: log,
	}); err != nil {
		return err
	}
	s.gate, err = gate.New(gate.Config{
		Authority: s.authority, Logger: log,
		Services: []gate.Service{s.dynamodb, s.kms, s.s3, sts.New(), s.events, s.lambda.Service()},
	})
	return err
}

// providers are everybody who makes resources.
func (s *services) providers() []resource.Provider {
	return []resource.Provider{iam.NewProvider(s.authority), s.dynamodb, s.kms, s.s3, s.events, s.lambda, s.api, s.ecs}
}

// Close ends every function and closes every store. Tasks, agents and the load balancer go on.
func (s *services) Close() error {
	s.supervisor.Release()
	var faults []error
	for _, closer := range slices.Backward(s.closers) {
		faults = append(faults, closer())
	}
	return errors.Join(faults...)
}

// rule puts a provisioned rule to work; one with a pattern is only recorded.
func (s *services) rule(r events.Rule) error {
	if r.Schedule == "" {
		return nil
	}
	schedule := lambda.Rule{Name: r.Name, ARN: r.ARN, Schedule: r.Schedule, Enabled: r.Enabled}
	for _, t := range r.Targets {
		schedule.Targets = append(schedule.Targets, lambda.Target{ARN: t.ARN, Input: t.Input, DeadLetter: t.DeadLetterARN})
	}
	return s.lambda.Run(schedule)
}

// streams lets event source mappings read DynamoDB's streams.
type streams struct{ server *dynamodb.Server }

func (s streams) Latest() string { return s.server.Latest() }

func (s streams) Records(ctx context.Context, arn, after string, limit int) ([]lambda.Record, error) {
	found, err := s.server.Records(ctx, arn, after, limit)
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

// invoker lets API Gateway run functions.
type invoker struct{ host *lambda.Host }

func (i invoker) InvokeAPI(ctx context.Context, source, function string, event []byte) ([]byte, bool, error) {
	result, err := i.host.InvokeAs(ctx, "apigateway.amazonaws.com", source, function, event)
	if errors.Is(err, lambda.ErrBusy) {
		err = fmt.Errorf("%w: %w", apigateway.ErrBusy, err)
	}
	return result.Payload, result.Failed, err
}
