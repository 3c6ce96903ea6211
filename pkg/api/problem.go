package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// write answers with what the handler returned, or with the problem document of the fault (RFC 9457).
func (x *exchange) write(w http.ResponseWriter, answer any) {
	body, err := plain(answer)
	if x.err == nil && err != nil {
		x.err = fmt.Errorf("writing the answer: %w", err)
	}
	h, status := w.Header(), http.StatusOK
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", x.call.RequestID)
	h.Set("Date", x.call.Now.UTC().Format(http.TimeFormat))
	if x.err != nil {
		p := problem(x.call.RequestID, fault.From(x.err))
		h.Set("Content-Type", "application/problem+json")
		if p.RetryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
		}
		if body, err = plain(p); err != nil { // strings and numbers always marshal
			body = []byte(`{"type":"about:blank","title":"Internal error","status":500,"detail":"","code":"internal"}`)
		}
		status = p.Status
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, and into memory
}

// plain writes JSON without HTML's escapes, which may make a page of resources six times as long.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func problem(requestID string, f *fault.Fault) wire.Problem {
	p := wire.Problem{
		Type: "about:blank", Title: f.Code.Title(), Status: f.Code.HTTP(), Detail: f.Message, Code: string(f.Code),
		Hint: f.Hint, DecisionID: f.DecisionID, RequestID: requestID, RetryAfter: int(math.Ceil(f.RetryAfter.Seconds())),
	}
	for _, field := range f.Fields {
		p.Fields = append(p.Fields, wire.ProblemField{Path: field.Path, Reason: field.Reason})
	}
	return p
}
