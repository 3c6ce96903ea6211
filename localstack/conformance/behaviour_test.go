package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// behaviour is one thing that AWS does. What it rests on is recorded if an account was seen doing it, documented if
// Source names a page of AWS's documentation, and assumed otherwise.
type behaviour struct {
	ID     string // service/subject/case
	Says   string // one sentence
	Source string // a page of AWS's documentation; see pages
	Absent string // why the local AWS does not do so; it is then observed on AWS alone
}

// seen is what this run has observed, by a behaviour's ID.
var seen struct {
	sync.Mutex
	text map[string]string
}

const (
	held    = "holds"
	notHeld = "does not hold"
)

func find(t *testing.T, id string) behaviour {
	t.Helper()
	i := slices.IndexFunc(table, func(b behaviour) bool { return b.ID == id })
	if i < 0 {
		t.Fatalf("%s is no row of the table in table_test.go", id)
	}
	return table[i]
}

// saw states what was observed of a behaviour, after ids and times gave way to placeholders, and what AWS is expected
// to do. On AWS it is recorded; here it is held against the record, or the expectation while there is none.
func saw(t *testing.T, id, got, want string) {
	t.Helper()
	find(t, id)
	got = strings.TrimSpace(here.normal(got))
	keep(id, got)
	recorded, known := goldens(t)[id]
	switch {
	case onAWS() && got != want:
		t.Errorf("%s: AWS does otherwise than the suite expects.\nseen on AWS:\n%s\nexpected:\n%s", id, got, want)
	case onAWS():
	case known && recorded != want:
		t.Errorf("%s: an account was seen doing otherwise than the suite expects; correct the test, then the local AWS.\nrecorded:\n%s\nexpected:\n%s",
			id, recorded, want)
	case got != want:
		t.Errorf("%s\nhere:\n%s\nexpected:\n%s", id, got, want)
	}
}

// holds states that the whole test is an observation of a behaviour: it holds if the test passes.
func holds(t *testing.T, id string) {
	t.Helper()
	find(t, id)
	t.Cleanup(func() {
		if t.Failed() {
			keep(id, notHeld)
			return
		}
		keep(id, held)
		if !onAWS() && goldens(t)[id] == notHeld {
			t.Errorf("%s holds here, but an account was seen where it does not; correct the test, then the local AWS", id)
		}
	})
}

// absent says whether a behaviour is missing from the local AWS, and this is it.
func absent(t *testing.T, id string) bool {
	t.Helper()
	return find(t, id).Absent != "" && !onAWS()
}

func keep(id, text string) {
	seen.Lock()
	defer seen.Unlock()
	if seen.text == nil {
		seen.text = map[string]string{}
	}
	seen.text[id] = text
}

// whole says whether all tests were asked for.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

// missing complains about behaviours that a whole run did not observe.
func missing() error {
	seen.Lock()
	defer seen.Unlock()
	var ids []string
	for _, b := range table {
		_, ok := seen.text[b.ID]
		expected := onAWS() && unasked[b.ID] == "" && (flags.nlb || !strings.HasPrefix(b.ID, "nlb/")) || !onAWS() && b.Absent == ""
		if !ok && expected {
			ids = append(ids, b.ID)
		}
	}
	if ids != nil {
		return fmt.Errorf("rows of the table that no test observed: %s", strings.Join(ids, ", "))
	}
	return nil
}

// goldenPath is the record of a service's behaviours, JSON of what was seen by ID.
func goldenPath(service string) string { return filepath.Join(flags.goldens, service+".golden") }

// goldens is what was recorded of the service that the running test is about; all services together.
func goldens(t *testing.T) map[string]string {
	t.Helper()
	all, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func recorded() (map[string]string, error) {
	all := map[string]string{}
	for _, b := range table {
		service, _, _ := strings.Cut(b.ID, "/")
		one, err := readGolden(service)
		if err != nil {
			return nil, err
		}
		if text, ok := one[b.ID]; ok {
			all[b.ID] = text
		}
	}
	return all, nil
}

func readGolden(service string) (map[string]string, error) {
	raw, err := os.ReadFile(goldenPath(service))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	var one map[string]string
	if err == nil {
		err = json.Unmarshal(raw, &one)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was recorded: %w", err)
	}
	return one, nil
}

// record adds what this run saw on AWS to what others have.
func record() error {
	seen.Lock()
	defer seen.Unlock()
	byService := map[string]map[string]string{}
	for id, text := range seen.text {
		service, _, _ := strings.Cut(id, "/")
		if byService[service] == nil {
			one, err := readGolden(service)
			if err != nil {
				return err
			}
			byService[service] = one
		}
		byService[service][id] = text
	}
	if err := os.MkdirAll(flags.goldens, 0o755); err != nil {
		return err
	}
	for service, one := range byService {
		var raw bytes.Buffer
		to := json.NewEncoder(&raw)
		to.SetEscapeHTML(false) // placeholders stay readable
		to.SetIndent("", " ")
		if err := errors.Join(to.Encode(one), os.WriteFile(goldenPath(service), raw.Bytes(), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

var (
	uuids = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	times = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?\b`)
	codes = regexp.MustCompile(`\b(AROA|ASIA|AKIA)[A-Z2-7]{12,}\b`)
)

// normal puts placeholders where two accounts, or two runs, differ.
func (w *world) normal(text string) string {
	for _, pair := range [][2]string{
		{w.API.Host, "<host>"},
		{w.Outputs["Api"], "<api>"},
		{w.Bucket, "<bucket>"},
		{w.SignKey, "<sign-key>"},
		{w.MacKey, "<mac-key>"},
		{w.Prefix, "<prefix>"},
		{w.Account, "<account>"},
		{w.Config.Region, "<region>"},
	} {
		if pair[0] != "" {
			text = strings.ReplaceAll(text, pair[0], pair[1])
		}
	}
	text = uuids.ReplaceAllString(text, "<uuid>")
	text = times.ReplaceAllString(text, "<time>")
	return codes.ReplaceAllString(text, "<key-id>")
}
