package recent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recent"
	"github.com/stile-dev/stile/pkg/table"
)

var now = time.Date(2026, 11, 20, 0, 5, 0, 0, time.UTC) // so that what is recent is of two days

// books is a ledger in memory, which answers pages as DynamoDB does.
type books struct {
	table.API
	mu    sync.Mutex
	items map[string][]table.Item // by partition
	down  string                  // a partition that can't be read
	asked int
}

func (b *books) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	values, start := table.Item(in.ExpressionAttributeValues), table.Item(in.ExclusiveStartKey)
	pk := values.Text(":pk")
	if b.down != "" && strings.HasPrefix(pk, b.down) {
		return nil, errors.New("throttled")
	}
	if *in.TableName != "ledger" || !*in.ConsistentRead || *in.ScanIndexForward || *in.KeyConditionExpression != "pk = :pk AND sk BETWEEN :first AND :last" {
		return nil, fmt.Errorf("asked %+v", in)
	}
	out := &dynamodb.QueryOutput{}
	for _, i := range slices.Backward(b.items[pk]) {
		sk := i.Text("sk")
		if sk < values.Text(":first") || sk > values.Text(":last") || start != nil && sk >= start.Text("sk") {
			continue
		}
		if len(out.Items) == int(*in.Limit) || len(out.Items) > 0 && i.Bytes("junk") != nil {
			out.LastEvaluatedKey = table.Item{"pk": i["pk"], "sk": out.Items[len(out.Items)-1]["sk"]}
			break
		}
		out.Items = append(out.Items, i)
	}
	return out, nil
}

// add writes an event as a writer's, received at a time.
func (b *books) add(writer, id string, received time.Time, more string) {
	e := fmt.Sprintf(`{"id":"%s","time":"%s","type":"user.login","source":"%s"%s}`, id, received.Add(-time.Second).Format(time.RFC3339Nano), writer, more)
	b.put(ledger.Partition(writer, received, id), ledger.Receipt(received, []byte(e)), e, received)
}

func (b *books) put(pk, sk, event string, received time.Time) {
	if b.items == nil {
		b.items = map[string][]table.Item{}
	}
	b.items[pk] = append(b.items[pk], table.Item{"pk": table.String(pk), "sk": table.String(sk), "event": table.String(event), "received_ms": table.Int(received.UnixMilli())})
	slices.SortFunc(b.items[pk], func(a, c table.Item) int { return strings.Compare(a.Text("sk"), c.Text("sk")) })
}

// named is a row's id.
type named struct {
	ID *string `parquet:"id,optional"`
}

// taken is what is put beside the lake: the keys, and the rows of the last.
type taken struct {
	keys []string
	rows []named
	from time.Time
	full error
}

func (k *taken) keep(_ context.Context, key string, body []byte) error {
	k.keys = append(k.keys, key)
	rows, err := parquet.Read[named](bytes.NewReader(body), int64(len(body)))
	k.rows = rows
	return errors.Join(err, k.full)
}

func (k *taken) ids() (ids []string) {
	for _, r := range k.rows {
		ids = append(ids, *r.ID)
	}
	slices.Sort(ids)
	return ids
}

// take takes for a question about the last hour.
func take(t *testing.T, b *books, k *taken) error {
	t.Helper()
	var err error
	k.from, err = recent.New(recent.Config{DynamoDB: b, Table: "ledger", Keep: k.keep}).Take(t.Context(), "01q", now.Add(-time.Hour), now, now)
	return err
}

func TestWhatEachWriterWroteLatelyIsBesideTheLake(t *testing.T) {
	b, k := &books{}, &taken{}
	var want []string
	for n, w := range []string{"function/admin", "function/query", "agent/agt_1", "proxy/prx_1"} {
		for m, ago := range []time.Duration{0, time.Minute, 6 * time.Minute, recent.Back - time.Second, recent.Back + time.Second} {
			id := fmt.Sprintf("%d-%d", n, m)
			if b.add(w, id, now.Add(-ago), ""); ago < recent.Back {
				want = append(want, id)
			}
		}
	}
	b.add("function/admin", "ahead", now.Add(30*time.Second), `,"time":"2026-11-20T00:04:00Z"`)
	want = append(want, "ahead")
	if err := take(t, b, k); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, k.ids()); diff != "" || !slices.Equal(k.keys, []string{"recent/question=01q/events.parquet"}) || !k.from.Equal(now.Add(-recent.Back)) {
		t.Errorf("%q since %s: %s", k.keys, k.from, diff)
	}
}

func TestOnlyThePeriodsEventsAreTaken(t *testing.T) {
	b, k := &books{}, &taken{}
	for id, at := range map[string]string{"before": "2026-11-19T23:04:59.999Z", "first": "2026-11-19T23:05:00Z", "last": "2026-11-20T00:04:59.999Z", "after": "2026-11-20T00:05:00Z"} {
		b.add("agent/agt_1", id, now, `,"time":"`+at+`"`)
	}
	if err := take(t, b, k); err != nil || !slices.Equal(k.ids(), []string{"first", "last"}) {
		t.Errorf("%q, %v", k.ids(), err)
	}
}

func TestWithoutEventsNothingIsPut(t *testing.T) {
	b, k := &books{}, &taken{}
	b.add("agent/agt_1", "before", now, `,"time":"2026-11-19T00:00:00Z"`)
	if err := take(t, b, k); err != nil || k.keys != nil || !k.from.Equal(now.Add(-recent.Back)) {
		t.Errorf("%q since %s, %v", k.keys, k.from, err)
	}
}

// What has no place in the lake has none beside it, and takes nothing else with it.
func TestWhatTheRelayKeepsAsideIsNotTaken(t *testing.T) {
	b, k := &books{}, &taken{}
	b.add("agent/agt_1", "good", now, "")
	pk := ledger.Partition("agent/agt_1", now, "good")
	for n, bad := range []string{
		"", "no JSON", `{"id":"other","source":"function/admin"}`, `{"id":"upper","source":"agent/a","Actor":"x"}`, `{"id":"seq","source":"agent/a","seq":18446744073709551615}`,
		`{"id":"long","source":"agent/a","reason":"` + strings.Repeat("x", 16<<10) + `"}`,
	} {
		at := now.Add(-time.Duration(n) * time.Second)
		b.put(pk, ledger.Receipt(at, []byte(bad)), bad, at)
	}
	if err := take(t, b, k); err != nil || !slices.Equal(k.ids(), []string{"good"}) {
		t.Errorf("%q, %v", k.ids(), err)
	}
}

// Of too many events the newest are taken, and it is said from when on all are.
func TestWhatIsTooMuchIsCutBeforeTheNewest(t *testing.T) {
	b, k := &books{}, &taken{}
	times := map[string]time.Time{}
	for n := range 40_000 {
		id, at := fmt.Sprint(n), now.Add(-time.Duration(n)*25*time.Millisecond)
		pk, e := ledger.Partition("agent/agt_1", at, id), `{"id":"`+id+`","time":"2026-11-20T00:00:00Z","source":"agent/agt_1"}`
		if b.items == nil {
			b.items = map[string][]table.Item{}
		}
		b.items[pk] = append(b.items[pk], table.Item{"pk": table.String(pk), "sk": table.String(ledger.Receipt(at, []byte(e))), "event": table.String(e), "received_ms": table.Int(at.UnixMilli())})
		times[id] = at
	}
	for _, items := range b.items {
		slices.Reverse(items)
	}
	b.add("function/admin", "seldom", now.Add(-19*time.Minute), "")
	if err := take(t, b, k); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, id := range k.ids() {
		there[id] = true
	}
	lost := 0
	for id, at := range times {
		if !at.Before(k.from) && !there[id] {
			lost++
		}
	}
	if lost > 0 || !there["seldom"] || len(there) < 20_000 || len(there) > 30_000 || now.Sub(k.from) < 8*time.Minute || now.Sub(k.from) > 12*time.Minute {
		t.Errorf("%d taken, complete since %s but for %d; the one that is alone in its partition: %v", len(there), k.from, lost, there["seldom"])
	}
}

// Whoever may write a partition may put into each item as much as DynamoDB takes, beside an event.
func TestWhatIsLargeBesideItsEventIsCutToo(t *testing.T) {
	b, k := &books{items: map[string][]table.Item{}}, &taken{}
	for n := range 1000 {
		at := now.Add(-time.Duration(1000-n) * 250 * time.Millisecond)
		pk := ledger.Partition("agent/agt_1", at, fmt.Sprint(n))
		b.items[pk] = append(b.items[pk], table.Item{"pk": table.String(pk), "sk": table.String(ledger.Receipt(at, nil)), "event": table.String("{}"), "junk": table.Bytes([]byte("as if it were 1 MB"))})
	}
	if err := take(t, b, k); err != nil || b.asked > 300 || now.Sub(k.from) > time.Minute {
		t.Errorf("after %d calls complete since %s, %v", b.asked, k.from, err)
	}
}

// What takes long is cut as well: an answer within the time that a caller waits, and with what is newest, is better than none.
func TestWhatTakesTooLongIsCut(t *testing.T) {
	b, k := &books{items: map[string][]table.Item{}}, &taken{}
	for n := range 10_000 {
		b.add("agent/agt_1", fmt.Sprint(n), now.Add(-time.Duration(n)*25*time.Millisecond), "")
	}
	clock := now
	later := func() time.Time {
		clock = clock.Add(4 * time.Second)
		return clock
	}
	from, err := recent.New(recent.Config{DynamoDB: b, Table: "ledger", Keep: k.keep, Now: later}).Take(t.Context(), "q", now.Add(-time.Hour), now, now)
	if err != nil || len(k.rows) < 3000 || len(k.rows) > 4100 || now.Sub(from) < time.Minute || now.Sub(from) > 3*time.Minute {
		t.Errorf("%d taken, complete since %s, %v", len(k.rows), from, err)
	}
}

// Before midnight there are other partitions, which wait for those of today.
func TestYesterdayTakesNoRoomFromToday(t *testing.T) {
	b, k := &books{items: map[string][]table.Item{}}, &taken{}
	for n := range 15_000 {
		for _, at := range []time.Time{now, now.Add(-10 * time.Minute)} { // today, and yesterday
			id, at := fmt.Sprint(n), at.Add(-time.Duration(n)*10*time.Millisecond)
			pk, e := ledger.Partition("agent/agt_1", at, id), `{"id":"`+id+`","time":"2026-11-20T00:00:00Z","source":"agent/agt_1"}`
			b.items[pk] = append(b.items[pk], table.Item{"pk": table.String(pk), "sk": table.String(ledger.Receipt(at, []byte(e))), "event": table.String(e), "received_ms": table.Int(at.UnixMilli())})
		}
	}
	for _, items := range b.items {
		slices.Reverse(items)
	}
	if err := take(t, b, k); err != nil || now.Sub(k.from) < 10*time.Minute || now.Sub(k.from) > 12*time.Minute {
		t.Errorf("complete since %s, %v", k.from, err)
	}
}

// A key that is no receipt says nothing of when what is behind it was received.
func TestWhatIsCutBehindNoReceiptIsToldAsNothing(t *testing.T) {
	b, k := &books{}, &taken{}
	pk := ledger.Partition("agent/agt_1", now, "x")
	key := ledger.Receipt(now, nil)[:9] + "!"
	for n := range 21_000 {
		b.items = map[string][]table.Item{pk: append(b.items[pk], table.Item{"pk": table.String(pk), "sk": table.String(fmt.Sprintf("%s%06d", key, n)), "event": table.String("{}")})}
	}
	if err := take(t, b, k); err != nil || !k.from.Equal(now) {
		t.Errorf("since %s, %v", k.from, err)
	}
}

// An answer without the last minutes looks like one that has them.
func TestWithoutTheLedgerThereIsNoAnswer(t *testing.T) {
	for _, down := range []string{"event#agent#2026-11-20#7", "event#function/sweep#2026-11-19#0"} {
		b, k := &books{down: down}, &taken{}
		b.add("agent/agt_1", "good", now, "")
		if err := take(t, b, k); !fault.Is(err, fault.Unavailable) || fault.From(err).Hint == "" || k.keys != nil {
			t.Errorf("without %s: %v, %q put", down, err, k.keys)
		}
	}
	b, k := &books{}, &taken{full: errors.New("full")}
	b.add("agent/agt_1", "good", now, "")
	if err := take(t, b, k); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without the file: %v", err)
	}
}

// The file has the lake's columns, as Firehose writes them: what an event doesn't say is NULL, and a map's keys are in order.
func TestARowIsWhatFirehoseWritesOfTheEvent(t *testing.T) {
	b := &books{}
	b.put(ledger.Partition("agent/agt_1", now, "x"), ledger.Receipt(now, nil), `{"id":"x","time":"2026-11-20T00:04:59.123456789Z","source":"agent/agt_1","seq":7,"reason":"",
		"actor_roles":["b",null,"a"],"data":{"z":"1","a":null,"m":""},"writer":"function/admin","receipt":"forged"}`, now)
	b.put(ledger.Partition("agent/agt_1", now, "x"), ledger.Receipt(now, []byte("y")), `{"id":"y","time":"2026-11-20T00:04:59Z","source":"agent/agt_1","actor_roles":[],"data":{}}`, now)
	var file []byte
	_, err := recent.New(recent.Config{DynamoDB: b, Table: "ledger", Keep: func(_ context.Context, _ string, body []byte) error { file = body; return nil }}).Take(t.Context(), "q", now.Add(-time.Hour), now, now)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{
		"string": "optional binary %s (STRING);", "timestamp": "optional int96 %s;", "bigint": "optional int64 %s (INT(64,true));",
		"array<string>":      "optional group %s (LIST) {repeated group list {optional binary element (STRING);}}",
		"map<string,string>": "optional group %s (MAP) {repeated group key_value {required binary key (STRING);optional binary value (STRING);}}",
	}
	want := "message row {"
	for _, c := range names.LakeColumns {
		want += fmt.Sprintf(kinds[c.Type], c.Name)
	}
	if got := strings.NewReplacer("\n", "", "\t", "").Replace(f.Schema().String()); got != want+"}" {
		t.Errorf("the columns are %s\nand not %s", got, want)
	}
	rows := make([]parquet.Row, 2)
	r := parquet.NewReader(bytes.NewReader(file))
	if n, _ := r.ReadRows(rows); n != 2 {
		t.Fatalf("%d rows", n)
	}
	var got []string
	for _, row := range rows {
		var cells []string
		for _, v := range row {
			if v.DefinitionLevel() > 0 {
				cell := fmt.Sprintf("%s %d/%d", strings.Join(f.Schema().Columns()[v.Column()], "."), v.RepetitionLevel(), v.DefinitionLevel())
				if !v.IsNull() && v.Kind() == parquet.Int96 {
					at := v.Int96()
					cell += " " + time.Unix((int64(at[2])-2440588)*86400, int64(uint64(at[1])<<32|uint64(at[0]))).UTC().Format(time.RFC3339Nano)
				} else if !v.IsNull() {
					cell += " " + v.String()
					if v.String() == "" {
						cell += `""`
					}
				}
				cells = append(cells, cell)
			}
		}
		slices.Sort(cells)
		got = append(got, strings.Join(cells, "\n"))
	}
	slices.Sort(got)
	if diff := cmp.Diff(firehose, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

// firehose is what there is of two events in Parquet, as Firehose has it: each leaf with its levels of repetition and definition.
const firehose = `actor_roles.list.element 0/1
data.key_value.key 0/1
data.key_value.value 0/1
id 0/1 y
receipt 0/1 01m7v4akz0m7ye8dhrakzrh37z
received 0/1 2026-11-20T00:05:00Z
source 0/1 agent/agt_1
time 0/1 2026-11-20T00:04:59Z
writer 0/1 agent
actor_roles.list.element 0/3 b
actor_roles.list.element 1/2
actor_roles.list.element 1/3 a
data.key_value.key 0/2 a
data.key_value.key 1/2 m
data.key_value.key 1/2 z
data.key_value.value 0/2
data.key_value.value 1/3 ""
data.key_value.value 1/3 1
id 0/1 x
reason 0/1 ""
receipt 0/1 01m7v4akz0werc8gmrzge196qv
received 0/1 2026-11-20T00:05:00Z
seq 0/1 7
source 0/1 agent/agt_1
time 0/1 2026-11-20T00:04:59.123456789Z
writer 0/1 agent`
