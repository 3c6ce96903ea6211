package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Fault is one instruction to misbehave, as POST /_local/fault accepts it.
type Fault struct {
	ID          int     `json:"id"`                    // given by the gate
	Service     string  `json:"service"`               // signing name; "" or "*" is any
	Operation   string  `json:"operation"`             // "" or "*" is any
	Kind        string  `json:"kind"`                  // throttle, latency, error, lost_answer, down or entry
	Count       int     `json:"count,omitempty"`       // how often; 0 is without limit
	Probability float64 `json:"probability,omitempty"` // of hitting a call that matches, or each of its entries; 0 is 1
	LatencyMS   int     `json:"latency_ms,omitempty"`  // for latency
	Code        string  `json:"code,omitempty"`        // for error, throttle and entry: the error's code
	Status      int     `json:"status,omitempty"`      // for error: the HTTP status, default 500
	Hits        int     `json:"hits"`                  // told by GET
}

// The kinds of fault.
const (
	FaultThrottle   = "throttle"    // refused with the service's throttling error
	FaultLatency    = "latency"     // carried out after a delay
	FaultError      = "error"       // refused with an error, by default an internal one
	FaultLostAnswer = "lost_answer" // carried out, but the connection is cut before the answer
	FaultDown       = "down"        // the connection is cut before anything is read
	FaultEntry      = "entry"       // single entries are refused of a call that has several, and the others carried out
)

// refusedEntry is what EventBridge says of an entry that it didn't take, for whatever reason of its own.
const refusedEntry = "InternalFailure"

func (f Fault) validate() error {
	var errs []error
	switch f.Kind {
	case FaultThrottle, FaultError, FaultLostAnswer, FaultDown:
		if f.LatencyMS != 0 {
			errs = append(errs, errors.New("latency_ms: belongs to kind latency"))
		}
	case FaultLatency:
		if f.LatencyMS <= 0 || f.LatencyMS > 600_000 {
			errs = append(errs, errors.New("latency_ms: must be 1 to 600000"))
		}
	case FaultEntry:
		if f.Service != "events" || f.Operation != "PutEvents" {
			errs = append(errs, errors.New("operation: entries are refused of PutEvents of the service events alone"))
		}
		if f.LatencyMS != 0 || f.Status != 0 {
			errs = append(errs, errors.New("latency_ms, status: an entry has only a code"))
		}
	default:
		errs = append(errs, fmt.Errorf("kind: %q is not throttle, latency, error, lost_answer, down or entry", f.Kind))
	}
	if f.Kind == FaultDown && f.Operation != "" && f.Operation != "*" {
		errs = append(errs, errors.New("operation: a service that is down is down for every operation"))
	}
	if f.Probability < 0 || f.Probability > 1 {
		errs = append(errs, errors.New("probability: must be 0 to 1"))
	}
	if f.Count < 0 {
		errs = append(errs, errors.New("count: must not be negative"))
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		errs = append(errs, errors.New("status: must be 400 to 599"))
	}
	return errors.Join(errs...)
}

// Faults has the instructions in force and is the handler of /_local/fault. What comes to the gate goes through them, and so
// does what services ask of each other behind it, if they are told to by [Faults.Pass]. It is safe for concurrent use.
type Faults struct {
	mu   sync.Mutex
	next int
	list []*Fault
}

// NewFaults makes one without instructions.
func NewFaults() *Faults { return &Faults{} }

// Pass carries out what a service asks of another, or has it misbehave: it comes late, fails before it was carried out, or
// after that.
func (f *Faults) Pass(ctx context.Context, service, operation string, do func() error) error {
	if late := f.Delay(service, operation); late > 0 {
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.Fail(service, operation, do)
}

// Delay says how much later a call is to be carried out: what [Faults.Pass] waits for.
func (f *Faults) Delay(service, operation string) time.Duration {
	hit := f.find(func(one *Fault) bool { return one.Kind == FaultLatency && one.concerns(service, operation) })
	if hit == nil {
		return 0
	}
	return time.Duration(hit.LatencyMS) * time.Millisecond
}

// Fail is [Faults.Pass] without what comes late.
func (f *Faults) Fail(service, operation string, do func() error) error {
	hit := f.find(func(one *Fault) bool {
		return one.Kind != FaultLatency && one.Kind != FaultEntry && one.concerns(service, operation)
	})
	if hit == nil {
		return do()
	}
	switch hit.Kind {
	case FaultThrottle:
		return throttled(service, hit.Code)
	case FaultError:
		return hit.error(service)
	case FaultLostAnswer:
		if err := do(); err != nil {
			return err
		}
	}
	return fmt.Errorf("the connection to %s was cut: this fault was injected", service)
}

func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		f.post(w, r)
	case http.MethodDelete:
		f.mu.Lock()
		f.list = nil
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		f.mu.Lock()
		defer f.mu.Unlock()
		out := make([]Fault, 0, len(f.list))
		for _, one := range f.list {
			out = append(out, *one)
		}
		answerLocal(w, http.StatusOK, out)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(w, "use POST to add a fault, GET to list and DELETE to clear", http.StatusMethodNotAllowed)
	}
}

func (f *Faults) post(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(io.LimitReader(r.Body, 64<<10))
	d.DisallowUnknownFields()
	var one Fault
	err := d.Decode(&one)
	if err == nil {
		err = one.validate()
	}
	if err != nil {
		http.Error(w, "reading the fault: "+err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	one.ID, one.Hits = f.next, 0
	f.list = append(f.list, &one)
	answerLocal(w, http.StatusCreated, one)
}

func answerLocal(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}

// take finds the first fault that hits this call, and counts it.
func (f *Faults) take(service, operation string) *Fault {
	return f.find(func(one *Fault) bool {
		return one.Kind != FaultDown && one.Kind != FaultEntry && one.concerns(service, operation)
	})
}

// down reports whether the service is to be cut off.
func (f *Faults) down(service string) bool {
	return f.find(func(one *Fault) bool { return one.Kind == FaultDown && fits(one.Service, service) }) != nil
}

func (f *Faults) find(matches func(*Fault) bool) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.list {
		spent := one.Count > 0 && one.Hits >= one.Count

		if spent || !matches(one) || one.Probability > 0 && rand.Float64() >= one.Probability {
			continue
		}
		one.Hits++
		copied := *one
		return &copied
	}
	return nil
}

// concerns reports whether a call is one that the fault may hit.
func (f Fault) concerns(service, operation string) bool {
	return fits(f.Service, service) && fits(f.Operation, operation)
}

func fits(want, got string) bool { return want == "" || want == "*" || want == got }

// inject answers a call as the fault orders.
func (g *Gate) inject(w http.ResponseWriter, c *Call, s Service, f *Fault) {
	switch f.Kind {
	case FaultThrottle:
		WriteError(w, c, protocolOf(c.Service), throttled(c.Service, f.Code))
	case FaultError:
		WriteError(w, c, protocolOf(c.Service), f.error(c.Service))
	case FaultLatency:
		timer := time.NewTimer(time.Duration(f.LatencyMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.ServeAWS(w, c)
		case <-c.HTTP.Context().Done():
		}
	case FaultLostAnswer:
		s.ServeAWS(&deaf{header: http.Header{}}, c)
		panic(http.ErrAbortHandler) // net/http's way to cut the connection without an answer
	}
}

// error is what the fault has a service answer.
func (f Fault) error(service string) *Error {
	return &Error{
		Code: cmp.Or(f.Code, internalCode(protocolOf(service))), Status: cmp.Or(f.Status, http.StatusInternalServerError), Message: "this fault was injected",
	}
}

// RefusedEntry asks for one entry of a call that has several whether it is to be refused, and by which code.
func (c *Call) RefusedEntry() (code string, refused bool) {
	if c.faults == nil {
		return "", false
	}
	hit := c.faults.find(func(one *Fault) bool { return one.Kind == FaultEntry && one.concerns(c.Service, c.operation) })
	if hit == nil {
		return "", false
	}
	return cmp.Or(hit.Code, refusedEntry), true
}

func throttled(service, code string) *Error {
	e := &Error{Code: "ThrottlingException", Status: http.StatusBadRequest, Message: "Rate exceeded"}
	switch service {
	case "s3":
		e.Code, e.Status, e.Message = "SlowDown", http.StatusServiceUnavailable, "Please reduce your request rate."
	case "sts":
		e.Code = "Throttling"
	case "lambda":
		e.Code, e.Status = "TooManyRequestsException", http.StatusTooManyRequests
	}
	if code != "" {
		e.Code = code
	}
	return e
}

// deaf is a ResponseWriter whose answer reaches nobody.
type deaf struct{ header http.Header }

func (d *deaf) Header() http.Header         { return d.header }
func (d *deaf) Write(b []byte) (int, error) { return len(b), nil }
func (d *deaf) WriteHeader(int)             {}
