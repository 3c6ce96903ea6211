package canary_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/arrival"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/canary"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

// mine is a cluster with a ledger and a lake behind it, in memory.
type mine struct {
	t      *testing.T
	db     *storetest.Tables
	canary *canary.Canary
	hour   time.Time
	rows   [][]string // that the lake has of the canary, each of them once
	slow   int        // looks at a question before it has its answer
	page   int        // rows of a page
	why    string     // the question fails
	down   error      // nobody can be asked
	asked  int
}

// in runs a test with its own clock, a quarter of an hour after the beginning of an hour.
func in(t *testing.T, test func(*testing.T, *mine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db, _ := storetest.New()
		m := &mine{t: t, db: db, page: holding.MostRows, hour: time.Now().UTC().Truncate(time.Hour)}
		m.canary = canary.New(canary.Config{
			DynamoDB: db, Events: "ledger", State: "state", Ledger: ledger.New(ledger.Config{DynamoDB: db, Table: "ledger"}), Lake: m.call,
			Cluster: "6e0f6d33-9d52-4a3b-9c11-0d0f3f7a2a10", Entropy: rand.Reader,
		})
		<-time.After(15*time.Minute + 25*time.Millisecond)
		test(t, m)
	})
}

// call is the function that asks Athena.
func (m *mine) call(_ context.Context, c holding.Call) (holding.Answer, error) {
	r := c.Holding
	if m.down != nil {
		return holding.Answer{}, m.down
	}
	if r.ID == "" {
		_, literals, err := r.Compose()
		if err != nil {
			return holding.Answer{}, err
		}
		if _, receipt := m.event(); r.Ask != holding.Row || literals[1] != "'"+receipt+"'" {
			m.t.Errorf("asked for %s of %q", r.Ask, literals)
		}
		m.asked++
		return holding.Answer{ID: "q"}, nil
	}
	a := holding.Answer{ID: r.ID, Why: m.why, Done: m.why != ""}
	if m.slow > 0 || a.Done {
		m.slow--
		return a, nil
	}
	at := 0
	_, _ = fmt.Sscan(r.Cursor, &at)
	a.Done, a.Rows = true, m.rows[at:min(at+m.page, len(m.rows))]
	if at+m.page < len(m.rows) {
		a.Next = fmt.Sprint(at + m.page)
	}
	return a, nil
}

// write writes the canary of now.
func (m *mine) write() {
	m.t.Helper()
	storetest.Must(m.t, m.canary.Write(m.t.Context(), time.Now()))
}

// items are those of the ledger.
func (m *mine) items() (all []table.Item) {
	for _, k := range slices.Sorted(maps.Keys(m.db.Items)) {
		if strings.HasPrefix(k, "ledger|") {
			all = append(all, m.db.Items[k])
		}
	}
	return all
}

// event is the only one of the ledger as it is on the bus, with its receipt.
func (m *mine) event() (fields map[string]json.RawMessage, receipt string) {
	m.t.Helper()
	all := m.items()
	if len(all) != 1 {
		m.t.Fatalf("the ledger has %d events", len(all))
	}
	i := all[0]
	a, err := arrival.Of(i.Text("pk"), i.Text("sk"), i.Text("event"), i.Int("received_ms"))
	storetest.Must(m.t, err)
	raw, err := a.JSON()
	storetest.Must(m.t, err)
	storetest.Must(m.t, json.Unmarshal(raw, &fields))
	return fields, a.Receipt
}

// arrives has the lake have what is on the bus, so often as there are changes to it: a column to what it says there.
func (m *mine) arrives(changes ...map[string]string) {
	m.t.Helper()
	fields, _ := m.event()
	for _, change := range changes {
		var row []string
		for _, c := range names.LakeColumns {
			text, changed := change[c.Name]
			if !changed {
				text = said(m.t, c.Type, fields[c.Name])
			}
			row = append(row, text)
		}
		m.rows = append(m.rows, row)
	}
	for n := range m.rows {
		m.rows[n] = append(m.rows[n][:len(names.LakeColumns)], fmt.Sprint(len(m.rows)))
	}
}

// said is what the question finds of a value.
func said(t *testing.T, kind string, value json.RawMessage) string {
	t.Helper()
	if value == nil {
		return ""
	}
	var text string
	var at time.Time
	var list []string
	var values map[string]string
	var err error
	switch kind {
	case "string":
		err = json.Unmarshal(value, &text)
	case "timestamp":
		err = json.Unmarshal(value, &at)
		text = at.Format("2006-01-02 15:04:05.000")
	case "bigint":
		text = string(value)
	case "array<string>":
		err = json.Unmarshal(value, &list)
		text = strings.Join(append([]string{fmt.Sprint(len(list))}, list...), "\x1f")
	case "map<string,string>":
		err = json.Unmarshal(value, &values)
		text = fmt.Sprint(len(values))
		for key := range values {
			text += "\x1f" + key
			list = append(list, values[key])
		}
		text += "\x1f" + strings.Join(list, "\x1f")
	default:
		t.Fatalf("there is a column of type %s", kind)
	}
	storetest.Must(t, err)
	return "=" + text
}

// at moves the clock to so long after the end of the hour.
func (m *mine) at(d time.Duration) {
	<-time.After(time.Until(m.hour.Add(checked.Hour + d)))
}

// states looks at the hour.
func (m *mine) states() (s checked.Statement, ready bool) {
	m.t.Helper()
	s, ready, err := m.canary.Hour(m.t.Context(), m.hour)
	storetest.Must(m.t, err)
	if ready && (s.Check != checked.Canaries || !s.From.Equal(m.hour) || !s.To.Equal(m.hour.Add(time.Hour))) {
		m.t.Errorf("%+v", s)
	}
	return s, ready
}

// must fails the test unless the hour is stated so.
func (m *mine) must(looked, found int, which, unproved string) {
	m.t.Helper()
	s, ready := m.states()
	if !ready || s.Looked != looked || s.Found != found || s.Which != which || !strings.HasPrefix(s.Unproved, unproved) || (s.Unproved == "") != (unproved == "") {
		m.t.Errorf("%v, %+v", ready, s)
	}
}

var all = len(names.LakeColumns)

// A field that is added to events has no canary until it is given a value here.
func TestACanaryHasAValueInEachField(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		var e audit.Event
		raw := m.items()[0].Text("event")
		storetest.Must(t, json.Unmarshal([]byte(raw), &e))
		v := reflect.ValueOf(e)
		for n := range v.NumField() {
			if f := v.Field(n); f.IsZero() || (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() < 2 {
				t.Errorf("%s is %v", v.Type().Field(n).Name, f)
			}
		}
		fields, _ := m.event()
		for _, c := range names.LakeColumns {
			if len(fields[c.Name]) == 0 {
				t.Errorf("the column %s would be empty", c.Name)
			}
		}
		if e.Time.Truncate(time.Second).Equal(e.Time) {
			t.Error("its time is of a whole second")
		}
		for _, c := range []string{"\n", "\t", `"`, "'", `\`, "<", "&", "ä", "𝄞", "\u2028", ",", "{"} {
			if !strings.Contains(e.Data["text"], c) {
				t.Errorf("%q isn't tried", c)
			}
		}
		if len(raw) != audit.MaxSize || len(e.Data) < 2 {
			t.Errorf("it has %d bytes and %d data", len(raw), len(e.Data))
		}
		if e.Outcome != audit.Success || e.Actor != "function/sweep" || e.Source != "function/sweep" || !strings.HasSuffix(e.Code, "I") {
			t.Errorf("it reads as if something had happened: %+v", e)
		}
	})
}

func TestAnHourHasOneCanary(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.write()
		storetest.Must(t, m.canary.Write(t.Context(), m.hour)) // by one that was slower
		if n := len(m.items()); n != 1 {
			t.Fatalf("%d were written", n)
		}
		m.at(-time.Minute + time.Millisecond)
		for k := range m.db.Items {
			delete(m.db.Items, k)
		}
		m.write()
		if n := len(m.items()); n != 0 {
			t.Error("one is written whose receipt may be of the next hour")
		}
		m.at(0)
		m.write()
		m.write()
		if n := len(m.items()); n != 1 {
			t.Errorf("the next hour has %d", n)
		}
	})
}

// Two runs that both saw none write one.
func TestTwoRunsAtOnceWriteOneCanary(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.db.Late = map[string]bool{} // what a read doesn't see yet
		for k := range m.db.Items {
			m.db.Late[k] = true
		}
		m.write()
		if n := len(m.items()); n != 1 {
			t.Errorf("%d were written", n)
		}
	})
}

func TestWhatCouldNotBeWrittenIsWrittenByTheNextRun(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		down := errors.New("down")
		m.db.Fail = down
		if err := m.canary.Write(t.Context(), time.Now()); !errors.Is(err, down) {
			t.Error(err)
		}
		m.write()
		m.event()
	})
}

func TestACanaryThatArrivedProvesItsHour(t *testing.T) {
	in(t, func(_ *testing.T, m *mine) {
		m.write()
		m.arrives(nil)
		m.slow = 3
		m.at(canary.Patience)
		m.must(all, 0, "", "")
	})
}

func TestAColumnThatDoesNotArriveIsNamed(t *testing.T) {
	for _, c := range names.LakeColumns {
		for _, text := range []string{"", "=", "=other"} { // the first is NULL
			in(t, func(_ *testing.T, m *mine) {
				m.write()
				m.arrives(map[string]string{c.Name: text})
				m.at(canary.Patience)
				m.must(all, 1, c.Name, "")
			})
		}
	}
}

// A delivery comes at least once, and the question finds rows that say the same as one. So more than one are never alike.
func TestRowsOfOneReceiptThatDifferAreNamed(t *testing.T) {
	for _, page := range []int{1, 3, holding.MostRows} {
		in(t, func(_ *testing.T, m *mine) {
			m.page = page
			m.write()
			m.arrives(nil, map[string]string{"actor_roles": "", "data": "=0\x1f\x1f"}, map[string]string{"data": ""})
			m.at(canary.Patience)
			m.must(all, 2, "actor_roles, data", "")
		})
	}
}

// Whoever puts rows without end into the lake has all of them counted and few of them read.
func TestARowOfManyIsReadWithinBounds(t *testing.T) {
	in(t, func(_ *testing.T, m *mine) {
		m.write()
		m.arrives(nil, map[string]string{"reason": "=x"}, nil, nil)
		for n := range m.rows {
			m.rows[n][all] = "1000000"
		}
		m.at(canary.Patience)
		m.must(all, 1, "reason", "")
		m.rows = m.rows[:3]
		m.at(2 * time.Hour)
		m.must(0, 0, "", "the lake could not be asked for the canary: asking the lake: 3 rows came, of 1000000")
		m.rows = [][]string{m.rows[0][:all]}
		m.must(0, 0, "", fmt.Sprintf("the lake could not be asked for the canary: asking the lake: a row has %d columns", all))
	})
}

func TestACanaryThatIsNotThereYetIsWaitedFor(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.at(canary.Patience)
		if s, ready := m.states(); ready {
			t.Errorf("stated: %+v", s)
		}
		m.at(90*time.Minute - time.Millisecond)
		if s, ready := m.states(); ready {
			t.Errorf("stated: %+v", s)
		}
		m.at(90 * time.Minute)
		m.must(0, 0, "", "the lake doesn't have the canary of the hour")
		m.arrives(nil)
		m.must(all, 0, "", "")
	})
}

func TestALakeThatCanNotBeAskedProvesNothing(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.arrives(nil)
		m.at(canary.Patience)
		fails := func(want string) {
			t.Helper()
			if s, ready, err := m.canary.Hour(t.Context(), m.hour); ready || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v, %v, %v", s, ready, err)
			}
		}
		m.why = "the query failed: COLUMN_NOT_FOUND"
		fails("COLUMN_NOT_FOUND")
		m.down = fault.New(fault.Unavailable, "the lake is asked too much at once", "wait a minute")
		fails("wait a minute")
		m.at(2 * time.Hour)
		m.must(0, 0, "", "the lake could not be asked for the canary: asking the lake: the lake is asked too much")
		m.down = nil
		m.must(0, 0, "", "the lake could not be asked for the canary: asking the lake: the query failed: COLUMN_NOT_FOUND")
	})
}

func TestALakeThatIsSlowIsAskedAgain(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.arrives(nil)
		m.at(canary.Patience)
		m.slow = 1000
		if s, ready := m.states(); ready || m.asked != 1 {
			t.Errorf("%d, %+v", m.asked, s)
		}
		m.at(2 * time.Hour)
		m.must(0, 0, "", "the lake could not be asked for the canary: the lake has not answered yet")
		m.slow = 0
		m.must(all, 0, "", "")
	})
}

func TestAnHourWithoutACanaryProvesNothing(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.at(canary.Patience)
		m.must(0, 0, "", "no canary was written in the hour")
		m.write() // that of another hour
		m.must(0, 0, "", "no canary was written in the hour")
		if m.asked != 0 {
			t.Error("the lake was asked")
		}
	})
}

// The ledger is what the lake is held against: a canary that was altered there can't be found to have arrived.
func TestACanaryThatTheLedgerHasNotAsItWasWrittenIsFound(t *testing.T) {
	for name, alter := range map[string]func(table.Item){
		"another text": func(i table.Item) { i["event"] = table.String(strings.Replace(i.Text("event"), "canary", "Canary", 1)) },
		"another type": func(i table.Item) {
			i["event"] = table.String(strings.Replace(i.Text("event"), "evidence.canary", "evidence.checked", 1))
		},
		"another time": func(i table.Item) { i["received_ms"] = table.Int(i.Int("received_ms") + 1) },
		"another's": func(i table.Item) {
			i["event"] = table.String(strings.Replace(i.Text("event"), "function/sweep", "function/admin", 2))
		},
		"an empty column": func(i table.Item) { i["event"] = table.String(strings.Replace(i.Text("event"), `"seq":`, `"sec":`, 1)) },
		"no event":        func(i table.Item) { i["event"] = table.String("{") },
		"nothing":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, m *mine) {
				m.write()
				m.arrives(nil)
				if i := m.items()[0]; alter != nil {
					alter(i)
				} else {
					delete(m.db.Items, "ledger|"+i.Text("pk")+"|"+i.Text("sk"))
				}
				m.at(canary.Patience)
				m.must(all, all, "", "the ledger doesn't have the canary as it was written: ")
				if m.asked != 0 {
					t.Error("the lake was asked")
				}
			})
		})
	}
}

func TestWhatCanNotBeReadIsNotStated(t *testing.T) {
	in(t, func(t *testing.T, m *mine) {
		m.write()
		m.arrives(nil)
		m.at(canary.Patience)
		down := errors.New("down")
		m.db.Fail = down
		if s, ready, err := m.canary.Hour(t.Context(), m.hour); ready || !errors.Is(err, down) {
			t.Errorf("%+v, %v", s, err)
		}
		m.must(all, 0, "", "")
	})
}

// A column of which the canary says nothing proves nothing, though the lake has as little.
func TestACanaryThatSaysNothingInAColumnProvesNothing(t *testing.T) {
	in(t, func(_ *testing.T, m *mine) {
		m.write()
		i := m.items()[0]
		body := strings.Replace(strings.Replace(i.Text("event"), `"scope":"/",`, "", 1), `"source_ip":"192.0.2.1",`, "", 1)
		moved, kept := maps.Clone(i), table.Item{}
		for k := range m.db.Items {
			if strings.HasPrefix(k, "state|looked|canary#") {
				kept = maps.Clone(m.db.Items[k])
			}
		}
		moved["event"], moved["sk"] = table.String(body), table.String(ledger.Receipt(time.UnixMilli(i.Int("received_ms")), []byte(body)))
		kept["under"] = moved["sk"]
		m.db.Items = map[string]table.Item{"ledger|" + i.Text("pk") + "|" + moved.Text("sk"): moved, "state|looked|" + kept.Text("sk"): kept}
		m.arrives(nil)
		m.at(canary.Patience)
		m.must(all-2, 0, "", "the canary says nothing in the columns scope, source_ip")
	})
}
