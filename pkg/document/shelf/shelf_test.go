package shelf_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

const cluster = "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11"

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

type world struct {
	pin          string
	trust        document.Signed
	root, policy *ecdsa.PrivateKey
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{root: newKey(t), policy: newKey(t)}
	var keys []document.Key
	for purpose, k := range map[string]*ecdsa.PrivateKey{names.KeyRoot: w.root, names.KeyPolicy: w.policy} {
		key, err := document.NewKey(purpose, document.StateActive, &k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	w.pin = document.KeyID(&w.root.PublicKey)
	w.trust = seal(t, document.KindTrust, document.Trust{Name: "stile", Cluster: cluster, Version: identity.Version{Counter: 1}, IssuedAt: now, Keys: keys}, w.root)
	return w
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t *testing.T, kind document.Kind, body any, key *ecdsa.PrivateKey) document.Signed {
	t.Helper()
	s, err := document.Seal(kind, body, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w world) at(t *testing.T, counter uint64) document.Signed {
	t.Helper()
	return seal(t, document.KindPolicy, document.Policy{Cluster: cluster, Version: identity.Version{Counter: counter}, IssuedAt: now, Roles: resource.Presets()}, w.policy)
}

func open(t *testing.T, dir, pin string) *shelf.Shelf {
	t.Helper()
	s, err := shelf.Open(dir, cluster, pin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatWasAcceptedIsThereAfterARestart(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "state")
	s := open(t, dir, w.pin)
	if err := s.Accept(w.trust, w.at(t, 3)); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, w.pin)
	if d := cmp.Diff(s.State(), again.State(), cmpopts.IgnoreUnexported(document.State{})); d != "" {
		t.Error(d)
	}
	node := policy.Target{Kind: "node", Name: "node-1"}
	who := policy.Subject{Roles: []string{"access"}, Traits: map[string][]string{"logins": {"ada"}}}
	if !again.State().Roles().Decide(who, node, policy.Login("ada")).Allowed {
		t.Error("its roles don't count after a restart")
	}
	if err := again.Accept(w.at(t, 2)); !errors.Is(err, document.ErrOlder) {
		t.Errorf("an older document after a restart: %v", err)
	}
}

func TestTheDirectoryIsForItsOwnerAloneAndHoldsNothingElse(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "state")
	s := open(t, dir, w.pin)
	for counter := range uint64(5) {
		if err := s.Accept(w.trust, w.at(t, counter+1)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%v", entries)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, entries[0].Name()): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o", path, got)
		}
	}
}

func TestWhatPrecedesARefusedDocumentIsKept(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	bad := w.at(t, 9)
	bad.Body = append(bad.Body, ' ')
	if err := open(t, dir, w.pin).Accept(w.trust, w.at(t, 4), bad); !errors.Is(err, document.ErrSignature) {
		t.Fatal(err)
	}
	if got := open(t, dir, w.pin).Policy().Version.Counter; got != 4 {
		t.Errorf("policy %d", got)
	}
}

func TestADirectoryThatWasTamperedWithIsNotBelieved(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	if err := open(t, dir, w.pin).Accept(w.trust, w.at(t, 3)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "documents.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	for name, data := range map[string]string{
		"half a file":       string(good[:len(good)/2]),
		"an unknown field":  strings.Replace(string(good), `"kind"`, `"kin"`, 1),
		"nothing":           "",
		"another signature": strings.Replace(string(good), `"signature":"ME`, `"signature":"MF`, 1),
	} {
		if data == string(good) {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := shelf.Open(dir, cluster, w.pin); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shelf.Open(dir, cluster, other.pin); !errors.Is(err, document.ErrPin) {
		t.Errorf("under another pin: %v", err)
	}
	if _, err := shelf.Open(dir, "other", w.pin); !errors.Is(err, document.ErrCluster) {
		t.Errorf("for another cluster: %v", err)
	}
}

func TestADiskThatFailsIsReportedAndTheDocumentIsInForce(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "state")
	s := open(t, dir, w.pin)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(w.trust); err == nil {
		t.Error("nothing was reported")
	}
	if s.Trust().Version.Counter != 1 {
		t.Error("the document is not in force")
	}
}

func TestManyMayAcceptAndReadAtOnce(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	s := open(t, dir, w.pin)
	if err := s.Accept(w.trust); err != nil {
		t.Fatal(err)
	}
	var documents []document.Signed
	for counter := range uint64(8) {
		documents = append(documents, w.at(t, counter+1))
	}
	var group sync.WaitGroup
	for _, d := range documents {
		group.Go(func() {
			if err := s.Accept(d); err != nil && !errors.Is(err, document.ErrOlder) {
				t.Error(err)
			}
			if s.Trust().Cluster != cluster {
				t.Error("the trust document is gone")
			}
		})
	}
	group.Wait()
	if got := open(t, dir, w.pin).Policy().Version.Counter; got != 8 {
		t.Errorf("policy %d was kept", got)
	}
}
