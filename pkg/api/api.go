// Package api serves the HTTP API from Lambda REST proxy events (payload 1.0): an http.Handler finds the operation; the
// body is read strictly, the caller is established, the operation's handler runs, and its outcome is turned into
// a response. One line is logged for each request.
//
// What is judged is the event, which reaches the handler by the context: the adapter that makes an http.Request of it
// rebuilds the query in its own order, and can pass the event on in a header, which anyone can send.
//
// It decides who the caller is, never what the caller may do: that is for the use case. Its entry points are [New] and
// [JSON].
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/wire"
)

// maxBody is the largest body that is accepted, in bytes.
const maxBody = 64 << 10

// Call is a request whose caller is established.
type Call struct {
	Route     wire.Route
	Params    map[string]string // path parameters, decoded
	Query     map[string]string // query parameters, those that the operation documents
	Body      []byte
	RequestID string
	SourceIP  string // as API Gateway saw it
	Via       string // what the caller shows of where it came from before a proxy; not verified, "" if nothing or ambiguous
	Now       time.Time

	// In a user's or admin's call User is the caller, in a host's Host; the rest applies to both, and is zero in an
	// anonymous call.
	User    identity.User
	Host    identity.Host
	Expires time.Time     // of the certificate
	Nonce   string        // <key id>#<nonce>: the call's idempotency key
	View    document.View // the documents that the caller was checked against
}

// Handler carries out an operation and returns the answer, to be written as JSON.
type Handler func(context.Context, Call) (any, error)

// Documents returns the verified documents that are in force now.
type Documents interface {
	Fresh(context.Context) (document.View, error)
}

// Config is what a function serves.
type Config struct {
	Function  string             // the tag whose operations are served
	Handlers  map[string]Handler // by operation; exactly those of the tag
	Documents Documents          // needed unless all operations are anonymous
	Log       *slog.Logger
	Now       func() time.Time // nil: time.Now
}

// Refusing returns handlers for the same operations that answer with err alone: of a function that starts only to say why it
// can't do anything.
func Refusing(handlers map[string]Handler, err error) map[string]Handler {
	out := make(map[string]Handler, len(handlers))
	for operation := range handlers {
		out[operation] = func(context.Context, Call) (any, error) { return nil, err }
	}
	return out
}

// Validate reports every operation of the function without handler, every handler without operation, and what
// is missing.
func (c Config) Validate() error {
	var faults []error
	for _, r := range wire.Routes {
		if r.Function != c.Function {
			continue
		}
		if c.Handlers[r.Operation] == nil {
			faults = append(faults, fmt.Errorf("operation %s has no handler", r.Operation))
		}
		if r.Caller != wire.CallerAnonymous && c.Documents == nil {
			faults = append(faults, fmt.Errorf("operation %s needs documents to check its callers against", r.Operation))
		}
	}
	for op := range c.Handlers {
		if !slices.ContainsFunc(wire.Routes, func(r wire.Route) bool { return r.Operation == op && r.Function == c.Function }) {
			faults = append(faults, fmt.Errorf("handler %s is for an operation that function %q doesn't have", op, c.Function))
		}
	}
	if c.Log == nil {
		faults = append(faults, errors.New("no logger"))
	}
	return errors.Join(faults...)
}

// Server serves one function's operations. It may be used by several goroutines.
type Server struct {
	config  Config
	mux     *http.ServeMux
	adapter *httpadapter.HandlerAdapter
}

// New makes a server.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("serving the API: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{config: c, mux: http.NewServeMux()}
	for _, r := range wire.Routes {
		if r.Function == c.Function {
			s.mux.Handle(r.Method+" "+r.Pattern, s.operation(r))
		}
	}
	s.adapter = httpadapter.New(s)
	return s, nil
}
