package apigateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Limits of a REST API.
const (
	maxHeaders = 10240    // request line and headers together, bytes
	maxBody    = 10 << 20 // bytes
)

// ServeHTTP answers one request of an API's client.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid()
	w.Header().Set("x-amzn-RequestId", id)
	w.Header().Set("x-amz-apigw-id", id)
	if headerSize(r) > maxHeaders {
		refuse(w, http.StatusRequestHeaderFieldsTooLarge, "", "Request Header Fields Too Large")
		return
	}
	s, x, ok := g.find(r)
	x.id, x.began = id, g.Now()
	if s != nil && s.log != nil {
		seen := &counted{ResponseWriter: w}
		w = seen
		defer func() { g.logAccess(s.log, r, x, seen) }()
	}
	if !ok {
		refuse(w, http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token")
		return
	}
	if !s.admits(r.Method, x.match.resource, x.began) {
		refuse(w, http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		refuse(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "HTTP content length exceeded 10485760 bytes.")
		return
	}
	if err != nil {
		return // the client is gone
	}
	x.body = body
	g.forward(w, r, x)
}

// headerSize counts the request line and headers as sent over HTTP/1.1.
func headerSize(r *http.Request) int {
	size := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("Host: ") + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(": ") + len(value)
		}
	}
	return size
}

// refuse writes the gateway's own answer.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	if kind != "" {
		w.Header().Set("x-amzn-ErrorType", kind)
	}
	if c, ok := w.(*counted); ok {
		c.refusal = kind
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, x exchange) {
	raw, err := json.Marshal(g.event(r, x))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "InternalServerErrorException", "Internal server error")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.Timeout)
	defer cancel()
	source := g.source(x.api, x.stage, r.Method, x.match.resource)
	reply, failed, err := g.Invoker.InvokeAPI(ctx, source, x.match.function, raw)
	if err == nil && !failed {
		err = answer(w, reply)
		if err == nil {
			return
		}
	}
	g.Log.Warn("A request failed", "request_id", x.id, "method", r.Method, "path", x.path, "function", x.match.function, "cause", cause(err, reply))
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		refuse(w, http.StatusGatewayTimeout, "InternalServerErrorException", "Endpoint request timed out")
	case errors.Is(err, ErrBusy):
		refuse(w, http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests")
	case err != nil && !errors.Is(err, errMalformed):
		refuse(w, http.StatusInternalServerError, "InternalServerErrorException", "Internal server error")
	default:
		refuse(w, http.StatusBadGateway, "InternalServerErrorException", "Internal server error")
	}
}

func cause(err error, answer []byte) string {
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// response is what a function answers in payload format 1.0.
type response struct {
	StatusCode        json.RawMessage     `json:"statusCode"` // a number, or a string of one
	Headers           map[string]any      `json:"headers"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Body              string              `json:"body"`
}

var errMalformed = errors.New("malformed Lambda proxy response")

// answer writes a function's answer. Nothing has been written when it returns an error.
func answer(w http.ResponseWriter, raw []byte) error {
	var a response
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	status, err := strconv.Atoi(strings.Trim(string(a.StatusCode), `"`))
	if err != nil || status < 100 || status > 599 {
		return fmt.Errorf("%w: statusCode %s", errMalformed, a.StatusCode)
	}
	h := w.Header()
	for name, value := range a.Headers {
		h.Set(name, fmt.Sprint(value))
	}
	for name, values := range a.MultiValueHeaders {
		h.Del(name)
		for _, value := range values {
			h.Add(name, value)
		}
	}
	for name := range dropped {
		h.Del(name)
	}
	h.Del("Content-Length")
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, a.Body) // base64 or not: the API declares no binary media types
	return nil
}
