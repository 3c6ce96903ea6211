package cmd_test

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

const webToken = "kind: token\nmetadata: {name: web}\nspec: {method: iam, allow: [{account: '111122223333', role: web}], resources: [node], names: ['*']}\n"

func TestAnAgentComesFromTheDeploymentUnlessAnotherPlaceIsNamed(t *testing.T) {
	sum, ends := strings.Repeat("a", 64), time.Date(2026, 11, 27, 9, 0, 0, 0, time.Local)
	s := shelfWith(t)
	api := httptest.NewTLSServer(s)
	defer api.Close()
	var out, errs strings.Builder
	create := func(from, sums string) error {
		out.Reset()
		errs.Reset()
		return lookupAt(t, api).CreateToken(t.Context(), webToken, from, sums, false, &out, &errs)
	}
	err := create("", "")
	if f := fault.From(err); f == nil || f.Code != fault.NotFound || !strings.Contains(f.Hint, "--from and --sums") {
		t.Errorf("a deployment of before: %v", err)
	}
	s.agents = []wire.AgentBinary{{Arch: "amd64", Sha256: sum, URL: "https://s3.example/amd?X-Amz-Signature=1", ExpiresAt: ends.Add(time.Minute)}}
	if f := fault.From(create("", "")); f == nil || f.Code != fault.BadInput {
		t.Errorf("no agent for arm64: %v", f)
	}
	if len(s.has) != 0 {
		t.Errorf("a token was created: %v", s.has)
	}
	s.agents = append(s.agents, wire.AgentBinary{Arch: "arm64", Sha256: sum, URL: "https://s3.example/arm?X-Amz-Signature=2", ExpiresAt: ends})
	if err := create("", ""); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"'https://s3.example/amd?X-Amz-Signature=1'", "'https://s3.example/arm?X-Amz-Signature=2'", sum} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%s lacks %s", out.String(), part)
		}
	}
	if !strings.Contains(errs.String(), "until 09:00") {
		t.Errorf("it says %q", errs.String())
	}
}

// The command of a newer agent could only be had by deleting the token, which puts out every agent that joined by it.
func TestTheCommandOfATokenThatExistsCanBePrintedAgain(t *testing.T) {
	const file = webToken
	sum := strings.Repeat("a", 64)
	sums := filepath.Join(t.TempDir(), "SHA256SUMS")
	if err := os.WriteFile(sums, []byte(sum+"  stile-agent-linux-amd64\n"+sum+"  stile-agent-linux-arm64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := shelfWith(t, "token/web")
	s.refused = map[string]*fault.Fault{"token/web": fault.New(fault.Conflict, "token web already exists", "type: stile create --replace")}
	api := httptest.NewTLSServer(s)
	defer api.Close()
	var out strings.Builder
	err := lookupAt(t, api).CreateToken(t.Context(), file, "https://downloads.example", sums, false, &out, io.Discard)
	if f := fault.From(err); f == nil || f.Code != fault.Conflict || !strings.HasPrefix(f.Hint, "add --replace") || out.Len() > 0 {
		t.Errorf("error %v, %q was printed", err, out.String())
	}
	s.refused = nil
	if err := lookupAt(t, api).CreateToken(t.Context(), file, "https://downloads.example", sums, true, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if asked := strings.Join(s.asked, ", "); asked != "POST token/web, PUT token/web" || !strings.Contains(out.String(), sum) {
		t.Errorf("asked %s, printed %q", asked, out.String())
	}
}

// TestSec_S88_NothingButASecretIsPrintedAsOne: whatever the API answers stands in the command, on a terminal.
func TestSec_S88_NothingButASecretIsPrintedAsOne(t *testing.T) {
	const text = "kind: token\nmetadata: {name: web}\nspec: {method: token, resources: [node], names: ['*']}\n"
	sums := filepath.Join(t.TempDir(), "SHA256SUMS")
	sum := strings.Repeat("a", 64)
	if err := os.WriteFile(sums, []byte(sum+"  stile-agent-linux-amd64\n"+sum+"  stile-agent-linux-arm64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token, secret string
		printed       bool
	}{
		{text, resource.SecretPrefix + strings.Repeat("A", 43), true},
		{text, "", false},
		{text, resource.SecretPrefix + "\u009b2J", false},
		{webToken, "", true},
		{webToken, "\x1b[2J", false},
	} {
		s := shelfWith(t)
		s.secret = c.secret
		api := httptest.NewTLSServer(s)
		var out strings.Builder
		err := lookupAt(t, api).CreateToken(t.Context(), c.token, "https://downloads.example", sums, false, &out, io.Discard)
		api.Close()
		if c.printed != (err == nil) || c.printed != strings.Contains(out.String(), sum) {
			t.Errorf("%q: %v, %q", c.secret, err, out.String())
		}
		if !c.printed && (!fault.Is(err, fault.Internal) || out.Len() > 0) {
			t.Errorf("%q: %v, %q", c.secret, err, out.String())
		}
	}
}
