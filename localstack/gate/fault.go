package gate

import (
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
	Kind        string  `json:"kind"`                  // throttle, latency, error, lost_answer or down
	Count       int     `json:"count,omitempty"`       // how often; 0 is without limit
	Probability float64 `json:"probability,omitempty"` // of hitting a call that matches; 0 is 1
	LatencyMS   int     `json:"latency_ms,omitempty"`  // for latency
	Code        string  `json:"code,omitempty"`        // for error and throttle: the error's code
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
)

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
	default:
		errs = append(errs, fmt.Errorf("kind: %q is not throttle, latency, error, lost_answer or down", f.Kind))
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

// faults has the instructions in force and is the handler of /_local/fault.
type faults struct {
	mu   sync.Mutex
	next int
	list []*Fault
}

func newFaults() *faults { return &faults{} }

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (f *faults) post(w http.ResponseWriter, r *http.Request) {
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
func (f *faults) take(service, operation string) *Fault {
	return f.find(func(one *Fault) bool {
		return one.Kind != FaultDown && fits(one.Service, service) && fits(one.Operation, operation)
	})
}

// down reports whether the service is to be cut off.
func (f *faults) down(service string) bool {
	return f.find(func(one *Fault) bool { return one.Kind == FaultDown && fits(one.Service, service) }) != nil
}

func (f *faults) find(matches func(*Fault) bool) *Fault {
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

func fits(want, got string) bool { return want == "" || want == "*" || want == got }

// inject answers a call as the fault orders.
func (g *Gate) inject(w http.ResponseWriter, c *Call, s Service, f *Fault) {
	switch f.Kind {
	case FaultThrottle:
		WriteError(w, c, protocolOf(c.Service), throttled(c.Service, f.Code))
	case FaultError:
		e := &Error{Code: f.Code, Status: f.Status, Message: "this fault was injected"}
		if e.Code == "" {
			e.Code = internalCode(protocolOf(c.Service))
		}
		if e.Status == 0 {
			e.Status = http.StatusInternalServerError
		}
		WriteError(w, c, protocolOf(c.Service), e)
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
