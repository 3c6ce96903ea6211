// Package events is the local EventBridge: buses that take events and write them to disk, and rules. Schedules are
// handed to whoever runs them; rules with a pattern hear what comes on their bus, from callers and on the default one from
// the other services, and their messages are handed to whoever knows the targets. What a target doesn't take is tried
// again, and in the end sent to the target's dead-letter queue.
//
// It knows no target itself. Its entry point is [Open].
package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// Config says where events are kept.
type Config struct {
	Dir       string // events.bolt and events.ndjson
	Authority *iam.Authority
	Now       func() time.Time                 // default time.Now
	OnRule    func(Rule) error                 // told of every provisioned rule; nil records only
	OnEvent   func(Rule, Target, []byte) error // gets what a rule tells a target; nil tells nobody. See [Failure]
	Later     func(Target) time.Duration       // how much later than its event a target is told the first time; nil is at once
	OnDead    func(Rule, Target, Dead) error   // gets what no target took, for the target's queue; may be nil
	OnGone    func(arn string)                 // told of every rule that was removed; may be nil
	Pause     time.Duration                    // before the first of the retries, each of which waits longer; default a second
	Log       *slog.Logger                     // default discards
}

// Service is the local EventBridge. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB

	mu  sync.Mutex // one writer of the log
	log *os.File

	end   context.CancelFunc
	loop  sync.WaitGroup
	retry chan struct{} // told that something is to be tried again
}

// defaultBus is the bus on which AWS's own events come, and rules listen that name none.
const defaultBus = "default"

var (
	busBucket  = []byte("bus")
	ruleBucket = []byte("rule")
	lateBucket = []byte("late") // what is to be tried again
)

// Open reads or creates the buses kept in c.Dir; the bus "default" always exists. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening events: Config.Authority is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Rule, Target, []byte) error { return nil }
	}
	if c.Later == nil {
		c.Later = func(Target) time.Duration { return 0 }
	}
	if c.OnDead == nil {
		c.OnDead = func(Rule, Target, Dead) error { return nil }
	}
	if c.Pause == 0 {
		c.Pause = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening events: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "events.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening events: another process may have %s open: %w", c.Dir, err)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Service{config: c, db: db, end: end, retry: make(chan struct{}, 1)}
	if err := s.prepare(); err != nil {
		end()
		return nil, errors.Join(fmt.Errorf("opening events: %w", err), db.Close())
	}
	s.loop.Go(func() { s.run(ctx) })
	return s, nil
}

func (s *Service) prepare() error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		buses, err := tx.CreateBucketIfNotExists(busBucket)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{ruleBucket, lateBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return buses.Put([]byte(defaultBus), []byte("{}"))
	})
	if err != nil {
		return err
	}
	s.log, err = os.OpenFile(filepath.Join(s.config.Dir, "events.ndjson"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return err
}

// Close ends retries, which go on after the next Open, and releases the files.
func (s *Service) Close() error {
	s.end()
	s.loop.Wait()
	return errors.Join(s.db.Close(), s.log.Close())
}

// Name is the signing name.
func (*Service) Name() string { return "events" }

// ServeAWS answers PutEvents.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	gate.ServeJSON(w, c, gate.JSON11, "EventBridge", "", map[string]func(*gate.Call) (any, error){"AWSEvents.PutEvents": s.putEvents})
}

type entry struct {
	Source       string
	DetailType   string
	Detail       string
	EventBusName string
	Resources    []string
	Time         json.Number
	TraceHeader  string
}

// Event is a line of events.ndjson, shaped as a rule's target would get it.
type Event struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       time.Time       `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
	Bus        string          `json:"eventBusName,omitempty"`
}

// result is what PutEvents says about one entry.
type result struct {
	EventID      string `json:"EventId,omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

const (
	maxEntries = 10
	maxBytes   = 1 << 20
)

func (s *Service) putEvents(c *gate.Call) (any, error) {
	var in struct {
		Entries    []entry
		EndpointID string `json:"EndpointId"`
	}
	if err := json.Unmarshal(c.Body, &in); err != nil {
		return nil, &gate.Error{Code: "SerializationException", Message: "the request is not well formed"}
	}
	if len(in.Entries) == 0 || len(in.Entries) > maxEntries {
		return nil, &gate.Error{Code: "ValidationException", Message: fmt.Sprintf("1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length from 1 to %d", maxEntries)}
	}
	if in.EndpointID != "" {
		return nil, &gate.Error{Code: "ValidationException", Message: "global endpoints are not supported here"}
	}
	total := 0
	for _, e := range in.Entries {
		total += e.size()
	}
	if total > maxBytes {
		return nil, &gate.Error{Code: "ValidationException", Message: "Total size of the entries in the request is over the limit."}
	}
	for i := range in.Entries {
		if err := s.mayPut(c, &in.Entries[i]); err != nil {
			return nil, err
		}
	}
	results, failed := make([]result, len(in.Entries)), 0
	for i, e := range in.Entries {
		r, err := s.put(c, e)
		if err != nil {
			return nil, err
		}
		if results[i] = r; r.ErrorCode != "" {
			failed++
		}
	}
	return map[string]any{"Entries": results, "FailedEntryCount": failed}, nil
}

// size counts as EventBridge does: 14 bytes for a time, and the text of the rest.
func (e entry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != "" {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// mayPut resolves the entry's bus and asks for events:PutEvents on it. One refused entry refuses the call.
func (s *Service) mayPut(c *gate.Call, e *entry) error {
	if e.EventBusName == "" {
		e.EventBusName = defaultBus
	}
	e.EventBusName = strings.TrimPrefix(e.EventBusName, s.arn("event-bus/"))
	return c.Authorize(iam.Query{Action: "events:PutEvents", Resource: s.arn("event-bus/" + e.EventBusName)})
}

func (s *Service) arn(rest string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":events:" + a.Region() + ":" + a.Account() + ":" + rest
}

// put writes one entry to disk, or says why it is bad; the error is the disk's.
func (s *Service) put(c *gate.Call, e entry) (result, error) {
	if code, refused := c.RefusedEntry(); refused {
		return result{ErrorCode: code, ErrorMessage: "this fault was injected"}, nil
	}
	switch {
	case e.Source == "":
		return result{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter Source is not valid. Reason: Source is a required argument."}, nil
	case strings.HasPrefix(e.Source, "aws."):
		return result{ErrorCode: "NotAuthorizedForSourceException", ErrorMessage: "Not authorized for the source."}, nil
	case e.DetailType == "":
		return result{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter DetailType is not valid. Reason: DetailType is a required argument."}, nil
	case e.Detail == "":
		return result{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter Detail is not valid. Reason: Detail is a required argument."}, nil
	case !isObject(e.Detail):
		return result{ErrorCode: "MalformedDetail", ErrorMessage: "Detail is malformed."}, nil
	case !s.has(e.EventBusName):
		return result{ErrorCode: "ResourceNotFoundException", ErrorMessage: "Event bus " + e.EventBusName + " does not exist."}, nil
	}
	out := Event{
		Version: "0", ID: newUUID(), DetailType: e.DetailType, Source: e.Source, Account: c.Principal.Account, Time: e.at(c.Time),
		Region: s.config.Authority.Region(), Resources: append([]string{}, e.Resources...), Detail: json.RawMessage(e.Detail), Bus: e.EventBusName,
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return result{}, fmt.Errorf("encoding an event: %w", err)
	}
	if err := s.write(raw); err != nil {
		return result{}, err
	}
	if err := s.deliver(out); err != nil { // who puts an event doesn't learn what becomes of it
		s.config.Log.Error("A rule's target failed", "cause", err)
	}
	return result{EventID: out.ID}, nil
}

func isObject(text string) bool {
	var fields map[string]any
	return json.Unmarshal([]byte(text), &fields) == nil
}

func (s *Service) write(event []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.log.Write(append(event, '\n')); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}

// at is the entry's own time, in whole seconds as EventBridge has it.
func (e entry) at(now time.Time) time.Time {
	if f, err := e.Time.Float64(); err == nil && e.Time != "" {
		return time.Unix(int64(f), 0).UTC()
	}
	return now.UTC().Truncate(time.Second)
}

func (s *Service) has(bus string) bool {
	found := false
	_ = s.db.View(func(tx *bbolt.Tx) error { // the function gives no error
		found = tx.Bucket(busBucket).Get([]byte(bus)) != nil
		return nil
	})
	return found
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Operations lists what the service answers.
func (*Service) Operations() []string { return []string{"PutEvents"} }
