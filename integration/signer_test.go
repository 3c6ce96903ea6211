package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		role, name string
		try        func(t *testing.T) // must be refused
	}{
		{"RoleSignUser", "stile-sign-user", func(t *testing.T) {
			s.person(t, engineer).run(t, nil, "login", "--iam").refused(t, 1)
		}},
		{"RoleSignHost", "stile-sign-host", func(t *testing.T) {
			a, r := s.person(t, "env.node").join(t, "node-unsigned", nil)
			_, err := a.api.JoinIAM(t.Context(), r)
			refusedAs(t, err, fault.Internal)
		}},
		{"RolePublish", "stile-publish", func(t *testing.T) {
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
			if err := s.ChangeTemplate("StileControl", func(doc map[string]any) error { return withoutSign(doc, signer.role) }); err != nil {
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
}

// withoutSign takes kms:Sign out of every statement of a role.
func withoutSign(doc map[string]any, role string) error {
	resource, ok := doc["Resources"].(map[string]any)[role].(map[string]any)
	if !ok {
		return fmt.Errorf("the template has no %s", role)
	}
	removed := 0
	for _, p := range resource["Properties"].(map[string]any)["Policies"].([]any) {
		document := p.(map[string]any)["PolicyDocument"].(map[string]any)
		var kept []any
		for _, raw := range document["Statement"].([]any) {
			statement := raw.(map[string]any)
			actions, ok := statement["Action"].([]any)
			if !ok {
				actions = []any{statement["Action"]}
			}
			var left []any
			for _, a := range actions {
				if a == "kms:Sign" {
					removed++
					continue
				}
				left = append(left, a)
			}
			if len(left) > 0 {
				statement["Action"] = left
				kept = append(kept, statement)
			}
		}
		document["Statement"] = kept
	}
	if removed == 0 {
		return fmt.Errorf("%s has no kms:Sign to remove", role)
	}
	return nil
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
