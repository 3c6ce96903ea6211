package document_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	decisions "github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// laterRelease signs documents that say more than this release knows.
type laterRelease struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	holder *document.Holder
}

// seal signs a body after bending what this release would write.
func (l laterRelease) seal(kind document.Kind, body any, bend func(map[string]any)) document.Signed {
	l.t.Helper()
	s, err := document.Seal(kind, body, l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(s.Body, &m); err != nil {
		l.t.Fatal(err)
	}
	bend(m)
	if s.Body, err = json.Marshal(m); err != nil {
		l.t.Fatal(err)
	}
	digest := sha256.Sum256(append([]byte("stile-"+string(kind)+"-v1\n"), s.Body...))
	if s.Signature, err = ecdsa.SignASN1(rand.Reader, l.key, digest[:]); err != nil {
		l.t.Fatal(err)
	}
	return s
}

var first = identity.Version{Epoch: 1, Counter: 1}

func newLaterRelease(t *testing.T) laterRelease {
	t.Helper()
	l := laterRelease{t: t, holder: document.NewHolder("c", "")}
	var keys []document.Key
	for _, purpose := range []string{names.KeyRoot, names.KeyPolicy} {
		var err error
		if l.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		k, err := document.NewKey(purpose, document.StateActive, l.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		if purpose == names.KeyRoot {
			defer func(root *ecdsa.PrivateKey) {
				signer := laterRelease{t: t, key: root}
				trust := signer.seal(document.KindTrust, document.Trust{Cluster: "c", Name: "stile", Version: first, IssuedAt: time.Now(), Keys: keys},
					func(m map[string]any) { m["slogan"] = "over the wall" })
				if err := l.holder.Accept(trust); err != nil {
					t.Fatal(err)
				}
			}(l.key)
		}
	}
	return l
}

// publish gives the holder a policy and revocations.
func (l laterRelease) publish(bendPolicy, bendRevocations func(map[string]any)) error {
	roles := []resource.Role{
		{Metadata: resource.Metadata{Name: "plain"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ada"}, NodeLabels: resource.Labels{"*": {"*"}}}}},
		{Metadata: resource.Metadata{Name: "strange"}},
	}
	return l.holder.Accept(
		l.seal(document.KindPolicy, document.Policy{Cluster: "c", Version: first, IssuedAt: time.Now(), Roles: roles}, bendPolicy),
		l.seal(document.KindRevocations, document.Revocations{Cluster: "c", Version: first, IssuedAt: time.Now(), Trust: first, Policy: first}, bendRevocations),
	)
}

func as(roles ...string) identity.User {
	return identity.User{Name: "ada", UID: "usr_1", Roles: roles, Versions: identity.Versions{Trust: first, Policy: first, Revocations: first}}
}

func (l laterRelease) decide(u identity.User) decisions.Decision {
	s := l.holder.State()
	return s.Roles().Decide(s.Subject(u, time.Now()), decisions.Target{Kind: "node", Name: "web-1"}, decisions.Login("ada"))
}

func unchanged(map[string]any) {}

// role is the n-th of a policy document.
func role(m map[string]any, n int) map[string]any { return m["roles"].([]any)[n].(map[string]any) }

func TestFieldsOfALaterReleaseArePassedOver(t *testing.T) {
	l := newLaterRelease(t)
	err := l.publish(func(m map[string]any) {
		m["season"] = "winter"
		role(m, 0)["spec"].(map[string]any)["allow"].(map[string]any)["ship_labels"] = map[string]any{"sea": []string{"north"}}
	}, func(m map[string]any) { m["mood"] = []int{1} })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.holder.State().Standing(as("plain"), document.Use{Now: time.Now()}); err != nil {
		t.Error(err)
	}
	if d := l.decide(as("plain")); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

func TestACriticalFieldOfARoleBarsItsHoldersAlone(t *testing.T) {
	l := newLaterRelease(t)
	err := l.publish(func(m map[string]any) {
		role(m, 1)["spec"] = map[string]any{"options": map[string]any{"moon_phase": "full"}}
		role(m, 1)["critical"] = []string{"spec.options.moon_phase"}
	}, unchanged)
	if err != nil {
		t.Fatal(err)
	}
	if d := l.decide(as("plain")); !d.Allowed {
		t.Errorf("others: %+v", d)
	}
	if d := l.decide(as("plain", "strange")); d.Allowed || !strings.Contains(d.Reason, "moon_phase") {
		t.Errorf("its holder: %+v", d)
	}
}

func TestACriticalFieldOfADocumentBarsEverybodyAndStaysTheNewest(t *testing.T) {
	for name, publish := range map[string]func(laterRelease) error{
		"of the policy": func(l laterRelease) error {
			return l.publish(func(m map[string]any) { m["critical"] = []string{"season"} }, unchanged)
		},
		"of the revocations": func(l laterRelease) error {
			return l.publish(unchanged, func(m map[string]any) { m["critical"] = []string{"locks.hours"} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLaterRelease(t)
			if err := publish(l); err != nil {
				t.Fatal(err)
			}
			err := l.holder.State().Standing(as("plain"), document.Use{Now: time.Now()})
			if f := fault.From(err); f.Code != fault.Unavailable || !strings.Contains(f.Hint, "update") || errors.Is(err, document.ErrBehind) {
				t.Errorf("%+v", f)
			}
			if v := l.holder.Versions(); v.Policy != first || v.Revocations != first {
				t.Errorf("held are %+v", v)
			}
		})
	}
}

func TestADocumentInAnotherFormIsRefused(t *testing.T) {
	l := newLaterRelease(t)
	if err := l.publish(func(m map[string]any) { m["v"] = 2 }, unchanged); !errors.Is(err, document.ErrMalformed) {
		t.Error(err)
	}
}
