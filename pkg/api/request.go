package api

import (
	"context"
	"encoding/base64"
	"mime"
	"net/http"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/wire"
)

// JSON makes a handler of a function that takes a body: the body is read strictly, exactly one object of the
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

// request is an event taken apart; every header stays as often as it was sent.
type request struct {
	method string
	path   string // without stage: what is routed
	signed string // with stage: what the client asked for and signed
	header http.Header
	body   []byte
	query  bool
}

func parse(e events.APIGatewayProxyRequest) (request, error) {
	r := request{method: e.HTTPMethod, path: e.Path, signed: e.RequestContext.Path, header: http.Header{}}
	for name, values := range e.MultiValueHeaders {
		for _, v := range values {
			r.header.Add(name, v)
		}
	}
	r.query = len(e.QueryStringParameters) > 0 || len(e.MultiValueQueryStringParameters) > 0
	if r.signed == "" {
		r.signed = r.path
	}
	// One path is checked and routed: the signed one may only have more in front, the stage.
	if prefix, ok := strings.CutSuffix(r.signed, r.path); !ok || (prefix != "" && prefix != "/"+e.RequestContext.Stage) {
		return request{}, fault.New(fault.BadInput, "the request's path is not the one that was signed", "call the API by the URL in STILE_API")
	}
	var err error
	r.body, err = body(e)
	return r, err
}

func body(e events.APIGatewayProxyRequest) ([]byte, error) {
	if len(e.Body) > maxBody*4/3+4 {
		return nil, tooLarge()
	}
	b := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if b, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fault.New(fault.BadInput, "the body cannot be read", "send JSON").Because(err)
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

// admit finds the route and refuses what no route documents.
func (s *Server) admit(r request) (wire.Route, map[string]string, error) {
	route, params, found, path := wire.Find(r.method, r.path)
	if !found || route.Function != s.config.Function {
		if path {
			return wire.Route{}, nil, fault.Newf(fault.NotFound, "see the API's description for what there is", "there is no %.10q on this path", r.method)
		}
		return wire.Route{}, nil, fault.New(fault.NotFound, "there is no such path in this API", "update stile, or check STILE_API")
	}
	if r.query {
		return wire.Route{}, nil, fault.New(fault.BadInput, "this operation takes no query", "leave the query out")
	}
	return route, params, content(r)
}

// content wants JSON for a body, and no body where none is documented.
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
		return fault.Newf(fault.BadInput, "send Content-Type: application/json", "%.80q is not taken here", types[0])
	}
	return nil
}
