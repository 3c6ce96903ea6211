package sts_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/sts"
)

const answer = `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"111122223333","Arn":"arn:aws:sts::111122223333:assumed-role/R/s1","UserId":"AROAEXAMPLEEXAMPLE12:s1"},"ResponseMetadata":{"RequestId":"x"}}}`

var request = proof.Request{Host: "sts.eu-central-1.amazonaws.com", Partition: "aws", Headers: []proof.Header{{Name: "Authorization", Value: "signed"}}}

func ask(t *testing.T, answer http.HandlerFunc) (resource.IAMIdentity, error) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := sts.New(sts.Config{Endpoint: server.URL + "/ignored?path"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Caller(t.Context(), request)
}

func ok(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") }

func TestTheRequestGoesOutAsRebuilt(t *testing.T) {
	got, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.String() != "/" || r.Host != request.Host || string(body) != proof.Body || r.Header.Get("Authorization") != "signed" {
			t.Errorf("%s %s on %s with %q", r.Method, r.URL, r.Host, body)
		}
		ok(w)
		_, _ = io.WriteString(w, answer)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := resource.IAMIdentity{Partition: "aws", Account: "111122223333", Role: "R", RoleID: "AROAEXAMPLEEXAMPLE12", Session: "s1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSec_S19_OnlyPlainJSONFromSTSIsBelieved(t *testing.T) {
	var followed atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed.Store(true)
		ok(w)
		_, _ = io.WriteString(w, answer)
	}))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		code   fault.Code
	}{
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, fault.Unauthenticated},
		"XML": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, "<GetCallerIdentityResponse/>")
		}, fault.Unauthenticated},
		"JSON that says it is XML": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, answer)
		}, fault.Unauthenticated},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			_, _ = io.WriteString(w, strings.Replace(answer, "{", "{"+strings.Repeat(" ", 65<<10), 1))
		}, fault.Unauthenticated},
		"another action's answer": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			_, _ = io.WriteString(w, strings.ReplaceAll(answer, "GetCallerIdentity", "GetFederationToken"))
		}, fault.Unauthenticated},
		"two documents": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			_, _ = io.WriteString(w, answer+answer)
		}, fault.Unauthenticated},
		"another partition": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			_, _ = io.WriteString(w, strings.Replace(answer, "arn:aws:", "arn:aws-cn:", 1))
		}, fault.Unauthenticated},
		"an IAM user": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			_, _ = io.WriteString(w, strings.Replace(answer, "sts::111122223333:", "iam::111122223333:user/", 1))
		}, fault.Denied},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			ok(w)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"Error":{"Code":"ExpiredToken","Message":"secret <b>detail</b>"}}`)
		}, fault.Unauthenticated},
		"a failure": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := ask(t, c.handle)
			if f := fault.From(err); err == nil || f.Code != c.code || f.Hint == "" || who != (resource.IAMIdentity{}) {
				t.Errorf("got %+v and %v (%s), want %s", who, err, f.Code, c.code)
			}
		})
	}
	if followed.Load() {
		t.Error("the redirect was followed")
	}
}

func TestABriefFailureOfSTSIsTriedAgainOnce(t *testing.T) {
	var calls atomic.Int32
	_, err := ask(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		ok(w)
		_, _ = fmt.Fprint(w, answer)
	})
	if err != nil || calls.Load() != 2 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}
