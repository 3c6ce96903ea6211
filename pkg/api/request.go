package api

import (
	"context"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/wire"
)

// JSON makes a handler from a function that takes a body: the body is read strictly, exactly one object of the
// documented shape.
func JSON[In any](use func(context.Context, Call, In) (any, error)) Handler {
	return func(ctx context.Context, c Call) (any, error) {
		var in In
		if err := strict.JSON(c.Body, maxBody, &in); err != nil {
			return nil, err
		}
		return use(ctx, c, in)
	}
}

// request is a parsed event; a repeated header stays repeated.
type request struct {
	method string
	path   string // without stage and base path: what is routed
	signed string // as the client asked for it, and signed it
	domain string // by which API Gateway found this API
	query  map[string]string
	raw    string // the query as it is signed, see signature.Query
	header http.Header
	body   []byte
}

// adapters is the prefix of the headers in which the adapter can pass an event on. Nobody else may send one.
const adapters = "X-Golambdaproxy-"

// parse parses an event and refuses what no adapter should have to turn into a request.
func parse(e events.APIGatewayProxyRequest) (request, error) {
	r := request{method: e.HTTPMethod, path: routed(e.Resource, e.RequestContext.Path), signed: e.RequestContext.Path, domain: e.RequestContext.DomainName, header: http.Header{}}
	for name, values := range e.MultiValueHeaders {
		if strings.HasPrefix(http.CanonicalHeaderKey(name), adapters) {
			return request{}, fault.Newf(fault.BadInput, "leave the header out", "the header %.80q is not accepted here", name)
		}
		for _, v := range values {
			r.header.Add(name, v)
		}
	}
	if !bare(r.signed) || !bare(r.path) {
		return request{}, nowhere()
	}
	if !methods.MatchString(r.method) {
		return request{}, nowhere()
	}
	if err := r.queried(e); err != nil {
		return request{}, err
	}
	var err error
	r.body, err = body(e)
	return r, err
}

// routed is a request's path without what stands in front of the operation's: the stage where the API has API Gateway's
// own name, a base path, the stage or nothing under a domain name. It has as many segments as the operation's resource,
// and is empty where that can't be: API Gateway names a resource in each event, and none here takes any number of
// segments.
//
// The path comes from requestContext, which has it as the client sent and signed it. The event's own path is another
// under each of those names.
func routed(resource, asked string) string {
	n := strings.Count(resource, "/")
	segments := strings.Split(asked, "/")
	if n == 0 || n >= len(segments) || strings.Contains(resource, "+}") {
		return ""
	}
	return "/" + strings.Join(segments[len(segments)-n:], "/")
}

// bare reports whether a path is absolute, in its shortest form, and nothing but a path.
func bare(p string) bool {
	_, err := url.Parse("https://api" + p)
	return err == nil && strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.ContainsAny(p, "?#")
}

var methods = regexp.MustCompile(`^[A-Z]{1,16}$`)

// queried reads the query, in which each key must appear once.
func (r *request) queried(e events.APIGatewayProxyRequest) error {
	values := url.Values(e.MultiValueQueryStringParameters)
	if len(values) == 0 {
		values = url.Values{}
		for k, v := range e.QueryStringParameters {
			values.Set(k, v)
		}
	}
	var err error
	if r.raw, err = signature.Query(values); err != nil {
		return fault.New(fault.BadInput, "the query can't be read: "+err.Error(), "write each parameter once")
	}
	r.query = map[string]string{}
	for k := range values {
		r.query[k] = values.Get(k)
	}
	return nil
}

// documented returns the query, and refuses a parameter that the operation does not document.
func (r *request) documented(route wire.Route) (map[string]string, error) {
	for key := range r.query {
		if !slices.Contains(route.Query, key) {
			return nil, fault.Newf(fault.BadInput, "see the API's description for its parameters", "this operation takes no parameter %.40q in the query", key)
		}
	}
	return r.query, nil
}

func body(e events.APIGatewayProxyRequest) ([]byte, error) {
	if len(e.Body) > maxBody*4/3+4 {
		return nil, tooLarge()
	}
	b := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if b, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fault.New(fault.BadInput, "the body can't be read", "send JSON").Because(err)
		}
	}
	if len(b) > maxBody {
		return nil, tooLarge()
	}
	return b, nil
}

func tooLarge() error {
	return fault.Newf(fault.TooLarge, "make the request smaller", "the body is larger than %d bytes", maxBody)
}

// unknown says what doesn't exist: the path, or the method on it.
func (s *Server) unknown(r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := s.mux.Handler(&other); pattern != "" {
			return fault.Newf(fault.NotFound, "see the API's description for its paths and methods", "there is no %.10q on this path", r.Method)
		}
	}
	return nowhere()
}

func nowhere() error {
	return fault.New(fault.NotFound, "there is no such path in this API", "update the program, or check the API's URL")
}

// params returns the decoded parameters of the path, and refuses dot segments and encoded slashes.
func params(r *http.Request, route wire.Route) (map[string]string, error) {
	all := map[string]string{}
	for segment := range strings.SplitSeq(route.Pattern, "/") {
		name, ok := strings.CutPrefix(segment, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value := r.PathValue(name)
		if value == "" || value == "." || value == ".." || strings.Contains(value, "/") {
			return nil, nowhere()
		}
		all[name] = value
	}
	return all, nil
}

// content requires JSON for a body, and no body where none is documented.
func content(r request) error {
	if r.method == http.MethodGet || r.method == http.MethodDelete {
		if len(r.body) > 0 {
			return fault.New(fault.BadInput, "this operation takes no body", "leave the body out")
		}
		return nil
	}
	types := r.header.Values("Content-Type")
	if len(types) != 1 {
		return fault.New(fault.BadInput, "the request needs one Content-Type", "send Content-Type: application/json")
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, has := params["charset"]
	if err != nil || kind != "application/json" || has && !strings.EqualFold(charset, "utf-8") {
		return fault.Newf(fault.BadInput, "send Content-Type: application/json", "%.80q is not accepted here", types[0])
	}
	return nil
}
