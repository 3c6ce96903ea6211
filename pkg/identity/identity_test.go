package identity_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var (
	node1 = identity.Target{Kind: "node", Name: "node-1"}
	db1   = identity.Target{Kind: "db", Name: "node-1"} // another thing of the same name
)

const request = "req_01hv0000000000000000000000"

func grant(resources ...identity.Target) identity.Grant {
	return identity.Grant{Request: request, Roles: []string{"dba", "oncall"}, Resources: resources, Until: now.Add(time.Hour)}
}

func alice() identity.User {
	return identity.User{
		Cluster: "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11", Certificate: "crt_01hv0000000000000000000000", Name: "Alice+x=1@example.com", UID: "usr_0a",
		Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ubuntu"}}, Grants: []identity.Grant{grant(node1, db1)}, SourceAddress: "192.0.2.1",
		Versions: identity.Versions{Trust: identity.Version{Epoch: 1, Counter: 2}}, IssuedAt: now,
	}
}

func node() identity.Host {
	return identity.Host{
		Cluster: "c1", ClusterName: "demo", Certificate: "crt_01hv0000000000000000000000", Kind: identity.KindAgent, ID: "agt_01hv0000000000000000000000",
		Targets: []identity.Target{node1, {Kind: "node", Name: "a.b"}, db1}, Scope: "/a", Labels: map[string]string{"env": "dev"}, Method: "iam", Token: "t", AWS: "aws:1:r:AROA", IssuedAt: now,
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
	if d := cmp.Diff(read(alice()), u); d != "" {
		t.Error(d)
	}
	if b, err = node().Marshal(); err != nil {
		t.Fatal(err)
	}
	h, err := identity.ParseHost(b)
	if err != nil {
		t.Fatal(err)
	}
	want := node()
	want.V = 1
	if d := cmp.Diff(want, h); d != "" {
		t.Error(d)
	}
	if _, err := identity.ParseUser(b); err == nil {
		t.Error("a host's identity was read as a user's")
	}
}

// read is an identity as it comes back: it says how it is written.
func read(u identity.User) identity.User {
	u.V = 1
	if u.SourceAddress != "" {
		u.Critical = []string{"source_address"}
	}
	return u
}

func TestASourceAddressIsSaidToLimit(t *testing.T) {
	for address, want := range map[string][]string{"": nil, "192.0.2.1": {"source_address"}} {
		u := alice()
		u.SourceAddress, u.Critical, u.V = address, []string{"roles"}, 7 // the form is not the caller's to say
		b, err := u.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := identity.ParseUser(b)
		if d := cmp.Diff(identity.Form{V: 1, Critical: want}, got.Form); err != nil || d != "" {
			t.Error(err, d)
		}
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
		"request":     func(u *identity.User) { u.Grants[0].Request = "req_1" },
		"no request":  func(u *identity.User) { u.Grants[0].Request = "" },
		"another id":  func(u *identity.User) { u.Grants[0].Request = u.Certificate },
		"no roles":    func(u *identity.User) { u.Grants[0].Roles = nil },
		"no end":      func(u *identity.User) { u.Grants[0].Until = time.Time{} },
		"no kind":     func(u *identity.User) { u.Grants[0].Resources[0].Kind = "" },
		"a resource":  func(u *identity.User) { u.Grants[0].Resources[0].Name = "a*" },
	} {
		u := alice()
		spoil(&u)
		if _, err := u.Marshal(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, spoil := range map[string]func(*identity.Host){
		"cluster": func(h *identity.Host) { h.Cluster = "" }, "kind": func(h *identity.Host) { h.Kind = "node" },
		"a proxy's id": func(h *identity.Host) { h.ID = "prx_01hv0000000000000000000000" }, "name": func(h *identity.Host) { h.Targets[0].Name = "a b" },
		"no name": func(h *identity.Host) { h.Targets[0].Name = "" }, "a kind": func(h *identity.Host) { h.Targets[0].Kind = "No" }, "twice": func(h *identity.Host) { h.Targets[1] = h.Targets[0] },
		"no cluster name": func(h *identity.Host) { h.ClusterName = "" }, "cluster name": func(h *identity.Host) { h.ClusterName = "demo." },
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
		"nothing":         nil,
		"trailing data":   append(bytes.Clone(good), "{}"...),
		"a doubled field": []byte(`{"name":"root",` + string(good[1:])),
		"another case":    bytes.Replace(good, []byte(`"name"`), []byte(`"Name"`), 1),
		"null":            []byte("null"),
		"another target":  bytes.Replace(good, []byte("db/node-1"), []byte("db/node-1/x"), 1),
		"no target":       bytes.Replace(good, []byte("db/node-1"), []byte("db"), 1),
		"too much":        append(bytes.Clone(good), bytes.Repeat([]byte(" "), identity.MaxSize)...),
	} {
		if u, err := identity.ParseUser(b); err == nil {
			t.Errorf("%s: read as %+v", name, u)
		}
	}
}

func TestALargeIdentityNamesItsLargestPart(t *testing.T) {
	for want, fill := range map[string]func(*identity.User, []string){
		"roles":        func(u *identity.User, v []string) { u.Roles = v },
		"grants":       func(u *identity.User, v []string) { u.Grants[0].Roles = v },
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

func TestTargetNames(t *testing.T) {
	for name, want := range map[string]bool{"node-1": true, "a": true, "a.b": true, "1": true, "": false, "-a": false, "a-": false, ".a": false, "a.": false, "A": false, "a_b": false, "a b": false, "a,b": false, "a/b": false, "*": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false} {
		if identity.ValidTargetName(name) != want {
			t.Errorf("the target name %q is not %t", name, want)
		}
		if identity.ValidClusterName(name) != want {
			t.Errorf("the cluster name %q is not %t", name, want)
		}
	}
	for kind, want := range map[string]bool{"node": true, "db": true, "k8s": true, "": false, "Node": false, "1node": false, "a-b": false, "a/b": false, "a b": false, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false} {
		if identity.ValidTargetKind(kind) != want {
			t.Errorf("the kind %q is not %t", kind, want)
		}
	}
}

func TestTargetsComeBackFromTheirText(t *testing.T) {
	for text, want := range map[string]identity.Target{"node/node-1": node1, "db/node-1": db1, "app/a.b": {Kind: "app", Name: "a.b"}} {
		got, err := identity.ParseTarget(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v %v", text, got, err)
		}
		b, err := json.Marshal(map[identity.Target]identity.Target{got: got})
		if err != nil || string(b) != `{"`+text+`":"`+text+`"}` {
			t.Errorf("%s: %s %v", text, b, err)
		}
		var back map[identity.Target]identity.Target
		if err := json.Unmarshal(b, &back); err != nil || back[want] != want {
			t.Errorf("%s: %v %v", text, back, err)
		}
	}
	for _, text := range []string{"", "/", "node", "node/", "/a", "node/A", "Node/a", "node/a/b", "node//a", " node/a", "node/a ", "node/a,b", "no-de/a", strings.Repeat("node/a", 100)} {
		if got, err := identity.ParseTarget(text); !fault.Is(err, fault.BadInput) || got != (identity.Target{}) || len(err.Error()) > 200 || fault.From(err).Hint == "" {
			t.Errorf("%q: %v %v", text, got, err)
		}
		var got identity.Target
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestAHostServesWhatItsCertificateNames(t *testing.T) {
	h := node()
	for _, c := range []struct {
		sentence string
		target   identity.Target
		serves   bool
		named    identity.Target
	}{
		{"a node by its name", node1, true, node1},
		{"another of its nodes", identity.Target{Kind: "node", Name: "a.b"}, true, identity.Target{Kind: "node", Name: "a.b"}},
		{"a database by the name of a node, which it serves too", db1, true, db1},
		{"a database by the name of a node that it does not serve as one", identity.Target{Kind: "db", Name: "a.b"}, false, identity.Target{Kind: "db", Name: "a.b"}},
		{"a name that is another's", identity.Target{Kind: "node", Name: "node-2"}, false, identity.Target{Kind: "node", Name: "node-2"}},
		{"a name by its beginning", identity.Target{Kind: "node", Name: "node"}, false, identity.Target{Kind: "node", Name: "node"}},
		{"a full name, which is for SSH alone", identity.Target{Kind: "node", Name: "node-1.demo"}, false, identity.Target{Kind: "node", Name: "node-1.demo"}},
		{"a node by the agent's id", identity.Target{Kind: "node", Name: h.ID}, true, node1},
		{"a database by the agent's id", identity.Target{Kind: "db", Name: h.ID}, true, db1},
		{"a kind that it has nothing of, by its id", identity.Target{Kind: "app", Name: h.ID}, false, identity.Target{Kind: "app", Name: h.ID}},
		{"another agent's id", identity.Target{Kind: "node", Name: "agt_01hv0000000000000000000001"}, false, identity.Target{Kind: "node", Name: "agt_01hv0000000000000000000001"}},
		{"nothing", identity.Target{}, false, identity.Target{}},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			if h.Serves(c.target) != c.serves {
				t.Errorf("serves %s: %t", c.target, !c.serves)
			}
			if got := h.Named(c.target); got != c.named {
				t.Errorf("named %s, want %s", got, c.named)
			}
		})
	}
	proxy := identity.Host{Kind: identity.KindProxy, ID: "prx_01hv0000000000000000000000"}
	if proxy.Serves(identity.Target{Kind: "node", Name: proxy.ID}) {
		t.Error("a proxy serves something")
	}
}

func TestAHostsPrincipalsAreItsIDAndItsNodesWithAndWithoutTheClustersName(t *testing.T) {
	h := node()
	if d := cmp.Diff([]string{h.ID, "node-1", "node-1.demo", "a.b", "a.b.demo"}, h.Principals()); d != "" {
		t.Error(d)
	}
	h.Targets = []identity.Target{db1, {Kind: "app", Name: "grafana"}}
	if d := cmp.Diff([]string{h.ID}, h.Principals()); d != "" {
		t.Error("what is no node has no name in SSH:", d)
	}
}

func TestACertificateHoldsEightGrantsWithThirtyTwoResourcesInAll(t *testing.T) {
	grants := func(n, resources int) (all []identity.Grant) {
		for i := range n {
			g := grant()
			for r := range resources / n {
				g.Resources = append(g.Resources, identity.Target{Kind: "node", Name: fmt.Sprintf("n%d-%d", i, r)})
			}
			all = append(all, g)
		}
		return all
	}
	for name, c := range map[string]struct {
		grants []identity.Grant
		good   bool
	}{
		"eight grants":                    {grants(8, 0), true},
		"nine grants":                     {grants(9, 0), false},
		"thirty-two resources of one":     {grants(1, 32), true},
		"thirty-three resources of one":   {grants(1, 33), false},
		"thirty-two resources of eight":   {grants(8, 32), true},
		"thirty-three resources of three": {grants(3, 33), false},
	} {
		t.Run(name, func(t *testing.T) {
			u := alice()
			u.Grants = c.grants
			b, err := u.Marshal()
			if c.good {
				if _, again := identity.ParseUser(b); err != nil || again != nil {
					t.Errorf("%v, %v", err, again)
				}
				return
			}
			if f := fault.From(err); f == nil || f.Code != fault.TooLarge || f.Hint == "" || !strings.Contains(f.Message, "at most 8 grants with 32 resources") {
				t.Errorf("written: %v", err)
			}
			raw, err := json.Marshal(read(u))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := identity.ParseUser(raw); !fault.Is(err, fault.TooLarge) {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestAGrantCoversItsResourcesUntilItsEnd(t *testing.T) {
	until := now.Add(time.Hour)
	for _, c := range []struct {
		sentence string
		grant    identity.Grant
		target   identity.Target
		at       time.Time
		covers   bool
	}{
		{"everything, without resources", grant(), node1, now, true},
		{"its resource", grant(node1), node1, now, true},
		{"no other of the same name", grant(node1), db1, now, false},
		{"no other of the same kind", grant(node1), identity.Target{Kind: "node", Name: "node-2"}, now, false},
		{"until just before its end", grant(node1), node1, until.Add(-1), true},
		{"not at its end", grant(node1), node1, until, false},
		{"nothing at its end, without resources", grant(), node1, until, false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			if c.grant.Covers(c.target, c.at) != c.covers {
				t.Errorf("covers %s: %t", c.target, !c.covers)
			}
		})
	}
}

func TestRefsAreAllThatALockCanName(t *testing.T) {
	u := alice()
	u.Mapping, u.Record = "engineers", "/team"
	plain := u
	plain.Record = ""
	for name, c := range map[string]struct{ want, got []identity.Ref }{
		"a user, whose grants are not named by their requests and roles": {
			[]identity.Ref{{Target: "user", Value: u.Name}, {Target: "uid", Value: "usr_0a"}, {Target: "certificate", Value: u.Certificate}, identity.Everybody(identity.Users), {Target: "mapping", Value: "engineers"}, identity.Record("engineers", u.Name), identity.Records("/team"), {Target: "role", Value: "access"}},
			u.Refs(),
		},
		"a user to whom no record added": {
			[]identity.Ref{{Target: "user", Value: u.Name}, {Target: "uid", Value: "usr_0a"}, {Target: "certificate", Value: u.Certificate}, identity.Everybody(identity.Users), {Target: "mapping", Value: "engineers"}, {Target: "role", Value: "access"}},
			plain.Refs(),
		},
		"a grant": {[]identity.Ref{{Target: "request", Value: request}, {Target: "role", Value: "dba"}, {Target: "role", Value: "oncall"}}, u.Grants[0].Refs()},
		"a host, whose targets are locked without it": {
			[]identity.Ref{{Target: "agent", Value: node().ID}, {Target: "certificate", Value: node().Certificate}, {Target: "token", Value: "t"}, identity.Everybody(identity.Agents)},
			node().Refs(),
		},
		"a proxy, which is not among the agents": {[]identity.Ref{{Target: "agent", Value: "prx_1"}, {Target: "certificate", Value: "crt_1"}, {Target: "token", Value: "t"}}, identity.Host{Kind: identity.KindProxy, ID: "prx_1", Certificate: "crt_1", Token: "t"}.Refs()},
		"a target":                               {[]identity.Ref{{Target: "target", Value: "db/node-1"}}, db1.Refs()},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, c.got); d != "" {
				t.Error(d)
			}
		})
	}
	if got := u.Again(identity.Ref{Target: "role", Value: "a"}); !strings.Contains(got, "stile login") {
		t.Error(got)
	}
}

// A used-up secret, a token that is gone and names that the old agent holds each keep an agent out that only starts again.
func TestHowAHostJoinsAgainDependsOnHowItJoinedAndOnWhatEndedIt(t *testing.T) {
	const empty, token, free = "empty the agent's state directory", "another token (stile create)", "stile rm node/lab-3"
	for name, c := range map[string]struct {
		kind, method, by string
		says, not        []string
	}{
		"by iam, removed":                {"agent", "iam", "agent", []string{empty, "if its token still admits it"}, []string{token, free}},
		"by iam, its token deleted":      {"agent", "iam", "token", []string{empty, "create the token again", free}, []string{token, "secret"}},
		"by iam, all revoked":            {"agent", "iam", "everybody", []string{empty, free}, []string{token, "create"}},
		"by a secret, removed":           {"agent", "token", "agent", []string{empty, token, "unless the secret has uses left"}, []string{free}},
		"by a secret, its token deleted": {"agent", "token", "token", []string{empty, token, free, "secret_file"}, []string{"uses left"}},
		"by a secret, all revoked":       {"agent", "token", "everybody", []string{empty, token, free}, []string{"uses left"}},
		"a proxy":                        {"proxy", "iam", "agent", []string{"start the proxy again"}, []string{empty, token, free}},
	} {
		t.Run(name, func(t *testing.T) {
			h := identity.Host{Kind: c.kind, Method: c.method, Targets: []identity.Target{{Kind: "node", Name: "lab-3"}, {Kind: "db", Name: "b"}}}
			got := h.Again(identity.Ref{Target: c.by, Value: "x"})
			for _, s := range c.says {
				if !strings.Contains(got, s) {
					t.Errorf("it doesn't say %q: %s", s, got)
				}
			}
			for _, s := range c.not {
				if strings.Contains(got, s) {
					t.Errorf("it says %q: %s", s, got)
				}
			}
		})
	}
}
