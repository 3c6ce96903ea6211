package ocsf_test

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/ocsf"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 123e6, time.UTC)

// least is an event of a type with what it can't do without.
func least(of audit.Type, outcome audit.Outcome) audit.Event {
	e := audit.New(of, rand.Reader, now)
	e.Cluster, e.Actor, e.Source, e.Outcome = "c", "unknown", "agent/agt_1", outcome
	if outcome != audit.Success {
		e.Reason = "because"
	}
	e.Data = map[string]string{}
	for _, f := range audit.Types[of].Fields {
		if f.Always {
			e.Data[f.Name] = "7"
		}
	}
	return e
}

// full is one with all that there is.
func full(of audit.Type, actor, kind string) audit.Event {
	e := least(of, audit.Denied)
	e.Actor, e.ActorRoles, e.TargetKind, e.Target, e.Scope = actor, []string{"access", "backend"}, kind, "web-1", "/payments"
	e.SessionID, e.RequestID, e.DecisionID, e.SourceIP = "ses_1", "req-1", "dec_1", "2001:db8::1"
	e.SourceEpoch, e.Seq, e.SourceAfter = "e1", 42, "e0:7"
	for _, f := range audit.Types[of].Fields {
		e.Data[f.Name] = "7"
	}
	if _, ok := e.Data["since"]; ok {
		e.Data["since"] = now.Format(time.RFC3339)
	}
	return e
}

// events are of every type, by every kind of actor, with and without everything.
func events() (all []audit.Event) {
	for of := range audit.Types {
		all = append(all, least(of, audit.Success), least(of, audit.Failure), least(of, audit.Denied))
		for _, actor := range []string{"user/ada", "agent/agt_1", "proxy/prx_1", "function/publish", "aws/aws:1:role:AROA/session", "unknown", "user/", "made/up"} {
			for _, kind := range []string{"node", "db", "role", "document"} {
				all = append(all, full(of, actor, kind))
			}
		}
	}
	return all
}

func TestARecordOfEveryTypeIsAsTheSchemaSays(t *testing.T) {
	s := load(t)
	if s.Version != ocsf.Version {
		t.Errorf("the schema is of version %s", s.Version)
	}
	for _, e := range events() {
		if err := e.Validate(); err != nil {
			t.Fatalf("%s: %v", e.Type, err)
		}
		b, err := json.Marshal(ocsf.Map(e))
		if err != nil {
			t.Fatal(err)
		}
		if faults := s.check(b); len(faults) > 0 {
			t.Errorf("%s: %v\n%s", e.Type, faults, b)
		}
	}
}

func TestEveryTypeHasAClass(t *testing.T) {
	if len(ocsf.Types) != len(audit.Types) {
		t.Errorf("%d rows for %d types", len(ocsf.Types), len(audit.Types))
	}
	for of := range audit.Types {
		row, ok := ocsf.Types[of]
		if !ok || ocsf.Classes[row.Class] == "" || row.Why == "" || row.Severity == 0 || row.Activity == 0 {
			t.Errorf("%s: %+v", of, row)
		}
		if warns := strings.HasSuffix(audit.Types[of].Code, "W"); warns != (row.Severity > 1) {
			t.Errorf("%s has the code %s and the severity %d", of, audit.Types[of].Code, row.Severity)
		}
	}
}

// Nothing of an event is lost: what a record has no place for is in unmapped.
func TestARecordHoldsTheWholeEvent(t *testing.T) {
	elsewhere := map[string]func(ocsf.Record) any{
		"id": func(r ocsf.Record) any { return r.Metadata.UID }, "code": func(r ocsf.Record) any { return r.Metadata.EventCode },
		"cluster": func(r ocsf.Record) any { return r.Metadata.TenantUID }, "source": func(r ocsf.Record) any { return r.Metadata.LogProvider },
		"seq": func(r ocsf.Record) any { return r.Metadata.Sequence }, "reason": func(r ocsf.Record) any { return r.StatusDetail },
		"time": func(r ocsf.Record) any { return time.UnixMilli(r.Time).UTC() },
	}
	for of := range audit.Types {
		e := full(of, "user/ada", "node")
		r := ocsf.Map(e)
		v := reflect.ValueOf(e)
		for i, f := range audit.Common {
			got, want := r.Unmapped[f.Name], v.Field(i).Interface()
			if at := elsewhere[f.Name]; at != nil {
				got = at(r)
			}
			switch w := want.(type) { // text of a type of its own
			case audit.Type:
				want = string(w)
			case audit.Outcome:
				want = string(w)
			case map[string]string:
				if len(w) == 0 {
					continue
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s is %v, want %v", of, f.Name, got, want)
			}
		}
	}
}

func TestWhatOCSFReadersLookFor(t *testing.T) {
	login := least(audit.UserLogin, audit.Success)
	login.Actor, login.SourceIP, login.Data["uid"] = "user/ada", "192.0.2.1", "usr_1"
	if r := ocsf.Map(login); r.ClassUID != 3002 || r.TypeUID != 300201 || r.StatusID != 1 || r.User.Name != "ada" || r.User.UID != "usr_1" || r.User.TypeID != 1 || r.Source.IP != "192.0.2.1" {
		t.Errorf("%+v", r)
	}
	denied := full(audit.SessionDenied, "user/ada", "node")
	if r := ocsf.Map(denied); r.ClassUID != 4007 || r.ActivityID != 5 || r.StatusID != 2 || r.Target.Name != "web-1" || r.Source.Owner.Name != "ada" || r.StatusDetail != "because" {
		t.Errorf("%+v", r)
	}
	if r := ocsf.Map(full(audit.SessionStart, "user/ada", "db")); r.ClassUID != 4001 {
		t.Errorf("%+v", r)
	}
	counted := full(audit.SessionDenialsCounted, "user/ada", "node")
	if r := ocsf.Map(counted); r.Count != 7 || r.StartTime != now.Truncate(time.Second).UnixMilli() {
		t.Errorf("%+v", r)
	}
	counted.Data["denials"], counted.Data["since"] = "-3", "yesterday"
	if r := ocsf.Map(counted); r.Count != 0 || r.StartTime != 0 {
		t.Errorf("%+v", r)
	}
	stale, fresh := least(audit.DocumentsStale, audit.Failure), least(audit.DocumentsFresh, audit.Success)
	if a, b := ocsf.Map(stale), ocsf.Map(fresh); a.Finding.UID != b.Finding.UID || a.ActivityID != 1 || b.ActivityID != 3 {
		t.Errorf("%+v, %+v", a, b)
	}
	for _, ip := range []string{"", "nowhere", "fe80::1%eth0", "1.2.3.4:5"} {
		login.SourceIP = ip
		if b, err := json.Marshal(ocsf.Map(login)); err != nil || len(load(t).check(b)) > 0 {
			t.Errorf("%q: %s, %v", ip, b, err)
		}
	}
}

// The check would be worth nothing if it passed everything.
func TestTheCheckFindsWhatIsWrongWithARecord(t *testing.T) {
	s := load(t)
	whole := func() map[string]any {
		b, err := json.Marshal(ocsf.Map(full(audit.UserLogin, "user/ada", "certificate")))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		return fields
	}
	check := func(fields map[string]any) []string {
		b, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return s.check(b)
	}
	if faults := check(whole()); faults != nil {
		t.Fatal(faults)
	}
	part := func(f map[string]any, name string) map[string]any { return f[name].(map[string]any) }
	broken := map[string]func(map[string]any){
		"a class that isn't there":    func(f map[string]any) { f["class_uid"] = 3999 },
		"no class":                    func(f map[string]any) { delete(f, "class_uid") },
		"another category":            func(f map[string]any) { f["category_uid"] = 4 },
		"an activity out of the enum": func(f map[string]any) { f["activity_id"], f["type_uid"] = 42, 300242 },
		"a type of another activity":  func(f map[string]any) { f["type_uid"] = 300202 },
		"a severity out of the enum":  func(f map[string]any) { f["severity_id"] = 7 },
		"time in seconds":             func(f map[string]any) { f["time"] = 1_800_000_000 },
		"time as text":                func(f map[string]any) { f["time"] = "2026-11-20T12:00:00Z" },
		"a fraction":                  func(f map[string]any) { f["severity_id"] = 1.5 },
		"a number as text":            func(f map[string]any) { f["status_id"] = "1" },
		"text as a number":            func(f map[string]any) { f["message"] = 7 },
		"an unknown attribute":        func(f map[string]any) { f["colour"] = "red" },
		"one of another class":        func(f map[string]any) { f["entity"] = map[string]any{"name": "x"} },
		"an unknown one inside":       func(f map[string]any) { part(f, "user")["colour"] = "red" },
		"a missing one inside":        func(f map[string]any) { delete(part(part(f, "metadata"), "product"), "vendor_name") },
		"another version":             func(f map[string]any) { part(f, "metadata")["version"] = "9.9.9" },
		"a list where one belongs":    func(f map[string]any) { f["user"] = []any{f["user"]} },
		"one where a list belongs":    func(f map[string]any) { part(f, "user")["groups"] = map[string]any{"name": "x"} },
		"text for an object":          func(f map[string]any) { f["user"] = "ada" },
		"nobody":                      func(f map[string]any) { f["user"] = map[string]any{"type_id": 1} },
		"no service":                  func(f map[string]any) { delete(f, "service") },
		"an address that is none":     func(f map[string]any) { part(f, "src_endpoint")["ip"] = "nowhere" },
		"nothing for an object":       func(f map[string]any) { f["user"] = nil },
	}
	for name, a := range s.Classes["authentication"].Attributes {
		if a.Requirement == "required" {
			broken["without "+name] = func(f map[string]any) { delete(f, name) }
		}
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		fields := whole()
		broken[name](fields)
		if check(fields) == nil {
			t.Errorf("%s: the check finds nothing", name)
		}
	}
	if s.check([]byte("{")) == nil {
		t.Error("what is no JSON passes")
	}
}
