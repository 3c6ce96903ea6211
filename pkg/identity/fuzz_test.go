package identity_test

import (
	"crypto/rand"
	"reflect"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// FuzzTarget: a target is read from one spelling alone, and that of two things is never the same.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"node/web-1", "db/orders", "node", "/", "node/", "/web-1", "node/web-1/x", "Node/web-1", "node/web-1\n", "node/..", "node/web.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := identity.ParseTarget(s)
		if (err != nil && !fault.Is(err, fault.BadInput)) || err == nil && target.String() != s {
			t.Errorf("%q is read as %s: %v", s, target, err)
		}
	})
}

// FuzzHost: whatever is taken for a host's identity is the same one after it was written.
func FuzzHost(f *testing.F) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	good, err := identity.Host{
		Form: identity.Form{V: 1}, Cluster: "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11", ClusterName: "stile", Certificate: identity.NewID("crt", rand.Reader, now),
		Kind: identity.KindAgent, ID: identity.NewID("agt", rand.Reader, now), Targets: []identity.Target{{Kind: "node", Name: "web-1"}}, Scope: "/",
		Labels: map[string]string{"env": "dev"}, Method: "iam", Token: "nodes", IssuedAt: now,
	}.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), string(good[:len(good)-1]), string(good) + "{}", "{}", "null", `{"v":2}`, `{"v":1,"critical":["x"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := identity.ParseHost([]byte(s))
		if err != nil {
			return
		}
		b, err := h.Marshal()
		if fault.Is(err, fault.TooLarge) {
			return // what was not written by Marshal may be longer when it is
		}
		if err != nil {
			t.Fatalf("%q is taken and can't be written: %v", s, err)
		}
		if again, err := identity.ParseHost(b); err != nil || !reflect.DeepEqual(normal(h), normal(again)) {
			t.Errorf("%q is read as %+v and then as %+v: %v", s, h, again, err)
		}
	})
}

// normal puts aside what two spellings of one value differ in.
func normal(h identity.Host) identity.Host {
	h.IssuedAt = h.IssuedAt.UTC()
	if len(h.Targets) == 0 {
		h.Targets = nil
	}
	if len(h.Labels) == 0 {
		h.Labels = nil
	}
	return h
}
