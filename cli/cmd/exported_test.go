package cmd_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// books is an API whose ledger the test writes: what is received, and when it becomes readable.
type books struct {
	t   *testing.T
	mu  sync.Mutex
	now time.Time
	all []booked
}

type booked struct {
	wire.LedgerEvent
	receipt time.Time // where it is; Received is what its writer claims
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// book has an event received at a time.
func (b *books) book(at time.Time, change ...func(*audit.Event)) string {
	e := audit.New(audit.SessionStart, rnd{b}, at)
	e.Cluster, e.Source, e.Actor, e.TargetKind, e.Target = "c", "agent/agt_1", "user/ada", "node", "web-1"
	e.Data = map[string]string{"certificate": "crt_1", "login": strconv.Itoa(len(b.all))}
	for _, c := range change {
		c(&e)
	}
	text, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(at, wire.LedgerEvent{Event: string(text), Received: at, Standing: "proven"})
	return e.ID
}

func (b *books) put(at time.Time, e wire.LedgerEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, booked{e, at})
	slices.SortStableFunc(b.all, func(x, y booked) int { return x.receipt.Compare(y.receipt) })
}

// rnd gives each event an id of its own.
type rnd struct{ b *books }

func (r rnd) Read(p []byte) (int, error) {
	copy(p, fmt.Sprintf("%0*d", len(p), len(r.b.all)))
	return len(p), nil
}

// ServeHTTP gives pages of seven.
func (b *books) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, page := r.URL.Query(), wire.ReceivedEvents{Events: []wire.LedgerEvent{}, Since: b.now.Add(-time.Hour), Until: b.now}
	for name, into := range map[string]*time.Time{"since": &page.Since, "until": &page.Until} {
		if t, err := time.Parse(time.RFC3339Nano, q.Get(name)); err == nil {
			*into = t
		}
	}
	if page.Until.After(b.now) {
		page.Until = b.now
	}
	from, _ := strconv.Atoi(cmp.Or(q.Get("cursor"), "0"))
	for n, e := range b.all {
		if n < from || e.receipt.Before(page.Since) || !e.receipt.Before(page.Until) {
			continue
		}
		if page.Events = append(page.Events, e.LedgerEvent); len(page.Events) == 7 {
			page.Next, page.Reached = strconv.Itoa(n+1), e.receipt
			break
		}
	}
	if err := json.NewEncoder(w).Encode(page); err != nil {
		b.t.Error(err)
	}
}

// exporter is a login at such an API and a directory for what it leaves.
type exporter struct {
	*books
	cmd.Lookup
	dir string
	who profile.Credential
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	b := &books{t: t, now: noon}
	s := httptest.NewTLSServer(b)
	t.Cleanup(s.Close)
	return &exporter{books: b, Lookup: lookupAt(t, s), dir: t.TempDir(), who: profile.Credential{Cluster: "c", User: "ada"}}
}

func (x *exporter) path(name string) string { return filepath.Join(x.dir, name) }

// run exports into out with the cursor "cursor", and returns what was said.
func (x *exporter) run(out io.Writer, args ...string) (string, error) {
	var said bytes.Buffer
	err := x.Export(x.t.Context(), x.who, x.now, out, &said, append([]string{"--since", "48h", "--cursor", x.path("cursor")}, args...)...)
	return said.String(), err
}

// ids reads the ids of lines, each of which must be JSON.
func ids(t *testing.T, text string) (all []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e struct{ ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			t.Errorf("%q is not a line: %v", line, err)
		}
		all = append(all, e.ID)
	}
	return all
}

// goes fails unless a run writes these events, each once.
func (x *exporter) goes(what string, want []string, args ...string) {
	x.t.Helper()
	var out bytes.Buffer
	if said, err := x.run(&out, args...); err != nil {
		x.t.Fatalf("%s: %v, %s", what, err, said)
	}
	if got := ids(x.t, out.String()); !slices.Equal(got, want) {
		x.t.Errorf("%s: %d events %v, want %d %v", what, len(got), got, len(want), want)
	}
}

func TestAnExportGoesOnWhereItsCursorIs(t *testing.T) {
	x := newExporter(t)
	var first []string
	for n := range 100 {
		first = append(first, x.book(noon.Add(time.Duration(n-150)*time.Second)))
	}
	x.goes("the first", first)
	x.goes("the same again", nil)
	second := []string{x.book(noon.Add(time.Second)), x.book(noon.Add(2 * time.Second))}
	x.now = noon.Add(10 * time.Second)
	x.goes("the next", second)
	slow := x.book(noon.Add(-time.Second)) // behind which others were read before it was there
	x.now = noon.Add(20 * time.Second)
	x.goes("what a writer whose clock is slow wrote late", []string{slow})
	x.now = noon.Add(time.Hour)
	x.goes("an hour later", nil)
	x.now = noon.Add(2 * time.Hour)
	last := x.book(noon.Add(90 * time.Minute))
	x.goes("before the last", nil, "--until", noon.Add(80*time.Minute).Format(time.RFC3339))
	x.goes("the last", []string{last})
}

// What is killed at any step leaves a cursor by which nothing is left out and little comes again.
func TestWhateverEndsAnExportNothingIsLeftOut(t *testing.T) {
	x := newExporter(t)
	var want []string
	for n := range 200 {
		want = append(want, x.book(noon.Add(time.Duration(n)*500*time.Millisecond-24*time.Hour)))
	}
	for name, broken := range map[string]func(n int) (io.Writer, *bytes.Buffer, func()){
		"its output is": func(n int) (io.Writer, *bytes.Buffer, func()) {
			kept := &bytes.Buffer{}
			return &short{into: kept, left: n * 5000}, kept, func() {}
		},
		"its cursor isn't written": func(n int) (io.Writer, *bytes.Buffer, func()) {
			kept := &bytes.Buffer{}
			return kept, kept, cmd.FailCursor(n, false)
		},
		"it ends behind its cursor": func(n int) (io.Writer, *bytes.Buffer, func()) {
			kept := &bytes.Buffer{}
			return kept, kept, cmd.FailCursor(n, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failures := 0
			for n := range 25 {
				x.dir, x.t = t.TempDir(), t
				out, kept, mend := broken(n)
				_, err := x.run(out)
				mend()
				if err != nil {
					failures++
				}
				whole := kept.String()[:strings.LastIndexByte(kept.String(), '\n')+1]
				var rest bytes.Buffer
				if said, err := x.run(&rest); err != nil {
					t.Fatalf("step %d: %v, %s", n, err, said)
				}
				had, more := ids(t, whole), ids(t, rest.String())
				if again := len(had) + len(more) - len(want); err == nil && again != 0 || again > 1000 || again < 0 {
					t.Errorf("step %d: %d come again", n, again)
				}
				if all := slices.Compact(slices.Sorted(slices.Values(append(had, more...)))); !slices.Equal(all, slices.Sorted(slices.Values(want))) {
					t.Errorf("step %d: %d of %d events are there", n, len(all), len(want))
				}
			}
			if failures == 0 || failures == 25 {
				t.Errorf("%d of 25 failed", failures)
			}
		})
	}
}

// short takes so many bytes.
type short struct {
	into io.Writer
	left int
}

func (s *short) Write(p []byte) (int, error) {
	n := min(len(p), s.left)
	s.left -= n
	_, _ = s.into.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestAnExportIntoAFileMendsItsLastLine(t *testing.T) {
	x := newExporter(t)
	want := []string{x.book(noon.Add(-2 * time.Hour)), x.book(noon.Add(-time.Hour))}
	file := x.path("events")
	x.goes("the first", nil, "-o", file)
	b, err := os.ReadFile(file)
	if err != nil || !slices.Equal(ids(t, string(b)), want) {
		t.Fatalf("%q, %v", b, err)
	}
	if err := os.WriteFile(file, append(b, `{"id":"evt_half`...), 0o600); err != nil {
		t.Fatal(err)
	}
	want = append(want, x.book(noon.Add(time.Second)))
	x.now = noon.Add(time.Minute)
	x.goes("the next", nil, "-o", file)
	if b, err = os.ReadFile(file); err != nil || !slices.Equal(ids(t, string(b)), want) {
		t.Errorf("%q, %v", b, err)
	}
	refused(t, x, fault.Conflict, "ends with a line that isn't ocsf", "-o", file, "--format", "ocsf")
	for _, strange := range []string{"not an event\n", `{"id":"x"}` + "\n", `{"class_uid":4007}` + "\n" + `{"standing":`} {
		if err := os.WriteFile(file, []byte(strange), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, x, fault.Conflict, "ends with a line that isn't ndjson", "-o", file)
		if now, err := os.ReadFile(file); err != nil || string(now) != strange {
			t.Errorf("%q is %q now, %v", strange, now, err)
		}
	}
	if err := os.WriteFile(file, make([]byte, 9<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, x, fault.BadInput, "too long for an event", "-o", file)
	refused(t, x, fault.BadInput, "is not a file", "-o", os.DevNull)
	refused(t, x, fault.BadInput, "name one file", "-o", x.path("cursor"))
	x.dir = t.TempDir()
	refused(t, x, fault.Conflict, "has something in it already", "-o", file)
}

func refused(t *testing.T, x *exporter, code fault.Code, want string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	_, err := x.run(&out, args...)
	if f := fault.From(err); err == nil || f.Code != code || !strings.Contains(f.Message, want) || f.Hint == "" {
		t.Errorf("%v: %v", args, err)
	}
	if out.Len() > 0 {
		t.Errorf("and %q is written", out.String())
	}
}

func TestAFullDiskEndsAnExportAndKeepsItsCursor(t *testing.T) {
	x := newExporter(t)
	id := x.book(noon.Add(-time.Hour))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if _, err := x.run(full); fault.From(err).Code.Exit() == 0 || !strings.Contains(fault.From(err).Message, "can't be written any further") {
		t.Errorf("a full disk: %v", err)
	}
	for range 200 { // more than is kept back until a page is whole
		x.book(noon.Add(-time.Minute), func(e *audit.Event) { e.Data["command"] = strings.Repeat("x", 12_000) })
	}
	if _, err := x.run(full, "--since", "30m", "--cursor", x.path("another")); !strings.Contains(fault.From(err).Hint, "free room where they go") {
		t.Errorf("a disk that is full in the middle of a page: %v", err)
	}
	x.all = x.all[:1]
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if _, err := x.run(w); err == nil {
		t.Error("nobody reads the pipe, and that is no failure")
	}
	x.goes("once there is room", []string{id})
}

func TestACursorThatIsNotOneIsRefused(t *testing.T) {
	x := newExporter(t)
	id := x.book(noon.Add(-time.Minute))
	x.goes("the first", []string{id})
	path := x.path("cursor")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cut":          whole[:len(whole)/2],
		"nothing":      nil,
		"altered":      bytes.Replace(whole, []byte(`"from":"2026-11-27T11`), []byte(`"from":"2026-11-27T10`), 1),
		"another sum":  bytes.Replace(whole, []byte(`"sum":"`), []byte(`"sum":"0`), 1),
		"short keys":   bytes.Replace(whole, []byte(`"seen":["`), []byte(`"seen":["AAAA","`), 1),
		"very long":    bytes.Repeat([]byte(" "), 9<<20),
		"another form": []byte(`{"v":2}`),
	} {
		t.Run(name, func(t *testing.T) {
			if bytes.Equal(b, whole) {
				t.Fatal("nothing was changed")
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want := "is not a whole cursor"
			if name == "another form" {
				want = "form 2"
			}
			refused(t, x, fault.BadInput, want)
		})
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, who := range []profile.Credential{{Cluster: "c", User: "bob"}, {Cluster: "d", User: "ada"}} {
		x.who = who
		refused(t, x, fault.Conflict, `is the cursor of user "ada"`)
	}
	x.who = profile.Credential{Cluster: "c", User: "ada"}
	x.now = noon.Add(-time.Hour)
	refused(t, x, fault.Conflict, "still to come")
	x.now = noon.Add(30 * 24 * time.Hour)
	refused(t, x, fault.Conflict, "keeps events for 30 days")
	refused(t, x, fault.Conflict, "keeps events for 30 days", "--until", noon.Add(29*24*time.Hour).Format(time.RFC3339))
	x.now = noon.Add(29 * 24 * time.Hour)
	x.goes("in time", nil)
}

// Two exports by one cursor would each leave out what the other one has.
func TestAnotherExportWithTheSameCursorIsRefused(t *testing.T) {
	x := newExporter(t)
	for range 3 {
		x.book(noon.Add(-time.Hour))
	}
	out := &meanwhile{do: func() {
		if _, err := x.run(io.Discard); err != nil {
			t.Error(err)
		}
	}}
	if _, err := x.run(out); fault.From(err).Code != fault.Conflict {
		t.Errorf("the slower one ends with %v", err)
	}
}

// An export that begins while another writes into its file would take the line that the other is at for one that a crash has left.
func TestAFileHasOneExportAtATime(t *testing.T) {
	x := newExporter(t)
	id := x.book(noon.Add(-time.Hour))
	file := x.path("events")
	other, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	refused(t, x, fault.Conflict, "another export is writing", "-o", file)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	x.goes("when the other has ended", nil, "-o", file)
	if b, err := os.ReadFile(file); err != nil || !slices.Equal(ids(t, string(b)), []string{id}) {
		t.Errorf("%q, %v", b, err)
	}
}

// meanwhile does something when it is first written to.
type meanwhile struct{ do func() }

func (m *meanwhile) Write(p []byte) (int, error) {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return len(p), nil
}

// What a writer claims about when its events were received moves no cursor, and what it puts beside another's hides nothing.
func TestNoWriterHasAnExportLeaveSomethingOut(t *testing.T) {
	x := newExporter(t)
	var want []string
	for n := range 100 {
		want = append(want, x.book(noon.Add(time.Duration(n)*time.Minute-10*time.Hour)))
		x.put(noon.Add(time.Duration(n)*time.Minute-10*time.Hour), wire.LedgerEvent{Event: fmt.Sprintf(`{"id":"lie%d"}`, n), Received: noon.Add(time.Hour), Standing: "refused"})
	}
	var got bytes.Buffer
	if _, err := x.run(&short{into: &got, left: 30_000}); err == nil { // behind the first cursor
		t.Fatal("it takes all")
	}
	got.Truncate(bytes.LastIndexByte(got.Bytes(), '\n') + 1)
	copied := x.all[len(x.all)-2] // proven; the same bytes come first as what can't be believed
	copied.Standing = "refused"
	x.put(copied.receipt.Add(-time.Second), copied.LedgerEvent)
	if said, err := x.run(&got); err != nil {
		t.Fatal(err, said)
	}
	proven := map[string]bool{}
	for line := range strings.Lines(got.String()) {
		if strings.Contains(line, `"standing":"proven"`) {
			proven[ids(t, line)[0]] = true
		}
	}
	if len(proven) != len(want) {
		t.Errorf("%d of %d that are proven are there", len(proven), len(want))
	}
}

func TestEachLineOfAnExportIsJSONWhateverAnEventHas(t *testing.T) {
	x := newExporter(t)
	var want []string
	for n := range 1000 {
		want = append(want, x.book(noon.Add(time.Duration(n-5000)*time.Second), func(e *audit.Event) {
			if e.Reason = "a\nb\r\u2028\x1b[2J\xff" + strings.Repeat("\x00", n%7); n == 498 {
				e.Data["command"] = strings.Repeat("\"\n\xff", 1000)
			}
		}))
	}
	x.goes("1,000 events, one of which is large", want)
	x.dir = t.TempDir()
	var out bytes.Buffer
	if said, err := x.run(&out, "--format", "ocsf"); err != nil {
		t.Fatal(err, said)
	}
	if n := len(ids(t, out.String())); n != len(want) || !strings.Contains(out.String(), `"class_uid":4007`) || !strings.Contains(out.String(), `"received":"2026-`) {
		t.Errorf("%d records of OCSF", n)
	}
	x = newExporter(t)
	x.put(noon.Add(-time.Hour), wire.LedgerEvent{Event: "{ what\n", Received: noon, Standing: "refused", Why: "it can't be read"})
	out.Reset()
	if _, err := x.run(&out); err != nil || len(ids(t, out.String())) != 1 || !strings.Contains(out.String(), `"raw":"{ what\n"`) {
		t.Errorf("%q, %v", out.String(), err)
	}
}
