package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/awslabs/aws-lambda-go-api-proxy/core"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// exchange is one event on its way through the handler, and its outcome.
type exchange struct {
	request
	call Call
	err  error
}

type exchangeKey struct{}

// Serve answers one event. The error is always nil: whatever goes wrong becomes a problem document.
func (s *Server) Serve(ctx context.Context, e events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
	x := &exchange{call: Call{RequestID: e.RequestContext.RequestID, SourceIP: e.RequestContext.Identity.SourceIP, Now: s.config.Now()}}
	resp := s.exchange(ctx, x, e)
	s.line(ctx, x.call, e.HTTPMethod, resp.StatusCode, x.err)
	return resp, nil
}

func (s *Server) exchange(ctx context.Context, x *exchange, e events.APIGatewayProxyRequest) events.APIGatewayProxyResponse {
	if x.request, x.err = parse(e); x.err == nil {
		resp, err := s.adapter.ProxyWithContext(context.WithValue(ctx, exchangeKey{}, x), e)
		if err == nil {
			return resp
		}
		x.err = fmt.Errorf("making a request of the event: %w", err)
	}
	w := core.NewProxyResponseWriter()
	x.write(w, nil)
	resp, err := w.GetProxyResponse()
	if err != nil { // not a panic from a response that was just written
		return core.GatewayTimeout()
	}
	return resp
}

// ServeHTTP hands a request to its operation. One that did not come by [Server.Serve] is refused: there is no event to
// judge it by.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		x = &exchange{err: errors.New("a request without an API Gateway event")}
		x.write(w, nil)
		return
	}
	_, pattern := s.mux.Handler(r)
	if pattern == "" || r.Method != x.method || r.Method == http.MethodHead {
		x.err = s.unknown(r)
		x.write(w, nil)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// operation serves one operation: it returns the handler's answer, or why there is none.
func (s *Server) operation(route wire.Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := r.Context().Value(exchangeKey{}).(*exchange) // ServeHTTP has made sure of it
		answer, err := s.answer(r, x, route)
		x.err = err
		x.write(w, answer)
	})
}

func (s *Server) answer(r *http.Request, x *exchange, route wire.Route) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	c := &x.call
	c.Route, c.Body = route, x.body
	if c.Params, err = params(r, route); err != nil {
		return nil, err
	}
	if c.Query, err = x.documented(route); err != nil {
		return nil, err
	}
	if err := content(x.request); err != nil {
		return nil, err
	}
	if err := s.establish(r.Context(), c, x.request); err != nil {
		return nil, err
	}
	return s.config.Handlers[route.Operation](r.Context(), *c)
}

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

// line is the one wide log event of a request. Neither headers nor bodies get into it.
func (s *Server) line(ctx context.Context, c Call, method string, status int, err error) {
	level, reason := answer.Logged(err)
	attrs := []slog.Attr{
		slog.String("request_id", c.RequestID), slog.String("operation", c.Route.Operation), slog.String("method", method),
		slog.Int("status", status), slog.String("source_ip", c.SourceIP),
		slog.Int64("duration_ms", s.config.Now().Sub(c.Now).Round(time.Millisecond).Milliseconds()),
	}
	if c.User.Name != "" {
		attrs = append(attrs, slog.String("user", c.User.Name), slog.String("uid", c.User.UID), slog.String("certificate_id", c.User.Certificate))
	}
	if c.Host.ID != "" {
		attrs = append(attrs, slog.String(c.Host.Kind, c.Host.ID), slog.String("certificate_id", c.Host.Certificate))
	}
	for _, name := range []string{"kind", "name"} {
		if v := c.Params[name]; v != "" {
			attrs = append(attrs, slog.String("resource_"+name, v))
		}
	}
	s.config.Log.LogAttrs(ctx, level, "Request answered", append(attrs, reason...)...)
}
