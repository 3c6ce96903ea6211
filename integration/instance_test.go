package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// An instance's first boot may be faster than its profile: the metadata service knows no role then.
func TestAnAgentOnAnInstanceThatGetsItsRoleLaterJoins(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	role := shared.person(t, "env.node").Env
	var attached atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", "300")
			fmt.Fprint(w, "a-token")
		case "/latest/dynamic/instance-identity/document":
			fmt.Fprintf(w, `{"region": %q}`, role["AWS_REGION"])
		case "/latest/meta-data/iam/security-credentials/":
			if attached.Load() {
				fmt.Fprint(w, "demo-node")
				return
			}
			w.WriteHeader(http.StatusNotFound)
		case "/latest/meta-data/iam/security-credentials/demo-node":
			fmt.Fprintf(w, `{"Code": "Success", "AccessKeyId": %q, "SecretAccessKey": %q, "Token": %q, "Expiration": %q}`,
				role["AWS_ACCESS_KEY_ID"], role["AWS_SECRET_ACCESS_KEY"], role["AWS_SESSION_TOKEN"], time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(service.Close)
	a := shared.agentOf(t, onInstance(t, service.URL), enrol{name: "node-profile", alone: true})
	a.logs(t, "this EC2 instance has no role yet")
	attached.Store(true)
	t.Cleanup(func() { boss.must(t, "rm", "node/node-profile") })
	eventually(t, time.Minute, p.online(t, "node-profile", true))
}

// onInstance is a program that runs the agent with nothing of AWS but an instance's metadata service.
func onInstance(t *testing.T, metadata string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "agent")
	script := "#!/bin/sh\nunset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION\n" +
		"export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_SERVICE_ENDPOINT=" + metadata + "\nexec stile-agent \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}
