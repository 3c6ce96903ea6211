package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/awslabs/aws-lambda-go-api-proxy/core"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/names"
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
		e.Path = x.path // the adapter makes its request of it
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
	if via := x.header.Values(names.HeaderVia); len(via) == 1 {
		c.Via = via[0]
	}
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
