package ec2_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/ec2"
	"github.com/stile-dev/stile/localstack/iam"
)

func metadata(t *testing.T, trusts string) (*httptest.Server, *iam.Authority, error) {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333", Partition: "aws", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	role, err := a.PutRole(iam.Role{Name: "node", Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + trusts + `"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ec2.New(a, ec2.Instance{ID: "i-0123456789abcdef0", Role: role.ARN, Account: "111122223333", Region: "eu-west-1", ARN: "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"})
	if err != nil {
		return nil, nil, err
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return server, a, nil
}

func call(t *testing.T, server *httptest.Server, method, path string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

const (
	life  = "X-aws-ec2-metadata-token-ttl-seconds"
	token = "X-aws-ec2-metadata-token"
)

func TestAnInstanceLearnsItsRoleAndRegionWithATokenAlone(t *testing.T) {
	server, _, err := metadata(t, "ec2.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want    int
		method  string
		headers []string
	}{
		"no life":             {400, http.MethodPut, nil},
		"no life at all":      {400, http.MethodPut, []string{life, "0"}},
		"a life too long":     {400, http.MethodPut, []string{life, "21601"}},
		"by a proxy":          {403, http.MethodPut, []string{life, "60", "X-Forwarded-For", "10.0.0.1"}},
		"another method":      {405, http.MethodGet, []string{life, "60"}},
		"as it should be":     {200, http.MethodPut, []string{life, "60"}},
		"the longest of life": {200, http.MethodPut, []string{life, "21600"}},
	} {
		if status, _ := call(t, server, c.method, "/latest/api/token", c.headers...); status != c.want {
			t.Errorf("%s: %d, not %d", name, status, c.want)
		}
	}
	_, given := call(t, server, http.MethodPut, "/latest/api/token", life, "60")
	for path, want := range map[string]string{
		"/latest/meta-data/placement/region":              "eu-west-1",
		"/latest/meta-data/instance-id":                   "i-0123456789abcdef0",
		"/latest/meta-data/iam/security-credentials/":     "node",
		"/latest/meta-data/iam/security-credentials/node": `"Code":"Success"`,
		"/latest/dynamic/instance-identity/document":      `"region":"eu-west-1"`,
	} {
		if status, text := call(t, server, http.MethodGet, path, token, given); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
		for _, headers := range [][]string{nil, {token, "guess"}} {
			if status, text := call(t, server, http.MethodGet, path, headers...); status != 401 || strings.Contains(text, want) {
				t.Errorf("%s with %q: %d %s", path, headers, status, text)
			}
		}
	}
	if status, _ := call(t, server, http.MethodGet, "/latest/meta-data/iam/security-credentials/other", token, given); status != 404 {
		t.Errorf("another role: %d", status)
	}
}

func TestARoleThatEC2MayNotAssumeIsNoInstances(t *testing.T) {
	if _, _, err := metadata(t, "ecs-tasks.amazonaws.com"); err == nil || !strings.Contains(err.Error(), "cannot be assumed") {
		t.Errorf("error %v", err)
	}
}
