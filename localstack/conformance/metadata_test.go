package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stile-dev/stile/localstack/ec2"
	"github.com/stile-dev/stile/localstack/iam"
)

// The suite has no instance on an account: these rows are tested on the local metadata service, and AWS's page is all
// that is known of the other.
func TestMetadataNeedsAToken(t *testing.T) {
	if onAWS() {
		return // unasked says why
	}
	t.Parallel()
	if !absent(t, "ec2/metadata/hop-limit") {
		t.Error("nothing tests a limit of hops")
	}
	authority, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: localAccount, Region: localRegion})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := authority.Close(); err != nil {
			t.Error(err)
		}
	})
	role, err := authority.PutRole(iam.Role{Name: "node", Trust: json.RawMessage(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	service, err := ec2.New(authority, ec2.Instance{
		ID: "i-0123456789abcdef0", Role: role.ARN, Account: localAccount, Region: localRegion,
		ARN: "arn:aws:ec2:" + localRegion + ":" + localAccount + ":instance/i-0123456789abcdef0",
	})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path string, headers ...string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, "http://169.254.169.254"+path, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	const life, token, id = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token", "/latest/meta-data/instance-id"
	bare, _ := call(http.MethodGet, id)
	forged, _ := call(http.MethodGet, id, token, "x")
	proxied, given := call(http.MethodPut, "/latest/api/token", life, "60", "X-Forwarded-For", "192.0.2.1")
	through, _ := call(http.MethodGet, id, token, given)
	_, good := call(http.MethodPut, "/latest/api/token", life, "60")
	with, _ := call(http.MethodGet, id, token, good)
	saw(t, "ec2/metadata/token", fmt.Sprintf("without %d\nforged %d\nthrough a proxy refused %v, and metadata %d\nwith %d", bare, forged, proxied >= 400, through, with),
		"without 401\nforged 401\nthrough a proxy refused true, and metadata 401\nwith 200")
}
