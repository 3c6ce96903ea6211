package apigateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// event is a request as a function gets it: payload format 1.0
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html).
type event struct {
	Resource                        string              `json:"resource"`
	Path                            string              `json:"path"`
	HTTPMethod                      string              `json:"httpMethod"`
	Headers                         map[string]string   `json:"headers"`
	MultiValueHeaders               map[string][]string `json:"multiValueHeaders"`
	QueryStringParameters           map[string]string   `json:"queryStringParameters"`
	MultiValueQueryStringParameters map[string][]string `json:"multiValueQueryStringParameters"`
	PathParameters                  map[string]string   `json:"pathParameters"`
	StageVariables                  map[string]string   `json:"stageVariables"`
	RequestContext                  requestContext      `json:"requestContext"`
	Body                            *string             `json:"body"`
	IsBase64Encoded                 bool                `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID         string   `json:"accountId"`
	APIID             string   `json:"apiId"`
	DomainName        string   `json:"domainName"`
	DomainPrefix      string   `json:"domainPrefix"`
	ExtendedRequestID string   `json:"extendedRequestId"`
	HTTPMethod        string   `json:"httpMethod"`
	Identity          identity `json:"identity"`
	Path              string   `json:"path"`
	Protocol          string   `json:"protocol"`
	RequestID         string   `json:"requestId"`
	RequestTime       string   `json:"requestTime"`
	RequestTimeEpoch  int64    `json:"requestTimeEpoch"`
	ResourceID        string   `json:"resourceId"`
	ResourcePath      string   `json:"resourcePath"`
	Stage             string   `json:"stage"`
}

type identity struct {
	AccessKey *string `json:"accessKey"`
	AccountID *string `json:"accountId"`
	Caller    *string `json:"caller"`
	SourceIP  string  `json:"sourceIp"`
	User      *string `json:"user"`
	UserAgent string  `json:"userAgent"`
	UserArn   *string `json:"userArn"`
}

// exchange is one request on its way to a function.
type exchange struct {
	api         *api
	stage, path string // path without the stage, with its original escapes
	match       match
	id          string
	began       time.Time
	body        []byte
}

func (g *Gateway) event(r *http.Request, x exchange) event {
	e := event{
		Resource: x.match.resource, Path: x.path, HTTPMethod: r.Method, PathParameters: orNil(x.match.parameters),
		Headers: map[string]string{}, MultiValueHeaders: forwarded(r),
		RequestContext: g.context(r, x),
	}
	for name, values := range e.MultiValueHeaders {
		e.Headers[name] = values[len(values)-1]
	}
	if query, err := url.ParseQuery(r.URL.RawQuery); err == nil && len(query) > 0 {
		e.MultiValueQueryStringParameters = query
		e.QueryStringParameters = map[string]string{}
		for name, values := range query {
			e.QueryStringParameters[name] = values[len(values)-1]
		}
	}
	if len(x.body) > 0 {
		text := strings.ToValidUTF8(string(x.body), "\uFFFD")
		e.Body = &text
	}
	return e
}

func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// dropped are headers that the gateway doesn't pass on.
var dropped = map[string]bool{"Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Proxy-Authorization": true, "Proxy-Connection": true}

// forwarded is a request's headers, repeated ones apart and in order, with those that the gateway adds.
func forwarded(r *http.Request) map[string][]string {
	headers := map[string][]string{"Host": {r.Host}}
	for name, values := range r.Header {
		if !dropped[name] {
			headers[name] = append([]string(nil), values...)
		}
	}
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	chain := append(append([]string(nil), r.Header.Values("X-Forwarded-For")...), source)
	headers["X-Forwarded-For"] = []string{strings.Join(chain, ", ")}
	headers["X-Forwarded-Proto"] = []string{"https"}
	headers["X-Forwarded-Port"] = []string{"443"}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		headers["X-Forwarded-Port"] = []string{port}
	}
	return headers
}

func (g *Gateway) context(r *http.Request, x exchange) requestContext {
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	prefix, _, _ := strings.Cut(r.Host, ".")
	now := g.Now()
	return requestContext{
		AccountID: g.Account, APIID: x.api.id, DomainName: r.Host, DomainPrefix: prefix, ExtendedRequestID: x.id,
		HTTPMethod: r.Method, Identity: identity{SourceIP: source, UserAgent: r.UserAgent()},
		Path: "/" + x.stage + x.path, Protocol: r.Proto, RequestID: x.id,
		RequestTime: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), RequestTimeEpoch: now.UnixMilli(),
		ResourceID: x.api.id, ResourcePath: x.match.resource, Stage: x.stage,
	}
}
