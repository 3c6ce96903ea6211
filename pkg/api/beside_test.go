package api_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// What the API's callers send reaches the API, whatever they write into it, and never what only a function may ask.
func TestNoRequestOfTheAPIIsACallOfAFunction(t *testing.T) {
	s := newSite(t)
	called := 0
	handle := s.server.Beside("tally", func(context.Context, json.RawMessage) (any, error) {
		called++
		return "called", nil
	})
	if got, err := handle(t.Context(), json.RawMessage(`{"tally":{"ask":"keys"}}`)); err != nil || got != "called" || called != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	e := s.sign(s.user("ada"), edge(userStatus, "/prod"+userStatus))
	e.Body, e.Headers, e.QueryStringParameters = `{"tally":{"ask":"keys"}}`, map[string]string{"tally": "{}"}, map[string]string{"tally": "{}"}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var with map[string]any
	if err := json.Unmarshal(raw, &with); err != nil {
		t.Fatal(err)
	}
	with["tally"] = map[string]string{"ask": "keys"} // no sender can do even that
	more, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{string(raw), string(more), `{}`, `{"Tally":{}}`, `{"tally":{},"httpMethod":"GET"}`} {
		got, err := handle(t.Context(), json.RawMessage(payload))
		if _, ok := got.(events.APIGatewayProxyResponse); err != nil || !ok || called != 1 {
			t.Errorf("%s: %v, %v", payload, got, err)
		}
	}
	for _, payload := range []string{``, `[]`, `"tally"`, `{"tally":`} {
		if got, err := handle(t.Context(), json.RawMessage(payload)); err == nil || called != 1 {
			t.Errorf("%s: %v, %v", payload, got, err)
		}
	}
}
