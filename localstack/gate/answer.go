package gate

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/stile-dev/stile/localstack/gate/sigv4"
)

// Protocol is the wire shape of a service's answers and errors.
type Protocol int

// The protocols that AWS services speak.
const (
	JSON10   Protocol = iota + 1 // dynamodb, streams, sqs
	JSON11                       // ecr, kms, events, glue, athena, firehose
	Query                        // sts
	RESTXML                      // s3
	RESTJSON                     // lambda
)

func protocolOf(service string) Protocol {
	switch service {
	case "dynamodb", "sqs":
		return JSON10
	case "sts":
		return Query
	case "s3":
		return RESTXML
	case "lambda":
		return RESTJSON
	default:
		return JSON11
	}
}

func (p Protocol) contentType() string {
	switch p {
	case JSON10:
		return "application/x-amz-json-1.0"
	case JSON11:
		return "application/x-amz-json-1.1"
	case RESTJSON:
		return "application/json"
	case RESTXML:
		return "application/xml"
	default:
		return "text/xml"
	}
}

// WriteJSON answers a JSON 1.0, 1.1 or REST JSON call with status 200.
func WriteJSON(w http.ResponseWriter, c *Call, p Protocol, v any) {
	writeJSON(w, c, p, http.StatusOK, v)
}

func writeJSON(w http.ResponseWriter, c *Call, p Protocol, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		WriteError(w, c, p, err)
		return
	}
	write(w, c, p.contentType(), status, raw)
}

func write(w http.ResponseWriter, c *Call, contentType string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Amzn-Requestid", c.RequestID)
	w.WriteHeader(status)
	if c.HTTP.Method != http.MethodHead {
		_, _ = w.Write(body) // a caller that has gone has no use for an error
	}
}

// WantsJSON reports whether a Query call asks for JSON in place of XML.
func WantsJSON(c *Call) bool {
	for _, accept := range c.HTTP.Header.Values("Accept") {
		if strings.Contains(accept, "application/json") {
			return true
		}
	}
	return false
}

// WriteError answers with the error in the protocol's shape. An error that is not an [*Error] becomes an
// internal failure, whose cause is logged but not shown.
func WriteError(w http.ResponseWriter, c *Call, p Protocol, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		if c.log != nil {
			c.log.Error("Call failed", "request_id", c.RequestID, "service", c.Service, "operation", c.operation, "error", err.Error())
		}
		e = &Error{Code: internalCode(p), Status: http.StatusInternalServerError, Message: "We encountered an internal error. Please try again."}
	}
	e = e.in(p)
	w.Header().Set("X-Amzn-Errortype", e.Code)
	switch p {
	case RESTXML:
		writeS3Error(w, c, e)
	case Query:
		writeQueryError(w, c, e)
	default:
		writeJSONError(w, c, p, e)
	}
}

func internalCode(p Protocol) string {
	switch p {
	case JSON10:
		return "InternalServerError"
	case JSON11:
		return "InternalException"
	case RESTXML:
		return "InternalError"
	case RESTJSON:
		return "ServiceException"
	default:
		return "InternalFailure"
	}
}

// in gives the error the code and status that it has in the protocol.
func (e *Error) in(p Protocol) *Error {
	out := *e
	if out.Status == 0 {
		out.Status = http.StatusBadRequest
	}
	if out.Code == "AccessDeniedException" && p != JSON10 && p != JSON11 {
		out.Status = http.StatusForbidden
		if p != RESTJSON {
			out.Code = "AccessDenied"
		}
	}
	return &out
}

// coral lists the errors that AWS's common front answers, not the service.
var coral = map[string]bool{
	"MissingAuthenticationTokenException": true, "IncompleteSignatureException": true, "InvalidSignatureException": true,
	"UnrecognizedClientException": true, "ExpiredTokenException": true, "SerializationException": true,
	"UnknownOperationException": true, "AccessDeniedException": true, "ThrottlingException": true,
}

func writeJSONError(w http.ResponseWriter, c *Call, p Protocol, e *Error) {
	body := map[string]any{}
	maps.Copy(body, e.Fields)
	message := "message"
	if e.Code == "TransactionCanceledException" || e.Code == "AccessDeniedException" {
		message = "Message"
	}
	body[message] = e.Message
	switch {
	case p == RESTJSON:
		body["Type"] = fault(e.Status)
	case c.Service == "dynamodb" && e.Code == "ValidationException":
		body["__type"] = "com.amazon.coral.validate#" + e.Code
	case c.Service == "dynamodb" && coral[e.Code]:
		body["__type"] = "com.amazon.coral.service#" + e.Code
	case c.Service == "dynamodb":
		body["__type"] = "com.amazonaws.dynamodb.v20120810#" + e.Code
	default:
		body["__type"] = e.Code
	}
	writeJSON(w, c, p, e.Status, body)
}

func fault(status int) string {
	if status >= 500 {
		return "Server"
	}
	return "User"
}

// queryError is the Query protocol's error, in XML and in JSON.
type queryError struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse" json:"-"`
	Error   struct {
		Type    string
		Code    string
		Message string
	}
	RequestID string `xml:"RequestId" json:"RequestId"`
}

func writeQueryError(w http.ResponseWriter, c *Call, e *Error) {
	out := queryError{RequestID: c.RequestID}
	out.Error.Type, out.Error.Code, out.Error.Message = "Sender", e.Code, e.Message
	if e.Status >= 500 {
		out.Error.Type = "Receiver"
	}
	if WantsJSON(c) {
		writeJSON(w, c, RESTJSON, e.Status, out)
		return
	}
	WriteXML(w, c, Query, e.Status, out)
}

// s3Error is S3's error; it has no name space.
type s3Error struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string
	RequestID string `xml:"RequestId"`
}

func writeS3Error(w http.ResponseWriter, c *Call, e *Error) {
	w.Header().Set("X-Amz-Request-Id", c.RequestID)
	WriteXML(w, c, RESTXML, e.Status, s3Error{Code: e.Code, Message: e.Message, Resource: c.HTTP.URL.Path, RequestID: c.RequestID})
}

// WriteXML answers a Query or REST XML call.
func WriteXML(w http.ResponseWriter, c *Call, p Protocol, status int, v any) {
	raw, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, "internal failure", http.StatusInternalServerError)
		return
	}
	write(w, c, p.contentType(), status, append([]byte(xml.Header), raw...))
}

// code is an error's code and status in one protocol.
type code struct {
	name   string
	status int
}

// The codes for what can be wrong with a signature, by protocol. Where S3 has another code for presigned
// URLs it is in refusal.
var (
	jsonCodes = map[sigv4.Reason]code{
		sigv4.Missing: {"MissingAuthenticationTokenException", 400}, sigv4.Incomplete: {"IncompleteSignatureException", 400},
		sigv4.UnknownKey: {"UnrecognizedClientException", 400}, sigv4.BadToken: {"UnrecognizedClientException", 400},
		sigv4.DeadToken: {"ExpiredTokenException", 400}, 0: {"InvalidSignatureException", 400},
	}
	queryCodes = map[sigv4.Reason]code{
		sigv4.Missing: {"MissingAuthenticationToken", 403}, sigv4.Incomplete: {"IncompleteSignature", 400},
		sigv4.UnknownKey: {"InvalidClientTokenId", 403}, sigv4.BadToken: {"InvalidClientTokenId", 403},
		sigv4.DeadToken: {"ExpiredToken", 403}, 0: {"SignatureDoesNotMatch", 403},
	}
	s3Codes = map[sigv4.Reason]code{
		sigv4.Missing: {"AccessDenied", 403}, sigv4.Incomplete: {"AuthorizationHeaderMalformed", 400},
		sigv4.BothWays: {"InvalidArgument", 400}, sigv4.BadScope: {"AuthorizationHeaderMalformed", 400},
		sigv4.Unsigned: {"AccessDenied", 403}, sigv4.Skewed: {"RequestTimeTooSkewed", 403}, sigv4.Expired: {"AccessDenied", 403},
		sigv4.BadPayload: {"XAmzContentSHA256Mismatch", 400}, sigv4.NoPayload: {"MissingSecurityHeader", 400},
		sigv4.BadTrailers: {"MalformedTrailerError", 400}, sigv4.UnknownKey: {"InvalidAccessKeyId", 403},
		sigv4.BadToken: {"InvalidToken", 400}, sigv4.DeadToken: {"ExpiredToken", 400}, 0: {"SignatureDoesNotMatch", 403},
	}
)

// AWS's messages for those that don't come with their own.
var sentences = map[string]string{
	"UnrecognizedClientException": "The security token included in the request is invalid.",
	"InvalidClientTokenId":        "The security token included in the request is invalid.",
	"InvalidToken":                "The provided token is malformed or otherwise invalid.",
	"InvalidAccessKeyId":          "The AWS Access Key Id you provided does not exist in our records.",
	"ExpiredTokenException":       "The security token included in the request is expired",
	"ExpiredToken":                "The provided token has expired.",
	"RequestTimeTooSkewed":        "The difference between the request time and the current time is too large.",
}

// refusal turns a signature's error into a service's.
func refusal(c *Call, err error) error {
	reason := sigv4.ReasonOf(err)
	if reason == 0 {
		return err
	}
	table := jsonCodes
	switch protocolOf(c.Service) {
	case Query:
		table = queryCodes
	case RESTXML:
		table = s3Codes
	default:
	}
	found, ok := table[reason]
	if !ok {
		found = table[0]
	}
	e := &Error{Code: found.name, Status: found.status, Message: err.Error()}
	if c.Service == "s3" && c.Presigned && e.Code == "AuthorizationHeaderMalformed" {
		e.Code = "AuthorizationQueryParametersError"
	}
	if protocolOf(c.Service) == RESTJSON {
		e.Status = http.StatusForbidden
	}
	if s, ok := sentences[e.Code]; ok {
		e.Message = s
	}
	return e
}
