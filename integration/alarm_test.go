package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/stile-dev/stile/integration/stand"
)

// What watches the system works in it: the synthetic login comes through everything that a person's does, and somebody who
// tries to sign with a CA key is told of on the topic, with the page that says what to do.
func TestTheSystemIsWatched(t *testing.T) {
	s, err := newSystem(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	often := func(doc map[string]any) error {
		rule := doc["Resources"].(map[string]any)["EveryFiveMinutes"].(map[string]any)
		rule["Properties"].(map[string]any)["ScheduleExpression"] = "rate(1 minute)"
		return nil
	}
	if err := s.ChangeTemplate("StileControl", often); err != nil {
		t.Fatal(err)
	}
	s.begin(t)
	_, err = kms.NewFromConfig(s.person(t, stand.ReaderFile).AWS()).Sign(t.Context(), &kms.SignInput{
		KeyId: aws.String("alias/stile/root"), Message: make([]byte, 32), MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	})
	if err == nil {
		t.Error("somebody without a right signed with the root key")
	}
	eventually(t, 10*time.Second, func() string { return s.told("docs/runbooks/foreign-signature.md", `"errorCode":"AccessDenied`) })
	eventually(t, 2*time.Minute, func() string { return s.measured(t) })
}

// told looks for a message with some texts on the topic; "" when it is there.
func (s *system) told(texts ...string) string {
	raw, err := os.ReadFile(filepath.Join(s.State, "aws/notice/topic-stile-alarms.ndjson"))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(raw)) {
		var m struct{ Message string }
		if json.Unmarshal([]byte(line), &m) != nil || !json.Valid([]byte(m.Message)) {
			return "a line is no message: " + line
		}
		found := true
		for _, text := range texts {
			found = found && strings.Contains(m.Message, text)
		}
		if found {
			return ""
		}
	}
	return "no message has " + strings.Join(texts, " and ")
}

// measured looks for the canary's measurement of a login that worked; "" when it is there.
func (s *system) measured(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.State, "log/stile-canary.log"))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(raw)) {
		var m struct {
			LoginSucceeded *int
			LoginDuration  *int
		}
		if json.Unmarshal([]byte(line), &m) != nil || m.LoginSucceeded == nil {
			continue
		}
		if *m.LoginSucceeded != 1 || m.LoginDuration == nil {
			t.Fatalf("a synthetic login failed:\n%s", raw)
		}
		return ""
	}
	return "nothing was measured yet"
}
