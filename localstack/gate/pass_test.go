package gate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
)

// ordered makes faults that were asked for as POST /_local/fault takes them.
func ordered(t *testing.T, orders ...string) *gate.Faults {
	t.Helper()
	f := gate.NewFaults()
	for _, order := range orders {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_local/fault", strings.NewReader(order)))
		if w.Code != http.StatusCreated {
			t.Fatalf("%s: %d %s", order, w.Code, w.Body)
		}
	}
	return f
}

func TestWhatServicesAskOfEachOtherMisbehavesAsOrdered(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		order, code string
		done        int
		own         error // what the call itself ends with
		fails       bool
	}{
		{order: `{"service":"s3","operation":"PutObject","kind":"throttle"}`, code: "SlowDown", fails: true},
		{order: `{"service":"s3","operation":"PutObject","kind":"error","code":"AccessDenied","status":403}`, code: "AccessDenied", fails: true},
		{order: `{"service":"s3","kind":"error"}`, code: "InternalError", fails: true},
		{order: `{"service":"s3","kind":"down"}`, fails: true},
		{order: `{"service":"s3","kind":"lost_answer"}`, done: 1, fails: true},
		{order: `{"service":"s3","kind":"lost_answer"}`, done: 1, own: broken, fails: true},
		{order: `{"service":"*","kind":"latency","latency_ms":1}`, done: 1},
		{order: `{"service":"s3","operation":"GetObject","kind":"error"}`, done: 1},
		{order: `{"service":"firehose","kind":"down"}`, done: 1},
		{order: `{"service":"events","operation":"PutEvents","kind":"entry"}`, done: 1},
	} {
		done := 0
		err := ordered(t, c.order).Pass(t.Context(), "s3", "PutObject", func() error { done++; return c.own })
		said, _ := errors.AsType[*gate.Error](err)
		code := ""
		if said != nil {
			code = said.Code
		}
		if (err != nil) != c.fails || done != c.done || code != c.code || errors.Is(err, broken) != (c.own != nil) {
			t.Errorf("%s: carried out %d times, %v", c.order, done, err)
		}
	}
}

func TestWhatComesLateIsNotCarriedOutForNobody(t *testing.T) {
	f := ordered(t, `{"service":"s3","kind":"latency","latency_ms":600000}`)
	if d := f.Delay("s3", "PutObject"); d != 10*time.Minute {
		t.Errorf("it is %s late", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Pass(ctx, "s3", "PutObject", func() error { t.Error("it was carried out"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := f.Fail("s3", "PutObject", func() error { return nil }); err != nil || f.Delay("kms", "Sign") != 0 {
		t.Errorf("what is late fails, or another: %v", err)
	}
}
