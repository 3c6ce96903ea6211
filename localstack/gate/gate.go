// Package gate is the front door that every AWS call passes: fault injection, signature, identity and
// then the service, which asks the call itself whether its principal may do the action.
//
// It knows no service's protocol. Its entry point is [Gate].
package gate

import (
	"net/http"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// Service answers the calls signed for one signing name.
type Service interface {
	// Name is the signing name in the credential scope: dynamodb, kms, s3, sts, lambda, events.
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
}

// Authorize asks whether the call's principal may perform action on the resource; nil or an
// AccessDeniedException as [*Error]. Keys every call has (aws:PrincipalArn, aws:PrincipalAccount,
// aws:userid, aws:SourceIp, aws:SecureTransport, aws:CurrentTime, aws:RequestedRegion, aws:PrincipalTag/…) are added here.
func (c *Call) Authorize(q iam.Query) error { return authorize(c, q) }

// Error is an AWS error; each service writes it in its own protocol's shape.
type Error struct {
	Code    string         // as the SDKs know it, such as ConditionalCheckFailedException
	Message string         // AWS's own sentence where it is known
	Status  int            // HTTP status
	Fields  map[string]any // further members of the error's shape, such as CancellationReasons
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }
