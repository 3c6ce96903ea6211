package identity_test

import (
	"bytes"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func alice() identity.User {
	return identity.User{
		Cluster: "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11", Certificate: "crt_01hv0000000000000000000000", Name: "Alice+x=1@example.com", UID: "usr_0a",
		Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ubuntu"}}, Requests: []string{"req_1"}, Resources: []string{"node/a"},
		MFA: "webauthn", Device: "dev_1", SourceAddress: "192.0.2.1",
		Versions: identity.Versions{Trust: identity.Version{Epoch: 1, Counter: 2}}, IssuedAt: now,
	}
}

func node() identity.Host {
	return identity.Host{
		Cluster: "c1", Certificate: "crt_01hv0000000000000000000000", Kind: identity.KindAgent, ID: "agt_01hv0000000000000000000000",
		Names: []string{"node-1", "a.b"}, Resources: []string{"node"}, Scope: "/a", Labels: map[string]string{"env": "dev"}, Method: "iam", Token: "t", AWS: "aws:1:r:AROA", IssuedAt: now,
	}
}

func TestIdentitiesComeBackAsTheyWere(t *testing.T) {
	b, err := alice().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	u, err := identity.ParseUser(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(alice(), u); d != "" {
		t.Error(d)
	}
	if b, err = node().Marshal(); err != nil {
		t.Fatal(err)
	}
	h, err := identity.ParseHost(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(node(), h); d != "" {
		t.Error(d)
	}
	if _, err := identity.ParseUser(b); err == nil {
		t.Error("a host's identity was read as a user's")
	}
}

func TestURIsSurviveTheirParser(t *testing.T) {
	for uri, want := range map[string]string{
		alice().URI(): "spiffe://6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11/user/Alice+x=1@example.com",
		node().URI():  "spiffe://c1/agent/agt_01hv0000000000000000000000",
	} {
		u, err := url.Parse(uri)
		if err != nil || u.String() != want || uri != want {
			t.Errorf("%s: %v %v", uri, u, err)
		}
	}
}

func TestMalformedIdentitiesAreNeitherWrittenNorRead(t *testing.T) {
	for field, spoil := range map[string]func(*identity.User){
		"cluster":     func(u *identity.User) { u.Cluster = "a/b" },
		"no cluster":  func(u *identity.User) { u.Cluster = "" },
		"certificate": func(u *identity.User) { u.Certificate = "crt_1" },
		"kind of id":  func(u *identity.User) { u.Certificate = "agt_01hv0000000000000000000000" },
		"name":        func(u *identity.User) { u.Name = "a/../b" },
		"empty name":  func(u *identity.User) { u.Name = "" },
		"comma":       func(u *identity.User) { u.Name = "a,b" },
		"long name":   func(u *identity.User) { u.Name = strings.Repeat("a", 65) },
		"uid":         func(u *identity.User) { u.UID = "0a" },
		"issued_at":   func(u *identity.User) { u.IssuedAt = time.Time{} },
	} {
		u := alice()
		spoil(&u)
		if _, err := u.Marshal(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, spoil := range map[string]func(*identity.Host){
		"cluster": func(h *identity.Host) { h.Cluster = "" }, "kind": func(h *identity.Host) { h.Kind = "node" },
		"a proxy's id": func(h *identity.Host) { h.ID = "prx_01hv0000000000000000000000" }, "name": func(h *identity.Host) { h.Names = []string{"a b"} },
		"certificate": func(h *identity.Host) { h.Certificate = "" }, "issued_at": func(h *identity.Host) { h.IssuedAt = time.Time{} },
	} {
		h := node()
		spoil(&h)
		if _, err := h.Marshal(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %v", field, err)
		}
	}
	good, err := alice().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"trailing data":    append(bytes.Clone(good), "{}"...),
		"an unknown field": []byte(`{"admin":true,` + string(good[1:])),
		"a doubled field":  []byte(`{"name":"root",` + string(good[1:])),
		"another case":     bytes.Replace(good, []byte(`"name"`), []byte(`"Name"`), 1),
		"null":             []byte("null"),
		"too much":         append(bytes.Clone(good), bytes.Repeat([]byte(" "), identity.MaxSize)...),
	} {
		if u, err := identity.ParseUser(b); err == nil {
			t.Errorf("%s: read as %+v", name, u)
		}
	}
}

func TestALargeIdentityNamesItsLargestPart(t *testing.T) {
	for want, fill := range map[string]func(*identity.User, []string){
		"roles":        func(u *identity.User, v []string) { u.Roles = v },
		"requests":     func(u *identity.User, v []string) { u.Requests = v },
		"resources":    func(u *identity.User, v []string) { u.Resources = v },
		"trait groups": func(u *identity.User, v []string) { u.Traits["groups"] = v },
	} {
		u := alice()
		fill(&u, strings.Split(strings.Repeat("abcdefgh,", 500), ","))
		if _, err := u.Marshal(); !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	h := node()
	h.Labels["x"] = strings.Repeat("x", identity.MaxSize)
	if _, err := h.Marshal(); !fault.Is(err, fault.TooLarge) {
		t.Errorf("%v", err)
	}
}

func TestIDs(t *testing.T) {
	a, b := identity.NewID("ses", rand.Reader, now), identity.NewID("ses", rand.Reader, now.Add(time.Millisecond))
	if !identity.ValidID("ses", a) || a >= b || identity.ValidID("crt", a) || identity.ValidID("ses", strings.ToUpper(a)) || identity.ValidID("ses", a+"0") {
		t.Errorf("%s %s", a, b)
	}
}

func TestVersionsOrderByEpochFirst(t *testing.T) {
	order := []identity.Version{{}, {Counter: 9}, {Epoch: 1}, {Epoch: 1, Counter: 1}, {Epoch: 2}}
	for i, v := range order {
		for j, w := range order {
			if v.Less(w) != (i < j) {
				t.Errorf("%v < %v is %t", v, w, v.Less(w))
			}
		}
	}
}

func TestNodeNames(t *testing.T) {
	for name, want := range map[string]bool{"node-1": true, "a": true, "a.b": true, "1": true, "": false, "-a": false, "a-": false, "A": false, "a_b": false, "a b": false, "a,b": false, "*": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false} {
		if identity.ValidNodeName(name) != want {
			t.Errorf("%q is not %t", name, want)
		}
	}
}
