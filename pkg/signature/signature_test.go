package signature_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAQueryHasOneForm(t *testing.T) {
	for want, in := range map[string]map[string][]string{
		"":                               nil,
		"a=1&b=2&c=3":                    {"c": {"3"}, "a": {"1"}, "b": {"2"}},
		"a=":                             {"a": {""}},
		"k%20%2B%26%3D%25=%2F%3F%23%0A~": {"k +&=%": {"/?#\n~"}},
		"a=-._~AZaz09":                   {"a": {"-._~AZaz09"}},
		"%C3%BC=%E2%82%AC":               {"ü": {"€"}},
	} {
		if got, err := signature.Query(in); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []map[string][]string{{"a": {"1", "2"}}, {"a": {}}, {"": {"1"}}} {
		if got, err := signature.Query(in); err == nil {
			t.Errorf("%v: %q", in, got)
		}
	}
}

// call is a request as it arrives.
type call struct {
	method, authority, path, query string
	header                         textproto.MIMEHeader
	body                           []byte
}

func (c call) message() signature.Message {
	return signature.Message{Method: c.method, Authority: c.authority, Path: c.path, Query: c.query, Header: c.header.Values, Body: c.body}
}

func (c call) clone() call {
	c.body = bytes.Clone(c.body)
	header := textproto.MIMEHeader{}
	for k, v := range c.header {
		header[k] = slices.Clone(v)
	}
	c.header = header
	return c
}

const nonce = "0123456789abcdefABCDEF_-"

// signed is a good call.
func signed(t testing.TB, key *ecdsa.PrivateKey) call {
	t.Helper()
	c := call{
		method: "POST", authority: "api.example.com", path: "/prod/v1/nodes", query: "a=1&b=%20", body: []byte(`{"x":1}`),
		header: textproto.MIMEHeader{names.HeaderCertificate: {base64.StdEncoding.EncodeToString([]byte("certificate"))}},
	}
	sign(t, &c, key, signature.Params{Created: now, Nonce: nonce, KeyID: document.KeyID(&key.PublicKey)})
	return c
}

func sign(t testing.TB, c *call, key *ecdsa.PrivateKey, p signature.Params) {
	t.Helper()
	headers, err := signature.Sign(c.message(), key, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		c.header.Set(name, headers[name])
	}
}

func TestASignedCallVerifies(t *testing.T) {
	key := newKey(t)
	for _, change := range []func(*call){
		func(*call) {},
		func(c *call) { c.authority = "API.example.com" },                            // hosts have no case
		func(c *call) { c.header.Set("X-Other", "x") },                               // what isn't covered may be added
		func(c *call) { c.header["X-Amzn-Trace-Id"] = []string{"Root=1", "Root=2"} }, // as API Gateway does
	} {
		c := signed(t, key)
		change(&c)
		p, err := signature.Verify(c.message(), &key.PublicKey, now.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if !p.Created.Equal(now) || !p.Expires.Equal(now.Add(signature.Life)) || p.Nonce != nonce || p.KeyID != document.KeyID(&key.PublicKey) {
			t.Errorf("%+v", p)
		}
	}
	bare := call{method: "GET", authority: "h", header: textproto.MIMEHeader{names.HeaderCertificate: {"eA=="}}}
	sign(t, &bare, key, signature.Params{Created: now, Nonce: nonce, KeyID: document.KeyID(&key.PublicKey)})
	bare.path = "/"
	if _, err := signature.Verify(bare.message(), &key.PublicKey, now); err != nil {
		t.Errorf("a call without path, query and body: %v", err)
	}
}

func TestAnyAlterationIsRefused(t *testing.T) {
	key, other := newKey(t), newKey(t)
	set := func(name, value string) func(*call) { return func(c *call) { c.header.Set(name, value) } }
	replace := func(name, from, to string) func(*call) {
		return func(c *call) {
			v := strings.Replace(c.header.Get(name), from, to, 1)
			if v == c.header.Get(name) {
				panic("the case changes nothing: " + from)
			}
			c.header.Set(name, v)
		}
	}
	double := func(name string) func(*call) {
		return func(c *call) { c.header[name] = append(c.header[name], c.header.Get(name)) }
	}
	drop := func(name string) func(*call) { return func(c *call) { c.header.Del(name) } }
	for name, alter := range map[string]func(*call){
		"method":                          func(c *call) { c.method = "PUT" },
		"method's case":                   func(c *call) { c.method = "post" },
		"authority":                       func(c *call) { c.authority = "api.example.org" },
		"authority's port":                func(c *call) { c.authority += ":8443" },
		"path":                            func(c *call) { c.path = "/prod/v1/node" },
		"path's escape":                   func(c *call) { c.path = "/prod/v1%2Fnodes" },
		"path's slash":                    func(c *call) { c.path += "/" },
		"query":                           func(c *call) { c.query = "a=1&b=%21" },
		"query's order":                   func(c *call) { c.query = "b=%20&a=1" },
		"query's escape":                  func(c *call) { c.query = "a=1&b=+" },
		"query dropped":                   func(c *call) { c.query = "" },
		"body":                            func(c *call) { c.body = []byte(`{"x":2}`) },
		"body dropped":                    func(c *call) { c.body = nil },
		"body and digest":                 func(c *call) { c.body = []byte("x"); c.header.Set("Content-Digest", signature.ContentDigest(c.body)) },
		"certificate":                     set(names.HeaderCertificate, "b3RoZXI="),
		"certificate dropped":             drop(names.HeaderCertificate),
		"certificate doubled":             double(names.HeaderCertificate),
		"digest dropped":                  drop("Content-Digest"),
		"digest doubled":                  double("Content-Digest"),
		"digest with another beside it":   replace("Content-Digest", "sha-256", "sha-512=:AAAA:, sha-256"),
		"digest of another kind":          replace("Content-Digest", "sha-256", "sha-512"),
		"signature dropped":               drop("Signature"),
		"signature doubled":               double("Signature"),
		"signature of another label":      replace("Signature", "stile=", "other="),
		"a second signature":              func(c *call) { c.header.Set("Signature", c.header.Get("Signature")+", other=:AAAA:") },
		"signature shortened":             set("Signature", "stile=:AAAA:"),
		"signature of zeros":              set("Signature", "stile=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":"),
		"input dropped":                   drop("Signature-Input"),
		"input doubled":                   double("Signature-Input"),
		"input of another label":          replace("Signature-Input", "stile=", "other="),
		"a second input":                  func(c *call) { c.header.Set("Signature-Input", c.header.Get("Signature-Input")+`, other=("@method")`) },
		"created":                         replace("Signature-Input", fmt.Sprint(now.Unix()), fmt.Sprint(now.Unix()+1)),
		"expires":                         replace("Signature-Input", fmt.Sprint(now.Unix()+60), fmt.Sprint(now.Unix()+59)),
		"nonce":                           replace("Signature-Input", "0123456789abcdef", "0123456789abcdee"),
		"key id":                          replace("Signature-Input", document.KeyID(&key.PublicKey), document.KeyID(&other.PublicKey)),
		"algorithm":                       replace("Signature-Input", "ecdsa-p256-sha256", "hmac-sha256"),
		"tag":                             replace("Signature-Input", "stile-api", "stile-apj"),
		"a component less":                replace("Signature-Input", ` "@query"`, ""),
		"the certificate no component":    replace("Signature-Input", ` "stile-certificate"`, ""),
		"a component twice":               replace("Signature-Input", `"@query"`, `"@query" "@query"`),
		"a component more":                replace("Signature-Input", `"@query"`, `"@query" "x-other"`),
		"components in another order":     replace("Signature-Input", `"@method" "@authority"`, `"@authority" "@method"`),
		"a component with a parameter":    replace("Signature-Input", `"@path"`, `"@path";req`),
		"a parameter twice":               replace("Signature-Input", ";tag=", fmt.Sprintf(";created=%d;tag=", now.Unix())),
		"a parameter more":                replace("Signature-Input", ";tag=", ";x=1;tag="),
		"a parameter less":                replace("Signature-Input", `;alg="ecdsa-p256-sha256"`, ""),
		"a time with a sign":              replace("Signature-Input", "created=", "created=+"),
		"a time with a leading zero":      replace("Signature-Input", "created=", "created=0"),
		"a line break in the certificate": set(names.HeaderCertificate, "a\nb"),
	} {
		t.Run(name, func(t *testing.T) {
			c := signed(t, key)
			alter(&c)
			if p, err := signature.Verify(c.message(), &key.PublicKey, now); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("taken as %+v: %v", p, err)
			}
		})
	}
	c := signed(t, key)
	if _, err := signature.Verify(c.message(), &other.PublicKey, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("under another key: %v", err)
	}
	if _, err := signature.Verify(c.message(), nil, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("under no key: %v", err)
	}
	if _, err := signature.Verify(signature.Message{}, &key.PublicKey, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("nothing at all: %v", err)
	}
}

// A signature that holds doesn't make up for a key id that is wrong.
func TestACallThatNamesAnotherKeyIsRefused(t *testing.T) {
	key, other := newKey(t), newKey(t)
	c := signed(t, key)
	sign(t, &c, key, signature.Params{Created: now, Nonce: nonce, KeyID: document.KeyID(&other.PublicKey)})
	if p, err := signature.Verify(c.message(), &key.PublicKey, now); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("taken as %+v: %v", p, err)
	}
}

// Whatever bytes a call is made of, changing one covered value refuses it.
func TestPropertyNothingCoveredCanBeChanged(t *testing.T) {
	key := newKey(t)
	text := rapid.StringMatching(`[!-~]{0,20}`)
	rapid.Check(t, func(t *rapid.T) {
		c := call{
			method: text.Draw(t, "method"), authority: strings.ToLower(text.Draw(t, "authority")), path: "/" + text.Draw(t, "path"), query: text.Draw(t, "query"),
			body:   rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
			header: textproto.MIMEHeader{names.HeaderCertificate: {"x" + text.Draw(t, "certificate")}},
		}
		headers, err := signature.Sign(c.message(), key, signature.Params{Created: now, Nonce: nonce, KeyID: document.KeyID(&key.PublicKey)})
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			c.header.Set(name, value)
		}
		if _, err := signature.Verify(c.message(), &key.PublicKey, now); err != nil {
			t.Fatal(err)
		}
		bad, more := c.clone(), "x"+text.Draw(t, "more")
		switch rapid.SampledFrom([]string{"method", "authority", "path", "query", "body", "certificate", "created", "nonce", "split"}).Draw(t, "altered") {
		case "method":
			bad.method += more
		case "authority":
			bad.authority += more
		case "path":
			bad.path += more
		case "query":
			bad.query += more
		case "body":
			bad.body = append(bad.body, more...)
		case "certificate":
			bad.header.Set(names.HeaderCertificate, bad.header.Get(names.HeaderCertificate)+more)
		case "created":
			bad.header.Set("Signature-Input", strings.Replace(bad.header.Get("Signature-Input"), fmt.Sprint(now.Unix()), fmt.Sprint(now.Unix()-1), 1))
		case "nonce":
			bad.header.Set("Signature-Input", strings.Replace(bad.header.Get("Signature-Input"), nonce, nonce+"x", 1))
		case "split": // a character moves from the query to the path
			bad.path, bad.query = bad.path+"x", strings.TrimPrefix(bad.query, "x")
		}
		if _, err := signature.Verify(bad.message(), &key.PublicKey, now); err == nil {
			t.Fatalf("taken: %+v", bad)
		}
	})
}

func TestACallIsGoodForAMinute(t *testing.T) {
	key := newKey(t)
	c := signed(t, key)
	for after, ok := range map[time.Duration]bool{
		-61 * time.Second: false, -60 * time.Second: true, 0: true, 59 * time.Second: true, 60 * time.Second: false, time.Hour: false,
	} {
		at := now.Add(after)
		_, err := signature.Verify(c.message(), &key.PublicKey, at)
		if ok && err != nil {
			t.Errorf("after %s: %v", after, err)
		}
		if !ok && (!fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), at.Format(time.RFC3339))) {
			t.Errorf("after %s: %v doesn't give the server's time", after, err)
		}
	}
	for life, ok := range map[time.Duration]bool{-time.Second: false, time.Second: true, time.Minute: true, 61 * time.Second: false, time.Hour: false} {
		c := signed(t, key)
		sign(t, &c, key, signature.Params{Created: now, Expires: now.Add(life), Nonce: nonce, KeyID: document.KeyID(&key.PublicKey)})
		if _, err := signature.Verify(c.message(), &key.PublicKey, now); (err == nil) != ok {
			t.Errorf("with a life of %s: %v", life, err)
		}
	}
}

func TestSignRefusesWhatNobodyWouldVerify(t *testing.T) {
	key := newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := signed(t, key)
	p := signature.Params{Created: now, Nonce: nonce, KeyID: document.KeyID(&key.PublicKey)}
	for _, n := range []string{"", "short", strings.Repeat("x", 65), `0123456789abcdef";x="`} {
		bad := p
		bad.Nonce = n
		if _, err := signature.Sign(good.message(), key, bad); err == nil {
			t.Errorf("signed with the nonce %q", n)
		}
	}
	if _, err := signature.Sign(good.message(), p384, p); err == nil {
		t.Error("signed with a key on P-384")
	}
	good.header.Del(names.HeaderCertificate)
	if _, err := signature.Sign(good.message(), key, p); err == nil {
		t.Error("signed without a certificate")
	}
}

func TestKeyIDIsTheDocuments(t *testing.T) {
	key := newKey(t)
	if signature.KeyID(&key.PublicKey) != document.KeyID(&key.PublicKey) {
		t.Error("two names for one key")
	}
}

// FuzzHTTPSignature gives any headers to a verifier: nothing but what the key signed is ever taken.
func FuzzHTTPSignature(f *testing.F) {
	key := newKey(f)
	good := signed(f, key)
	input, value, digest := good.header.Get("Signature-Input"), good.header.Get("Signature"), good.header.Get("Content-Digest")
	f.Add(input, value, digest)
	f.Add(input+`, x=("@method")`, value, digest)
	f.Add(strings.ToUpper(input), value, digest)
	f.Add("stile=", "stile=::", "")
	f.Add(`stile=();created=1;alg="none"`, "stile=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":", digest)
	f.Fuzz(func(t *testing.T, in, sig, dig string) {
		c := good.clone()
		c.header["Signature-Input"], c.header["Signature"], c.header["Content-Digest"] = []string{in}, []string{sig}, []string{dig}
		_, err := signature.Verify(c.message(), &key.PublicKey, now)
		same := strings.TrimSpace(in) == input && strings.TrimSpace(sig) == value && strings.TrimSpace(dig) == digest
		if (err == nil) != same {
			t.Errorf("%q %q %q: %v", in, sig, dig, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	key := newKey(b)
	m := signed(b, key).message()
	for b.Loop() {
		if _, err := signature.Verify(m, &key.PublicKey, now); err != nil {
			b.Fatal(err)
		}
	}
}
