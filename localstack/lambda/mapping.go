package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/pattern"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

// Streams is where mappings read from: the streams of the local DynamoDB, one ordered shard each.
type Streams interface {
	// Records returns up to limit records after a sequence number, oldest first; "" begins at the oldest kept.
	// It waits until there is one or ctx ends.
	Records(ctx context.Context, streamARN, after string, limit int) ([]Record, error)
	// Shard is the id of a stream's only shard.
	Shard(streamARN string) string
}

// mappingSpec is AWS::Lambda::EventSourceMapping.
type mappingSpec struct {
	EventSourceArn                 string
	FunctionName                   string
	BatchSize                      property.Int
	MaximumBatchingWindowInSeconds property.Int
	StartingPosition               string
	BisectBatchOnFunctionError     property.Bool
	MaximumRetryAttempts           *property.Int
	MaximumRecordAgeInSeconds      *property.Int
	FunctionResponseTypes          []string
	FilterCriteria                 struct{ Filters []struct{ Pattern string } }
	DestinationConfig              struct{ OnFailure struct{ Destination string } }
}

// mapping feeds one function from one stream.
type mapping struct {
	mappingSpec
	id      string
	host    *Host
	f       string // the function's name
	filters []*pattern.Pattern
}

// streamActions are what Lambda does on a stream with the function's role.
var streamActions = []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}

func (h *Host) putMapping(r resource.Resource) (resource.Outcome, error) {
	m := &mapping{host: h, id: r.PhysicalID}
	if err := property.Decode(r.Properties, &m.mappingSpec); err != nil {
		return resource.Outcome{}, err
	}
	if m.id == "" {
		m.id = requestID()
	}
	if err := m.check(); err != nil {
		return resource.Outcome{}, err
	}
	f, err := h.function(m.FunctionName)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("property FunctionName: %w", err)
	}
	m.f = f.Name
	if err := m.may(f, streamActions, m.EventSourceArn); err != nil {
		return resource.Outcome{}, err
	}
	if err := m.mayKeep(f); err != nil {
		return resource.Outcome{}, err
	}
	h.loop(m.id, func(ctx context.Context) { m.run(ctx) })
	arn := strings.Replace(h.arn(""), ":function:", ":event-source-mapping:", 1) + m.id
	return resource.Outcome{Ref: m.id, Attributes: map[string]any{"Id": m.id, "EventSourceMappingArn": arn}}, nil
}

// dropMapping ends a mapping and forgets how far it was.
func (h *Host) dropMapping(id string) error {
	h.Stop(id)
	m := mapping{host: h, id: id}
	if err := os.Remove(m.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a mapping: %w", err)
	}
	return nil
}

func (m *mapping) check() error {
	if m.host.Streams == nil || !strings.Contains(m.EventSourceArn, ":dynamodb:") {
		return fmt.Errorf("property EventSourceArn: %q is not a stream of the local DynamoDB", m.EventSourceArn)
	}
	if m.BatchSize == 0 {
		m.BatchSize = 100
	}
	if m.StartingPosition != "TRIM_HORIZON" {
		return fmt.Errorf("property StartingPosition: %q is not supported, only TRIM_HORIZON is", m.StartingPosition)
	}
	if types := m.FunctionResponseTypes; len(types) > 1 || len(types) == 1 && types[0] != reportFailures {
		return fmt.Errorf("property FunctionResponseTypes: %q is not supported, only %s is, once", types, reportFailures)
	}
	for _, filter := range m.FilterCriteria.Filters {
		p, err := pattern.Parse([]byte(filter.Pattern))
		if err != nil {
			return fmt.Errorf("property FilterCriteria: %w", err)
		}
		m.filters = append(m.filters, p)
	}
	return nil
}

// may asks for actions that Lambda would take as the function's role. As CloudFormation does, it gives the role's policies
// the time that they need.
func (m *mapping) may(f *function, actions []string, on string) error {
	if err := sleep(m.host.ctx, m.host.Authority.Unsettled(f.Role)); err != nil {
		return err
	}
	principal, err := m.host.principal(f)
	if err != nil {
		return err
	}
	for _, action := range actions {
		if d := m.host.Authority.Decide(principal, iam.Query{Action: action, Resource: on}); !d.Allowed {
			return fmt.Errorf("the role of %s may not %s on %s %s: grant it", f.Name, action, on, d.Reason)
		}
	}
	return nil
}

// principal is a session of a function's role.
func (h *Host) principal(f *function) (*iam.Principal, error) {
	credentials, err := h.session(f)
	if err != nil {
		return nil, err
	}
	_, principal, err := h.Authority.Lookup(credentials.AccessKeyID)
	if err != nil {
		return nil, fmt.Errorf("asking for a function's rights: %w", err)
	}
	return principal, nil
}

// loop runs work until the host closes, or until other work takes the same id.
func (h *Host) loop(id string, work func(context.Context)) {
	ctx, cancel := context.WithCancel(h.ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.running[id]; old != nil {
		old()
	}
	h.running[id] = cancel
	if h.ctx.Err() == nil {
		h.loops.Go(func() { work(ctx) })
	}
}

// Stop ends a mapping's or a rule's work.
func (h *Host) Stop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if cancel := h.running[id]; cancel != nil {
		cancel()
		delete(h.running, id)
	}
}

// run reads, filters and delivers until ctx ends. What goes wrong is logged and tried again.
func (m *mapping) run(ctx context.Context) {
	after, err := m.position()
	for ctx.Err() == nil {
		if err == nil {
			after, err = m.step(ctx, after)
		} else {
			m.host.Log.Warn("An event source mapping waits after an error", "function", m.f, "cause", err)
			_ = sleep(ctx, time.Second)
			after, err = m.position()
		}
	}
}

func (m *mapping) step(ctx context.Context, after string) (string, error) {
	batch, err := m.gather(ctx, after)
	if err != nil || len(batch) == 0 {
		return after, err
	}
	last := batch[len(batch)-1].Sequence
	chosen := make([]Record, 0, len(batch))
	for _, r := range batch {
		if m.wants(r) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) > 0 {
		if err := m.delivery().deliver(ctx, chosen); err != nil {
			return after, err
		}
	}
	return last, m.keep(last)
}

// gather reads one batch: full, or as much as comes within the window after the first record.
func (m *mapping) gather(ctx context.Context, after string) ([]Record, error) {
	size := int(m.BatchSize)
	batch, err := m.host.Streams.Records(ctx, m.EventSourceArn, after, size)
	if err != nil {
		return nil, err
	}
	window, cancel := context.WithTimeout(ctx, time.Duration(m.MaximumBatchingWindowInSeconds)*time.Second)
	defer cancel()
	for len(batch) > 0 && len(batch) < size {
		more, err := m.host.Streams.Records(window, m.EventSourceArn, batch[len(batch)-1].Sequence, size-len(batch))
		batch = append(batch, more...)
		if window.Err() != nil {
			return batch, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
	}
	return batch, nil
}

func (m *mapping) wants(r Record) bool {
	for _, p := range m.filters {
		if p.Matches(r.Event) {
			return true
		}
	}
	return len(m.filters) == 0
}

func (m *mapping) delivery() delivery {
	d := delivery{
		invoke: func(ctx context.Context, records []Record) (Result, error) {
			return m.host.passed(ctx, func() (Result, error) { return m.host.Invoke(ctx, m.f, eventOf(records)) })
		},
		done: m.keep, giveUp: m.giveUp, retries: -1, maxAge: -1, now: m.host.Now,
		pause: func(ctx context.Context, tries int) error {
			return sleep(ctx, min(100*time.Millisecond<<min(tries, 7), 10*time.Second))
		},
		bisect: bool(m.BisectBatchOnFunctionError), reports: len(m.FunctionResponseTypes) > 0,
	}
	if m.MaximumRetryAttempts != nil {
		d.retries = int(*m.MaximumRetryAttempts)
	}
	if m.MaximumRecordAgeInSeconds != nil && *m.MaximumRecordAgeInSeconds >= 0 {
		d.maxAge = time.Duration(*m.MaximumRecordAgeInSeconds) * time.Second
	}
	return d
}

func eventOf(records []Record) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i, r := range records {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(r.Event)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// giveUp reports a batch to the failure destination, in the shape in which Lambda does.
func (m *mapping) giveUp(records []Record, v verdict, tries int) {
	m.host.Log.Error("A batch was abandoned", "function", m.f, "records", len(records), "tries", tries, "cause", v.why)
	if m.DestinationConfig.OnFailure.Destination == "" {
		return
	}
	response := map[string]any{"statusCode": 200, "executedVersion": "$LATEST"}
	if v.threw {
		response["functionError"] = "Unhandled"
	}
	first, last := records[0], records[len(records)-1]
	m.bury(records, map[string]any{
		"requestContext": map[string]any{
			"requestId": requestID(), "functionArn": m.host.arn(m.f), "condition": "RetryAttemptsExhausted", "approximateInvokeCount": tries,
		},
		"responseContext": response,
		"version":         "1.0",
		"DDBStreamBatchInfo": map[string]any{
			"shardId": m.host.Streams.Shard(m.EventSourceArn), "startSequenceNumber": first.Sequence, "endSequenceNumber": last.Sequence,
			"approximateArrivalOfFirstRecord": first.Created.UTC().Format(time.RFC3339), "approximateArrivalOfLastRecord": last.Created.UTC().Format(time.RFC3339),
			"batchSize": len(records), "streamArn": m.EventSourceArn,
		},
	})
}

// checkpoint is what is kept about a mapping.
type checkpoint struct {
	Stream string `json:"stream"`
	After  string `json:"after"`
}

func (m *mapping) path() string { return filepath.Join(m.host.StateDir, "mapping-"+m.id+".json") }

// position is where to continue: the checkpoint, or else the oldest record, which is then kept.
func (m *mapping) position() (string, error) {
	raw, err := os.ReadFile(m.path())
	var c checkpoint
	if err == nil && json.Unmarshal(raw, &c) == nil && c.Stream == m.EventSourceArn {
		return c.After, nil
	}
	return "", m.keep("")
}

func (m *mapping) keep(after string) error {
	raw, err := json.Marshal(checkpoint{m.EventSourceArn, after})
	if err != nil {
		return fmt.Errorf("keeping a checkpoint: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(m.path()), 0o700); err != nil {
		return fmt.Errorf("keeping a checkpoint: %w", err)
	}
	if err := os.WriteFile(m.path()+".new", raw, 0o600); err != nil {
		return fmt.Errorf("keeping a checkpoint: %w", err)
	}
	if err := os.Rename(m.path()+".new", m.path()); err != nil {
		return fmt.Errorf("keeping a checkpoint: %w", err)
	}
	return nil
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// physicalName is what CloudFormation would call a resource that its template doesn't name.
func physicalName(r resource.Resource) string {
	return template.PhysicalName(r)
}
