package compare_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/relay"
	"github.com/stile-dev/stile/pkg/table"
)

// row is what the lake's table says of a delivery.
type row struct{ receipt, writer, id string }

func (r row) key() string { return r.receipt + " " + r.writer + " " + r.id }

// world is a ledger, a bus and a lake behind it, in memory.
type world struct {
	table.API
	t        *testing.T
	now      time.Time
	items    map[string][]table.Item // of the ledger by partition, in the order of their sort keys
	state    table.Item
	lake     []row
	ledger   *ledger.Ledger
	comparer *compare.Comparer

	begun   map[string]holding.Request // questions by id
	answers map[string][][]string      // as they were found
	page    int                        // rows of a page

	until      time.Time // what was stated
	statements []checked.Statement
	told       []audit.Event
	sent       map[string]int // how often, by key

	lost bool                        // what is sent doesn't arrive
	slow int                         // looks at a question before it has its answer
	step func(what string) error     // fails what is done outside, or lets it be done
	rows func([][]string) [][]string // what becomes of an answer's rows
}

// start is where the hour begins that is compared first.
var start = time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, now: start, items: map[string][]table.Item{}, begun: map[string]holding.Request{}, answers: map[string][][]string{}, sent: map[string]int{},
		until: start, page: 1000, step: func(string) error { return nil }, rows: func(r [][]string) [][]string { return r },
	}
	w.ledger = ledger.New(ledger.Config{DynamoDB: w, Table: "ledger", Now: func() time.Time { return w.now }})
	w.comparer = compare.New(compare.Config{
		DynamoDB: w, Events: "ledger", State: "state", Ledger: w, Bus: w, Book: w, Lake: w.call, Cluster: "c", For: time.Minute,
	})
	return w
}

// receive has the ledger receive an event at a time, and the lake too, unless it is lost on its way.
func (w *world) receive(at time.Time, lost bool) string {
	w.t.Helper()
	w.now = at
	e := audit.New(audit.RequestRefused, rand.Reader, at)
	e.Cluster, e.Source, e.Actor, e.TargetKind, e.Target, e.Outcome, e.Reason = "c", "function/admin", "user/ada", "role", "r", audit.Denied, "no"
	e.Data = map[string]string{"certificate": "crt_1", "uid": "usr_1"}
	if err := w.ledger.Append(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	pk := ledger.Partition(e.Source, at, e.ID)
	i := w.items[pk][slices.IndexFunc(w.items[pk], func(i table.Item) bool { return strings.Contains(i.Text("event"), e.ID) })]
	r := row{i.Text("sk"), "function/admin", e.ID}
	if !lost {
		w.lake = append(w.lake, r)
	}
	return r.key()
}

// run goes on with comparing at a time.
func (w *world) run(at time.Time) (compare.Report, error) {
	w.now = at
	return w.comparer.Compare(w.t.Context(), at)
}

// must is run where nothing fails.
func (w *world) must(at time.Time) compare.Report {
	w.t.Helper()
	r, err := w.run(at)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// stated is what was stated, an hour on each line.
func (w *world) stated() string {
	var all []string
	for _, s := range w.statements {
		all = append(all, fmt.Sprintf("%s %d %d %s", s.From.Format("02T15"), s.Looked, s.Found, s.Unproved))
	}
	return strings.Join(all, "\n")
}

// PutItem knows the conditions that are asked for.
func (w *world) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	if *in.TableName == "ledger" {
		w.put(in.Item)
		return &dynamodb.PutItemOutput{}, nil
	}
	if err := w.step("save"); err != nil {
		return nil, err
	}
	holds := w.state == nil
	if *in.ConditionExpression == "revision = :was" {
		holds = w.state != nil && w.state.Int("revision") == table.Item(in.ExpressionAttributeValues).Int(":was")
	}
	if !holds {
		return nil, &types.ConditionalCheckFailedException{Item: w.state}
	}
	w.state = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

// put puts an item where it stands in its partition, or in the place of what is there.
func (w *world) put(i table.Item) {
	pk := i.Text("pk")
	n, there := slices.BinarySearchFunc(w.items[pk], i.Text("sk"), func(i table.Item, sk string) int { return strings.Compare(i.Text("sk"), sk) })
	if there {
		w.items[pk][n] = i
		return
	}
	w.items[pk] = slices.Insert(w.items[pk], n, i)
}

func (w *world) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if pk := table.Item(in.Key).Text("pk"); pk == "checked" { // as package book keeps it
		if len(w.statements) == 0 {
			return &dynamodb.GetItemOutput{}, nil
		}
		return &dynamodb.GetItemOutput{Item: table.Item{"pk": table.String(pk), "sk": table.String(checked.Lake), "until_ms": table.Int(w.until.UnixMilli())}}, w.step("until")
	}
	return &dynamodb.GetItemOutput{Item: w.state}, w.step("load")
}

func (w *world) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	pk, after := table.Item(in.ExpressionAttributeValues).Text(":pk"), table.Item(in.ExclusiveStartKey).Text("sk")
	all := w.items[pk]
	if len(all) == 0 {
		return &dynamodb.QueryOutput{}, nil
	}
	if err := w.step("read"); err != nil {
		return nil, err
	}
	n, there := slices.BinarySearchFunc(all, after, func(i table.Item, sk string) int { return strings.Compare(i.Text("sk"), sk) })
	if there {
		n++
	}
	out := &dynamodb.QueryOutput{}
	for _, i := range all[n:min(len(all), n+int(*in.Limit))] {
		out.Items = append(out.Items, i)
		if len(out.Items) == int(*in.Limit) {
			out.LastEvaluatedKey = table.Item{"pk": i["pk"], "sk": i["sk"]}
		}
	}
	return out, nil
}

func (w *world) Append(_ context.Context, events ...audit.Event) error {
	if err := w.step("tell"); err != nil {
		return err
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
		if !slices.ContainsFunc(w.told, func(o audit.Event) bool { return o.ID == e.ID }) { // readers take it once
			w.told = append(w.told, e)
		}
	}
	return nil
}

func (w *world) Send(_ context.Context, some []relay.Ready) (int, error) {
	if err := w.step("send"); err != nil {
		return 0, err
	}
	for _, r := range some {
		of := row{r.Receipt, r.Writer, r.ID}
		if w.sent[of.key()]++; !w.lost {
			w.lake = append(w.lake, of)
		}
	}
	return len(some), nil
}

func (w *world) Next(_ context.Context, check string, now time.Time, patience time.Duration) (time.Time, bool, error) {
	return w.until, check == checked.Lake && !w.until.Add(time.Hour+patience).After(now), w.step("next")
}

func (w *world) State(_ context.Context, s checked.Statement) error {
	if err := w.step("state"); err != nil {
		return err
	}
	if s.From.Equal(w.until) { // else it was stated
		w.until, w.statements = s.To, append(w.statements, s)
	}
	return nil
}

// call is the function that asks Athena.
func (w *world) call(_ context.Context, c holding.Call) (holding.Answer, error) {
	r := c.Holding
	if r.ID == "" {
		if err := w.step("ask"); err != nil {
			return holding.Answer{}, err
		}
		if _, _, err := r.Compose(); err != nil {
			return holding.Answer{}, err
		}
		id := fmt.Sprint("q", len(w.begun))
		w.begun[id] = r
		return holding.Answer{ID: id}, nil
	}
	if err := w.step("look"); err != nil {
		return holding.Answer{}, err
	}
	q, there := w.begun[r.ID]
	if !there {
		return holding.Answer{}, fault.New(fault.NotFound, "no such question", "ask")
	}
	if w.slow > 0 {
		w.slow--
		return holding.Answer{ID: r.ID}, nil
	}
	if w.answers[r.ID] == nil {
		w.answers[r.ID] = w.rows(w.find(q))
	}
	all, at := w.answers[r.ID], 0
	_, _ = fmt.Sscan(r.Cursor, &at)
	a := holding.Answer{ID: r.ID, Done: true, Rows: all[at:min(at+w.page, len(all))]}
	if at+w.page < len(all) {
		a.Next = fmt.Sprint(at + w.page)
	}
	return a, nil
}

// find is what the SQL says.
func (w *world) find(q holding.Request) [][]string {
	_, literals, err := q.Compose()
	if err != nil {
		w.t.Error(err)
	}
	from, to := strings.Trim(literals[1], "'"), strings.Trim(literals[2], "'")
	keys, spans := map[string]bool{}, map[string]map[string]bool{}
	for _, r := range w.lake {
		if r.receipt >= from && r.receipt < to {
			keys[r.key()] = true
			span := r.receipt[:min(7, len(r.receipt))]
			if spans[span] == nil {
				spans[span] = map[string]bool{}
			}
			spans[span][fmt.Sprintf("%X", sha256.Sum256([]byte(r.key())))] = true
		}
	}
	out := [][]string{}
	if q.Ask == holding.Keys {
		for key := range keys {
			out = append(out, []string{key, fmt.Sprint(len(keys))})
		}
		return out
	}
	for span, items := range spans {
		all := strings.Join(slices.Sorted(maps.Keys(items)), "")
		out = append(out, []string{span, fmt.Sprint(len(items)), fmt.Sprintf("%X", sha256.Sum256([]byte(all))), fmt.Sprint(len(spans))})
	}
	slices.SortFunc(out, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	return out
}

// lacks is what of some keys the lake doesn't have.
func (w *world) lacks(keys ...string) (out []string) {
	for _, key := range keys {
		if !slices.ContainsFunc(w.lake, func(r row) bool { return r.key() == key }) {
			out = append(out, key)
		}
	}
	return out
}

var errDown = errors.New("down")
