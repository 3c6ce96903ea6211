package dynamodb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/gate"
)

// Where AWS's error types come from, as __type names them.
const (
	shapeTables   = "com.amazonaws.dynamodb.v20120810#"
	shapeValidate = "com.amazon.coral.validate#"
	shapeService  = "com.amazon.coral.service#"
)

// namespaces of the error codes that aren't DynamoDB's.
var namespaces = map[string]string{
	"ValidationException":       shapeValidate,
	"SerializationException":    shapeService,
	"UnknownOperationException": shapeService,
	"AccessDeniedException":     shapeService,
}

// answer writes a result or an error in the JSON 1.0 protocol, with the body's checksum.
func (s *Server) answer(w http.ResponseWriter, c *gate.Call, result any, err error) {
	status := http.StatusOK
	if err != nil {
		status, result = s.problem(c, err)
	}
	body, err := json.Marshal(result)
	if err != nil {
		s.config.Logger.Error("Writing an answer", "request_id", c.RequestID, "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"__type":"`+shapeTables+`InternalServerError"}`)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.config.Logger.Debug("The caller has gone", "request_id", c.RequestID, "error", err)
	}
}

// problem is the status and shape of an error; what isn't AWS's becomes an InternalServerError.
func (s *Server) problem(c *gate.Call, err error) (int, any) {
	var aws *gate.Error
	var invalid item.Invalid
	var malformed item.Malformed
	switch {
	case errors.As(err, &aws):
	case errors.As(err, &invalid):
		aws = &gate.Error{Code: "ValidationException", Message: string(invalid)}
	case errors.As(err, &malformed):
		aws = &gate.Error{Code: "SerializationException", Message: string(malformed)}
	default:
		s.config.Logger.Error("Answering a call", "request_id", c.RequestID, "error", err)
		aws = &gate.Error{Code: "InternalServerError", Message: "Internal server error", Status: http.StatusInternalServerError}
	}
	space, ok := namespaces[aws.Code]
	if !ok {
		space = shapeTables
	}
	body := map[string]any{"__type": space + aws.Code}
	if aws.Message != "" {
		body["message"] = aws.Message
	}
	maps.Copy(body, aws.Fields)
	if aws.Status == 0 {
		return http.StatusBadRequest, body
	}
	return aws.Status, body
}

// handle reads the request's body for an operation. A member that isn't served is refused, never ignored.
func handle[Request any](serve func(*Server, *gate.Call, *Request) (any, error)) handler {
	return func(s *Server, c *gate.Call) (any, error) {
		var request Request
		d := json.NewDecoder(bytes.NewReader(c.Body))
		d.DisallowUnknownFields()
		if err := d.Decode(&request); err != nil {
			return nil, unreadable(err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, unreadable(errors.New("something follows the request"))
		}
		return serve(s, c, &request)
	}
}

// unreadable turns the decoder's complaint into AWS's.
func unreadable(err error) error {
	var invalid item.Invalid
	var malformed item.Malformed
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &invalid), errors.As(err, &malformed):
		return err
	case errors.As(err, &wrong):
		return item.Mistyped(wrong)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return item.Invalid("The parameter " + strings.Trim(name, `"`) + " is not served here")
	}
	return item.Malformed("Unexpected end of payload or malformed JSON")
}

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

// named checks a table's name, and extracts the name from an ARN of this account and Region.
func (s *Server) named(given string) (string, error) {
	name := strings.TrimPrefix(given, s.tableARN(""))
	switch {
	case given == "":
		return "", constraint("tableName", "", "Member must not be null")
	case strings.HasPrefix(name, "arn:"):
		return "", notFound("")
	case !tableName.MatchString(name):
		return "", constraint("tableName", name, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	case len(name) < 3:
		return "", constraint("tableName", name, "Member must have length greater than or equal to 3")
	case len(name) > 255:
		return "", constraint("tableName", name, "Member must have length less than or equal to 255")
	}
	return name, nil
}

// constraint is AWS's complaint about one member; no value means null.
func constraint(member, value, rule string) error {
	shown := "null"
	if value != "" {
		shown = "'" + value + "'"
	}
	return item.Invalid(fmt.Sprintf("1 validation error detected: Value %s at '%s' failed to satisfy constraint: %s", shown, member, rule))
}

// oneOf checks an enumerated member; "" means that it is absent.
func oneOf(member, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return constraint(member, value, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
}

// notFound is the answer for a table that isn't there, with its name where AWS includes it.
func notFound(name string) error {
	message := "Requested resource not found"
	if name != "" {
		message += ": Table: " + name + " not found"
	}
	return &gate.Error{Code: "ResourceNotFoundException", Message: message, Status: http.StatusBadRequest}
}
