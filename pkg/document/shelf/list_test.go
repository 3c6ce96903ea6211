package shelf_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/identity"
)

// revoking gives revocations of a version that name some users.
func (w world) revoking(t *testing.T, counter uint64, users ...string) document.Signed {
	t.Helper()
	var orders []revoked.Order
	for _, u := range users {
		orders = append(orders, revoked.Order{Ref: identity.Record("m", u), Until: now.Add(time.Hour)})
	}
	set, _ := revoked.Set{}.Settle(revoked.Users, orders, identity.Version{Counter: 1}, now)
	s := seal(t, document.KindRevocations, document.Revocations{Cluster: cluster, Version: identity.Version{Counter: counter}, IssuedAt: now, Users: set.Sum()}, w.policy)
	s.Lists = map[string]revoked.Records{revoked.Users: {Whole: true, Entries: set.Bytes()}}
	return s
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "revoked"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info, err)
		}
		names = append(names, e.Name())
	}
	return names
}

// The document is renewed each minute, a list is not: it is written when it changed.
func TestAListIsWrittenWhenItChangedAndComesBack(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	s := open(t, dir, w.pin)
	if err := s.Accept(w.trust, w.at(t, 3), w.revoking(t, 1, "eve")); err != nil {
		t.Fatal(err)
	}
	first := files(t, dir)
	path := filepath.Join(dir, "revoked", first[0])
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(w.revoking(t, 2, "eve")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
		t.Errorf("a stamp alone wrote the list: %v", err)
	}
	again := open(t, dir, w.pin)
	if again.Versions() != s.Versions() || again.State().Revoked(revoked.Users).Len() != 1 {
		t.Errorf("%+v with %d entries after a restart", again.Versions(), again.State().Revoked(revoked.Users).Len())
	}
	if err := s.Accept(w.revoking(t, 3, "eve", "bob")); err != nil {
		t.Fatal(err)
	}
	if second := files(t, dir); len(second) != 1 || slices.Equal(first, second) {
		t.Errorf("%v after %v", second, first)
	}
	if err := s.Accept(w.revoking(t, 4)); err != nil || len(files(t, dir)) != 0 {
		t.Errorf("%v, %v", err, files(t, dir))
	}
	if again := open(t, dir, w.pin); again.Versions() != s.Versions() {
		t.Errorf("%+v after a restart", again.Versions())
	}
}

func TestAListThatWasTamperedWithIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(path string) error{
		"lost": os.Remove,
		"cut":  func(path string) error { return os.Truncate(path, revoked.Size-1) },
		"another": func(path string) error {
			return os.WriteFile(path, w.revoking(t, 1, "ada").Lists[revoked.Users].Entries, 0o600)
		},
	} {
		dir := t.TempDir()
		if err := open(t, dir, w.pin).Accept(w.trust, w.at(t, 3), w.revoking(t, 1, "eve")); err != nil {
			t.Fatal(err)
		}
		if err := spoil(filepath.Join(dir, "revoked", files(t, dir)[0])); err != nil {
			t.Fatal(err)
		}
		if _, err := shelf.Open(dir, cluster, w.pin); err == nil || !strings.Contains(err.Error(), "documents.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
