package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// received is what the function behind the API got of a request.
type received struct {
	Resource, Path, HTTPMethod      string
	Headers                         map[string]string
	MultiValueHeaders               map[string][]string
	QueryStringParameters           map[string]string
	MultiValueQueryStringParameters map[string][]string
	PathParameters                  map[string]string
	RequestContext                  map[string]any
	Body                            *string
	IsBase64Encoded                 bool
}

// sent sends a request to the API and returns the answer as text.
func sent(t *testing.T, r ask) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := here.API.send(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// told is the event of a request that reached the function.
func told(t *testing.T, r ask) received {
	t.Helper()
	got := sent(t, r)
	var e received
	if err := json.Unmarshal([]byte(got.Body), &e); err != nil || got.Status != 200 {
		t.Fatalf("%s %s: %d %s", r.Method, r.Path, got.Status, got.Body)
	}
	return e
}

// routed is how a request found its way: the event's paths, or the gateway's refusal.
func routed(t *testing.T, path string) string {
	t.Helper()
	got := sent(t, request("GET", path))
	var e received
	if got.Status != 200 || json.Unmarshal([]byte(got.Body), &e) != nil {
		return refusal(got)
	}
	lines := []string{"resource " + e.Resource, "path " + e.Path, fmt.Sprint("requestContext.path ", e.RequestContext["path"])}
	for _, name := range sorted(e.PathParameters) {
		lines = append(lines, fmt.Sprintf("{%s} %s", name, e.PathParameters[name]))
	}
	return strings.Join(lines, "\n")
}

// refusal is an answer of the gateway's own.
func refusal(a answer) string {
	return fmt.Sprintf("%d %s\n%s", a.Status, a.Header.Get("X-Amzn-Errortype"), compact(a.Body))
}

// compact takes the blanks out of JSON, and leaves other text alone.
func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return strings.TrimSpace(text)
	}
	return b.String()
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func TestAPIGatewayPaths(t *testing.T) {
	const item = "resource /v1/item/{name}\npath /v1/item/%[1]s\nrequestContext.path /prod/v1/item/%[1]s\n{name} %[2]s"
	const forbidden = "403 MissingAuthenticationTokenException\n{\"message\":\"Missing Authentication Token\"}"
	for _, c := range []struct{ id, path, want string }{
		{"apigateway/path/stage", "/v1/plain", "resource /v1/plain\npath /v1/plain\nrequestContext.path /prod/v1/plain"},
		{"apigateway/path/escaped-slash", "/v1/item/a%2Fb", fmt.Sprintf(item, "a%2Fb", "a%2Fb")},
		{"apigateway/path/escaped-blank", "/v1/item/a%20b", fmt.Sprintf(item, "a%20b", "a%20b")},
		{"apigateway/path/escaped-unicode", "/v1/item/%C3%BC", fmt.Sprintf(item, "%C3%BC", "%C3%BC")},
		{"apigateway/path/escaped-letter", "/v1/item/%61", fmt.Sprintf(item, "%61", "%61")},
		{"apigateway/path/plus", "/v1/item/a+b", fmt.Sprintf(item, "a+b", "a+b")},
		{"apigateway/path/colon-and-at", "/v1/item/a:b@c", fmt.Sprintf(item, "a:b@c", "a:b@c")},
		{
			"apigateway/path/two-parameters", "/v1/item/a/b",
			"resource /v1/item/{name}/{part}\npath /v1/item/a/b\nrequestContext.path /prod/v1/item/a/b\n{name} a\n{part} b",
		},
		{"apigateway/path/trailing-slash", "/v1/plain/", "resource /v1/plain\npath /v1/plain/\nrequestContext.path /prod/v1/plain/"},
		{"apigateway/path/doubled-slash", "/v1//plain", forbidden},
		{
			"apigateway/path/dots", "/v1/item/../plain",
			"resource /v1/item/{name}/{part}\npath /v1/item/../plain\nrequestContext.path /prod/v1/item/../plain\n{name} ..\n{part} plain",
		},
		{"apigateway/path/case", "/v1/PLAIN", forbidden},
		{"apigateway/route/unknown", "/v1/nowhere", forbidden},
	} {
		t.Run(c.id, func(t *testing.T) { saw(t, c.id, routed(t, c.path), c.want) })
	}
	t.Run("a function that is closed to the API", func(t *testing.T) {
		saw(t, "apigateway/permission/missing", refusal(sent(t, request("GET", "/v1/closed"))),
			"500 InternalServerErrorException\n{\"message\":\"Internal server error\"}")
	})
	t.Run("another method", func(t *testing.T) {
		saw(t, "apigateway/route/method", refusal(sent(t, request("DELETE", "/v1/plain"))), forbidden)
	})
}

func TestAPIGatewayQueries(t *testing.T) {
	query := func(raw string) string {
		e := told(t, request("GET", "/v1/plain?"+raw))
		var lines []string
		for _, name := range sorted(e.MultiValueQueryStringParameters) {
			lines = append(lines, fmt.Sprintf("%s: last %q, all %q", name, e.QueryStringParameters[name], e.MultiValueQueryStringParameters[name]))
		}
		return strings.Join(lines, "\n")
	}
	saw(t, "apigateway/query/repeated", query("b=2&a=1&b=1"), "a: last \"1\", all [\"1\"]\nb: last \"1\", all [\"2\" \"1\"]")
	saw(t, "apigateway/query/escaped", query("k=a%2Fb%20c%26d"), `k: last "a/b c&d", all ["a/b c&d"]`)
	saw(t, "apigateway/query/plus", query("k=a+b"), `k: last "a b", all ["a b"]`)
	saw(t, "apigateway/query/empty", query("k="), `k: last "", all [""]`)
	e := told(t, request("GET", "/v1/plain"))
	saw(t, "apigateway/query/none", fmt.Sprint(e.QueryStringParameters == nil, e.MultiValueQueryStringParameters == nil),
		"true true")
}

// header finds a header of any spelling.
func header[T any](m map[string]T, name string) (spelt string, value T) {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return k, v
		}
	}
	return "", value
}

func TestAPIGatewayHeaders(t *testing.T) {
	e := told(t, request("GET", "/v1/plain", "x-mine: first", "X-Mine: second", "User-Agent: suite",
		"signature: sig1=:AA==:", "Content-Digest: sha-256=:AA==:", "Authorization: Mine abc"))
	_, all := header(e.MultiValueHeaders, "x-mine")
	_, last := header(e.Headers, "x-mine")
	saw(t, "apigateway/header/repeated", fmt.Sprintf("last %q, all %q", last, all), `last "second", all ["first" "second"]`)
	_, host := header(e.Headers, "host")
	saw(t, "apigateway/header/host", host, "<host>")
	saw(t, "apigateway/context/domain", fmt.Sprint(e.RequestContext["domainName"]), "<host>")
	_, signature := header(e.Headers, "signature")
	_, digest := header(e.Headers, "content-digest")
	saw(t, "apigateway/header/signature", signature+"\n"+digest, "sig1=:AA==:\nsha-256=:AA==:")
	_, authorization := header(e.Headers, "authorization")
	saw(t, "apigateway/header/authorization", authorization, "Mine abc")
	_, from := header(e.Headers, "x-forwarded-for")
	identity, _ := e.RequestContext["identity"].(map[string]any)
	saw(t, "apigateway/context/source", fmt.Sprint(identity["sourceIp"] != "" && strings.HasSuffix(from, fmt.Sprint(identity["sourceIp"]))),
		"true")
	forged := told(t, request("GET", "/v1/plain", "X-Forwarded-For: 192.0.2.1"))
	forgedIdentity, _ := forged.RequestContext["identity"].(map[string]any)
	saw(t, "apigateway/context/source-forged", fmt.Sprint(forgedIdentity["sourceIp"] == identity["sourceIp"]), "true")
	if !absent(t, "apigateway/header/case") {
		spelt, _ := header(e.Headers, "signature")
		saw(t, "apigateway/header/case", spelt, "signature")
	}
}

func TestAPIGatewayBodies(t *testing.T) {
	body := func(kind, text string) string {
		r := request("POST", "/v1/plain", "Content-Type: "+kind)
		r.Body = text
		e := told(t, r)
		if e.Body == nil {
			return "none"
		}
		return fmt.Sprintf("base64 %v, %q", e.IsBase64Encoded, *e.Body)
	}
	saw(t, "apigateway/body/json", body("application/json", `{"a":"ü"}`), `base64 false, "{\"a\":\"ü\"}"`)
	saw(t, "apigateway/body/bytes-without-binary-types", body("application/octet-stream", "a\xffb"), `base64 false, "a`+"\uFFFD"+`b"`)
	saw(t, "apigateway/body/none", body("application/json", ""), "none")
}

// answered is what a client sees of a function's answer.
func answered(t *testing.T, says string, names ...string) string {
	t.Helper()
	got := sent(t, request("GET", "/v1/plain", "X-Answer: "+says))
	lines := []string{fmt.Sprint(got.Status)}
	for _, name := range names {
		lines = append(lines, fmt.Sprintf("%s: %q", name, got.Header.Values(name)))
	}
	return strings.Join(append(lines, compact(got.Body)), "\n")
}

func TestAPIGatewayAnswers(t *testing.T) {
	const tea = `{"statusCode":418,"headers":{"X-One":"1"},"multiValueHeaders":{"X-Two":["a","b"]},"body":"tea"}`
	saw(t, "apigateway/answer/status-and-headers", answered(t, tea, "X-One", "X-Two"),
		"418\nX-One: [\"1\"]\nX-Two: [\"a\" \"b\"]\ntea")
	saw(t, "apigateway/answer/no-content-type", answered(t, `{"statusCode":200,"body":"{}"}`, "Content-Type"),
		"200\nContent-Type: [\"application/json\"]\n{}")
	saw(t, "apigateway/answer/base64-without-binary-types", answered(t, `{"statusCode":200,"isBase64Encoded":true,"body":"YWJj"}`),
		"200\nYWJj")
	const bad = "502\nX-Amzn-Errortype: [\"InternalServerErrorException\"]\n{\"message\":\"Internal server error\"}"
	saw(t, "apigateway/answer/function-error", answered(t, "fail", "X-Amzn-Errortype"), bad)
	saw(t, "apigateway/answer/function-crash", answered(t, "crash", "X-Amzn-Errortype"), bad)
	saw(t, "apigateway/answer/malformed", answered(t, `{"status":"none"}`, "X-Amzn-Errortype"), bad)
	got := sent(t, request("GET", "/v1/plain"))
	saw(t, "apigateway/answer/request-id", fmt.Sprint(uuids.MatchString(got.Header.Get("X-Amzn-Requestid")), got.Header.Get("X-Amz-Apigw-Id") != ""),
		"true true")
}

func TestAPIGatewayLimits(t *testing.T) {
	long := sent(t, request("GET", "/v1/plain", "X-Long: "+strings.Repeat("x", 10<<10)))
	saw(t, "apigateway/limit/headers", fmt.Sprint(long.Status), "431")
	r := request("POST", "/v1/plain", "Content-Type: application/json")
	r.Body = `"` + strings.Repeat("x", 10<<20) + `"`
	saw(t, "apigateway/limit/body", refusal(sent(t, r)),
		"413 RequestTooLargeException\n{\"message\":\"HTTP content length exceeded 10485760 bytes.\"}")
}

// The stage slow admits one GET of /v1/plain a second, by a setting of that method, and others as often as the stage prod.
func TestAPIGatewayThrottlesAMethod(t *testing.T) {
	slow := &api{Host: here.API.Host, Stage: "/slow", TLS: here.API.TLS}
	ask := func(method string) string {
		for range 60 {
			got, err := slow.send(t.Context(), request(method, "/v1/plain"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status == 429 {
				return refusal(got)
			}
		}
		return "none of 60 requests was throttled"
	}
	saw(t, "apigateway/throttle/method", ask("GET")+"\n"+ask("POST"),
		"429 TooManyRequestsException\n{\"message\":\"Too Many Requests\"}\nnone of 60 requests was throttled")
}
