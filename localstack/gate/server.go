package gate

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/gate/sigv4"
	"github.com/stile-dev/stile/localstack/iam"
)

// Config says what is behind the gate.
type Config struct {
	Authority *iam.Authority
	Services  []Service
	Logger    *slog.Logger            // default discards
	Now       func() time.Time        // default time.Now
	MaxBody   int64                   // bytes; default 64 MiB
	Faults    *Faults                 // which services may know as well; default is those of the gate alone
	Mounts    map[string]http.Handler // further handlers by path prefix, such as "/_ecs/credentials/" or "/_local/flush"
}

// Operator is a Service that names its operation where neither X-Amz-Target nor Action does.
type Operator interface {
	Operation(c *Call) string
}

// Gate is the http.Handler that every AWS call passes. It is safe for concurrent use.
type Gate struct {
	config   Config
	services map[string]Service
	faults   *Faults

	mu     sync.RWMutex
	mounts map[string]http.Handler
}

// New makes a gate for the services; two with the same name are an error.
func New(c Config) (*Gate, error) {
	if c.Authority == nil {
		return nil, errors.New("making the gate: Config.Authority is missing")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Faults == nil {
		c.Faults = NewFaults()
	}
	if c.MaxBody == 0 {
		c.MaxBody = 64 << 20
	}
	g := &Gate{config: c, services: map[string]Service{}, faults: c.Faults, mounts: map[string]http.Handler{}}
	for _, s := range c.Services {
		if _, twice := g.services[s.Name()]; twice {
			return nil, fmt.Errorf("making the gate: two services are named %s", s.Name())
		}
		g.services[s.Name()] = s
	}
	g.Mount("/_local/fault", g.faults)
	for prefix, h := range c.Mounts {
		g.Mount(prefix, h)
	}
	return g, nil
}

// Mount adds a handler for a path prefix that begins with "/_"; the longest prefix wins. What is mounted
// answers unsigned requests that name a loopback host and do not come from a browser.
func (g *Gate) Mount(prefix string, h http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mounts[prefix] = h
}

func (g *Gate) mounted(path string) http.Handler {
	g.mu.RLock()
	defer g.mu.RUnlock()
	best, found := "", http.Handler(nil)
	for prefix, h := range g.mounts {
		if strings.HasPrefix(path, prefix) && len(prefix) > len(best) {
			best, found = prefix, h
		}
	}
	return found
}

// ServeHTTP answers one call.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_") {
		g.serveMounted(w, r)
		return
	}
	began := g.config.Now()
	c := &Call{HTTP: r, RequestID: newUUID(), Time: began, Authority: g.config.Authority, log: g.config.Logger, faults: g.faults}
	c.Service = guess(r)
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		g.config.Logger.Info("AWS call", "request_id", c.RequestID, "service", c.Service, "operation", c.operation,
			"principal", c.Principal.String(), "status", rec.status, "error_code", rec.code,
			"duration_ms", g.config.Now().Sub(began).Milliseconds())
	}()
	g.serve(rec, c)
}

func (g *Gate) serveMounted(w http.ResponseWriter, r *http.Request) {
	h := g.mounted(r.URL.Path)
	switch {
	case h == nil:
		http.NotFound(w, r)
	case !loopback(r.Host) || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		http.Error(w, "only programs on this machine may call this; address it as 127.0.0.1", http.StatusForbidden)
	default:
		h.ServeHTTP(w, r)
	}
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serve handles every call: signature, fault, service.
func (g *Gate) serve(w *recorder, c *Call) {
	w.Header().Set("X-Amzn-Requestid", c.RequestID)
	if err := g.admit(w, c); err != nil {
		WriteError(w, c, protocolOf(c.Service), err)
		return
	}
	service, ok := g.services[c.Service]
	if !ok {
		WriteError(w, c, protocolOf(c.Service), refusal(c, sigError(sigv4.BadScope, "Credential should be scoped to correct service; this endpoint has "+strings.Join(g.names(), ", ")+".")))
		return
	}
	c.operation = operation(c, service)
	fault := g.faults.take(c.Service, c.operation)
	if fault == nil {
		service.ServeAWS(w, c)
		return
	}
	g.inject(w, c, service, fault)
}

func (g *Gate) names() []string {
	var names []string
	for n := range g.services {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func sigError(r sigv4.Reason, message string) error {
	return &sigv4.Error{Reason: r, Message: message}
}

// admit finds out who calls, reads the body once and checks the signature over it.
func (g *Gate) admit(w http.ResponseWriter, c *Call) error {
	s, err := sigv4.Parse(c.HTTP)
	if err != nil && sigv4.ReasonOf(err) != sigv4.Missing {
		return refusal(c, err)
	}
	if s != nil {
		c.Service, c.Region, c.Presigned = s.Service, s.Region, s.Presigned
	}
	if g.faults.down(c.Service) {
		panic(http.ErrAbortHandler)
	}
	if err := g.readBody(w, c); err != nil {
		return err
	}
	if s == nil {
		return g.anonymous(c, err)
	}
	if err := g.verify(c, s); err != nil {
		return refusal(c, err)
	}
	return nil
}

// anonymous lets S3 and STS decide themselves about calls without a signature.
func (g *Gate) anonymous(c *Call, err error) error {
	c.Region = g.config.Authority.Region()
	if c.Service == "s3" {
		return nil
	}
	return refusal(c, err)
}

func (g *Gate) readBody(w http.ResponseWriter, c *Call) error {
	limit := g.config.MaxBody
	if c.Service != "s3" {
		limit = min(limit, 16<<20)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, c.HTTP.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return &Error{Code: tooLarge(c.Service), Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("Your request is larger than %d bytes.", limit)}
	}
	if err != nil {
		return &Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly"}
	}
	c.setBody(body)
	return nil
}

func tooLarge(service string) string {
	if service == "s3" {
		return "EntityTooLarge"
	}
	return "RequestEntityTooLargeException"
}

func (c *Call) setBody(b []byte) {
	c.Body = b
	c.HTTP.Body = io.NopCloser(bytes.NewReader(b))
	c.HTTP.ContentLength = int64(len(b))
}

// operation names what is called.
func operation(c *Call, s Service) string {
	if _, op, ok := strings.Cut(c.HTTP.Header.Get("X-Amz-Target"), "."); ok {
		return op
	}
	if o, ok := s.(Operator); ok {
		return o.Operation(c)
	}
	return ""
}

// guess tells the service of a call without a credential scope, so that its refusal has the right shape.
func guess(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "DynamoDB"):
		return "dynamodb"
	case strings.HasPrefix(target, "TrentService."):
		return "kms"
	case strings.HasPrefix(target, "AWSEvents."):
		return "events"
	case strings.HasPrefix(target, "AmazonSQS."):
		return "sqs"
	case strings.HasPrefix(target, "Firehose_"):
		return "firehose"
	case strings.HasPrefix(target, "AmazonEC2ContainerRegistry"):
		return "ecr"
	case strings.HasPrefix(r.URL.Path, "/2015-03-31/"):
		return "lambda"
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"), r.URL.Query().Has("Action"):
		return "sts"
	default:
		return "s3"
	}
}

// recorder remembers what was answered, for the log.
type recorder struct {
	http.ResponseWriter
	status int
	code   string
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.code = r.Header().Get("X-Amzn-Errortype")
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// newUUID is a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
