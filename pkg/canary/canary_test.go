package canary_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stile-dev/stile/pkg/canary"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/pkg/wire"
)

// api is the API in front of a cluster in memory; bend makes its answers wrong in one place.
type api struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	down    map[string]error
	bend    func(*wire.UserCredential, *wire.Status)
	holder  []byte // the certificate that it was opened with
	took    time.Duration
	clock   *time.Time
}

func (a *api) Now() time.Time { return time.Now() }

func (a *api) LoginChallenge(context.Context, string) (wire.Challenge, error) {
	*a.clock = a.clock.Add(a.took)
	return wire.Challenge{Challenge: "YQ.bWFj", Cluster: a.cluster.ID, ExpiresAt: time.Now().Add(time.Minute)}, a.down["challenge"]
}

func (a *api) LoginIAM(_ context.Context, r wire.LoginIAMRequest) (wire.UserCredential, error) {
	if err := a.down["login"]; err != nil {
		return wire.UserCredential{}, err
	}
	if r.STS.Authorization == "" || r.TTLSeconds != 300 {
		a.t.Errorf("asked with %+v", r)
	}
	now := time.Now()
	id := identity.User{
		Cluster: a.cluster.ID, Certificate: identity.NewID("crt", rand.Reader, now), Name: "canary", UID: "usr_0123456789abcdef", Mapping: "canary",
		Roles: []string{}, Versions: a.cluster.Versions(), IssuedAt: now.UTC(),
	}
	pub, err := certs.ParseKey(r.TLSKey)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl, err := certs.UserTemplate(certs.UserRequest{Identity: id, TLSKey: pub, From: now, Until: now.Add(time.Minute), Entropy: rand.Reader})
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := certstest.SignX509(tmpl.X509, tmpl.TLSKey, a.cluster.Keys[names.KeyUserX509])
	if err != nil {
		a.t.Fatal(err)
	}
	s := a.cluster.Documents()[0]
	out := wire.UserCredential{
		Cluster: a.cluster.ID, User: id.Name, Roles: id.Roles, Logins: []string{}, CertificateID: id.Certificate, TLSCertificate: der, ExpiresAt: now.Add(time.Minute),
		Trust: []wire.SignedDocument{{Kind: string(s.Kind), Body: s.Body, KeyID: s.KeyID, Signature: s.Signature}},
	}
	if a.bend != nil {
		a.bend(&out, &wire.Status{})
	}
	return out, nil
}

func (a *api) Status(context.Context) (wire.Status, error) {
	if a.holder == nil {
		a.t.Error("the status was asked for by nobody")
	}
	s := wire.Status{User: "canary", Roles: []string{}}
	if a.bend != nil {
		a.bend(&wire.UserCredential{Trust: make([]wire.SignedDocument, 1)}, &s)
	}
	return s, a.down["status"]
}

// measure runs a synthetic login and returns its metrics and its log.
func measure(t *testing.T, a *api, cluster string) (line map[string]any, log string) {
	t.Helper()
	var metrics, logged bytes.Buffer
	clock := time.Unix(1_700_000_000, 0)
	a.t, a.clock = t, &clock
	c := canary.New(canary.Config{
		Cluster: cluster, Metrics: &metrics, Log: slog.New(slog.NewTextHandler(&logged, nil)), Now: func() time.Time { return clock },
		AWS: aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLEEXAMPLE", "secret", "token")},
		Open: func(_ crypto.Signer, certificate []byte) (canary.API, error) {
			a.holder = certificate
			return a, a.down["open"]
		},
	})
	if _, err := c.Handle(t.Context(), json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	if strings.Count(metrics.String(), "\n") != 1 {
		t.Errorf("metrics are %q, want one line", metrics.String())
	}
	if err := json.Unmarshal(metrics.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return line, logged.String()
}

// directive returns the names of the metrics that CloudWatch reads from a line.
func directive(t *testing.T, line map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(line["_aws"])
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	m := d.CloudWatchMetrics[0]
	if d.Timestamp != 1_700_000_000_000 || m.Namespace != "Stile" || len(m.Dimensions) != 1 || line[m.Dimensions[0][0]] != "canary" {
		t.Errorf("directive %s", raw)
	}
	var out []string
	for _, metric := range m.Metrics {
		if line[metric.Name] == nil {
			t.Errorf("metric %s has no value", metric.Name)
		}
		out = append(out, metric.Name+" "+metric.Unit)
	}
	return strings.Join(out, ", ")
}

func TestALoginThatWorksIsMeasured(t *testing.T) {
	a := &api{cluster: tunneltest.New(t), took: 250 * time.Millisecond}
	line, log := measure(t, a, a.cluster.ID)
	if line["LoginSucceeded"] != 1.0 || line["LoginDuration"] != 250.0 || log != "" {
		t.Errorf("%v, log %s", line, log)
	}
	if got := directive(t, line); got != "LoginSucceeded Count, LoginDuration Milliseconds" {
		t.Errorf("metrics %s", got)
	}
	if a.holder == nil {
		t.Error("the API was never asked by the holder of the certificate")
	}
}

func TestALoginThatFailsIsAMeasurementWithoutADuration(t *testing.T) {
	down := fault.New(fault.Unavailable, "no", "wait")
	for name, c := range map[string]struct {
		api  api
		says string
	}{
		"no API":                 {api{down: map[string]error{"open": errors.New("bad url")}}, "bad url"},
		"no challenge":           {api{down: map[string]error{"challenge": down}}, "unavailable"},
		"a refusal":              {api{down: map[string]error{"login": down}}, "unavailable"},
		"no status":              {api{down: map[string]error{"status": down}}, "unavailable"},
		"another user":           {api{bend: func(c *wire.UserCredential, _ *wire.Status) { c.User = "root" }}, "match"},
		"an unsigned document":   {api{bend: func(c *wire.UserCredential, _ *wire.Status) { c.Trust[0].Signature = nil }}, "trust document"},
		"a spoilt certificate":   {api{bend: func(c *wire.UserCredential, _ *wire.Status) { c.TLSCertificate = []byte("x") }}, "certificate"},
		"a login":                {api{bend: func(c *wire.UserCredential, _ *wire.Status) { c.Logins = []string{"root"} }}, "SSH certificate"},
		"a role":                 {api{bend: func(c *wire.UserCredential, _ *wire.Status) { c.Roles = []string{"editor"} }}, "the canary came in as"},
		"a role, later":          {api{bend: func(_ *wire.UserCredential, s *wire.Status) { s.Roles = []string{"editor"} }}, "the canary came in as"},
		"somebody else's status": {api{bend: func(_ *wire.UserCredential, s *wire.Status) { s.User = "root" }}, "the canary came in as"},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.api
			a.cluster = tunneltest.New(t)
			line, log := measure(t, &a, a.cluster.ID)
			if line["LoginSucceeded"] != 0.0 || line["LoginDuration"] != nil || !strings.Contains(log, c.says) {
				t.Errorf("%v, log %s", line, log)
			}
			if got := directive(t, line); got != "LoginSucceeded Count" {
				t.Errorf("metrics %s", got)
			}
		})
	}
}

func TestAnotherClusterBehindTheURLIsAFailure(t *testing.T) {
	a := &api{cluster: tunneltest.New(t)}
	if line, _ := measure(t, a, "00000000-0000-4000-8000-000000000000"); line["LoginSucceeded"] != 0.0 {
		t.Errorf("%v", line)
	}
}

func TestWhatCannotBeSaidIsAnError(t *testing.T) {
	c := canary.New(canary.Config{
		Metrics: broken{}, Log: slog.New(slog.DiscardHandler),
		Open: func(crypto.Signer, []byte) (canary.API, error) { return nil, errors.New("down") },
	})
	if _, err := c.Handle(t.Context(), nil); err == nil {
		t.Error("nobody hears that nothing was measured")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }
