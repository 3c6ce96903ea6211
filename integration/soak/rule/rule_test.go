package rule_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestABreachIsCountedAndKeptWordByWord(t *testing.T) {
	told := 0
	b := rule.Book{Tell: func(name rule.Name, text string) {
		if told++; name != rule.LetIn || text != "12:00:00.000 alice was refused: 100%" {
			t.Errorf("told of %s: %s", name, text)
		}
	}}
	for range 20 {
		b.Judge(rule.LetIn, noon, "")
		b.Judge(rule.LetIn, noon, "alice was refused: 100%")
	}
	b.Excused(rule.LetIn)
	c := b.Of(rule.LetIn)
	if c.Held != 20 || c.Broken != 20 || c.Excused != 1 || len(c.Examples) != 5 || c.Examples[0] != "12:00:00.000 alice was refused: 100%" {
		t.Errorf("%+v", c)
	}
	if b.Breaches() != 20 || told != 5 {
		t.Errorf("%d breaches, told of %d", b.Breaches(), told)
	}
}

func TestARuleThatWasNotTriedIsNamed(t *testing.T) {
	var b rule.Book
	for _, name := range rule.Names {
		if name != rule.Leak {
			b.Held(name)
		}
	}
	b.Excused(rule.Leak)
	if got := b.Untried(); !slices.Equal(got, []rule.Name{rule.Leak}) {
		t.Errorf("untried are %v", got)
	}
}

func TestATroubleExplainsWhatFellIntoItAlone(t *testing.T) {
	var during rule.Troubles
	if during.Explain(at(0), at(9)) {
		t.Error("no trouble explains something")
	}
	during.Begin(at(10))
	if during.Explain(at(0), at(9)) || !during.Explain(at(0), at(11)) || !during.Explain(at(500), at(501)) {
		t.Error("a trouble that lasts explains what ends after it began, and nothing else")
	}
	during.End(at(20))
	during.End(at(100)) // it is over already
	during.Begin(at(200))
	during.End(at(210))
	for _, c := range []struct {
		from, to float64
		want     bool
	}{{0, 9, false}, {9, 11, true}, {12, 13, true}, {19, 50, true}, {21, 22, false}, {5, 400, true}, {205, 206, true}, {211, 900, false}} {
		if got := during.Explain(at(c.from), at(c.to)); got != c.want {
			t.Errorf("from %v to %v: %v", c.from, c.to, got)
		}
	}
}

func TestARefusalForWantOfARightIsTold(t *testing.T) {
	for said, want := range map[string]bool{
		"stile: error: your login was revoked":                        true,
		"stile: error: access denied: role gate denies node-1":        true,
		"stile: error: locked: user alice":                            true,
		"stile: error: your roles do not let you read roles":          true,
		"stile: error: the API cannot be reached":                     false,
		"stile: error: the connection to the node was lost":           false,
		"stile: error: node-1 has no tunnel\nstile: hint: stile ls":   false,
		"stile: error: something went wrong, try again in some while": false,
	} {
		if got := rule.Denies(said); got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
}

func TestWhoWasRevokedIsNotLetInAfterTheBound(t *testing.T) {
	for _, c := range []struct {
		began    float64
		admitted bool
		tried    bool
		breach   bool
	}{{1, true, false, false}, {1, false, true, false}, {10, true, true, true}, {11, true, true, true}, {11, false, true, false}} {
		tried, fault := rule.Admission(rule.Probe{Taken: noon, Began: at(c.began), Bound: 10 * time.Second, Admitted: c.admitted})
		if tried != c.tried || (fault != "") != c.breach {
			t.Errorf("%+v: tried %v, %q", c, tried, fault)
		}
	}
	if rule.Within("the cut", time.Second, time.Second) != "" || rule.Within("the cut", 1001*time.Millisecond, time.Second) == "" {
		t.Error("the bound belongs to what is allowed, and nothing beyond does")
	}
}

// A leak per session shows as a slope, noise and a single peak don't.
func TestGrowthIsToldFromNoise(t *testing.T) {
	margin := rule.Margin{Fixed: 4, Fraction: 0.2}
	judge := func(samples ...float64) string {
		first, last, enough := rule.Growth(samples)
		if !enough {
			return "too few"
		}
		return rule.Grew("memory", first, last, margin)
	}
	for name, c := range map[string]struct {
		samples []float64
		want    string
	}{
		"flat":               {[]float64{20, 20, 20, 20, 20, 20}, ""},
		"noise":              {[]float64{20, 23, 19, 22, 20, 23, 21, 22, 20}, ""},
		"a peak":             {[]float64{20, 21, 20, 20, 20, 20, 21, 20, 90}, ""},
		"a slope":            {[]float64{20, 22, 24, 26, 28, 30, 32, 34, 36}, "memory went from 22.0 to 34.0"},
		"a step":             {[]float64{20, 20, 20, 20, 26, 26, 26, 26, 26}, "memory went from 20.0 to 26.0"},
		"less in the end":    {[]float64{40, 40, 40, 20, 20, 20}, ""},
		"a fraction of much": {[]float64{100, 100, 100, 119, 119, 119}, ""},
		"too much of much":   {[]float64{100, 100, 100, 121, 121, 121}, "memory went from 100.0 to 121.0"},
		"too few":            {[]float64{1, 2, 3, 4, 500}, "too few"},
	} {
		if got := judge(c.samples...); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestEverySessionHasOneStartAndOneEnd(t *testing.T) {
	seen := func(id string) rule.Session {
		return rule.Session{ID: id, User: "bea", Target: "node-1", From: at(10), To: at(20)}
	}
	start := func(id string) rule.Entry {
		return rule.Entry{SessionID: id, User: "bea", Target: "node-1", Start: true, At: at(10)}
	}
	end := func(id string) rule.Entry {
		return rule.Entry{SessionID: id, User: "bea", Target: "node-1", At: at(20)}
	}
	kill := func(target string, from, to float64) []rule.Kill {
		return []rule.Kill{{Target: target, From: at(from), To: at(to)}}
	}
	foreign := start("s")
	foreign.User = "cal"
	for name, c := range map[string]struct {
		seen           []rule.Session
		entries        []rule.Entry
		kills          []rule.Kill
		whole, excused int
		fault          string
	}{
		"whole":                         {[]rule.Session{seen("s")}, []rule.Entry{end("s"), start("s")}, nil, 1, 0, ""},
		"whole, unseen":                 {nil, []rule.Entry{start("s"), end("s")}, nil, 1, 0, ""},
		"not there":                     {[]rule.Session{seen("s")}, nil, nil, 0, 0, "doesn't know session s"},
		"no end":                        {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, nil, 0, 0, "1 starts and 0 ends"},
		"no start":                      {[]rule.Session{seen("s")}, []rule.Entry{end("s")}, nil, 0, 0, "0 starts and 1 ends"},
		"two starts":                    {[]rule.Session{seen("s")}, []rule.Entry{start("s"), start("s"), end("s")}, nil, 0, 0, "2 starts and 1 ends"},
		"two ends":                      {[]rule.Session{seen("s")}, []rule.Entry{start("s"), end("s"), end("s")}, nil, 0, 0, "1 starts and 2 ends"},
		"two ends, unseen":              {nil, []rule.Entry{start("s"), end("s"), end("s")}, nil, 0, 0, "1 starts and 2 ends"},
		"somebody else's":               {[]rule.Session{seen("s")}, []rule.Entry{foreign, foreign}, nil, 0, 0, "is one of cal"},
		"cut short by a kill":           {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, kill("node-1", 15, 16), 0, 1, ""},
		"begun in the kill":             {[]rule.Session{seen("s")}, nil, kill("node-1", 9, 10), 0, 1, ""},
		"ended a moment before a kill":  {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, kill("node-1", 20.5, 21), 0, 1, ""},
		"ended long before a kill":      {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, kill("node-1", 25, 26), 0, 0, "1 starts and 0 ends"},
		"begun after a kill":            {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, kill("node-1", 5, 6), 0, 0, "1 starts and 0 ends"},
		"another agent was killed":      {[]rule.Session{seen("s")}, []rule.Entry{start("s")}, kill("node-2", 15, 16), 0, 0, "1 starts and 0 ends"},
		"two ends in spite of a kill":   {[]rule.Session{seen("s")}, []rule.Entry{start("s"), end("s"), end("s")}, kill("node-1", 15, 16), 0, 0, "2 ends"},
		"unseen, no end, before a kill": {nil, []rule.Entry{start("s")}, kill("node-1", 15, 16), 0, 1, ""},
	} {
		whole, excused, faults := rule.Ledger(c.seen, c.entries, c.kills)
		if whole != c.whole || excused != c.excused || (len(faults) == 0) != (c.fault == "") || !strings.Contains(strings.Join(faults, "\n"), c.fault) {
			t.Errorf("%s: %d whole, %d excused, %q", name, whole, excused, faults)
		}
	}
}

func TestPanicsAndErrorsAreFoundInLogs(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"2026-11-26T12:00:00Z","level":"INFO","msg":"Tunnel up"}`:                                         "",
		`{"time":"2026-11-26T12:00:00Z","level":"WARN","msg":"no ERROR here"}`:                                     "",
		`{"time":"2026-11-26T12:00:00Z","level":"ERROR","msg":"Audit spool not read"}`:                             rule.Error,
		`{"time":"2026-11-26T12:00:00Z","level":"ERROR","msg":"Request answered","cause":"panic: index"}`:          rule.Panic,
		"panic: runtime error: invalid memory address or nil pointer dereference":                                  rule.Panic,
		"fatal error: concurrent map writes":                                                                       rule.Panic,
		"\tnot a line of ours, about a panic: in general":                                                          "",
		`{"time":"2026-11-26T12:00:00Z","level":"INFO","msg":"Session","command":"panic: is what somebody typed"}`: "",
	} {
		got, ok := rule.ReadLine([]byte(line))
		if ok != (want != "") || got.Kind != want || want == rule.Error && !got.At.Equal(noon) {
			t.Errorf("%s: %+v, %v", line, got, ok)
		}
	}
}

func TestGoroutinesOfADumpAreCounted(t *testing.T) {
	dump := "SIGQUIT: quit\nPC=0x47 m=0 sigcode=0\n\ngoroutine 0 gp=0x1 m=0 mp=0x2 [idle]:\nruntime.futex()\n\n" +
		"goroutine 1 gp=0x3 m=nil [select, 2 minutes]:\nmain.main()\n\tcreated by goroutine 7\n\ngoroutine 34 [IO wait]:\nnet.read()\n"
	if got := rule.Goroutines([]byte(dump)); got != 3 {
		t.Errorf("%d goroutines", got)
	}
}
