// Package lambda runs functions as Lambda does: each instance is its own process that fetches its work
// from a runtime API, one request at a time, with credentials of the function's role. It serves the
// Invoke API, feeds functions from streams and schedules, and keeps their resource policies.
//
// It must not know what a function does, nor who else provides resources. Its entry point is [New].
package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// Limits of a function; AWS's own where it has them.
const (
	maxPayload    = 6 << 20 // of a synchronous request or answer
	maxEvent      = 1 << 20 // of an asynchronous request
	initLimit     = 10 * time.Second
	sessionLength = 6 * time.Hour
	sessionMargin = 15 * time.Minute // an instance whose credentials end sooner is replaced
)

// Config says where functions find everything.
type Config struct {
	Authority *iam.Authority
	BinDir    string // where a function's binary is: <BinDir>/functions/<name>
	LogDir    string // <LogDir>/<function>.log
	StateDir  string // checkpoints of event source mappings
	Endpoint  string // the local AWS, as AWS_ENDPOINT_URL
	TrustFile string // root certificates beside those that Lambda's runtime has, as SSL_CERT_FILE; "" for none
	Streams   Streams
	Buckets   Buckets // nil: no bucket can be a failure destination
	Queues    Queues  // nil: no queue can
	Log       *slog.Logger

	// Pass carries out what mappings and schedules ask of functions; it may have that fail, or come late. nil carries it out.
	Pass func(ctx context.Context, service, operation string, do func() error) error

	Instances int           // of one function; 0 means 4
	Queue     int           // requests that wait for an instance; 0 means 256
	Minute    time.Duration // of schedules and retries; 0 means a minute
	Idle      time.Duration // an instance idle for so long is ended; 0 means 60 s
	Now       func() time.Time
}

// Host runs all functions of the account. It is safe for concurrent use.
type Host struct {
	Config
	ctx    context.Context
	cancel context.CancelFunc
	loops  sync.WaitGroup // mappings, schedules and asynchronous invocations

	mu        sync.Mutex
	functions map[string]*function            // by name
	grants    map[string]map[string]statement // by function name, then by permission
	running   map[string]context.CancelFunc   // mappings and rules, by physical id
}

// New makes a host without functions. Close it to end them.
func New(c Config) (*Host, error) {
	if c.Authority == nil || c.BinDir == "" || c.LogDir == "" || c.StateDir == "" || c.Endpoint == "" {
		return nil, errors.New("lambda host: Authority, BinDir, LogDir, StateDir and Endpoint are needed")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Pass == nil {
		c.Pass = func(_ context.Context, _, _ string, do func() error) error { return do() }
	}
	if c.Instances == 0 {
		c.Instances = 4
	}
	if c.Queue == 0 {
		c.Queue = 256
	}
	if c.Minute == 0 {
		c.Minute = time.Minute
	}
	if c.Idle == 0 {
		c.Idle = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Host{
		Config: c, ctx: ctx, cancel: cancel, functions: map[string]*function{}, grants: map[string]map[string]statement{},
		running: map[string]context.CancelFunc{},
	}, nil
}

// Close ends mappings, schedules and every instance, and returns when their processes are gone.
func (h *Host) Close() {
	h.mu.Lock()
	h.cancel() // under the lock, so that no loop is added while they are waited for
	h.mu.Unlock()
	h.loops.Wait()
	h.mu.Lock()
	functions := h.functions
	h.functions = map[string]*function{}
	h.mu.Unlock()
	for _, f := range functions {
		f.close()
	}
}

// Result is a function's answer.
type Result struct {
	Payload []byte
	Failed  bool // the function failed; Payload says how, in Lambda's shape
}

// ErrBusy means that a function's queue is full.
var ErrBusy = errors.New("rate exceeded")

// ErrNoFunction means that no function has that name or ARN.
var ErrNoFunction = errors.New("function not found")

// Invoke runs a function without asking who calls. Callers that act for somebody use [Host.InvokeAs].
func (h *Host) Invoke(ctx context.Context, nameOrARN string, payload []byte) (Result, error) {
	return h.invoke(ctx, requestID(), nameOrARN, payload)
}

// invoke runs a function for the request of that id; when it is tried again, the id is the same.
func (h *Host) invoke(ctx context.Context, id, nameOrARN string, payload []byte) (Result, error) {
	f, err := h.function(nameOrARN)
	if err != nil {
		return Result{}, err
	}
	return f.invoke(ctx, id, payload)
}

// passed runs a function for a mapping or a schedule, which nobody else waits for.
func (h *Host) passed(ctx context.Context, invoke func() (Result, error)) (result Result, err error) {
	err = h.Pass(ctx, "lambda", "Invoke", func() (err error) {
		result, err = invoke()
		return err
	})
	return result, err
}

// InvokeAs runs a function for an AWS service, such as apigateway.amazonaws.com, if the function's resource
// policy lets that service act for source, the ARN of what triggered it.
func (h *Host) InvokeAs(ctx context.Context, service, source, nameOrARN string, payload []byte) (Result, error) {
	return h.invokeAs(ctx, requestID(), service, source, nameOrARN, payload)
}

func (h *Host) invokeAs(ctx context.Context, id, service, source, nameOrARN string, payload []byte) (Result, error) {
	f, err := h.function(nameOrARN)
	if err != nil {
		return Result{}, err
	}
	if err := h.mayInvoke(service, source, f); err != nil {
		return Result{}, err
	}
	return f.invoke(ctx, id, payload)
}

func (h *Host) mayInvoke(service, source string, f *function) error {
	policies, err := h.policies(f.Name)
	if err != nil {
		return err
	}
	decision := h.Authority.Decide(iam.ServicePrincipal(service), iam.Query{
		Action: "lambda:InvokeFunction", Resource: f.arn, ResourcePolicies: policies,
		Context: map[string][]string{"aws:SourceArn": {source}, "aws:SourceAccount": {h.Authority.Account()}},
	})
	if !decision.Allowed {
		return fmt.Errorf("%s may not invoke %s for %s %s: an AWS::Lambda::Permission is missing", service, f.Name, source, decision.Reason)
	}
	return nil
}

// Warm starts one instance of a function, if there is none, and returns when it waits for work.
func (h *Host) Warm(ctx context.Context, nameOrARN string) error {
	f, err := h.function(nameOrARN)
	if err != nil {
		return err
	}
	return f.warm(ctx)
}

// CodeHash names the build of a function.
func (h *Host) CodeHash(nameOrARN string) (string, error) {
	f, err := h.function(nameOrARN)
	if err != nil {
		return "", err
	}
	return f.hash, nil
}

// Functions lists the names of all functions by the binary that they run, as in "functions/login".
func (h *Host) Functions() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := map[string]string{}
	for name, f := range h.functions {
		names[f.Binary] = name
	}
	return names
}

func (h *Host) function(nameOrARN string) (*function, error) {
	name := functionName(nameOrARN)
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.functions[name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoFunction, h.arn(name))
}

func (h *Host) arn(name string) string {
	return fmt.Sprintf("arn:%s:lambda:%s:%s:function:%s", h.Authority.Partition(), h.Authority.Region(), h.Authority.Account(), name)
}

func (h *Host) logPath(name string) string { return filepath.Join(h.LogDir, name+".log") }
