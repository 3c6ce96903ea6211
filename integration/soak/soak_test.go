package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// files writes some below a new directory.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnErrorInALogIsExcusedByATroubleAndAPanicIsNot(t *testing.T) {
	failing := `{"time":"2026-11-26T12:00:05Z","level":"ERROR","msg":"Run ended"}` + "\n"
	r := &run{System: &stand.System{State: files(t, map[string]string{
		"log/a.log": `{"time":"2026-11-26T12:00:00Z","level":"INFO","msg":"Starts"}` + "\n", "log/b.log": failing,
	})}}
	r.judgeLogs()
	if c := r.book.Of(rule.Log); c.Held != 1 || c.Broken != 1 || !strings.Contains(c.Examples[0], "b.log: ") {
		t.Errorf("without a trouble: %+v", c)
	}
	r.book = rule.Book{}
	r.troubles.Begin(noon)
	r.troubles.End(noon.Add(10 * time.Second))
	r.judgeLogs()
	if c := r.book.Of(rule.Log); c.Held != 2 || c.Excused != 1 || c.Broken != 0 {
		t.Errorf("in a trouble: %+v", c)
	}
	if err := os.WriteFile(filepath.Join(r.State, "log/a.log"), []byte("panic: oh\n\ngoroutine 1 [running]:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.book = rule.Book{}
	r.judgeLogs()
	if c := r.book.Of(rule.Log); c.Broken != 1 || !strings.Contains(c.Examples[0], "panic: oh") {
		t.Errorf("with a panic: %+v", c)
	}
}

func TestAProcessThatGrowsIsNamed(t *testing.T) {
	r := &run{}
	r.sampler.order = []life{{"node-1", 7}, {"node-2", 8}, {"node-3", 9}}
	r.sampler.lives = map[life]*holding{
		r.sampler.order[0]: {memory: []float64{10, 10, 10, 11, 10, 10}, files: []float64{20, 20, 30, 40, 50, 60}},
		r.sampler.order[1]: {memory: []float64{10, 10, 20, 30, 40, 50}, files: []float64{20, 20, 20, 20, 20, 20}},
		r.sampler.order[2]: {memory: []float64{10, 900}, files: []float64{20, 900}},
	}
	r.judgeLeaks()
	c := r.book.Of(rule.Leak)
	if c.Held != 2 || c.Broken != 2 || !strings.Contains(c.Examples[0], "node-1 (process 7): open files went from 20.0 to 55.0") ||
		!strings.Contains(c.Examples[1], "node-2 (process 8): MiB of memory") {
		t.Errorf("%+v", c)
	}
}

func TestTheSessionsIDIsFoundBehindWhatAShellSaysFirst(t *testing.T) {
	const id = "ses_01m8cc64jvmq3z6ekykajwttyn"
	for said, want := range map[string][2]string{
		id + "\nword\n":                       {id, "word\n"},
		"pyenv: noise\n" + id + "\r\n1 2\r\n": {id, "1 2\r\n"},
		"stile: error: no session\n":          {"", "stile: error: no session\n"},
		"about " + id + "\n":                  {"", "about " + id + "\n"},
	} {
		if got, rest := session(said); got != want[0] || rest != want[1] {
			t.Errorf("%q: %q, %q", said, got, rest)
		}
	}
}

func TestADirectoryThatGrowsBreaksARule(t *testing.T) {
	r := &run{}
	dir := files(t, map[string]string{"a": "1234", "b/c": "56"})
	r.bounded(dir, 6)
	r.bounded(dir, 5)
	if c := r.book.Of(rule.Disk); c.Held != 1 || c.Broken != 1 || !strings.Contains(c.Examples[0], "6 bytes in 2 files") {
		t.Errorf("%+v", c)
	}
}

func TestAProcessOfASessionThatIsOverIsFound(t *testing.T) {
	if m := mark.FindStringSubmatch("A=b\x00STILE_SESSION_ID=ses_01a\x00C=d"); m == nil || m[1] != "ses_01a" {
		t.Errorf("%q", m)
	}
	if mark.MatchString("A=STILE_SESSION_ID=ses_01a") {
		t.Error("another variable's value is taken for the session's id")
	}
}

func TestANodeThatIsNotOnlineIsMissed(t *testing.T) {
	list := func(online string) string {
		return `[{"name":"node-1","online":true},{"name":"node-2","online":` + online + `},{"name":"node-3","online":true}]`
	}
	for text, want := range map[string]string{
		list("true"): "", list("false"): "node-2 is not online", `[{"name":"node-1","online":true}]`: "node-2 is not online",
	} {
		if got := offline(text); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if offline("no list") == "" {
		t.Error("what is no list shows every node")
	}
}

func TestGoroutinesAreJudgedByThoseOfOneThatJustStarted(t *testing.T) {
	r := &run{}
	r.compare("node-1", 33, 25)
	r.compare("node-1", 34, 25)
	if c := r.book.Of(rule.Goroutine); c.Held != 1 || c.Broken != 1 {
		t.Errorf("%+v", c)
	}
	log := filepath.Join(files(t, map[string]string{"x.log": "goroutine 1 [running]:\n"}), "x.log")
	write := func(text string) func() error {
		return func() error {
			f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString(text)
			return err
		}
	}
	if n, err := dumped(log, write("SIGQUIT: quit\n\ngoroutine 1 [select]:\nx()\n\ngoroutine 2 [IO wait]:\n")); n != 2 || err != nil {
		t.Errorf("%d goroutines, %v", n, err)
	}
	if _, err := dumped(log, write("nothing of the kind\n")); err == nil {
		t.Error("no dump is none")
	}
}

func TestARunIsKeptOnlyIfEveryRuleWasTried(t *testing.T) {
	r := &run{}
	for _, name := range rule.Names[1:] {
		r.book.Held(name)
	}
	if r.kept() {
		t.Error("a rule was not tried")
	}
	r.book.Held(rule.Names[0])
	if !r.kept() {
		t.Error("every rule was tried and held")
	}
	r.book.Broken(rule.Names[0], noon, "x")
	if r.kept() {
		t.Error("a rule was broken")
	}
}

func TestAnOutcomeIsAFaultUnlessItSucceeded(t *testing.T) {
	r := &run{}
	denied := outcome{Result: stand.Result{Status: 4, Err: "stile: error: access denied: no role"}, began: noon, ended: noon}
	cut := outcome{Result: stand.Result{Status: 6, Err: "stile: error: the API cannot be reached"}, began: noon, ended: noon}
	r.troubles.Begin(noon)
	if !r.allowed(t.Context(), outcome{}) || r.allowed(t.Context(), cut) || r.allowed(t.Context(), denied) {
		t.Error("only the first succeeded")
	}
	if c := r.book.Of(rule.LetIn); c.Held != 1 || c.Excused != 1 || c.Broken != 1 {
		t.Errorf("a trouble excuses a failure and no denial: %+v", c)
	}
	r.troubles.End(noon.Add(time.Second))
	cut.began = noon.Add(2 * time.Second)
	cut.ended = cut.began
	if r.allowed(t.Context(), cut) || r.book.Of(rule.LetIn).Broken != 2 {
		t.Error("what fails outside of a trouble breaks the rule")
	}
}

func TestTooShortOrLongARunIsRefused(t *testing.T) {
	for long, want := range map[time.Duration]string{time.Minute: "make soak T=10m", 11 * time.Hour: "more than 10h0m0s"} {
		o := options{long: long}
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", long, err)
		}
	}
}
