package integration_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/wire"
)

// call is one signed request, which a test bends before it goes out.
type call struct {
	method, path, query string // path as on the wire, with the stage
	body                []byte
	headers             http.Header
	key                 *ecdsa.PrivateKey
	certificate         []byte
	created             time.Time
}

// sign signs the call as it is now.
func (c *call) sign(t *testing.T, host string) {
	t.Helper()
	c.headers = http.Header{}
	if c.body != nil {
		c.headers.Set("Content-Type", "application/json")
	}
	c.headers.Set(names.HeaderCertificate, base64.StdEncoding.EncodeToString(c.certificate))
	if c.created.IsZero() {
		c.created = time.Now()
	}
	signed, err := signature.Sign(signature.Message{
		Method: c.method, Authority: host, Path: c.path, Query: c.query, Header: c.headers.Values, Body: c.body,
	}, c.key, signature.Params{Created: c.created, Nonce: rand.Text(), KeyID: signature.KeyID(&c.key.PublicKey)})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range signed {
		c.headers.Set(name, value)
	}
}

// api is where raw requests go.
type api struct {
	base *url.URL
	http *http.Client
}

func (p *person) api(t *testing.T) api {
	t.Helper()
	base, err := url.Parse(p.Env["STILE_API"])
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(p.Env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return api{base, &http.Client{Transport: transport, Timeout: time.Minute}}
}

// do sends a request and gives its status and, if it is one, the problem document.
func (a api) do(t *testing.T, c *call) (int, wire.Problem) {
	t.Helper()
	target := &url.URL{Scheme: a.base.Scheme, Host: a.base.Host, Path: c.path, RawQuery: c.query}
	req, err := http.NewRequestWithContext(t.Context(), c.method, a.base.String(), bytes.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL, req.Header = target, maps.Clone(c.headers)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	res, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem wire.Problem
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(body, &problem); err != nil {
			t.Errorf("the problem document is none: %v", err)
		}
		if problem.Hint == "" || typeName.MatchString(string(body)) {
			t.Errorf("a refusal that nobody can use: %s", body)
		}
	}
	return res.StatusCode, problem
}

// credential is the login that lies in the person's home.
func (p *person) credential(t *testing.T) profile.Credential {
	t.Helper()
	pr, err := profile.Open(p.Home, p.Env["STILE_API"])
	if err != nil {
		t.Fatal(err)
	}
	c, err := pr.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSec_S15_AnAPICallIsTakenOnlyAsItWasSigned(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	cred := boss.credential(t)
	a := boss.api(t)
	role := []byte(`{"kind":"role","metadata":{"name":"never-made"},"spec":{"allow":{"logins":["x"],"node_labels":{"a":"b"}}}}`)
	get := func() *call {
		return &call{method: "GET", path: a.base.Path + "/v1/admin/resources/role/editor", key: cred.Keys.TLS, certificate: cred.TLSCertificate}
	}
	post := func() *call {
		return &call{method: "POST", path: a.base.Path + "/v1/admin/resources/role/never-made", body: role, key: cred.Keys.TLS, certificate: cred.TLSCertificate}
	}
	right := get()
	right.sign(t, a.base.Host)
	if status, problem := a.do(t, right); status != http.StatusOK {
		t.Fatalf("the right call is refused: %d %+v", status, problem)
	}
	stranger, strangers := selfSigned(t)
	before := shared.snapshot(t, boss)
	for name, bend := range map[string]func() *call{
		"unsigned": func() *call { c := get(); c.headers = http.Header{}; return c },
		"without a signature": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			c.headers.Del(signature.HeaderValue)
			return c
		},
		"without a certificate": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			c.headers.Del(names.HeaderCertificate)
			return c
		},
		"another method": func() *call { c := get(); c.sign(t, a.base.Host); c.method = "DELETE"; return c },
		"another path": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			c.path = a.base.Path + "/v1/admin/resources/role/access"
			return c
		},
		"another query": func() *call { c := get(); c.sign(t, a.base.Host); c.query = "all=true"; return c },
		"another body": func() *call {
			c := post()
			c.sign(t, a.base.Host)
			c.body = bytes.Replace(role, []byte(`"x"`), []byte(`"y"`), 1)
			return c
		},
		"another body with its digest": func() *call {
			c, other := post(), post()
			c.sign(t, a.base.Host)
			other.body = bytes.Replace(role, []byte(`"x"`), []byte(`"y"`), 1)
			other.sign(t, a.base.Host)
			c.body = other.body
			c.headers.Set(signature.HeaderDigest, other.headers.Get(signature.HeaderDigest))
			return c
		},
		"for another host": func() *call { c := get(); c.sign(t, "api.example.com"); return c },
		"too old": func() *call {
			c := get()
			c.created = time.Now().Add(-2 * time.Minute)
			c.sign(t, a.base.Host)
			return c
		},
		"from the future": func() *call {
			c := get()
			c.created = time.Now().Add(5 * time.Minute)
			c.sign(t, a.base.Host)
			return c
		},
		"a foreign signature": func() *call { c := get(); c.key = stranger; c.sign(t, a.base.Host); return c },
		"a foreign certificate": func() *call {
			c := get()
			c.key, c.certificate = stranger, strangers
			c.sign(t, a.base.Host)
			return c
		},
		"two certificates": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			c.headers.Add(names.HeaderCertificate, base64.StdEncoding.EncodeToString(strangers))
			return c
		},
		"two signatures": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			c.headers.Add(signature.HeaderInput, c.headers.Get(signature.HeaderInput))
			return c
		},
		"an uncovered query": func() *call {
			c := get()
			c.sign(t, a.base.Host)
			input := c.headers.Get(signature.HeaderInput)
			c.headers.Set(signature.HeaderInput, strings.Replace(input, ` "@query"`, "", 1))
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := bend()
			if c.headers == nil {
				c.sign(t, a.base.Host)
			}
			status, problem := a.do(t, c)
			want, code := http.StatusUnauthorized, "unauthenticated"
			if c.query != "" {
				want, code = http.StatusBadRequest, "bad_input" // no operation takes one, so that comes first
			}
			if status != want || problem.Code != code {
				t.Errorf("got %d %+v", status, problem)
			}
		})
	}
	shared.unchanged(t, boss, before)
}

func TestAReplayedWriteChangesNothing(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	cred := boss.credential(t)
	a := boss.api(t)
	c := &call{
		method: "POST", path: a.base.Path + "/v1/admin/resources/role/replayed", key: cred.Keys.TLS, certificate: cred.TLSCertificate,
		body: []byte(`{"kind":"role","metadata":{"name":"replayed"},"spec":{"allow":{"logins":["x"],"node_labels":{"a":"b"}}}}`),
	}
	c.sign(t, a.base.Host)
	if status, problem := a.do(t, c); status != http.StatusOK {
		t.Fatalf("got %d %+v", status, problem)
	}
	boss.must(t, "rm", "role/replayed")
	before := shared.snapshot(t, boss)
	if status, problem := a.do(t, c); status == http.StatusOK || problem.Code == "internal" {
		t.Errorf("the replay got %d %+v", status, problem)
	}
	shared.unchanged(t, boss, before)
	boss.run(t, nil, "get", "role/replayed").refused(t, 5, "replayed")
}

func TestAnExpiredCredentialIsRefusedByEverybody(t *testing.T) {
	p := shared.person(t, engineer).login(t, "--ttl", "2s")
	cred := p.credential(t)
	eventually(t, 20*time.Second, func() string {
		if time.Now().After(cred.ExpiresAt) {
			return ""
		}
		return "the credential still lives"
	})
	before := shared.snapshot(t, p)
	p.run(t, nil, "status").refused(t, 3, "stile login --iam")
	p.run(t, nil, "ls").refused(t, 3, "stile login --iam")
	p.run(t, nil, "ssh", "node-1", "--", "true").refused(t, 255, "stile login --iam")
	a := p.api(t)
	c := &call{method: "GET", path: a.base.Path + "/v1/status", key: cred.Keys.TLS, certificate: cred.TLSCertificate}
	c.sign(t, a.base.Host)
	if status, problem := a.do(t, c); status != http.StatusUnauthorized || problem.Code != "expired" {
		t.Errorf("got %d %+v", status, problem)
	}
	shared.unchanged(t, p, before)
}

func TestSec_S47_EveryRouteRefusesWhoHasNoRightToIt(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	before := shared.snapshot(t, p)
	for _, args := range [][]string{
		{"get", "roles"},
		{"get", "users"},
		{"get", "iam_mappings"},
		{"get", "tokens"},
		{"get", "role/editor"},
		{"rm", "role/access"},
		{"rm", "node/node-1"},
		{"rm", "token/demo-nodes"},
		{"rm", "iam_mapping/engineers"},
		{"create", "-f", p.file(t, "kind: role\nmetadata: {name: mine}\nspec:\n  allow: {logins: [root], node_labels: {'*': '*'}}\n")},
		{"create", "--replace", "-f", p.file(t, mapping("engineers", "editor", "root"))},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) { p.run(t, nil, args...).refused(t, 4) })
	}
	shared.unchanged(t, p, before)
}

// selfSigned is somebody's key and a certificate that they made themselves.
func selfSigned(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ada"}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}
