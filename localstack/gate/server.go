package gate

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// Config says what stands behind the gate.
type Config struct {
	Authority *iam.Authority
	Services  []Service
	Logger    *slog.Logger            // default discards
	Now       func() time.Time        // default time.Now
	MaxBody   int64                   // bytes; default 64 MiB
	Mounts    map[string]http.Handler // further handlers by path prefix, such as "/_ecs/credentials/" or "/_local/flush"
}

// Gate is the http.Handler that every AWS call passes.
type Gate struct {
	config Config
}

// New makes a gate.
func New(c Config) (*Gate, error) { return &Gate{config: c}, nil }

// Mount adds a handler for a path prefix that begins with "/_"; the longest prefix wins.
func (g *Gate) Mount(prefix string, h http.Handler) {}

// ServeHTTP answers one call.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Operator is a Service that names its operation for fault injection where neither X-Amz-Target nor Action does.
type Operator interface {
	Operation(c *Call) string
}

// Protocol is the wire shape of a service's errors.
type Protocol int

// The protocols that AWS services speak.
const (
	JSON10   Protocol = iota + 1 // dynamodb, streams
	JSON11                       // kms, events
	Query                        // sts
	RESTXML                      // s3
	RESTJSON                     // lambda
)

// WriteJSON answers a JSON 1.0, 1.1 or REST JSON call with status 200.
func WriteJSON(w http.ResponseWriter, c *Call, p Protocol, v any) {}

// WriteError answers with the error in the protocol's shape. An error that is no [*Error] becomes an internal failure.
func WriteError(w http.ResponseWriter, c *Call, p Protocol, err error) {}

func authorize(c *Call, q iam.Query) error { return nil }
