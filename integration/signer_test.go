package integration_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/fault"
)

// Each signer's permission to sign is taken out of a copy of the template, one at a time. What then fails
// fails as it would in an account, with KMS's AccessDenied, and people get a refusal that they can read.
func TestSec_S28_ASignerWithoutItsPermissionSignsNothing(t *testing.T) {
	s, err := newSystem(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.up(); err != nil {
		t.Fatal(err)
	}
	boss := s.person(t, admin).login(t)
	for _, signer := range []struct {
		may  stand.Allow
		name string
		try  func(t *testing.T) // must be refused
	}{
		{stand.Allow{Role: "sign-user", Sid: "SignCertificates", Action: "kms:Sign"}, "stile-sign-user", func(t *testing.T) {
			s.person(t, engineer).run(t, nil, "login", "--iam").refused(t, 1)
		}},
		{stand.Allow{Role: "sign-host", Sid: "SignCertificates", Action: "kms:Sign"}, "stile-sign-host", func(t *testing.T) {
			a, r := s.person(t, "env.node").join(t, "node-unsigned", nil)
			_, err := a.api.JoinIAM(t.Context(), r)
			refusedAs(t, err, fault.Internal)
		}},
		{stand.Allow{Role: "publish", Sid: "SignDocuments", Action: "kms:Sign"}, "stile-publish", func(t *testing.T) {
			r := boss.run(t, strings.NewReader("kind: role\nmetadata: {name: unpublished}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n"), "create", "-f", "-")
			if r.status != 0 || !strings.Contains(r.err, "not in force yet") {
				t.Errorf("creating a role that cannot be published ended with %d and %q", r.status, r.err)
			}
		}},
	} {
		t.Run(signer.name, func(t *testing.T) {
			path := filepath.Join(s.Root, "infra/templates/StileControl.json")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Withdraw(signer.may); err != nil {
				t.Fatal(err)
			}
			s.redeploy(t)
			signer.try(t)
			eventually(t, 10*time.Second, func() string { return s.denied(signer.name) })

			if err := os.WriteFile(path, whole, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := s.up(); err != nil {
				t.Fatalf("with the permission back: %v", err)
			}
			s.person(t, engineer).login(t)
		})
	}
	t.Run("the trust document is read and kept when rotate runs again", func(t *testing.T) {
		if err := s.ChangeTemplate("StileControl", func(doc map[string]any) error {
			doc["Resources"].(map[string]any)["Trust"].(map[string]any)["Properties"].(map[string]any)["Build"] = "another"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.up(); err != nil {
			t.Fatal(err)
		}
		s.person(t, engineer).login(t)
	})
}

// redeploy brings the changed template about. Whether up then finds everything well is not asked: it can't.
func (s *system) redeploy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.Command(ctx, "up")
	out, err := cmd.CombinedOutput()
	if _, ready := s.Person(engineer, ""); ready != nil {
		t.Fatalf("the system is not there: %v, %v\n%s", ready, err, out)
	}
}

// denied looks for KMS's refusal of a function's Sign in the local AWS's log; "" when it is there.
func (s *system) denied(function string) string {
	b, err := os.ReadFile(filepath.Join(s.State, "log/localstack.log"))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(b)) {
		var e struct {
			Service, Operation, Principal string
			Code                          string `json:"error_code"`
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Service == "kms" && e.Operation == "Sign" &&
			strings.Contains(e.Principal, "/"+function) && strings.HasPrefix(e.Code, "AccessDenied") {
			return ""
		}
	}
	return "KMS refused no Sign of " + function
}
