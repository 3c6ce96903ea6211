package audit_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)

// full is an event with every field set.
func full() audit.Event {
	e := audit.New(audit.SessionDenied, bytes.NewReader(bytes.Repeat([]byte{7}, 16)), now)
	e.Cluster, e.Actor, e.ActorRoles = "6f0b1a52-7a0e-4a35-9a44-6a8f0f5f1c11", "user/alice", []string{"access", "backend"}
	e.TargetKind, e.Target, e.Scope = "node", "node-1", "/payments"
	e.SessionID, e.RequestID, e.DecisionID = "ses_01", "req-1", "dec_01"
	e.Outcome, e.Reason, e.SourceIP = audit.Denied, "role noroot: denies login root", "192.0.2.1"
	e.Source, e.SourceEpoch, e.Seq = "agent/agt_01", "1", 42
	e.SourceAfter = "0:7"
	e.Data = map[string]string{"certificate": "crt_01", "login": "root", "kind": "exec"}
	return e
}

// always is the data that each event of a type has.
func always(of audit.Type) map[string]string {
	data := map[string]string{}
	for _, f := range audit.Types[of].Fields {
		if f.Always {
			data[f.Name] = "1"
		}
	}
	return data
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is not what the code says (go test ./pkg/audit -update writes it; what stood in events stays for years):\n%s", path, d)
	}
}

func TestTheJSONOfAnEventStays(t *testing.T) {
	if err := full().Validate(); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(full(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "event.json", append(b, '\n'))
	var again audit.Event
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(full(), again); d != "" {
		t.Error(d)
	}
}

// presence says in a word whether events have a field.
func presence(f audit.Field) string {
	switch {
	case f.Kept:
		return "formerly"
	case f.Always:
		return "always"
	}
	return "sometimes"
}

func TestTypesAndCodesStay(t *testing.T) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(audit.Types)) {
		fmt.Fprintf(&b, "%s %s %s\n", audit.Types[name].Code, name, audit.Types[name].Summary)
		for _, f := range audit.Types[name].Fields {
			fmt.Fprintf(&b, "\t%s %s: %s\n", f.Name, presence(f), f.Meaning)
		}
	}
	golden(t, "types.txt", []byte(b.String()))
	codes, shape := map[string]audit.Type{}, regexp.MustCompile(`^S[1-9][0-9]{3}[IW]$`)
	for name, row := range audit.Types {
		if other, twice := codes[row.Code]; twice {
			t.Errorf("%s and %s share the code %s", name, other, row.Code)
		}
		codes[row.Code] = name
		if !shape.MatchString(row.Code) || row.Summary == "" {
			t.Errorf("the row of %s is %+v", name, row)
		}
	}
}

// Every constant of the type Type has a row: one without would make events that nobody takes.
func TestEveryTypeHasARow(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "type.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		found++
		if _, ok := audit.Types[audit.Type(strings.Trim(literal.Value, `"`))]; !ok {
			t.Errorf("%s has no row", spec.Names[0].Name)
		}
		return true
	})
	if found != len(audit.Types) {
		t.Errorf("%d constants, %d rows", found, len(audit.Types))
	}
}

func TestNewMakesAnEventThatOnlyWantsItsParties(t *testing.T) {
	e := audit.New(audit.UserLogin, rand.Reader, now)
	if e.Time != now.Truncate(time.Millisecond) || e.Code != "S1000I" || e.Outcome != audit.Success {
		t.Errorf("%+v", e)
	}
	if other := audit.New(audit.UserLogin, rand.Reader, now); other.ID == e.ID || other.ID[:10] != e.ID[:10] {
		t.Errorf("ids %s and %s", e.ID, other.ID)
	}
	later := audit.New(audit.UserLogin, rand.Reader, now.Add(time.Second))
	if later.ID <= e.ID {
		t.Error("ids don't sort by time")
	}
	e.Cluster, e.Actor, e.Source, e.Data = "c", "user/alice", "function/login", always(audit.UserLogin)
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*audit.Event)
		path  string
	}{
		"no id":                  {func(e *audit.Event) { e.ID = "" }, "id"},
		"an id in capitals":      {func(e *audit.Event) { e.ID = strings.ToUpper(e.ID) }, "id"},
		"no time":                {func(e *audit.Event) { e.Time = time.Time{} }, "time"},
		"a time too fine":        {func(e *audit.Event) { e.Time = now }, "time"},
		"an unknown type":        {func(e *audit.Event) { e.Type = "user.logged_in" }, "type"},
		"another type's code":    {func(e *audit.Event) { e.Code = "S1000I" }, "code"},
		"no cluster":             {func(e *audit.Event) { e.Cluster = "" }, "cluster"},
		"no actor":               {func(e *audit.Event) { e.Actor = "" }, "actor"},
		"no source":              {func(e *audit.Event) { e.Source = "" }, "source"},
		"no outcome":             {func(e *audit.Event) { e.Outcome = "" }, "outcome"},
		"a denial for no reason": {func(e *audit.Event) { e.Reason = "" }, "reason"},
		"a target of no kind":    {func(e *audit.Event) { e.TargetKind = "" }, "target"},
		"too much data":          {func(e *audit.Event) { e.Data["login"] = strings.Repeat("x", audit.MaxSize) }, "data"},
		"a key of no meaning":    {func(e *audit.Event) { e.Data["colour"] = "red" }, "data.colour"},
		"a key without end":      {func(e *audit.Event) { e.Data[strings.Repeat("x", 1000)] = "" }, "data." + strings.Repeat("x", 64)},
		"nobody's certificate":   {func(e *audit.Event) { delete(e.Data, "certificate") }, "data.certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			e := full()
			c.spoil(&e)
			f := fault.From(e.Validate())
			if f == nil || f.Code != fault.BadInput || len(f.Fields) != 1 || f.Fields[0].Path != c.path {
				t.Errorf("%+v", f)
			}
		})
	}
	if f := fault.From((audit.Event{}).Validate()); f == nil || len(f.Fields) < 6 {
		t.Errorf("%+v", f)
	}
}

// Readers judge events of years by the table of today.
func TestAnEventOfBeforeIsStillValid(t *testing.T) {
	for of, key := range map[audit.Type]string{
		audit.SessionDenied: "denials_between", audit.AgentJoin: "claimed_name",
	} {
		e := full()
		e.Type, e.Code, e.Data = of, audit.Types[of].Code, always(of)
		e.Data[key] = "1"
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}
}

func TestOfManyKeysThatATypeDoesNotHaveSomeAreTold(t *testing.T) {
	e := full()
	for i := range 500 {
		e.Data[fmt.Sprintf("key-%03d", i)] = "x"
	}
	f := fault.From(e.Validate())
	if f == nil || len(f.Fields) > 10 || f.Fields[0].Path != "data.key-000" {
		t.Errorf("%+v", f)
	}
}

// What an agent of the release after this one adds to a type costs nobody the event. Nobody else's events have such keys.
func TestKeysOfANewerReleaseAreTakenFromAgentsAlone(t *testing.T) {
	newer := func(source string, keys ...string) error {
		e := full()
		e.Type, e.Code, e.Data, e.Source = audit.SessionStart, audit.Types[audit.SessionStart].Code, always(audit.SessionStart), source
		for _, key := range keys {
			e.Data[key] = "x"
		}
		return e.Received()
	}
	many := func(n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("of_tomorrow.%02d", i))
		}
		return keys
	}
	for name, c := range map[string]struct {
		err   error
		taken bool
	}{
		"an agent's":        {newer("agent/agt_1", "of_tomorrow"), true},
		"sixteen":           {newer("agent/agt_1", many(16)...), true},
		"seventeen":         {newer("agent/agt_1", many(17)...), false},
		"as long as can be": {newer("agent/agt_1", strings.Repeat("x", 64)), true},
		"too long":          {newer("agent/agt_1", strings.Repeat("x", 65)), false},
		"in capitals":       {newer("agent/agt_1", "Command"), false},
		"an order":          {newer("agent/agt_1", "a\x1b[31m"), false},
		"no name":           {newer("agent/agt_1", ""), false},
		"a proxy's":         {newer("proxy/prx_1", "of_tomorrow"), false},
		"a function's":      {newer("function/admin", "of_tomorrow"), false},
	} {
		if (c.err == nil) != c.taken {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	e := full()
	e.Source, e.Data = "agent/agt_1", map[string]string{"of_tomorrow": "x"}
	maps.Copy(e.Data, always(e.Type))
	if e.Validate() == nil {
		t.Error("and an agent writes them")
	}
}
