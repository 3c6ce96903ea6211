package gate

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// ServeJSON answers a JSON call by the operation that X-Amz-Target names behind a prefix, as AWS's service of that name does:
// what the operation returns is the answer, or an error's shape.
func ServeJSON(w http.ResponseWriter, c *Call, p Protocol, service, prefix string, operations map[string]func(*Call) (any, error)) {
	name, ours := strings.CutPrefix(c.HTTP.Header.Get("X-Amz-Target"), prefix)
	operation, ok := operations[name]
	if !ours || !ok {
		WriteError(w, c, p, &Error{Code: "UnknownOperationException", Message: "the local " + service + " has no operation " + name})
		return
	}
	out, err := operation(c)
	if err != nil {
		WriteError(w, c, p, err)
		return
	}
	WriteJSON(w, c, p, out)
}

// ReadJSON decodes a request, and leaves out members that there is no place for.
func ReadJSON(c *Call, into any) error {
	if err := json.Unmarshal(c.Body, into); err != nil {
		return malformed()
	}
	return nil
}

// ReadKnownJSON decodes a request without members that there is no place for: the error of such a one is the service's own.
func ReadKnownJSON(c *Call, into any, unknown func(member string) error) error {
	decoder := json.NewDecoder(bytes.NewReader(c.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
			return unknown(name)
		}
		return malformed()
	}
	return nil
}

func malformed() error {
	return &Error{Code: "SerializationException", Message: "the request is not well formed"}
}
