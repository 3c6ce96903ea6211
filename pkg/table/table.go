// Package table reaches items of a DynamoDB table by their two keys: reading, listing, conditional writing
// and transactions over several tables, with the SDK's errors turned once into the two that callers act on.
//
// It doesn't know what any item means. Its entry points are [Table] and [Transact].
package table

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/names"
)

// API is what we use of a *dynamodb.Client.
type API interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	TransactGetItems(context.Context, *dynamodb.TransactGetItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactGetItemsOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// ErrNotFound says that there is no item under the key.
var ErrNotFound = errors.New("no such item")

// Conflict says that a condition was not met.
type Conflict struct {
	Op    int  // index of the operation that failed, in a transaction
	There Item // what stands in the way of Create
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("the condition of operation %d was not met", c.Op)
}

// Key names an item.
type Key struct{ PK, SK string }

// Conflicts reports whether an error is a [Conflict]: what is there isn't what a condition demanded.
func Conflicts(err error) bool {
	_, ok := errors.AsType[*Conflict](err)
	return ok
}

func (k Key) item() Item { return Item{names.PK: String(k.PK), names.SK: String(k.SK)} }

// Table is one table.
type Table struct {
	API  API
	Name string
}

// Get reads an item with strong consistency. It fails with ErrNotFound when there is none.
func (t Table) Get(ctx context.Context, key Key) (Item, error) { return t.get(ctx, key, true) }

// Glance reads an item with eventual consistency, at half the price. It fails with ErrNotFound when there is none.
func (t Table) Glance(ctx context.Context, key Key) (Item, error) { return t.get(ctx, key, false) }

func (t Table) get(ctx context.Context, key Key, strong bool) (Item, error) {
	out, err := t.API.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Name, Key: key.item(), ConsistentRead: &strong})
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", key.PK, key.SK, err)
	}
	if len(out.Item) == 0 {
		return nil, fmt.Errorf("reading %s/%s: %w", key.PK, key.SK, ErrNotFound)
	}
	return out.Item, nil
}

// List reads all items of a partition with strong consistency, in the order of their sort keys.
func (t Table) List(ctx context.Context, pk string) ([]Item, error) {
	in := &dynamodb.QueryInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: Item{":pk": String(pk)},
	}
	var items []Item
	for {
		out, err := t.API.Query(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", pk, err)
		}
		for _, i := range out.Items {
			items = append(items, i)
		}
		if len(out.LastEvaluatedKey) == 0 {
			return items, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Page reads at most limit items of a partition that come after a sort key, with strong consistency, and says whether
// there may be more. It may return fewer, since a page has at most 1 MB.
func (t Table) Page(ctx context.Context, pk, after string, limit int) (items []Item, more bool, err error) {
	in := &dynamodb.QueryInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: Item{":pk": String(pk)}, Limit: aws.Int32(int32(limit)),
	}
	return t.query(ctx, in, pk, after)
}

// Back lists items of a partition between two sort keys, both included, from the last to the first: at most limit, or as many as
// DynamoDB gives at once, before the key before, which is "" at the beginning. More says that there may be some.
func (t Table) Back(ctx context.Context, pk, first, last, before string, limit int) (items []Item, more bool, err error) {
	in := &dynamodb.QueryInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :first AND :last"),
		ExpressionAttributeValues: Item{":pk": String(pk), ":first": String(first), ":last": String(last)},
	}
	return t.query(ctx, in, pk, before)
}

// query asks for a page of a partition, from behind a sort key on, or from the beginning when that is "".
func (t Table) query(ctx context.Context, in *dynamodb.QueryInput, pk, behind string) (items []Item, more bool, err error) {
	if behind != "" {
		in.ExclusiveStartKey = Key{PK: pk, SK: behind}.item()
	}
	out, err := t.API.Query(ctx, in)
	if err != nil {
		return nil, false, fmt.Errorf("listing %s: %w", pk, err)
	}
	for _, i := range out.Items {
		items = append(items, i)
	}
	return items, len(out.LastEvaluatedKey) > 0, nil
}

// Put writes an item, whatever was there.
func (t Table) Put(ctx context.Context, item Item) error {
	_, err := t.API.PutItem(ctx, &dynamodb.PutItemInput{TableName: &t.Name, Item: item})
	if err != nil {
		return fmt.Errorf("writing %s/%s: %w", item.Text(names.PK), item.Text(names.SK), err)
	}
	return nil
}

// Create writes an item that must not be there yet; otherwise the error is a *Conflict with the item that is there.
func (t Table) Create(ctx context.Context, item Item) error {
	_, err := t.API.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &t.Name, Item: item, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	return single(err, item.Text(names.PK), item.Text(names.SK))
}

// PutIf writes an item if the condition holds for what is there; otherwise the error is a *Conflict.
func (t Table) PutIf(ctx context.Context, item Item, condition string, values Item) error {
	in := &dynamodb.PutItemInput{TableName: &t.Name, Item: item, ConditionExpression: &condition}
	if len(values) > 0 {
		in.ExpressionAttributeValues = values
	}
	_, err := t.API.PutItem(ctx, in)
	return single(err, item.Text(names.PK), item.Text(names.SK))
}

// UpdateIf changes an item by an update expression if the condition holds for what is there; otherwise the error is a
// *Conflict, and was is what is there.
func (t Table) UpdateIf(ctx context.Context, key Key, update, condition string, values Item) (was Item, err error) {
	_, err = t.API.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Name, Key: key.item(), UpdateExpression: &update, ConditionExpression: &condition, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if refused, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		was = refused.Item
	}
	return was, single(err, key.PK, key.SK)
}

// Delete removes an item; it is not an error if there is none.
func (t Table) Delete(ctx context.Context, key Key) error {
	_, err := t.API.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &t.Name, Key: key.item()})
	return single(err, key.PK, key.SK)
}

// DeleteIf removes an item if the condition holds; otherwise the error is a *Conflict.
func (t Table) DeleteIf(ctx context.Context, key Key, condition string, values Item) error {
	_, err := t.API.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &t.Name, Key: key.item(), ConditionExpression: &condition, ExpressionAttributeValues: values,
	})
	return single(err, key.PK, key.SK)
}

func single(err error, pk, sk string) error {
	if err == nil {
		return nil
	}
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return fmt.Errorf("writing %s/%s: %w", pk, sk, &Conflict{There: failed.Item})
	}
	return fmt.Errorf("writing %s/%s: %w", pk, sk, err)
}

// Item is an item's attributes.
type Item map[string]types.AttributeValue

// Text returns a string attribute, "" when it is absent or something else.
func (i Item) Text(name string) string {
	if v, ok := i[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// Int returns a number attribute, 0 when it is absent or something else.
func (i Item) Int(name string) int64 {
	if v, ok := i[name].(*types.AttributeValueMemberN); ok {
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// Bytes returns a binary attribute, nil when it is absent or something else.
func (i Item) Bytes(name string) []byte {
	if v, ok := i[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	return nil
}

// String makes a string attribute.
func String(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// Int makes a number attribute.
func Int[N int | int64 | uint64](n N) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

// Bytes makes a binary attribute.
func Bytes(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{} // nil is no value at all, which DynamoDB refuses
	}
	return &types.AttributeValueMemberB{Value: b}
}
