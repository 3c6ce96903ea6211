package answer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/fault"
)

type question struct {
	Word string `json:"word"`
}

// ask hands a payload to a function and reads its answer as the caller gets it.
func ask(t *testing.T, log *bytes.Buffer, payload string, use func(context.Context, question) (string, error)) (string, error) {
	t.Helper()
	replied, err := answer.Handle(slog.New(slog.NewJSONHandler(log, nil)), use)(t.Context(), json.RawMessage(payload))
	if err != nil {
		t.Fatalf("Lambda would call it a failure: %v", err)
	}
	b, err := json.Marshal(replied)
	if err != nil {
		t.Fatal(err)
	}
	var out string
	err = answer.Read(b, &out)
	return out, err
}

func TestAFaultCrossesWithoutItsCause(t *testing.T) {
	want := fault.New(fault.Quarantined, "no", "do this").With("a.b", "bad").Because(errors.New("the cause stays"))
	want.DecisionID, want.RetryAfter = "dec_1", 1500*time.Millisecond
	var log bytes.Buffer
	_, err := ask(t, &log, `{"word":"a"}`, func(context.Context, question) (string, error) { return "", want })
	got := fault.From(err)
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(fault.Fault{})); d != "" {
		t.Error(d)
	}
	if errors.Unwrap(got) != nil {
		t.Errorf("the cause crossed: %v", errors.Unwrap(got))
	}
	for _, said := range []string{`"level":"INFO"`, `"code":"quarantined"`, `"detail":"no"`, `"decision_id":"dec_1"`, `"cause":"the cause stays"`} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("%s is not in the log: %s", said, log.String())
		}
	}
}

func TestAPanicAndAnUnknownErrorShowNothing(t *testing.T) {
	for name, use := range map[string]func(context.Context, question) (string, error){
		"a panic":  func(context.Context, question) (string, error) { panic("secret detail") },
		"an error": func(context.Context, question) (string, error) { return "", errors.New("secret detail") },
	} {
		var log bytes.Buffer
		_, err := ask(t, &log, `{"word":"a"}`, use)
		f := fault.From(err)
		if f.Code != fault.Internal || strings.Contains(f.Message+f.Hint, "secret") {
			t.Errorf("%s: %+v", name, f)
		}
		if !strings.Contains(log.String(), `"level":"ERROR"`) || !strings.Contains(log.String(), "secret detail") {
			t.Errorf("%s: the log has %s", name, log.String())
		}
	}
}

func TestARequestIsReadStrictly(t *testing.T) {
	for _, payload := range []string{`{"word":"a","word":"b"}`, `{"other":1}`, `[]`, ``, `{"word":"` + strings.Repeat("x", 200<<10) + `"}`} {
		var log bytes.Buffer
		_, err := ask(t, &log, payload, func(context.Context, question) (string, error) {
			t.Errorf("%.30s: the use case was called", payload)
			return "", nil
		})
		if !fault.Is(err, fault.BadInput) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%.30s: %v", payload, err)
		}
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for _, payload := range []string{``, `x`, `{}`, `{"value":7}`, `{"fault":{"code":"odd","message":"m"}}`} {
		var out string
		if err := answer.Read([]byte(payload), &out); err == nil || fault.From(err).Code != fault.Internal || out != "" {
			t.Errorf("%q: %q, %v", payload, out, err)
		}
	}
}

func TestNothingIsLoggedOfASuccess(t *testing.T) {
	if level, attrs := answer.Logged(nil); level != slog.LevelInfo || attrs != nil {
		t.Errorf("%v %v", level, attrs)
	}
}
