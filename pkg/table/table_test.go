package table_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/table"
)

// scripted answers each call with the next of its errors; nil succeeds.
type scripted struct {
	table.API
	errs    []error
	tokens  []string
	puts    []*dynamodb.PutItemInput
	updates []*dynamodb.UpdateItemInput
	pages   []*dynamodb.QueryOutput
	strong  []bool
}

func (s *scripted) next() error {
	if len(s.errs) == 0 {
		return nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func (s *scripted) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	s.tokens = append(s.tokens, *in.ClientRequestToken)
	return &dynamodb.TransactWriteItemsOutput{}, s.next()
}

func (s *scripted) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	s.puts = append(s.puts, in)
	return &dynamodb.PutItemOutput{}, s.next()
}

func (s *scripted) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	s.strong = append(s.strong, *in.ConsistentRead)
	return &dynamodb.GetItemOutput{}, s.next()
}

func (s *scripted) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	s.strong = append(s.strong, *in.ConsistentRead)
	page := s.pages[0]
	s.pages = s.pages[1:]
	return page, s.next()
}

// A page asks for no more than it may hold, behind where the last one ended, and knows the end from a pause.
func TestAPageBeginsBehindTheLast(t *testing.T) {
	asked := &asking{scripted: scripted{pages: []*dynamodb.QueryOutput{
		{Items: []map[string]types.AttributeValue{{"sk": table.String("b")}}, LastEvaluatedKey: map[string]types.AttributeValue{"sk": table.String("b")}},
		{},
	}}}
	tbl := table.Table{API: asked, Name: "state"}
	for i, c := range []struct {
		after string
		items int
		more  bool
	}{{"", 1, true}, {"b", 0, false}} {
		items, more, err := tbl.Page(t.Context(), "role", c.after, 7)
		if err != nil || len(items) != c.items || more != c.more {
			t.Errorf("page %d: %v, %v, %v", i, items, more, err)
		}
		in := asked.in[i]
		start := table.Item(in.ExclusiveStartKey)
		if *in.Limit != 7 || !*in.ConsistentRead || start.Text("sk") != c.after || c.after != "" && start.Text("pk") != "role" {
			t.Errorf("page %d asks %v", i, in)
		}
	}
}

// What is newest comes first, between two keys and before where the last page ended.
func TestAPageBackEndsBeforeTheLast(t *testing.T) {
	asked := &asking{scripted: scripted{pages: []*dynamodb.QueryOutput{
		{Items: []map[string]types.AttributeValue{{"sk": table.String("b")}}, LastEvaluatedKey: map[string]types.AttributeValue{"sk": table.String("b")}},
		{},
	}}}
	tbl := table.Table{API: asked, Name: "state"}
	for i, c := range []struct {
		before string
		items  int
		more   bool
	}{{"", 1, true}, {"b", 0, false}} {
		items, more, err := tbl.Back(t.Context(), "role", "a", "c", c.before, 7)
		if err != nil || len(items) != c.items || more != c.more {
			t.Errorf("page %d: %v, %v, %v", i, items, more, err)
		}
		in := asked.in[i]
		start, values := table.Item(in.ExclusiveStartKey), table.Item(in.ExpressionAttributeValues)
		if *in.Limit != 7 || !*in.ConsistentRead || *in.ScanIndexForward || start.Text("sk") != c.before || c.before != "" && start.Text("pk") != "role" ||
			values.Text(":pk") != "role" || values.Text(":first") != "a" || values.Text(":last") != "c" {
			t.Errorf("page %d asks %v", i, in)
		}
	}
}

// asking keeps what is asked.
type asking struct {
	scripted
	in []*dynamodb.QueryInput
}

func (a *asking) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	a.in = append(a.in, in)
	return a.scripted.Query(ctx, in, o...)
}

func cancelled(codes ...string) error {
	e := &types.TransactionCanceledException{}
	for _, c := range codes {
		e.CancellationReasons = append(e.CancellationReasons, types.CancellationReason{Code: aws.String(c)})
	}
	return e
}

func TestAConflictNamesTheFirstOperationThatFailed(t *testing.T) {
	api := &scripted{errs: []error{cancelled("None", "ConditionalCheckFailed", "ConditionalCheckFailed")}}
	err := table.Transact(t.Context(), api)
	if c, ok := errors.AsType[*table.Conflict](err); !ok || c.Op != 1 || len(api.tokens) != 1 {
		t.Errorf("got %v after %d calls", err, len(api.tokens))
	}
}

func TestACollisionIsTriedAgainUnderTheSameToken(t *testing.T) {
	api := &scripted{errs: []error{cancelled("TransactionConflict", "None"), cancelled("None", "TransactionConflict")}}
	if err := table.Transact(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	if len(api.tokens) != 3 || api.tokens[0] != api.tokens[1] || api.tokens[1] != api.tokens[2] {
		t.Errorf("tokens %v", api.tokens)
	}
	always := &scripted{errs: []error{cancelled("TransactionConflict"), cancelled("TransactionConflict"), cancelled("TransactionConflict"), cancelled("TransactionConflict"), cancelled("TransactionConflict")}}
	if err := table.Transact(t.Context(), always); err == nil || len(always.tokens) != 5 {
		t.Errorf("%v after %d calls", err, len(always.tokens))
	}
}

func TestOtherErrorsAreNotTriedAgain(t *testing.T) {
	down := errors.New("down")
	api := &scripted{errs: []error{down}}
	if err := table.Transact(t.Context(), api); !errors.Is(err, down) || len(api.tokens) != 1 {
		t.Errorf("%v after %d calls", err, len(api.tokens))
	}
}

func TestAFailedConditionIsAConflict(t *testing.T) {
	api := &scripted{errs: []error{&types.ConditionalCheckFailedException{}}}
	err := table.Table{API: api, Name: "t"}.Create(t.Context(), table.Item{"pk": table.String("a")})
	if _, ok := errors.AsType[*table.Conflict](err); !ok || *api.puts[0].ConditionExpression != "attribute_not_exists(pk)" {
		t.Errorf("%v, condition %q", err, *api.puts[0].ConditionExpression)
	}
}

func TestReadsAreStrongAndListsGoOnToTheEnd(t *testing.T) {
	item := func(s string) map[string]types.AttributeValue {
		return table.Item{"sk": table.String(s), "n": table.Int(7), "b": table.Bytes([]byte{1})}
	}
	api := &scripted{pages: []*dynamodb.QueryOutput{
		{Items: []map[string]types.AttributeValue{item("a")}, LastEvaluatedKey: item("a")}, {Items: []map[string]types.AttributeValue{item("b")}},
	}}
	tab := table.Table{API: api, Name: "t"}
	items, err := tab.List(t.Context(), "x")
	if err != nil || len(items) != 2 || items[1].Text("sk") != "b" || items[0].Int("n") != 7 || len(items[0].Bytes("b")) != 1 || items[0].Text("n") != "" {
		t.Errorf("%v, %v", items, err)
	}
	if _, err := tab.Get(t.Context(), table.Key{PK: "a", SK: "b"}); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := tab.Glance(t.Context(), table.Key{PK: "a", SK: "b"}); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if want := []bool{true, true, true, false}; len(api.strong) != 4 || api.strong[0] != want[0] || api.strong[2] != want[2] || api.strong[3] != want[3] {
		t.Errorf("strong %v", api.strong)
	}
}

func (s *scripted) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	s.updates = append(s.updates, in)
	return &dynamodb.UpdateItemOutput{}, s.next()
}

func TestAnUpdateThatIsRefusedTellsWhatIsThere(t *testing.T) {
	down := errors.New("down")
	api := &scripted{errs: []error{nil, &types.ConditionalCheckFailedException{Item: table.Item{"n": table.Int(7)}}, down}}
	tab, key := table.Table{API: api, Name: "t"}, table.Key{PK: "a", SK: "b"}
	update := func() (table.Item, error) {
		return tab.UpdateIf(t.Context(), key, "SET n = :n", "n < :n", table.Item{":n": table.Int(5)})
	}
	if was, err := update(); err != nil || was != nil {
		t.Errorf("%v, %v", was, err)
	}
	was, err := update()
	if _, ok := errors.AsType[*table.Conflict](err); !ok || was.Int("n") != 7 {
		t.Errorf("%v, %v", was, err)
	}
	if _, err := update(); !errors.Is(err, down) {
		t.Error(err)
	}
	in := api.updates[0]
	if *in.UpdateExpression != "SET n = :n" || *in.ConditionExpression != "n < :n" || table.Item(in.Key).Text("sk") != "b" || in.ReturnValuesOnConditionCheckFailure != types.ReturnValuesOnConditionCheckFailureAllOld {
		t.Errorf("asked for %+v", in)
	}
}

// reading answers each transaction that reads with the codes of one of its refusals; without any, with an item for each key.
type reading struct {
	table.API
	refusals []error
	asked    [][]string // the sort keys of each transaction
}

func (r *reading) TransactGetItems(_ context.Context, in *dynamodb.TransactGetItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactGetItemsOutput, error) {
	var out dynamodb.TransactGetItemsOutput
	var asked []string
	for _, i := range in.TransactItems {
		sk := table.Item(i.Get.Key).Text("sk")
		asked = append(asked, sk)
		item := table.Item{"sk": table.String(sk)}
		if sk == "none" {
			item = nil
		}
		out.Responses = append(out.Responses, types.ItemResponse{Item: item})
	}
	r.asked = append(r.asked, asked)
	if len(r.refusals) == 0 {
		return &out, nil
	}
	err := r.refusals[0]
	r.refusals = r.refusals[1:]
	return nil, err
}

func keys(sks ...string) (all []table.Key) {
	for _, sk := range sks {
		all = append(all, table.Key{PK: "order", SK: sk})
	}
	return all
}

// What another transaction is writing is waited for, and then left out without a word about whether it is there.
func TestSettledItemsAreThoseThatNoTransactionIsWriting(t *testing.T) {
	b := cancelled("None", "TransactionConflict", "None")
	for name, c := range map[string]struct {
		refusals    []error
		items, busy []table.Key
	}{
		"at once":                   {nil, keys("a", "b"), nil},
		"after a moment":            {[]error{b, b, b, b}, keys("a", "b"), nil},
		"one that is written still": {[]error{b, b, b, b, b}, keys("a"), keys("b")},
		"others later":              {[]error{b, b, b, b, b, cancelled("TransactionConflict", "None")}, keys("a"), keys("b")},
	} {
		api := &reading{refusals: c.refusals}
		items, busy, err := table.Table{API: api, Name: "t"}.Settled(t.Context(), keys("a", "b", "none"))
		if err != nil || len(items) != len(c.items) || !slices.Equal(busy, c.busy) {
			t.Errorf("%s: %v, %v, %v", name, items, busy, err)
		}
		for _, k := range c.items {
			if items[k].Text("sk") != k.SK {
				t.Errorf("%s: %v under %v", name, items[k], k)
			}
		}
	}
	down := errors.New("down")
	for _, err := range []error{down, cancelled("ThrottlingError", "None", "None")} {
		api := &reading{refusals: []error{err}}
		if _, _, got := (table.Table{API: api, Name: "t"}).Settled(t.Context(), keys("a", "b", "none")); !errors.Is(got, err) || len(api.asked) != 1 {
			t.Errorf("%v after %d calls", got, len(api.asked))
		}
	}
}

func TestSettledItemsAreReadByTheHundred(t *testing.T) {
	var many []string
	for i := range 250 {
		many = append(many, strconv.Itoa(i))
	}
	api := &reading{}
	items, busy, err := table.Table{API: api, Name: "t"}.Settled(t.Context(), keys(many...))
	if err != nil || len(items) != 250 || busy != nil || len(api.asked) != 3 || len(api.asked[0]) != 100 || len(api.asked[2]) != 50 {
		t.Errorf("%d items, %v, %v of %d transactions", len(items), busy, err, len(api.asked))
	}
}
