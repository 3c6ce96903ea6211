package serve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

// onInstance has the metadata service answer every call but those for a token as the function does.
func onInstance(t *testing.T, token int, serve http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/latest/api/token" {
			serve(w, r)
			return
		}
		w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", "300")
		w.WriteHeader(token)
		fmt.Fprint(w, "a-token")
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, os.DevNull)
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_EC2_METADATA_DISABLED", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
}

func identityDocument(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-aws-ec2-metadata-token") != "a-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprint(w, `{"region": "ap-southeast-2"}`)
}

func TestAnAgentOnAnInstanceAsksForItsRegionWhenNothingElseSaysIt(t *testing.T) {
	onInstance(t, http.StatusOK, identityDocument)
	for _, c := range []struct{ configured, variable, want string }{
		{"eu-central-1", "us-west-2", "eu-central-1"}, {"", "us-west-2", "us-west-2"}, {"", "", "ap-southeast-2"},
	} {
		t.Setenv("AWS_REGION", c.variable)
		got, err := ownAWS(t.Context(), c.configured)
		if err != nil || got.Region != c.want {
			t.Errorf("%+v: %q, %v", c, got.Region, err)
		}
	}
}

func TestAnAgentThatCannotLearnItsRegionSaysWhatToDo(t *testing.T) {
	onInstance(t, http.StatusForbidden, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	_, err := ownAWS(t.Context(), "")
	if f := fault.From(err); f.Code != fault.Unavailable || !strings.Contains(f.Hint, "--http-endpoint enabled") {
		t.Errorf("switched off: %+v", f)
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
	_, err = ownAWS(t.Context(), "")
	if f := fault.From(err); f.Code != fault.Unavailable || !strings.Contains(f.Hint, "set region") || !strings.Contains(f.Hint, "hop-limit 2") {
		t.Errorf("silent: %+v", f)
	}
}

func TestAnInstanceWithoutARoleIsToldFromNone(t *testing.T) {
	onInstance(t, http.StatusOK, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	for want, endpoint := range map[string]string{"give it an instance profile": os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "hop-limit 2": "http://127.0.0.1:1"} {
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
		c, err := ownAWS(t.Context(), "eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Credentials.Retrieve(t.Context())
		if f := fault.From(err); !strings.Contains(f.Hint, want) {
			t.Errorf("%s: %+v", endpoint, f)
		}
	}
}

// EKS Pod Identity has the agent show a token from a file, which is replaced every hour.
func TestAContainersTokenMayEndWithANewlineAndChange(t *testing.T) {
	onInstance(t, http.StatusNotFound, http.NotFound)
	file := filepath.Join(t.TempDir(), "token")
	valid := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != valid {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		// Of a minute ago, so that the next use asks for others.
		fmt.Fprintf(w, `{"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "of %s", "Expiration": %q}`, valid, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
	c, err := ownAWS(t.Context(), "eu-central-1")
	if err != nil {
		t.Fatal(err)
	}
	for token, text := range map[string]string{"first": "first\n", "second": "second\r\n", "third": "third"} {
		valid = token
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Credentials.Retrieve(t.Context()); err != nil || got.SessionToken != "of "+token {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
