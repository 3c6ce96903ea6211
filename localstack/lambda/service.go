package lambda

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Service is the Lambda API on the gate.
type Service struct{ host *Host }

// Service returns the host's API.
func (h *Host) Service() *Service { return &Service{h} }

// Name is the signing name.
func (s *Service) Name() string { return "lambda" }

// Operation names the call for fault injection.
func (s *Service) Operation(c *gate.Call) string {
	operation, _ := route(c.HTTP)
	return operation
}

const prefix = "/2015-03-31/functions"

// route finds the operation and the function's name or ARN in a request.
func route(r *http.Request) (operation, name string) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
	if !ok {
		return "", ""
	}
	rest = strings.Trim(rest, "/")
	name, verb, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(name)
	switch {
	case err != nil:
		return "", ""
	case r.Method == http.MethodPost && verb == "invocations":
		return "Invoke", name
	}
	return "", ""
}

// Operations lists what the service answers.
func (*Service) Operations() []string { return []string{"Invoke"} }

// ServeAWS answers one call of the REST JSON protocol.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	var err error
	switch operation, name := route(c.HTTP); operation {
	case "Invoke":
		err = s.invoke(w, c, name)
	default:
		err = &gate.Error{Code: "UnknownOperationException", Message: "the local AWS has no Lambda operation for " + c.HTTP.Method + " " + c.HTTP.URL.Path, Status: http.StatusNotFound}
	}
	if err != nil {
		gate.WriteError(w, c, gate.RESTJSON, awsError(err))
	}
}

// awsError gives the host's own errors their AWS codes.
func awsError(err error) error {
	switch {
	case errors.Is(err, ErrNoFunction):
		return &gate.Error{Code: "ResourceNotFoundException", Message: "Function not found: " + strings.TrimPrefix(err.Error(), ErrNoFunction.Error()+": "), Status: http.StatusNotFound, Fields: map[string]any{"Type": "User"}}
	case errors.Is(err, ErrBusy):
		return &gate.Error{Code: "TooManyRequestsException", Message: "Rate Exceeded.", Status: http.StatusTooManyRequests, Fields: map[string]any{"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User"}}
	}
	return err
}

func (s *Service) invoke(w http.ResponseWriter, c *gate.Call, name string) error {
	arn := s.host.arn(functionName(name))
	policies, err := s.host.policies(functionName(name))
	if err != nil {
		return err
	}
	if err := c.Authorize(iam.Query{Action: "lambda:InvokeFunction", Resource: arn, ResourcePolicies: policies}); err != nil {
		return err
	}
	f, err := s.host.function(name)
	if err != nil {
		return err
	}
	if q := c.HTTP.URL.Query().Get("Qualifier"); q != "" && q != "$LATEST" {
		return &gate.Error{Code: "ResourceNotFoundException", Message: "Function not found: " + arn + ":" + q, Status: http.StatusNotFound}
	}
	kind := c.HTTP.Header.Get("X-Amz-Invocation-Type")
	if err := checkPayload(kind, c.Body); err != nil {
		return err
	}
	switch kind {
	case "", "RequestResponse":
		return s.synchronous(w, c, f)
	case "Event":
		if err := s.host.later(f, c.Body); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	case "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &gate.Error{Code: "InvalidParameterValueException", Message: "X-Amz-Invocation-Type must be RequestResponse, Event or DryRun", Status: http.StatusBadRequest}
}

func checkPayload(kind string, body []byte) error {
	limit := maxPayload
	if kind == "Event" {
		limit = maxEvent
	}
	if len(body) > limit {
		return &gate.Error{Code: "RequestTooLargeException", Message: "Request must be smaller than 6291456 bytes for the InvokeFunction operation", Status: http.StatusRequestEntityTooLarge}
	}
	if len(body) > 0 && !json.Valid(body) {
		return &gate.Error{Code: "InvalidRequestContentException", Message: "Could not parse request body into json", Status: http.StatusBadRequest}
	}
	return nil
}

func (s *Service) synchronous(w http.ResponseWriter, c *gate.Call, f *function) error {
	result, err := f.invoke(c.HTTP.Context(), requestID(), orObject(c.Body))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	if result.Failed {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
	}
	_, _ = w.Write(result.Payload)
	return nil
}

func orObject(body []byte) []byte {
	if len(body) == 0 {
		return []byte("{}")
	}
	return body
}

// later runs an asynchronous invocation, tried three times as on AWS.
func (h *Host) later(f *function, payload []byte) error {
	if h.ctx.Err() != nil {
		return errRetired
	}
	h.background(func() { h.retry(f, payload) })
	return nil
}
