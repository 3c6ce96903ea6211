// Package storetest is tables in memory for the tests of package store and of those below it.
//
// Its entry point is [New].
package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/change"
	"github.com/stile-dev/stile/pkg/store/issuance"
	"github.com/stile-dev/stile/pkg/table"
)

// Now is when everything happens.
var Now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// Tables keeps items by table and keys, and judges the few expressions that the store writes. The local AWS, which the
// whole system is tested on, judges all that DynamoDB has; product code may not know it.
type Tables struct {
	table.API
	Items map[string]table.Item
	Fail  error // of the next call

	// Late are items, by table and keys, that a transaction is still writing though others of it can be read: no Query
	// and no GetItem shows them yet, and a transaction can't read them.
	Late map[string]bool
	// Hidden are items that a Query doesn't show, as it read their place before a transaction had written them.
	Hidden map[string]bool
	// Old are items as a Query still shows them, since it read their place before a transaction had replaced them.
	Old map[string]table.Item

	mu sync.Mutex
}

// Store is all that is done to the tables.
type Store struct {
	*store.Store
	*signing
	*changing
}

// Record writes events alone.
func (s Store) Record(ctx context.Context, e audit.Event) error { return s.changing.Record(ctx, e) }

type (
	signing  = issuance.Store
	changing = change.Store
)

// New makes empty tables.
func New() (*Tables, Store) {
	db := &Tables{Items: map[string]table.Item{}}
	c := store.Config{DynamoDB: db, State: "state", Secrets: "secrets", Ledger: "ledger"}
	return db, Store{store.New(c), issuance.New(c, "sign-host"), change.New(c)}
}

func (db *Tables) failing() error {
	err := db.Fail
	db.Fail = nil
	return err
}

func at(tableName *string, i table.Item) string {
	return *tableName + "|" + i.Text("pk") + "|" + i.Text("sk")
}

// GetItem implements table.API.
func (db *Tables) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	out := &dynamodb.GetItemOutput{}
	if key := at(in.TableName, in.Key); !db.Late[key] {
		out.Item = db.Items[key]
	}
	return out, db.failing()
}

// TransactGetItems implements table.API.
func (db *Tables) TransactGetItems(_ context.Context, in *dynamodb.TransactGetItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactGetItemsOutput, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var out dynamodb.TransactGetItemsOutput
	refused := &types.TransactionCanceledException{}
	late := false
	for _, i := range in.TransactItems {
		key, code := at(i.Get.TableName, i.Get.Key), "None"
		if db.Late[key] {
			code, late = "TransactionConflict", true
		}
		refused.CancellationReasons = append(refused.CancellationReasons, types.CancellationReason{Code: &code})
		out.Responses = append(out.Responses, types.ItemResponse{Item: db.Items[key]})
	}
	if late {
		return nil, cmp.Or[error](db.failing(), refused)
	}
	return &out, db.failing()
}

// PutItem implements table.API.
func (db *Tables) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	key := at(in.TableName, in.Item)
	if was := db.Items[key]; !holds(aws.ToString(in.ConditionExpression), was, in.ExpressionAttributeValues) {
		return nil, &types.ConditionalCheckFailedException{Item: was}
	}
	db.Items[key] = in.Item
	return &dynamodb.PutItemOutput{}, db.failing()
}

// Query implements table.API for one whole partition.
func (db *Tables) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var out dynamodb.QueryOutput
	prefix := at(in.TableName, table.Item{"pk": in.ExpressionAttributeValues[":pk"]})
	after := ""
	if in.ExclusiveStartKey != nil {
		after = at(in.TableName, in.ExclusiveStartKey)
	}
	for _, k := range slices.Sorted(maps.Keys(db.Items)) {
		if !strings.HasPrefix(k, prefix) || k <= after || db.Late[k] || db.Hidden[k] {
			continue
		}
		if in.Limit != nil && len(out.Items) == int(*in.Limit) {
			out.LastEvaluatedKey = in.ExpressionAttributeValues // there is more; callers go on from the last item that they got
			break
		}
		item, old := db.Old[k]
		if !old {
			item = db.Items[k]
		}
		out.Items = append(out.Items, item)
	}
	return &out, db.failing()
}

// TransactWriteItems implements table.API.
func (db *Tables) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.failing(); err != nil {
		return nil, err
	}
	after, touched := maps.Clone(db.Items), map[string]bool{}
	refused := &types.TransactionCanceledException{}
	held := true
	for _, i := range in.TransactItems {
		key, condition, values, apply := operation(i)
		if touched[key] {
			return nil, errors.New("ValidationException: Transaction request cannot include multiple operations on one item")
		}
		touched[key] = true
		code := "None"
		if !holds(condition, db.Items[key], values) {
			code, held = "ConditionalCheckFailed", false
		}
		refused.CancellationReasons = append(refused.CancellationReasons, types.CancellationReason{Code: &code})
		if after[key] = apply(db.Items[key]); after[key] == nil {
			delete(after, key)
		}
	}
	if !held {
		return nil, refused
	}
	db.Items = after
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// operation is one operation of a transaction: where, on what condition, and what it turns the item into.
func operation(i types.TransactWriteItem) (key, condition string, values table.Item, apply func(table.Item) table.Item) {
	switch {
	case i.Put != nil:
		return at(i.Put.TableName, i.Put.Item), aws.ToString(i.Put.ConditionExpression), i.Put.ExpressionAttributeValues, func(table.Item) table.Item { return i.Put.Item }
	case i.Delete != nil:
		return at(i.Delete.TableName, i.Delete.Key), aws.ToString(i.Delete.ConditionExpression), i.Delete.ExpressionAttributeValues, func(table.Item) table.Item { return nil }
	}
	u := i.Update
	return at(u.TableName, u.Key), aws.ToString(u.ConditionExpression), u.ExpressionAttributeValues, func(was table.Item) table.Item {
		item := maps.Clone(was)
		if item == nil {
			item = maps.Clone(u.Key)
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(*u.UpdateExpression, "ADD "), ", ") {
			m := regexp.MustCompile(`^(?:SET (\w+) = \w+ -|(\w+)) (:\w+)$`).FindStringSubmatch(part)
			by, name := table.Item(u.ExpressionAttributeValues).Int(m[3]), m[1]+m[2]
			if m[1] != "" {
				by = -by
			}
			item[name] = table.Int(item.Int(name) + by)
		}
		return item
	}
}

// holds judges terms joined by OR or AND.
func holds(condition string, i, values table.Item) bool {
	return condition == "" || slices.ContainsFunc(strings.Split(condition, " OR "), func(all string) bool {
		return !slices.ContainsFunc(strings.Split(all, " AND "), func(term string) bool { return !is(term, i, values) })
	})
}

func is(term string, i, values table.Item) bool {
	if name, ok := strings.CutPrefix(term, "attribute_exists("); ok {
		return i[strings.TrimSuffix(name, ")")] != nil
	}
	if name, ok := strings.CutPrefix(term, "attribute_not_exists("); ok {
		return i[strings.TrimSuffix(name, ")")] == nil
	}
	part := strings.Fields(term)
	have, want := i[part[0]], values[part[2]]
	switch {
	case have == nil:
		return false
	case part[1] == "=":
		return i.Text(part[0]) == values.Text(part[2]) && i.Int(part[0]) == values.Int(part[2])
	case part[1] == ">":
		return i.Int(part[0]) > values.Int(part[2])
	case part[1] == "<=":
		return i.Int(part[0]) <= values.Int(part[2])
	}
	panic(fmt.Sprintf("a term that these tables don't judge: %q of %v", term, want))
}

// ID makes an id of a kind, the same for the same number.
func ID(prefix string, n int) string {
	return prefix + "_" + strings.Repeat("0", 26-len(strconv.Itoa(n))) + strconv.Itoa(n)
}

// Admission returns the admission of an agent that claims targets; n tells its challenge and certificate from others'.
func Admission(n int, agent string, targets ...identity.Target) issue.Admission {
	return issue.Admission{
		Intent: issue.Intent{Certificate: ID("crt", n), Subject: agent, Digest: "digest", At: Now, Used: fmt.Sprint("challenge-", n)},
		Host: identity.Host{
			Cluster: "c", ClusterName: "stile", Certificate: ID("crt", n), Kind: identity.KindAgent, ID: agent, Targets: targets, Scope: "/prod",
			Labels: map[string]string{"env": "prod"}, Method: "token", Token: "nodes", IssuedAt: Now,
		},
		Expires: Now.Add(time.Hour),
	}
}

// Renewal returns one that the tables accept, of the certificate whose number is shown.
func Renewal(n, shown int, agent string, dropped []identity.Target, targets ...identity.Target) issue.Admission {
	a := Admission(n, agent, targets...)
	a.Renewal, a.Shown, a.Dropped = true, ID("crt", shown), dropped
	return a
}

// Event returns one that the tables accept.
func Event(t audit.Type) audit.Event {
	e := audit.New(t, rand.Reader, Now)
	e.Cluster, e.Actor, e.Source, e.Data = "c", "user/ada", "function/admin", map[string]string{}
	for _, f := range audit.Types[t].Fields {
		if f.Always {
			e.Data[f.Name] = "1"
		}
	}
	return e
}

// Holder returns the agent that holds a target's name, "" for none.
func Holder(t *testing.T, s Store, target identity.Target) string {
	t.Helper()
	r, _, err := s.Get(t.Context(), target.Kind, target.Name)
	if err != nil {
		t.Fatal(err)
	}
	if spec, ok := r.Spec.(*resource.TargetSpec); ok {
		return spec.Agent
	}
	return ""
}

// Put writes an item of table state as some release may have written it.
func (db *Tables) Put(pk, sk string, attributes table.Item) {
	i := table.Item{"pk": table.String(pk), "sk": table.String(sk)}
	maps.Copy(i, attributes)
	db.Items[at(aws.String("state"), i)] = i
}

// Of lists the sort keys of a partition, of all tables.
func (db *Tables) Of(pk string) (all []string) {
	for _, i := range db.Items {
		if i.Text("pk") == pk {
			all = append(all, i.Text("sk"))
		}
	}
	slices.SortFunc(all, cmp.Compare[string])
	return all
}

// Must fails the test on an error that the test is not about.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Unchanged checks that what was refused wrote nothing at all.
func (db *Tables) Unchanged(t *testing.T, do func() error) error {
	t.Helper()
	before := maps.Clone(db.Items)
	err := do()
	if err == nil || !reflect.DeepEqual(before, db.Items) {
		t.Errorf("%v, and the tables went from %v to %v", err, before, db.Items)
	}
	return err
}

// Written returns a change that writes the revision after was; each has its own nonce.
func Written(kind, name string, was int64, spec resource.Spec) admin.Change {
	e := Event(audit.ResourceUpdated)
	return admin.Change{
		Resource: resource.Resource{Kind: kind, Metadata: resource.Metadata{Name: name, Scope: "/prod", Revision: was + 1}, Spec: spec},
		Was:      was, Nonce: e.ID, Event: e,
	}
}

// Deleted returns one that the tables accept.
func Deleted(kind, name string, was int64) admin.Change {
	c := Written(kind, name, was, nil)
	c.Delete, c.Resource.Metadata.Revision = true, was
	return c
}

// Token makes a token with a secret.
func Token(uses int, until time.Time) admin.Change {
	c := Written("token", "nodes", 0, &resource.TokenSpec{Method: resource.MethodToken, Resources: []string{"node"}, Names: []string{"*"}})
	c.Secret = &admin.Secret{SHA256: "hash", Uses: uses, Expires: until}
	return c
}
