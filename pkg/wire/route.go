package wire

import (
	"net/url"
	"strings"
)

// Who may call an operation.
const (
	CallerAnonymous = "anonymous" // anybody; the evidence in the body is what counts
	CallerUser      = "user"      // a signed call by a person's certificate
	CallerAdmin     = "admin"     // the same, and the use case asks the policy for a rule
	CallerHost      = "host"      // a signed call by an agent's or a proxy's certificate
)

// Route is one operation of the API.
type Route struct {
	Operation string // operationId
	Method    string // GET, POST, …
	Pattern   string // path without stage; a segment in braces is a parameter: /v1/admin/resources/{kind}
	Function  string // the function that serves it
	Caller    string // CallerAnonymous, CallerUser, CallerAdmin or CallerHost
}

// Match compares a path, still percent-encoded and without stage, with the pattern, and gives the decoded
// parameters. Segments are compared whole: neither empty nor dot segments nor an encoded slash match.
func (r Route) Match(path string) (map[string]string, bool) {
	want, got := strings.Split(r.Pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i, w := range want {
		if !strings.HasPrefix(w, "{") {
			if w != got[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil || value == "" || value == "." || value == ".." || strings.Contains(value, "/") {
			return nil, false
		}
		params[strings.Trim(w, "{}")] = value
	}
	return params, true
}

// Find gives the route of a request and its parameters. When only the method is wrong, path is true.
func Find(method, at string) (r Route, params map[string]string, found, path bool) {
	for _, r := range Routes {
		params, ok := r.Match(at)
		if ok && r.Method == method {
			return r, params, true, true
		}
		path = path || ok
	}
	return Route{}, nil, false, path
}
