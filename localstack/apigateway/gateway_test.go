package apigateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/apigateway"
	"github.com/stile-dev/stile/localstack/resource"
)

var update = flag.Bool("update", false, "write golden files")

// functions plays every function of the account.
type functions struct {
	source, function string
	event            []byte
	answer           string
	failed           bool
	err              error
	hang             bool
}

func (f *functions) InvokeAPI(ctx context.Context, source, function string, event []byte) ([]byte, bool, error) {
	f.source, f.function, f.event = source, function, event
	if f.hang {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return []byte(f.answer), f.failed, f.err
}

func uri(function string) string {
	return "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:111122223333:function:" + function + "/invocations"
}

func operation(function string) map[string]any {
	return map[string]any{"x-amazon-apigateway-integration": map[string]any{"type": "aws_proxy", "httpMethod": "POST", "uri": uri(function)}}
}

func gateway(t *testing.T, f *functions) (*apigateway.Gateway, string) {
	t.Helper()
	g := apigateway.New(apigateway.Config{
		Account: "111122223333", Region: "us-east-1", Partition: "aws", Invoker: f, Timeout: 200 * time.Millisecond,
		Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) }, Log: slog.New(slog.DiscardHandler),
	})
	api, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::RestApi", PhysicalID: "abc1234567", Properties: map[string]any{
		"Name": "stile", "Body": map[string]any{"openapi": "3.0.1", "paths": map[string]any{
			"/v1/me":                  map[string]any{"get": operation("api"), "parameters": []any{}},
			"/v1/nodes/{name}":        map[string]any{"get": operation("api"), "delete": operation("admin")},
			"/v1/nodes/online":        map[string]any{"get": operation("online")},
			"/v1/login/{proxy+}":      map[string]any{"x-amazon-apigateway-any-method": operation("login")},
			"/v1/nodes/{name}/labels": map[string]any{"put": operation("labels")},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::Stage", Properties: map[string]any{"RestApiId": api.Ref, "StageName": "prod"}}); err != nil {
		t.Fatal(err)
	}
	return g, api.Ref
}

func send(g http.Handler, method, target string, body io.Reader, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr = "192.0.2.7:4711"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func TestTheEventGolden(t *testing.T) {
	f := &functions{answer: `{"statusCode":200,"body":"ok"}`}
	g, _ := gateway(t, f)
	send(g, "DELETE", "https://127.0.0.1:9011/prod/v1/nodes/a%2Fb?b=2&a=1&b=%C3%A9&empty=", strings.NewReader("{\"x\":1}"),
		"Content-Type", "application/json", "X-Twice", "one", "X-Twice", "two", "User-Agent", "stile/1", "Connection", "keep-alive")
	var event map[string]any
	if err := json.Unmarshal(f.event, &event); err != nil {
		t.Fatal(err)
	}
	request := event["requestContext"].(map[string]any)
	for _, key := range []string{"requestId", "extendedRequestId"} {
		if id, _ := request[key].(string); len(id) != 36 {
			t.Errorf("%s is %q", key, id)
		}
		request[key] = "UUID"
	}
	got, err := json.MarshalIndent(event, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("testdata/event.golden", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/event.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the event is not as testdata/event.golden says (-want +got, -update writes it):\n%s", diff)
	}
	if f.source != "arn:aws:execute-api:us-east-1:111122223333:abc1234567/prod/DELETE/v1/nodes/{name}" {
		t.Errorf("source %s", f.source)
	}
}

func TestRoutes(t *testing.T) {
	f := &functions{answer: `{"statusCode":204}`}
	g, _ := gateway(t, f)
	for _, c := range []struct{ method, path, function string }{
		{"GET", "/prod/v1/me", "api"},
		{"GET", "/prod/v1/nodes/online", "online"},
		{"GET", "/prod/v1/nodes/x", "api"},
		{"DELETE", "/prod/v1/nodes/online", "admin"}, // the literal has no DELETE: the parameter takes it
		{"PUT", "/prod/v1/nodes/online/labels", "labels"},
		{"POST", "/prod/v1/login/iam/start", "login"},
		{"PATCH", "/prod/v1/login/x", "login"},
		{"GET", "/prod/v1/login", ""},
		{"POST", "/prod/v1/me", ""},
		{"GET", "/v1/me", ""},
		{"GET", "/test/v1/me", ""},
		{"GET", "/prod", ""},
		{"GET", "/", ""},
	} {
		f.function = ""
		response := send(g, c.method, "https://127.0.0.1"+c.path, nil)
		if c.function == "" {
			if body := text(t, response); response.StatusCode != 403 || body != `{"message":"Missing Authentication Token"}` || f.function != "" {
				t.Errorf("%s %s: %d %s, function %q", c.method, c.path, response.StatusCode, body, f.function)
			}
			continue
		}
		if want := "arn:aws:lambda:us-east-1:111122223333:function:" + c.function; f.function != want || response.StatusCode != 204 {
			t.Errorf("%s %s went to %q (%d), want %q", c.method, c.path, f.function, response.StatusCode, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		f      functions
		status int
		body   string
	}{
		"as it is":                   {functions{answer: `{"statusCode":201,"body":"{\"a\":1}"}`}, 201, `{"a":1}`},
		"a status written as text":   {functions{answer: `{"statusCode":"404","body":"no"}`}, 404, "no"},
		"base64 without binary type": {functions{answer: `{"statusCode":200,"body":"aGk=","isBase64Encoded":true}`}, 200, "aGk="},
		"no JSON":                    {functions{answer: `hello`}, 502, `{"message":"Internal server error"}`},
		"no status":                  {functions{answer: `{"body":"x"}`}, 502, `{"message":"Internal server error"}`},
		"the function failed":        {functions{answer: `{"errorMessage":"x"}`, failed: true}, 502, `{"message":"Internal server error"}`},
		"no permission":              {functions{err: errors.New("denied")}, 500, `{"message":"Internal server error"}`},
		"a busy function":            {functions{err: fmt.Errorf("x: %w", apigateway.ErrBusy)}, 429, `{"message":"Too Many Requests"}`},
		"too slow":                   {functions{hang: true}, 504, `{"message":"Endpoint request timed out"}`},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := gateway(t, &c.f)
			response := send(g, "GET", "https://127.0.0.1/prod/v1/me", nil)
			if body := text(t, response); response.StatusCode != c.status || body != c.body {
				t.Errorf("%d %s, want %d %s", response.StatusCode, body, c.status, c.body)
			}
			if response.Header.Get("x-amzn-RequestId") == "" {
				t.Error("no request id")
			}
		})
	}
}

func TestHeadersOfAnAnswerKeepRepeatedOnesApart(t *testing.T) {
	f := &functions{answer: `{"statusCode":200,"headers":{"X-One":"1","Set-Cookie":"lost","Connection":"close"},"multiValueHeaders":{"Set-Cookie":["a=1","b=2"]},"body":""}`}
	g, _ := gateway(t, f)
	h := send(g, "GET", "https://127.0.0.1/prod/v1/me", nil).Header
	if diff := cmp.Diff([]string{"a=1", "b=2"}, h.Values("Set-Cookie")); diff != "" || h.Get("X-One") != "1" || h.Get("Connection") != "" {
		t.Errorf("%v %s", h, diff)
	}
}

func TestLimits(t *testing.T) {
	f := &functions{answer: `{"statusCode":200}`}
	g, _ := gateway(t, f)
	if r := send(g, "GET", "https://127.0.0.1/prod/v1/me", nil, "X-Large", strings.Repeat("x", 10000)); r.StatusCode != 200 {
		t.Errorf("10,000 bytes of headers: %d", r.StatusCode)
	}
	f.function = ""
	if r := send(g, "GET", "https://127.0.0.1/prod/v1/me", nil, "X-A", strings.Repeat("x", 6000), "X-B", strings.Repeat("x", 6000)); r.StatusCode != 431 || f.function != "" {
		t.Errorf("12,000 bytes of headers: %d", r.StatusCode)
	}
	if r := send(g, "PUT", "https://127.0.0.1/prod/v1/login/x", bytes.NewReader(make([]byte, 10<<20+1))); r.StatusCode != 413 || f.function != "" {
		t.Errorf("more than 10 MB: %d", r.StatusCode)
	}
}

func TestProvisionRefuses(t *testing.T) {
	g, id := gateway(t, &functions{})
	body := func(op map[string]any) map[string]any {
		return map[string]any{"Body": map[string]any{"paths": map[string]any{"/x": map[string]any{"get": op}}}}
	}
	mock := operation("f")
	mock["x-amazon-apigateway-integration"].(map[string]any)["type"] = "mock"
	format := operation("f")
	format["x-amazon-apigateway-integration"].(map[string]any)["payloadFormatVersion"] = "2.0"
	binary := body(operation("f"))
	binary["Body"].(map[string]any)["x-amazon-apigateway-binary-media-types"] = []any{"*/*"}
	for name, c := range map[string]struct {
		typ        string
		properties map[string]any
		want       string
	}{
		"an edge endpoint":          {"RestApi", map[string]any{"EndpointConfiguration": map[string]any{"Types": []any{"EDGE"}}}, "only REGIONAL"},
		"an unknown property":       {"RestApi", map[string]any{"Colour": "red"}, `"Colour"`},
		"no integration":            {"RestApi", body(map[string]any{}), "x-amazon-apigateway-integration is missing"},
		"a mock":                    {"RestApi", body(mock), "only aws_proxy"},
		"a payload format":          {"RestApi", body(format), `"payloadFormatVersion"`},
		"binary media types":        {"RestApi", binary, "binary-media-types"},
		"an authoriser":             {"RestApi", body(map[string]any{"security": []any{map[string]any{"sigv4": []any{}}}}), "no authoriser"},
		"a stage of an unknown API": {"Stage", map[string]any{"RestApiId": "none", "StageName": "prod"}, `no API "none"`},
		"variables of a stage":      {"Stage", map[string]any{"RestApiId": id, "StageName": "prod", "Variables": map[string]any{"a": "b"}}, `"Variables"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::" + c.typ, Properties: c.properties}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	other, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::RestApi", Properties: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::Stage", Properties: map[string]any{"RestApiId": other.Ref, "StageName": "prod"}}); err == nil {
		t.Error("two APIs have one stage")
	}
}

func TestTheCertificateIsTrustedThroughItsRootAlone(t *testing.T) {
	dir := t.TempDir()
	leaf, root, err := apigateway.Certificate(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := apigateway.Certificate(dir, time.Now())
	if err != nil || !bytes.Equal(root, again) {
		t.Fatalf("another root the second time (%v)", err)
	}
	g, _ := gateway(t, &functions{answer: `{"statusCode":200}`})
	server := httptest.NewUnstartedServer(g)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	for _, c := range []struct {
		pool *x509.CertPool
		ok   bool
	}{{pool, true}, {x509.NewCertPool(), false}} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool}}
		response, err := (&http.Client{Transport: transport}).Get(strings.Replace(server.URL, "https://127.0.0.1", "https://localhost", 1) + "/prod/v1/me")
		if (err == nil) != c.ok {
			t.Errorf("trusted %v: %v", c.ok, err)
		}
		if err == nil {
			_ = response.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}
