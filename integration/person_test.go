package integration_test

import (
	"context"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/stand"
)

// The people of account.yaml, by their file of environment variables.
const (
	engineer = stand.Engineer
	admin    = stand.Admin
)

// person is somebody at a shell.
type person struct{ *stand.Person }

// person makes one whose home is empty.
func (s *system) person(t *testing.T, file string) *person {
	t.Helper()
	p, err := s.Person(file, filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	return &person{p}
}

// userName is whose account the tests run in; USER isn't set everywhere.
func userName() string {
	me, err := user.Current()
	if err != nil {
		return os.Getenv("USER")
	}
	return me.Username
}

// result is how a program ended.
type result struct {
	status   int
	out, err string
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs stile to its end.
func (p *person) run(t *testing.T, in io.Reader, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // cleaning up runs programs too
	defer cancel()
	r, err := p.Run(ctx, in, args...)
	if err != nil {
		t.Fatal(err)
	}
	return result{r.Status, r.Out, r.Err}
}

// must runs stile, which must succeed, and gives its output.
func (p *person) must(t *testing.T, args ...string) string {
	t.Helper()
	r := p.run(t, nil, args...)
	if r.status != 0 {
		t.Fatalf("stile %s ended with %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
	}
	return r.out
}

// login logs the person in.
func (p *person) login(t *testing.T, args ...string) *person {
	t.Helper()
	p.must(t, append([]string{"login", "--iam"}, args...)...)
	return p
}

// typeName is what no message may hold: a name of Go.
var typeName = regexp.MustCompile(`\b(wire|access|fault|certs|bundle|tunnel|frame|strict|json|x509|tls|ssh|http|net)\.[A-Z]\w+|\bcannot unmarshal\b|\bgoroutine\b|\bmap\[string\]|0x[0-9a-f]{8}`)

// refused checks that a refusal is one that people can use.
func (r result) refused(t *testing.T, status int, words ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("ended with %d, want %d\n%s%s", r.status, status, r.out, r.err)
	}
	if !strings.HasPrefix(r.err, "stile: error: ") || !strings.Contains(r.err, "\nstile: hint: ") {
		t.Errorf("no error and hint in %q", r.err)
	}
	if m := typeName.FindString(r.err); m != "" {
		t.Errorf("%q is no word for people, in %q", m, r.err)
	}
	for _, word := range words {
		if !strings.Contains(r.err, word) {
			t.Errorf("%q is not in %q", word, r.err)
		}
	}
}
