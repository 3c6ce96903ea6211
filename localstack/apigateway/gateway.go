// Package apigateway is API Gateway's REST API: it takes HTTPS requests, finds the route that a template
// declares, and invokes the route's function with an event of payload format 1.0.
//
// It must not know what the functions do. Its entry point is [New]; the [Gateway] is both a provider of
// resources and an http.Handler.
package apigateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ErrBusy is returned by an Invoker when a function takes no more requests.
var ErrBusy = errors.New("function is busy")

// Invoker runs functions on behalf of this service.
type Invoker interface {
	// InvokeAPI runs a function for a route, whose execute-api ARN is source, if the function's resource
	// policy allows it. failed says that the function itself failed.
	InvokeAPI(ctx context.Context, source, functionARN string, event []byte) (answer []byte, failed bool, err error)
}

// Config says whose APIs these are.
type Config struct {
	Account, Region, Partition string
	Invoker                    Invoker
	Log                        *slog.Logger     // nil: slog.Default()
	Now                        func() time.Time // nil: time.Now
	Timeout                    time.Duration    // of one request; 0 means 29 s
	LogDir                     string           // for access logs; "" refuses them, as an account does that has no role for them
}

// Gateway serves every API of the account on one address; the stage in the path tells them apart. It is
// safe for concurrent use.
type Gateway struct {
	Config

	mu     sync.RWMutex
	apis   map[string]*api   // by id
	stages map[string]*stage // by name
}

// api is one AWS::ApiGateway::RestApi.
type api struct {
	id, name string
	root     *node // routes
}

// New makes a gateway without APIs.
func New(c Config) *Gateway {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout == 0 {
		c.Timeout = 29 * time.Second
	}
	return &Gateway{Config: c, apis: map[string]*api{}, stages: map[string]*stage{}}
}

// find strips the stage from a request's path and finds the route. The path stays escaped, as REST APIs hand
// it to functions.
func (g *Gateway) find(r *http.Request) (s *stage, x exchange, ok bool) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	g.mu.RLock()
	defer g.mu.RUnlock()
	if s = g.stages[name]; s == nil {
		return nil, exchange{}, false
	}
	x = exchange{api: g.apis[s.api], stage: name, path: "/" + rest}
	x.match, ok = x.api.root.find(x.path, r.Method)
	return s, x, ok
}

// source is the ARN that a function's resource policy sees: API, stage, method and resource.
func (g *Gateway) source(a *api, stage, method, resourcePath string) string {
	return fmt.Sprintf("arn:%s:execute-api:%s:%s:%s/%s/%s%s", g.Partition, g.Region, g.Account, a.id, stage, method, resourcePath)
}

// newID makes ten characters of lower-case hex, the form of an API's id.
func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// uuid makes a random version 4 UUID (RFC 9562).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
