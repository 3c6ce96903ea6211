package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// Serve answers one event. The error is always nil: whatever goes wrong is a problem document.
func (s *Server) Serve(ctx context.Context, e events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
	c := Call{RequestID: e.RequestContext.RequestID, SourceIP: e.RequestContext.Identity.SourceIP, Now: s.config.Now()}
	answer, err := s.answer(ctx, &c, e)
	var body []byte
	if err == nil {
		if body, err = json.Marshal(answer); err != nil {
			err = fmt.Errorf("writing the answer: %w", err)
		}
	}
	resp := events.APIGatewayProxyResponse{StatusCode: http.StatusOK, Body: string(body), Headers: map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"X-Request-Id": c.RequestID, "Date": c.Now.UTC().Format(http.TimeFormat),
	}}
	if err != nil {
		problem(&resp, c.RequestID, fault.From(err))
	}
	s.line(ctx, c, e.HTTPMethod, resp.StatusCode, err)
	return resp, nil
}

func (s *Server) answer(ctx context.Context, c *Call, e events.APIGatewayProxyRequest) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	r, err := parse(e)
	if err != nil {
		return nil, err
	}
	if c.Route, c.Params, err = s.admit(r); err != nil {
		return nil, err
	}
	c.Body = r.body
	if err := s.establish(ctx, c, r); err != nil {
		return nil, err
	}
	return s.config.Handlers[c.Route.Operation](ctx, *c)
}

// problem writes a fault as a problem document (RFC 9457).
func problem(resp *events.APIGatewayProxyResponse, requestID string, f *fault.Fault) {
	p := wire.Problem{
		Type: "about:blank", Title: f.Code.Title(), Status: f.Code.HTTP(), Detail: f.Message, Code: string(f.Code),
		Hint: f.Hint, DecisionID: f.DecisionID, RequestID: requestID, RetryAfter: int(math.Ceil(f.RetryAfter.Seconds())),
	}
	for _, field := range f.Fields {
		p.Fields = append(p.Fields, wire.ProblemField{Path: field.Path, Reason: field.Reason})
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always marshal
		body = []byte(`{"type":"about:blank","title":"Internal error","status":500,"detail":"","code":"internal"}`)
	}
	resp.StatusCode, resp.Body = p.Status, string(body)
	resp.Headers["Content-Type"] = "application/problem+json"
	if p.RetryAfter > 0 {
		resp.Headers["Retry-After"] = strconv.Itoa(p.RetryAfter)
	}
}

// line is the one wide event of a request. Neither headers nor bodies get into it.
func (s *Server) line(ctx context.Context, c Call, method string, status int, err error) {
	level := slog.LevelInfo
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
	if err != nil {
		f := fault.From(err)
		attrs = append(attrs, slog.String("code", string(f.Code)), slog.String("detail", f.Message), slog.String("decision_id", f.DecisionID))
		if cause := f.Unwrap(); cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
		if f.Code == fault.Internal {
			level = slog.LevelError
		}
	}
	s.config.Log.LogAttrs(ctx, level, "Request answered", attrs...)
}
