package profile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
)

const api = "https://api.example.com:8443/prod"

func open(t *testing.T) (*profile.Profile, string) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	p, err := profile.Open(home, api)
	if err != nil {
		t.Fatal(err)
	}
	return p, home
}

func credential(t *testing.T, until time.Time) profile.Credential {
	t.Helper()
	keys, err := entry.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	return profile.Credential{API: api, User: "ada", Logins: []string{"ubuntu"}, ExpiresAt: until, Keys: keys}
}

func TestSavedCredentialLoadsWithItsKeys(t *testing.T) {
	p, _ := open(t)
	want := credential(t, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	if err := p.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLastLoginNamesTheAPI(t *testing.T) {
	p, home := open(t)
	if _, err := profile.API(home, ""); !fault.Is(err, fault.BadInput) {
		t.Errorf("before a login: got %v", err)
	}
	if err := p.Save(credential(t, time.Now())); err != nil {
		t.Fatal(err)
	}
	if got, err := profile.API(home, ""); err != nil || got != api {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := profile.API(home, "https://other.example.com/"); err != nil || got != "https://other.example.com" {
		t.Errorf("what is asked for comes first: got %q, %v", got, err)
	}
}

func TestTwoStagesOfOneHostHaveTwoProfiles(t *testing.T) {
	home := t.TempDir()
	a, errA := profile.Open(home, "https://h/a")
	b, errB := profile.Open(home, "https://h/b")
	if errA != nil || errB != nil || a.Trust() == b.Trust() {
		t.Errorf("%v %v: both in %s", errA, errB, a.Trust())
	}
}

func TestAProfileStaysInsideItsHome(t *testing.T) {
	home := t.TempDir()
	p, err := profile.Open(home, "https://h/../../../etc")
	if err != nil {
		t.Fatal(err)
	}
	if rel, err := filepath.Rel(home, p.Trust()); err != nil || strings.HasPrefix(rel, "..") {
		t.Errorf("%s lies outside of %s", p.Trust(), home)
	}
}

func TestExpiryIsJudgedByTheClockGiven(t *testing.T) {
	p, _ := open(t)
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := p.Current(until); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a login: got %v", err)
	}
	if err := p.Save(credential(t, until)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Current(until.Add(-time.Second)); err != nil {
		t.Errorf("a second before: %v", err)
	}
	if _, err := p.Current(until); !fault.Is(err, fault.Expired) {
		t.Errorf("at the end: got %v", err)
	}
}

func TestRemoveLeavesNoKeyAndKeepsTrust(t *testing.T) {
	p, home := open(t)
	if had, err := p.Remove(); err != nil || had {
		t.Errorf("nothing to remove: %v, %v", had, err)
	}
	if err := p.Save(credential(t, time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.Trust(), 0o700); err != nil {
		t.Fatal(err)
	}
	if had, err := p.Remove(); err != nil || !had {
		t.Fatalf("got %v, %v", had, err)
	}
	if _, err := os.Stat(p.Trust()); err != nil {
		t.Error(err)
	}
	for path, content := range tree(t, home) {
		if strings.Contains(content, "key") {
			t.Errorf("%s still holds a key", path)
		}
	}
}

func TestADamagedFileIsNotALogin(t *testing.T) {
	p, home := open(t)
	if err := p.Save(credential(t, time.Now())); err != nil {
		t.Fatal(err)
	}
	for path := range tree(t, home) {
		if filepath.Base(path) == "credential.json" {
			if err := os.WriteFile(path, []byte(`{"ssh_key":"AAAA"`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := p.Load(); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("got %v", err)
	}
}

func TestProxiesAreKeptUntilOthersAreTold(t *testing.T) {
	p, _ := open(t)
	for _, told := range [][]string{nil, {"a:443", "b:443"}, nil} {
		if err := p.SetProxies(told); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"a:443", "b:443"}, p.Proxies()); diff != "" {
		t.Error(diff)
	}
}

func TestACutFileOfProxiesCountsAsNone(t *testing.T) {
	for _, content := range []string{"", "[", `["a:443"`, "null", "[]", `{"a":1}`, `[1]`, "\x00\x00"} {
		p, home := open(t)
		if err := p.SetProxies([]string{"a:443"}); err != nil {
			t.Fatal(err)
		}
		for path := range tree(t, home) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.Proxies(); len(got) != 0 {
			t.Errorf("%q: got %q", content, got)
		}
	}
}

func TestSec_S51_KeysAreReadableByTheirOwnerAlone(t *testing.T) {
	p, home := open(t)
	if err := p.Save(credential(t, time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := p.SetProxies([]string{"a:443"}); err != nil {
		t.Fatal(err)
	}
	var secret string
	for path := range tree(t, home) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
			t.Errorf("%s is in a directory of mode %v, %v", path, dir.Mode(), err)
		}
		if filepath.Base(path) == "credential.json" {
			secret = path
		}
	}
	if err := os.Chmod(secret, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(); !fault.Is(err, fault.BadInput) {
		t.Errorf("keys that the group can read were taken: %v", err)
	}
}

func TestSec_S50_PrintsAndLogsOfACredentialHoldNoKey(t *testing.T) {
	c := credential(t, time.Now())
	d := c.Keys.TLS.D.String() //nolint:staticcheck // the number is what must not be printed
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(verb, c), d) || strings.Contains(fmt.Sprintf(verb, c.Keys), d) {
			t.Errorf("%s prints the key", verb)
		}
	}
	if b, err := json.Marshal(c.Keys); err == nil {
		t.Errorf("keys were encoded: %s", b)
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
