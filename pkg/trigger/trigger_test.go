package trigger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/trigger"
)

var (
	errHeld = fault.New(fault.Unavailable, "another run holds the lease", "wait a moment").Because(errors.New("held by req-7"))
	made    = document.Head{
		Trust: identity.Version{Epoch: 1, Counter: 2}, Policy: identity.Version{Epoch: 1, Counter: 3}, Revocations: identity.Version{Epoch: 1, Counter: 40}, Input: 9,
	}
	told = trigger.Published{Trust: "1.2", Policy: "1.3", Revocations: "1.40", Input: 9}
)

// pull triggers a run that ends with err, and counts how often it ran.
func pull(t *testing.T, event string, err error) (replied any, ran int, log string, failed error) {
	t.Helper()
	var lines bytes.Buffer
	replied, failed = trigger.Handle(slog.New(slog.NewJSONHandler(&lines, nil)), func(context.Context) (document.Head, error) {
		ran++
		return made, err
	})(t.Context(), json.RawMessage(event))
	return replied, ran, lines.String(), failed
}

// A stream's or a schedule's event is tried again by AWS when the function fails, and only then.
func TestAStreamAndAScheduleGetAnError(t *testing.T) {
	for _, event := range []string{`{"Records":[{"eventID":"1"}]}`, `{"source":"aws.events"}`, `{"direct":false}`, `{"RequestType":"Create"}`} {
		if replied, ran, _, err := pull(t, event, nil); err != nil || ran != 1 || !cmp.Equal(replied, any(told)) {
			t.Errorf("%s: %+v after %d runs, %v", event, replied, ran, err)
		}
		_, ran, log, err := pull(t, event, errHeld)
		if !errors.Is(err, errHeld) || ran != 1 || !strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, "held by req-7") {
			t.Errorf("%s: %v after %d runs, log %s", event, err, ran, log)
		}
	}
	if _, ran, _, err := pull(t, `[]`, nil); err == nil || ran != 0 {
		t.Errorf("what is no event: %d runs, %v", ran, err)
	}
}

func TestACallerGetsAFaultAsAnAnswer(t *testing.T) {
	for name, want := range map[string]error{"made": nil, "refused": errHeld} {
		replied, ran, _, err := pull(t, `{"direct":true}`, want)
		if err != nil || ran != 1 {
			t.Fatalf("%s: %d runs, %v", name, ran, err)
		}
		b, err := json.Marshal(replied)
		if err != nil {
			t.Fatal(err)
		}
		var got trigger.Published
		err = answer.Read(b, &got)
		if want == nil && (err != nil || got != told) || want != nil && (!fault.Is(err, fault.Unavailable) || fault.From(err).Message != "another run holds the lease") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// CloudFormation waits an hour for an answer that does not come, so every end is answered by the URL of the event.
func TestCloudFormationIsAnsweredWhateverHappens(t *testing.T) {
	type reply struct {
		Status, Reason, PhysicalResourceID, StackID, RequestID, LogicalResourceID string
		Data                                                                      map[string]any
	}
	for name, k := range map[string]struct {
		request, physical string
		err               error
		ran               int
		want              reply
	}{
		"created": {"Create", "", nil, 1, reply{Status: "SUCCESS", PhysicalResourceID: "stile-Documents", Data: map[string]any{"Trust": "1.2", "Policy": "1.3", "Revocations": "1.40"}}},
		"updated": {"Update", "stile-Documents", nil, 1, reply{Status: "SUCCESS", PhysicalResourceID: "stile-Documents", Data: map[string]any{"Trust": "1.2", "Policy": "1.3", "Revocations": "1.40"}}},
		"refused": {"Create", "", errHeld, 1, reply{Status: "FAILED", Reason: "another run holds the lease; wait a moment", PhysicalResourceID: "stile-Documents"}},
		// Documents are kept with the tables that they came from.
		"deleted":         {"Delete", "stile-Documents", nil, 0, reply{Status: "SUCCESS", PhysicalResourceID: "stile-Documents"}},
		"deleted, failed": {"Delete", "stile-Documents", errHeld, 0, reply{Status: "SUCCESS", PhysicalResourceID: "stile-Documents"}},
	} {
		var got reply
		cloudFormation := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Method != http.MethodPut || json.Unmarshal(body, &got) != nil {
				t.Errorf("%s: %s %s, %v", name, r.Method, body, err)
			}
		}))
		event, err := json.Marshal(map[string]string{
			"RequestType": k.request, "ResponseURL": cloudFormation.URL, "StackId": "arn:stack", "RequestId": "req-1", "LogicalResourceId": "Documents", "PhysicalResourceId": k.physical,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, ran, _, err := pull(t, string(event), k.err)
		cloudFormation.Close()
		k.want.StackID, k.want.RequestID, k.want.LogicalResourceID = "arn:stack", "req-1", "Documents"
		if d := cmp.Diff(k.want, got); d != "" || ran != k.ran || err != nil {
			t.Errorf("%s: %d runs, %v %s", name, ran, err, d)
		}
	}
}

// A wrong property ends the deployment before anything is published; a template that doesn't have it yet is run, since a
// rollback may come with one.
func TestAPropertyIsCheckedBeforeTheRun(t *testing.T) {
	check := trigger.Property("Colour", func(v string) (int, error) {
		if v != "red" {
			return 0, fault.Newf(fault.BadInput, "correct it", "%s is no colour", v)
		}
		return 1, nil
	})
	for properties, want := range map[string]string{
		`{"Colour":"red"}`: "", `{}`: "", `{"Colour":"loud"}`: "loud is no colour; correct it",
		`{"Colour":{"red":"1"}}`: "the property Colour is not a text; deploy the template as it was synthesised",
	} {
		var got struct{ Status, Reason string }
		cloudFormation := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
				t.Error(err)
			}
		}))
		ran := 0
		_, err := trigger.Handle(slog.New(slog.DiscardHandler), func(context.Context) (document.Head, error) { ran++; return made, nil }, check)(t.Context(),
			json.RawMessage(`{"RequestType":"Update","ResponseURL":"`+cloudFormation.URL+`","ResourceProperties":`+properties+`}`))
		cloudFormation.Close()
		if failed := want != ""; err != nil || got.Reason != want || (ran == 0) != failed || (got.Status == "FAILED") != failed {
			t.Errorf("%s: %+v after %d runs, %v", properties, got, ran, err)
		}
	}
}
