package integration_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatTokenCreatePrintsInstallsAnAgentThatJoins(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can run it in a root directory of its own; cli/paste runs it with stand-ins")
		return
	}
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	binary, err := os.ReadFile(filepath.Join(p.Path, "stile-agent"))
	if err != nil {
		t.Fatal(err)
	}
	// At the first boot the network comes later than the script.
	calls := 0
	// And stores answer with another place.
	downloads := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls++; {
		case calls < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case !strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusFound)
		default:
			_, _ = w.Write(binary)
		}
	}))
	t.Cleanup(downloads.Close)
	sum := sha256.Sum256(binary)
	sums, token := filepath.Join(t.TempDir(), "SHA256SUMS"), filepath.Join(t.TempDir(), "token.yaml")
	text := fmt.Sprintf("%[1]s  stile-agent-linux-amd64\n%[1]s  stile-agent-linux-arm64\n", hex.EncodeToString(sum[:]))
	spec := "kind: token\nmetadata: {name: pasted}\nspec: {method: token, resources: [node], names: ['pasted-*'], label_choice: {team: ['*']}}\n"
	for path, text := range map[string]string{sums: text, token: spec} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := boss.must(t, "token", "create", "-f", token, "--install", "--from", downloads.URL, "--sums", sums, "--name", "pasted-1", "--label", "team=o'neill $HOME")
	t.Cleanup(func() { boss.must(t, "rm", "node/pasted-1", "token/pasted") })

	m := pasting(t)
	env := m.instance(t, shared.person(t, "env.stranger")) // its role counts for nothing here
	m.write(t, "/etc/ssl/downloads.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: downloads.Certificate().Raw})), 0o644)
	env["CURL_CA_BUNDLE"] = "/etc/ssl/downloads.pem"
	m.write(t, "/user-data", script, 0o700)
	cmd := m.command(t.Context(), env, "/usr/bin/dash", "-eu", "/user-data")
	if out := m.installing(t, env, cmd); cmd.ProcessState.ExitCode() != 0 {
		t.Fatalf("%v\n%s", cmd.ProcessState, out)
	}
	eventually(t, 30*time.Second, p.online(t, "pasted-1", true))
}

// pasting is a machine with what the printed script uses.
func pasting(t *testing.T) machine {
	t.Helper()
	return bare(t, "dash", "curl", "uname", "mktemp", "rm", "mkdir", "sleep", "sha256sum", "chmod", "mv")
}

// The deployment has the agent's programs itself, for a server that has no credentials of AWS to get them with.
func TestAServerGetsItsAgentFromTheDeployment(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can run it in a root directory of its own; cli/paste runs it with stand-ins")
		return
	}
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	token := filepath.Join(t.TempDir(), "token.yaml")
	spec := "kind: token\nmetadata: {name: stocked}\nspec: {method: token, resources: [node], names: ['stocked-*']}\n"
	if err := os.WriteFile(token, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	script := boss.must(t, "token", "create", "-f", token, "--install", "--name", "stocked-1")
	t.Cleanup(func() { boss.must(t, "rm", "node/stocked-1", "token/stocked") })
	m := pasting(t)
	env := m.instance(t, shared.person(t, "env.stranger"))
	m.write(t, "/user-data", script, 0o700)
	cmd := m.command(t.Context(), env, "/usr/bin/dash", "-eu", "/user-data")
	if out := m.installing(t, env, cmd); cmd.ProcessState.ExitCode() != 0 {
		t.Fatalf("%v\n%s", cmd.ProcessState, out)
	}
	eventually(t, 30*time.Second, p.online(t, "stocked-1", true))
}
