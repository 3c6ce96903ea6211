package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/wire"
)

// pair is a tls key and a certificate over it; who signed it is the server's business.
func pair(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ada"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// serve runs an API under /prod and gives a signing client to it.
func serve(t *testing.T, h http.HandlerFunc, change func(*client.Config)) *client.Client {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	c := client.Config{URL: s.URL + "/prod", HTTP: s.Client()}
	c.Key, c.Certificate = pair(t)
	if change != nil {
		change(&c)
	}
	cl, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// verify judges a request as the API does: by the certificate that travels in it.
func verify(r *http.Request, now time.Time) (signature.Params, []byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return signature.Params{}, nil, err
	}
	der, err := base64.StdEncoding.DecodeString(r.Header.Get(names.HeaderCertificate))
	if err != nil {
		return signature.Params{}, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return signature.Params{}, nil, err
	}
	p, err := signature.Verify(signature.Message{
		Method: r.Method, Authority: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Values, Body: body,
	}, cert.PublicKey.(*ecdsa.PublicKey), now)
	return p, body, err
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func TestEveryOperationGoesWhereTheDocumentSays(t *testing.T) {
	ctx := t.Context()
	role := wire.Resource{Kind: "role", Metadata: wire.Metadata{Name: "a b"}, Spec: map[string]any{}}
	for _, c := range []struct {
		name, want string
		signed     bool
		call       func(*client.Client) error
	}{
		{"login challenge", "POST /prod/v1/login/challenge", false, func(c *client.Client) error { _, err := c.LoginChallenge(ctx, "k"); return err }},
		{"login iam", "POST /prod/v1/login/iam", false, func(c *client.Client) error { _, err := c.LoginIAM(ctx, wire.LoginIAMRequest{}); return err }},
		{"join challenge", "POST /prod/v1/join/challenge", false, func(c *client.Client) error { _, err := c.JoinChallenge(ctx, "k"); return err }},
		{"join iam", "POST /prod/v1/join/iam", false, func(c *client.Client) error { _, err := c.JoinIAM(ctx, wire.JoinIAMRequest{}); return err }},
		{"join token", "POST /prod/v1/join/token", false, func(c *client.Client) error { _, err := c.JoinToken(ctx, wire.JoinTokenRequest{}); return err }},
		{"status", "GET /prod/v1/status", true, func(c *client.Client) error { _, err := c.Status(ctx); return err }},
		{"host status", "GET /prod/v1/host/status", true, func(c *client.Client) error { _, err := c.HostStatus(ctx); return err }},
		{"list nodes", "GET /prod/v1/targets/node", true, func(c *client.Client) error { _, err := c.ListTargets(ctx, "node"); return err }},
		{"list a kind of a strange name", "GET /prod/v1/targets/a%2Fb", true, func(c *client.Client) error { _, err := c.ListTargets(ctx, "a/b"); return err }},
		{"list resources", "GET /prod/v1/admin/resources/role", true, func(c *client.Client) error {
			for _, err := range c.Resources(ctx, "role") {
				return err
			}
			return nil
		}},
		{"get resource", "GET /prod/v1/admin/resources/role/a%2Fb", true, func(c *client.Client) error { _, err := c.GetResource(ctx, "role", "a/b"); return err }},
		{"create resource", "POST /prod/v1/admin/resources/role/a%20b", true, func(c *client.Client) error { _, err := c.CreateResource(ctx, role); return err }},
		{"update resource", "PUT /prod/v1/admin/resources/role/a%20b", true, func(c *client.Client) error { _, err := c.UpdateResource(ctx, role); return err }},
		{"delete resource", "DELETE /prod/v1/admin/resources/role/a", true, func(c *client.Client) error { _, err := c.DeleteResource(ctx, "role", "a"); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Method + " " + r.URL.EscapedPath(); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				if has := r.Header.Get(signature.HeaderValue) != ""; has != c.signed {
					t.Errorf("signed: %v, want %v", has, c.signed)
				}
				if c.signed {
					if _, _, err := verify(r, time.Now()); err != nil {
						t.Errorf("the signature is refused: %v", err)
					}
				}
				answer(w, struct{}{})
			}, nil)
			if err := c.call(cl); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAListIsReadPageByPage(t *testing.T) {
	var asked []string
	cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := verify(r, time.Now()); err != nil {
			t.Errorf("the signature is refused: %v", err)
		}
		asked = append(asked, r.URL.RawQuery)
		role := func(name string) wire.Resource {
			return wire.Resource{Kind: "role", Metadata: wire.Metadata{Name: name}}
		}
		switch r.URL.Query().Get("cursor") {
		case "":
			answer(w, wire.ResourceList{Resources: []wire.Resource{role("a"), role("b")}, Next: "one"})
		case "one":
			answer(w, wire.ResourceList{Resources: []wire.Resource{role("c")}, Next: "two"})
		case "two":
			answer(w, wire.ResourceList{Resources: []wire.Resource{role("d")}})
		default:
			problem(w, wire.Problem{Status: 400, Code: "bad_input", Detail: "no such page"})
		}
	}, nil)
	var got []string
	for r, err := range cl.Resources(t.Context(), "role") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Metadata.Name)
	}
	if d := cmp.Diff([]string{"a", "b", "c", "d"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"limit=100", "cursor=one&limit=100", "cursor=two&limit=100"}, asked); d != "" {
		t.Error(d)
	}
	asked = nil
	for range cl.Resources(t.Context(), "role") {
		break
	}
	if len(asked) != 1 {
		t.Errorf("who wants no more is read on for: %v", asked)
	}
}

func TestAListThatFailsHalfwayOrHasNoEndIsAnError(t *testing.T) {
	calls := 0
	cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; strings.HasSuffix(r.URL.Path, "node") {
			answer(w, wire.TargetList{Next: "again"})
			return
		}
		if r.URL.Query().Get("cursor") != "" {
			problem(w, wire.Problem{Status: 503, Code: "unavailable", Detail: "down", Hint: "wait"})
			return
		}
		answer(w, wire.ResourceList{Resources: []wire.Resource{{Kind: "role"}}, Next: "one"})
	}, nil)
	var last error
	seen := 0
	for _, err := range cl.Resources(t.Context(), "role") {
		if last = err; err == nil {
			seen++
		}
	}
	if seen != 1 || !fault.Is(last, fault.Unavailable) {
		t.Errorf("%d resources, then %v", seen, last)
	}
	calls = 0
	if _, err := cl.ListTargets(t.Context(), "node"); !fault.Is(err, fault.Unreachable) || calls != 1000 {
		t.Errorf("after %d pages: %v", calls, err)
	}
}

func TestEverySignedCallHasItsOwnNonce(t *testing.T) {
	seen := map[string]bool{}
	cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
		p, _, err := verify(r, time.Now())
		if err != nil || seen[p.Nonce] {
			t.Errorf("nonce %q: %v, seen before: %v", p.Nonce, err, seen[p.Nonce])
		}
		seen[p.Nonce] = true
		answer(w, struct{}{})
	}, nil)
	for range 20 {
		if _, err := cl.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProblemsBecomeFaults(t *testing.T) {
	cl := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, wire.Problem{
			Status: 403, Code: "denied", Detail: "your roles don't allow that", Hint: "ask for another", DecisionID: "dec_1",
			RetryAfter: 7, Fields: []wire.ProblemField{{Path: "spec", Reason: "no"}},
		})
	}, nil)
	_, err := cl.Status(t.Context())
	f := fault.From(err)
	want := []any{fault.Denied, "your roles don't allow that", "ask for another", "dec_1", 7 * time.Second, []fault.Field{{Path: "spec", Reason: "no"}}}
	if diff := cmp.Diff(want, []any{f.Code, f.Message, f.Hint, f.DecisionID, f.RetryAfter, f.Fields}); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersThatAreNotTheAPIsAreNamedByWhatTheyMean(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		code    fault.Code
		text    string
	}{
		"the gateway's throttle": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"message":"Too Many Requests"}`, 429) }, fault.RateLimited, "too many"},
		"the gateway's 504":      {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{}`, 504) }, fault.Unavailable, "504"},
		"a wrong stage":          {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"message":"Forbidden"}`, 403) }, fault.Unreachable, "no Stile API"},
		"a redirect":             {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://evil.example/", 307) }, fault.Unreachable, "redirect"},
		"a web page with 200":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, fault.Unreachable, "not as the Stile API does"},
		"an unknown code":        {func(w http.ResponseWriter, _ *http.Request) { problem(w, wire.Problem{Status: 418, Code: "teapot"}) }, fault.Unreachable, "418"},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) {
			for range 120 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, fault.Unreachable, "6 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, c.handler, nil).Status(t.Context())
			f := fault.From(err)
			if f.Code != c.code || !strings.Contains(f.Message, c.text) || f.Hint == "" {
				t.Errorf("got %s %q (hint %q), want %s with %q", f.Code, f.Message, f.Hint, c.code, c.text)
			}
		})
	}
}

func TestASkewedClockIsCuredOnceFromTheServersDate(t *testing.T) {
	behind := func() time.Time { return time.Now().Add(-time.Hour) }
	var nonces []string
	cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
		p, _, err := verify(r, time.Now())
		if err != nil {
			nonces = append(nonces, "refused")
			problem(w, wire.Problem{Status: 401, Code: "unauthenticated", Detail: fault.From(err).Message, Hint: "h"})
			return
		}
		nonces = append(nonces, p.Nonce)
		answer(w, struct{}{})
	}, func(c *client.Config) { c.Now = behind })
	for range 2 {
		if _, err := cl.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(nonces) != 3 || nonces[0] != "refused" {
		t.Errorf("got %q: want one refusal, a retry, and no refusal any more", nonces)
	}
	if d := time.Since(cl.Now()).Abs(); d > time.Minute {
		t.Errorf("the client's time is off by %s", d)
	}
}

func TestARefusalThatTheClockDoesNotExplainIsNotTriedAgain(t *testing.T) {
	calls := 0
	cl := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		problem(w, wire.Problem{Status: 401, Code: "unauthenticated", Detail: "no", Hint: "h"})
	}, nil)
	if _, err := cl.Status(t.Context()); !fault.Is(err, fault.Unauthenticated) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestTransportErrorsAreUnreachable(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	url := s.URL
	t.Run("an untrusted certificate", func(t *testing.T) {
		cl, err := client.New(client.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = cl.LoginChallenge(t.Context(), "k")
		if f := fault.From(err); f.Code != fault.Unreachable || !strings.Contains(f.Hint, "not trusted") {
			t.Errorf("got %s, hint %q", f.Code, f.Hint)
		}
	})
	s.Close()
	t.Run("nobody listens", func(t *testing.T) {
		cl, err := client.New(client.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = cl.LoginChallenge(t.Context(), "k")
		if f := fault.From(err); f.Code != fault.Unreachable || f.Hint == "" {
			t.Errorf("got %s, hint %q", f.Code, f.Hint)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		cl, err := client.New(client.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = cl.LoginChallenge(ctx, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWithoutAKeyOnlyAnonymousOperationsGoOut(t *testing.T) {
	cl := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request went out") },
		func(c *client.Config) { c.Key, c.Certificate = nil, nil })
	if _, err := cl.Status(t.Context()); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("got %v", err)
	}
}

func TestNamesThatWouldMoveThePathAreRefusedHere(t *testing.T) {
	cl := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request went out") }, nil)
	for _, name := range []string{"", ".", ".."} {
		if _, err := cl.DeleteResource(t.Context(), "role", name); !fault.Is(err, fault.BadInput) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestARequestOverTheLimitIsNotSent(t *testing.T) {
	cl := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request went out") }, nil)
	r := wire.Resource{Kind: "role", Metadata: wire.Metadata{Name: "a"}, Spec: map[string]any{"x": strings.Repeat("a", 64<<10)}}
	if _, err := cl.CreateResource(t.Context(), r); !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationFaultsAreAllNamed(t *testing.T) {
	key, _ := pair(t)
	for _, url := range []string{"", "http://api.example.com", "https://", "https://u:p@h/", "https://h/?q=1", "://"} {
		_, err := client.New(client.Config{URL: url, Key: key})
		if f := fault.From(err); f.Code != fault.BadInput || len(f.Fields) != 2 {
			t.Errorf("%q: got %v with %v", url, f.Code, f.Fields)
		}
	}
	_, other := pair(t)
	if _, err := client.New(client.Config{URL: "https://h", Key: key, Certificate: other}); !fault.Is(err, fault.BadInput) {
		t.Errorf("a certificate over another key was taken: %v", err)
	}
}
