package apigateway_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/apigateway"
	"github.com/stile-dev/stile/localstack/resource"
)

// staged is a gateway whose stage has these properties as well, at a time that the test moves.
func staged(t *testing.T, f *functions, now *time.Time, logs string, properties map[string]any) (*apigateway.Gateway, error) {
	t.Helper()
	g := apigateway.New(apigateway.Config{
		Account: "111122223333", Region: "us-east-1", Partition: "aws", Invoker: f, Timeout: time.Second, LogDir: logs,
		Now: func() time.Time { return *now }, Log: slog.New(slog.DiscardHandler),
	})
	if _, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::RestApi", PhysicalID: "abc1234567", Properties: map[string]any{
		"Name": "stile", "Body": map[string]any{"openapi": "3.0.1", "paths": map[string]any{
			"/v1/login/iam":    map[string]any{"post": operation("login"), "get": operation("login")},
			"/v1/nodes/{name}": map[string]any{"get": operation("api")},
			"/v1/me":           map[string]any{"get": operation("api")},
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	properties["RestApiId"], properties["StageName"] = "abc1234567", "prod"
	_, err := g.Provision(resource.Resource{Type: "AWS::ApiGateway::Stage", Properties: properties})
	return g, err
}

func limit(method, path string, rate, burst any) map[string]any {
	return map[string]any{"HttpMethod": method, "ResourcePath": path, "MetricsEnabled": false, "ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}
}

func TestARouteIsThrottledByItsOwnSettingAndOthersByTheStages(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	g, err := staged(t, &functions{answer: `{"statusCode":200}`}, &now, "", map[string]any{"MethodSettings": []any{
		limit("*", "/*", 1, 3), limit("POST", "/~1v1~1login~1iam", "2", 4), limit("GET", "/~1v1~1nodes~1{name}", 1, 1),
	}})
	if err != nil {
		t.Fatal(err)
	}
	admitted := func(method string, paths ...string) (n int) {
		for i := range 20 {
			r := send(g, method, "https://api/prod"+paths[i%len(paths)], nil)
			switch r.StatusCode {
			case http.StatusOK:
				n++
			case http.StatusTooManyRequests:
				if got := text(t, r); got != `{"message":"Too Many Requests"}` || r.Header.Get("X-Amzn-Errortype") != "TooManyRequestsException" {
					t.Errorf("%s, %v", got, r.Header)
				}
			default:
				t.Errorf("%d", r.StatusCode)
			}
		}
		return n
	}
	for _, c := range []struct {
		after              time.Duration
		login, node, other int
	}{{0, 4, 1, 3}, {0, 0, 0, 0}, {time.Second, 2, 1, 1}, {-time.Hour, 0, 0, 0}, {3 * time.Hour, 4, 1, 3}} {
		now = now.Add(c.after)
		if got := admitted("POST", "/v1/login/iam"); got != c.login {
			t.Errorf("%s later %d logins, want %d", c.after, got, c.login)
		}
		if got := admitted("GET", "/v1/nodes/a", "/v1/nodes/b"); got != c.node {
			t.Errorf("%s later %d nodes, want %d", c.after, got, c.node)
		}
		if got := admitted("GET", "/v1/me", "/v1/login/iam"); got != c.other {
			t.Errorf("%s later %d others, want %d", c.after, got, c.other)
		}
	}
}

func TestASettingThatWouldHaveNoEffectIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		settings []any
		want     string
	}{
		"no burst":                  {[]any{map[string]any{"HttpMethod": "*", "ResourcePath": "/*", "ThrottlingRateLimit": 1}}, "must both be given"},
		"a rate of nothing":         {[]any{limit("*", "/*", 0, 1)}, "must both be given"},
		"a path that isn't encoded": {[]any{limit("POST", "/v1/login/iam", 1, 1)}, "neither /* nor"},
		"without the first slash":   {[]any{limit("POST", "~1v1~1login~1iam", 1, 1)}, "neither /* nor"},
		"another method":            {[]any{limit("PUT", "/~1v1~1login~1iam", 1, 1)}, "no route PUT /v1/login/iam"},
		"a request's path":          {[]any{limit("GET", "/~1v1~1nodes~1a", 1, 1)}, "no route GET /v1/nodes/a"},
		"every method of a path":    {[]any{limit("*", "/~1v1~1login~1iam", 1, 1)}, "no route *"},
		"twice":                     {[]any{limit("*", "/*", 1, 1), limit("*", "/*", 2, 2)}, "two settings"},
		"what isn't known":          {[]any{map[string]any{"HttpMethod": "*", "ResourcePath": "/*", "CachingEnabled": true}}, "CachingEnabled"},
	} {
		now := time.UnixMilli(1_700_000_000_000)
		if _, err := staged(t, &functions{}, &now, "", map[string]any{"MethodSettings": c.settings}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

const logGroup = "arn:aws:logs:us-east-1:111122223333:log-group:/stile/api-access"

func TestEachRequestOfAStageIsALineOfItsAccessLog(t *testing.T) {
	dir, now := t.TempDir(), time.UnixMilli(1_700_000_000_000)
	f := &functions{answer: `{"statusCode":201,"body":"made"}`}
	g, err := staged(t, f, &now, dir, map[string]any{
		"MethodSettings": []any{limit("*", "/*", 1, 3)},
		"AccessLogSetting": map[string]any{"DestinationArn": logGroup, "Format": `{"id":"$context.requestId","ip":"$context.identity.sourceIp","route":"$context.httpMethod $context.resourcePath",` +
			`"status":"$context.status","bytes":"$context.responseLength","refusal":"$context.error.responseType","function":"$context.integration.status"}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	send(g, "GET", "https://api/prod/v1/nodes/s3cret?token=s3cret", nil, "Authorization", "s3cret")
	f.failed = true
	send(g, "POST", "https://api/prod/v1/login/iam", strings.NewReader("s3cret"))
	send(g, "POST", "https://api/prod/v1/s3cret", nil)
	send(g, "GET", "https://api/prod/v1/me", nil)
	send(g, "GET", "https://api/prod/v1/me", nil)
	send(g, "GET", "https://api/other/v1/me", nil)
	raw, err := os.ReadFile(filepath.Join(dir, "api-access.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "s3cret") {
		t.Errorf("the log holds what was sent:\n%s", raw)
	}
	var got []map[string]string
	for line := range strings.Lines(string(raw)) {
		var l map[string]string
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if len(l["id"]) != 36 || l["ip"] != "192.0.2.7" {
			t.Errorf("%v", l)
		}
		delete(l, "id")
		delete(l, "ip")
		got = append(got, l)
	}
	line := func(route, status, bytes, refusal, function string) map[string]string {
		return map[string]string{"route": route, "status": status, "bytes": bytes, "refusal": refusal, "function": function}
	}
	if diff := cmp.Diff([]map[string]string{
		line("GET /v1/nodes/{name}", "201", "4", "-", "200"),
		line("POST /v1/login/iam", "502", "36", "INTEGRATION_FAILURE", "-"),
		line("POST -", "403", "43", "MISSING_AUTHENTICATION_TOKEN", "-"),
		line("GET /v1/me", "502", "36", "INTEGRATION_FAILURE", "-"),
		line("GET /v1/me", "429", "32", "THROTTLED", "-"),
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnAccessLogThatAWSWouldNotTakeIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ dir, group, format, want string }{
		"no role in the account":       {"", logGroup, "$context.requestId", "CloudWatch Logs role ARN must be set in account settings"},
		"an attribute as the group":    {t.TempDir(), logGroup + ":*", "$context.requestId", "DestinationArn"},
		"no group":                     {t.TempDir(), "/stile/api-access", "$context.requestId", "DestinationArn"},
		"nothing that names a request": {t.TempDir(), logGroup, "$context.status", "$context.requestId"},
		"a variable that isn't known":  {t.TempDir(), logGroup, "$context.requestId $context.authorizer.claims", "not known"},
	} {
		now := time.UnixMilli(1_700_000_000_000)
		_, err := staged(t, &functions{}, &now, c.dir, map[string]any{"AccessLogSetting": map[string]any{"DestinationArn": c.group, "Format": c.format}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
