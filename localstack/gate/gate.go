// Package gate is the front door that every AWS call passes: fault injection, signature, identity and
// then the service, which asks the call itself whether its principal may do the action.
//
// It knows no service's protocol. Its entry point is [Gate].
package gate

import (
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// Service answers the calls signed for one signing name.
type Service interface {
	// Name is the signing name in the credential scope: dynamodb, ecr, kms, s3, sts, lambda, events, sqs, glue, athena, firehose.
	Name() string
	// ServeAWS answers one call whose signature has been verified. Authorisation is the service's part:
	// it calls c.Authorize with the action and resource before it acts.
	ServeAWS(w http.ResponseWriter, c *Call)
}

// Call is one verified request.
type Call struct {
	HTTP      *http.Request  // the body has been read into Body
	Body      []byte         // at most the gate's limit
	Service   string         // signing name
	Region    string         // from the credential scope
	Principal *iam.Principal // nil for an anonymous call, which only S3 and STS know
	RequestID string         // a UUID, also sent as x-amzn-requestid
	Time      time.Time      // when the call arrived
	Presigned bool           // signed in the query string
	Authority *iam.Authority // who decides; never nil

	operation string
	log       *slog.Logger
	faults    *Faults // nil of a call that came through no gate
}

// Authorize asks whether the call's principal may perform the action on the resource: nil, or an
// AccessDeniedException as [*Error]. What is known of every call is added to the query's context: the
// principal's keys (see [iam.Authority.Decide]) and aws:SecureTransport.
//
// aws:SecureTransport is always "true": the endpoint is plain HTTP on loopback and stands for AWS's, which
// this deployment reaches only over TLS.
func (c *Call) Authorize(q iam.Query) error {
	context := map[string][]string{}
	maps.Copy(context, q.Context)
	context["aws:SecureTransport"] = []string{"true"}
	q.Context = context
	d := c.Authority.Decide(c.Principal, q)
	if d.Allowed {
		return nil
	}
	if c.log != nil {
		c.log.Info("Call denied", "request_id", c.RequestID, "principal", c.Principal.String(), "action", q.Action,
			"resource", q.Resource, "reason", d.Reason, "policy", d.Policy, "sid", d.Sid)
	}
	return &Error{
		Code: "AccessDeniedException", Status: http.StatusBadRequest,
		Message: "User: " + c.Principal.String() + " is not authorized to perform: " + q.Action + " on resource: " + q.Resource + " " + d.Reason,
	}
}

// Operation is the call's operation, such as PutItem, as fault injection and logs name it; "" if unknown.
func (c *Call) Operation() string { return c.operation }

// Error is an AWS error; each service writes it in its own protocol's shape with [WriteError].
type Error struct {
	Code    string         // as the SDKs know it, such as ConditionalCheckFailedException
	Message string         // AWS's own sentence where it is known
	Status  int            // HTTP status; 0 is 400
	Fields  map[string]any // further members of the error's shape, such as CancellationReasons
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }
