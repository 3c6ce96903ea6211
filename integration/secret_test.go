package integration_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// What people hand over in secret, and what they are handed, is in nothing that is kept or answered: not in logs, events, the lake, an
// export, an answer in SQL or a recording.
func TestSec_S50_NoSecretIsInWhatIsKept(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	made := boss.must(t, "create", "-f", boss.file(t, "kind: token\nmetadata: {name: secret-of-tests}\nspec: {method: token, resources: [node], names: ['secret-*']}\n"))
	t.Cleanup(func() { boss.must(t, "rm", "token/secret-of-tests") })
	_, secret, _ := strings.Cut(made, "(shown once): ")
	secret, _, _ = strings.Cut(secret, "\n")
	if !strings.HasPrefix(secret, "stj_") {
		t.Fatal(made)
	}
	const typed = "typed-into-stdin-0123456789"
	r := p.run(t, strings.NewReader(typed+"\n"), "ssh", "node-1", "--", `read -r typed; echo "$STILE_SESSION_ID ${#typed}"`)
	session, length, _ := strings.Cut(strings.TrimSpace(r.out), " ")
	if length != "27" {
		t.Fatalf("the session read %q\n%s", r.out, r.err)
	}
	p.complete(t, session)
	played := p.must(t, "recording", "export", session) // by presigned URLs
	keys := p.credential(t).Keys
	key, err := x509.MarshalPKCS8PrivateKey(keys.TLS)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := p.AWS().Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"a token's secret": secret, "its random part": secret[len("stj_"):], "what was typed": typed,
		"a private key": base64.StdEncoding.EncodeToString(key), "the key of an AWS identity": identity.SecretAccessKey, "the token of an AWS session": identity.SessionToken,
		"the signature of a URL": "X-Amz-Signature=",
	}
	for what, text := range secrets {
		if len(text) < 10 {
			t.Fatalf("%s is %q", what, text)
		}
	}

	places := map[string]string{"an export": boss.must(t, "audit", "export", "--since", "1h"), "a recording": played}
	eventually(t, 60*time.Second, func() string {
		if err := boss.Flush(); err != nil {
			t.Fatal(err)
		}
		rows := shared.lake(t, func(row) bool { return true })
		b, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		places["the lake"] = string(b)
		for _, r := range rows {
			if aws.ToString(r.SessionID) == session {
				return ""
			}
		}
		return "the lake doesn't have the session yet"
	})
	answer, err := json.Marshal(boss.asked(t, "SELECT * FROM events", "--since", "1h"))
	if err != nil {
		t.Fatal(err)
	}
	places["an answer in SQL"] = string(answer)
	for _, where := range []string{"an export", "the lake", "an answer in SQL"} {
		if !strings.Contains(places[where], session) {
			t.Errorf("%s has nothing of the session, so that it can't be judged", where)
		}
	}
	logs, err := filepath.Glob(filepath.Join(shared.State, "log", "*.log"))
	if err != nil || len(logs) < 10 {
		t.Fatalf("%q, %v", logs, err)
	}
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		places[filepath.Base(path)] = string(b)
	}
	for where, text := range places {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", where, what)
			}
		}
	}
}
