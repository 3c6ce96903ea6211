package gate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// counter is a service that counts its calls and asks for one action.
type counter struct {
	name  string
	calls atomic.Int64
}

func (c *counter) Name() string { return c.name }

func (c *counter) ServeAWS(w http.ResponseWriter, call *gate.Call) {
	c.calls.Add(1)
	if err := call.Authorize(iam.Query{Action: c.name + ":Do", Resource: "*"}); err != nil {
		gate.WriteError(w, call, gate.JSON11, err)
		return
	}
	gate.WriteJSON(w, call, gate.JSON11, map[string]string{"body": string(call.Body), "operation": call.Operation()})
}

// stand is a gate with two services and a session that may use one of them.
type stand struct {
	url     string
	good    iam.Credentials
	service *counter
	now     atomic.Pointer[time.Time]
}

func (s *stand) at(t time.Time) { s.now.Store(&t) }

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{service: &counter{name: "kms"}}
	s.at(time.Now())
	clock := func() time.Time { return *s.now.Load() }
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	role, err := a.PutRole(iam.Role{
		Name:   "r",
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":{"Effect":"Allow","Action":"kms:Do","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.good, err = a.Mint(role.ARN, "sess", time.Hour); err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{
		Authority: a, Now: clock, MaxBody: 1 << 10, Services: []gate.Service{s.service, &counter{name: "events"}},
		Mounts: map[string]http.Handler{"/_local/": http.NotFoundHandler(), "/_local/flush": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// call signs and sends a call to a service; an error is the connection's.
func (s *stand) call(t *testing.T, service, body string) (status int, answer string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Counter.Do")
	sum := sha256.Sum256([]byte(body))
	c := aws.Credentials{AccessKeyID: s.good.AccessKeyID, SecretAccessKey: s.good.SecretAccessKey, SessionToken: s.good.SessionToken}
	if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(sum[:]), service, "us-east-1", *s.now.Load()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}

// local asks a handler beside the services.
func (s *stand) local(t *testing.T, method, path, body string, edit func(*http.Request)) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}

func (s *stand) order(t *testing.T, fault string) {
	t.Helper()
	if status, answer := s.local(t, "POST", "/_local/fault", fault, nil); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
}

func (s *stand) want(t *testing.T, service, body string, status int, part string) {
	t.Helper()
	got, answer, err := s.call(t, service, body)
	if err != nil || got != status || !strings.Contains(answer, part) {
		t.Errorf("got %d %s %v, want %d …%s…", got, answer, err, status, part)
	}
}

func TestACallReachesTheServiceOfItsScopeAndIsAuthorised(t *testing.T) {
	s := newStand(t)
	s.want(t, "kms", "hello", 200, `{"body":"hello","operation":"Do"}`)
	s.want(t, "events", "hello", 400, "User: arn:aws:sts::111122223333:assumed-role/r/sess is not authorized to perform: events:Do on resource: * because no identity-based policy allows the events:Do action")
	s.want(t, "sqs", "hello", 400, "InvalidSignatureException")
	s.want(t, "kms", strings.Repeat("x", 1025), 413, "RequestEntityTooLargeException")
}

func TestAnExpiredSessionIsToldSo(t *testing.T) {
	s := newStand(t)
	s.at(s.good.Expires.Add(-time.Second))
	s.want(t, "kms", "", 200, "")
	s.at(s.good.Expires)
	s.want(t, "kms", "", 400, `"__type":"ExpiredTokenException"`)
}

func TestFaultsHitAsOftenAsOrdered(t *testing.T) {
	s := newStand(t)
	s.order(t, `{"service":"kms","operation":"Do","kind":"throttle","count":2}`)
	s.order(t, `{"service":"kms","operation":"Other","kind":"error"}`)
	s.want(t, "kms", "", 400, "ThrottlingException")
	s.want(t, "kms", "", 400, "ThrottlingException")
	s.want(t, "kms", "", 200, "")
	if got := s.service.calls.Load(); got != 1 {
		t.Errorf("the service saw %d calls", got)
	}
	s.order(t, `{"service":"events","operation":"PutEvents","kind":"entry"}`)
	s.want(t, "kms", "", 200, "")
	if _, list := s.local(t, "GET", "/_local/fault", "", nil); !strings.Contains(list, `"hits":2`) || !strings.Contains(list, `"operation":"Other"`) {
		t.Errorf("the list is %s", list)
	}
	s.order(t, `{"kind":"error","code":"KMSInternalException","status":503}`)
	s.want(t, "kms", "", 503, "KMSInternalException")
	if status, _ := s.local(t, "DELETE", "/_local/fault", "", nil); status != http.StatusNoContent {
		t.Errorf("clearing answers %d", status)
	}
	s.want(t, "kms", "", 200, "")
}

func TestALostAnswerIsCarriedOut(t *testing.T) {
	s := newStand(t)
	s.order(t, `{"service":"kms","kind":"lost_answer","count":1}`)
	if status, answer, err := s.call(t, "kms", ""); err == nil {
		t.Errorf("an answer came: %d %s", status, answer)
	}
	if got := s.service.calls.Load(); got != 1 {
		t.Errorf("the service saw %d calls", got)
	}
}

func TestAServiceThatIsDownSeesNothing(t *testing.T) {
	s := newStand(t)
	s.order(t, `{"service":"kms","kind":"down"}`)
	if status, answer, err := s.call(t, "kms", ""); err == nil {
		t.Errorf("an answer came: %d %s", status, answer)
	}
	if got := s.service.calls.Load(); got != 0 {
		t.Errorf("the service saw %d calls", got)
	}
	s.want(t, "events", "", 400, "AccessDenied")
}

func TestALateAnswerStillComes(t *testing.T) {
	s := newStand(t)
	s.order(t, `{"service":"kms","kind":"latency","latency_ms":1}`)
	s.want(t, "kms", "late", 200, "late")
}

func TestUnknownFaultsAreRefused(t *testing.T) {
	s := newStand(t)
	for _, bad := range []string{
		`{"kind":"melt"}`, `{"kind":"latency"}`, `{"kind":"error","colour":"red"}`, `{"kind":"error","probability":2}`, `{"kind":"down","operation":"Do"}`,
		`{"kind":"error","count":-1}`, `{"kind":"throttle","latency_ms":5}`, `{"kind":"error","status":200}`, `{`, ``,
		`{"kind":"entry"}`, `{"service":"events","operation":"PutRule","kind":"entry"}`, `{"service":"events","operation":"PutEvents","kind":"entry","status":500}`,
		`{"service":"events","operation":"PutEvents","kind":"entry","latency_ms":5}`,
	} {
		if status, answer := s.local(t, "POST", "/_local/fault", bad, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, answer)
		}
	}
	s.want(t, "kms", "", 200, "")
}

func TestMountedHandlersAnswerThisMachineOnly(t *testing.T) {
	s := newStand(t)
	if status, _ := s.local(t, "POST", "/_local/flush", "", nil); status != http.StatusAccepted {
		t.Errorf("the longest prefix did not win: %d", status)
	}
	for name, edit := range map[string]func(*http.Request){
		"another host":   func(r *http.Request) { r.Host = "rebound.example" },
		"from a browser": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		if status, _ := s.local(t, "POST", "/_local/flush", "", edit); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := s.local(t, "GET", "/_nobody", "", nil); status != http.StatusNotFound {
		t.Errorf("an unknown path: %d", status)
	}
}
