package lambda

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// settings are what a function is configured with.
type settings struct {
	Name    string
	Binary  string // as the template's metadata names it, such as functions/login
	Path    string // the file to run
	Role    string // ARN
	Handler string
	Memory  int // MB, told to the function; not enforced
	Timeout time.Duration
	Env     map[string]string
	Most    int // instances at once; 0 means Config.Instances
}

// function is one function: a bounded queue, and up to Config.Instances processes that take from it.
type function struct {
	settings
	arn, hash string
	host      *Host
	queue     chan *invocation
	ctx       context.Context // ends the function's instances
	cancel    context.CancelFunc
	live      sync.WaitGroup

	mu        sync.Mutex
	instances int // processes, whatever they do
	free      int // of them, starting or waiting for work
}

// invocation is one request on its way through a function. Exactly one result is sent.
type invocation struct {
	id      string
	payload []byte
	result  chan Result // holds one
}

func newFunction(h *Host, s settings, hash string) *function {
	ctx, cancel := context.WithCancel(context.Background())
	return &function{settings: s, arn: h.arn(s.Name), hash: hash, host: h, queue: make(chan *invocation, h.Queue), ctx: ctx, cancel: cancel}
}

// functionName takes a name, a partial or a full ARN, and drops a version.
func functionName(nameOrARN string) string {
	if i := strings.Index(nameOrARN, "function:"); i >= 0 {
		nameOrARN = nameOrARN[i+len("function:"):]
	}
	name, _, _ := strings.Cut(nameOrARN, ":")
	return name
}

// invoke queues the request of that id and waits for its result. When ctx ends first the request still runs, as it would
// on AWS.
func (f *function) invoke(ctx context.Context, id string, payload []byte) (Result, error) {
	inv := &invocation{id: id, payload: payload, result: make(chan Result, 1)}
	select {
	case f.queue <- inv:
	default:
		return Result{}, fmt.Errorf("%w: %s has %d requests waiting", ErrBusy, f.Name, cap(f.queue))
	}
	f.staff()
	select {
	case result := <-inv.result:
		return result, nil
	case <-ctx.Done():
		return Result{}, fmt.Errorf("waiting for %s: %w", f.Name, ctx.Err())
	case <-f.ctx.Done():
		return Result{}, fmt.Errorf("%s was replaced or the local AWS is going down; try again", f.Name)
	}
}

// staff starts an instance if more requests wait than instances are free to take them.
func (f *function) staff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil || len(f.queue) <= f.free || f.instances >= cmp.Or(min(f.Most, f.host.Instances), f.host.Instances) {
		return
	}
	f.start(nil)
}

// start adds an instance; f.mu is held. ready, if not nil, is told whether it came up.
func (f *function) start(ready chan<- error) {
	f.instances++
	f.free++
	f.live.Go(func() {
		err := newInstance(f, ready).run()
		f.mu.Lock()
		f.instances--
		f.mu.Unlock()
		if err != nil {
			f.host.Log.Warn("An instance ended", "function", f.Name, "cause", err)
		}
		f.staff()
	})
}

// busy counts a free instance as taken (or gone), and asks for another if requests still wait.
func (f *function) busy() {
	f.mu.Lock()
	f.free--
	f.mu.Unlock()
	f.staff()
}

func (f *function) idle() {
	f.mu.Lock()
	f.free++
	f.mu.Unlock()
}

func (f *function) warm(ctx context.Context) error {
	f.mu.Lock()
	if f.instances > 0 {
		f.mu.Unlock()
		return nil
	}
	ready := make(chan error, 1)
	f.start(ready)
	f.mu.Unlock()
	select {
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("starting %s: %w; see %s", f.Name, err, f.host.logPath(f.Name))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("starting %s: %w", f.Name, ctx.Err())
	}
}

// rejectOne answers one waiting request with an error, if there is one: the instance that was started for it
// did not come up.
func (f *function) rejectOne(result Result) {
	select {
	case inv := <-f.queue:
		inv.result <- result
	default:
	}
}

func (f *function) close() {
	f.cancel()
	f.live.Wait()
}

// errorShape is what Lambda answers for a failure that the function did not report itself.
func errorShape(kind, message string) Result {
	raw, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		raw = []byte(`{"errorType":"Runtime.Unknown"}`)
	}
	return Result{Payload: raw, Failed: true}
}

var errRetired = errors.New("the instance was retired")

// requestID makes a random version 4 UUID (RFC 9562).
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
