package cmd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// selfSigned is a certificate for a key, in DER.
func selfSigned(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// lookup is a login at an API that answers with list, and the API itself.
func lookup(t *testing.T, list wire.TargetList) (cmd.Lookup, *httptest.Server) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return lookupAt(t, s), s
}

// lookupAt is a login at an API.
func lookupAt(t *testing.T, s *httptest.Server) cmd.Lookup {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(client.Config{URL: s.URL, HTTP: s.Client(), Key: key, Certificate: selfSigned(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Open(t.TempDir(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Lookup{Client: cl, Profile: p}
}

func TestAnUnknownNodeAndAnOfflineOneAreTwoCases(t *testing.T) {
	said := fault.New(fault.Unreachable, "no tunnel for node x at this proxy", "see with stile ls")
	l, api := lookup(t, wire.TargetList{Targets: []wire.Target{
		{Kind: "node", Name: "away"}, {Kind: "node", Name: "here", Online: true}, {Kind: "other", Name: "thing"},
	}})
	for node, want := range map[string]struct {
		code fault.Code
		text string
	}{
		"absent": {fault.NotFound, "there is no node absent that you may reach"},
		"thing":  {fault.NotFound, "there is no node thing that you may reach"},
		"away":   {fault.Unreachable, "node away is offline"},
		"here":   {fault.Unreachable, "node here is online, but no proxy that can be reached from here has a tunnel to it"},
	} {
		f := fault.From(l.Missing(t.Context(), node, said))
		if f.Code != want.code || f.Message != want.text || f.Hint == "" {
			t.Errorf("%s: got %v %q, hint %q", node, f.Code, f.Message, f.Hint)
		}
	}
	api.Close()
	if err := l.Missing(t.Context(), "away", said); !errors.Is(err, said) {
		t.Errorf("without the API: got %v", err)
	}
}

func TestWithoutKnownProxiesTheAPIIsAskedElseALoginIsAdvised(t *testing.T) {
	told := []string{"a:443", "b:443"}
	l, api := lookup(t, wire.TargetList{Proxies: told})
	for _, when := range []string{"never told", "told just now"} {
		if got, err := l.Proxies(t.Context()); err != nil || cmp.Diff(told, got) != "" {
			t.Errorf("%s: got %q, %v", when, got, err)
		}
		api.Close() // the second time needs no API
	}
	l, api = lookup(t, wire.TargetList{})
	for _, when := range []string{"the API knows none", "nor is there an API"} {
		_, err := l.Proxies(t.Context())
		if f := fault.From(err); f == nil || f.Code != fault.Unreachable || !strings.Contains(f.Hint, "stile login --iam") {
			t.Errorf("%s: got %v", when, err)
		}
		api.Close()
	}
}
