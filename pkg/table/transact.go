package table

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Op is one operation of a transaction.
type Op struct{ item types.TransactWriteItem }

// PutOp writes an item; condition "" means whatever was there.
func (t Table) PutOp(item Item, condition string, values Item) Op {
	return Op{types.TransactWriteItem{Put: &types.Put{
		TableName: &t.Name, Item: item, ConditionExpression: text(condition), ExpressionAttributeValues: filled(values),
	}}}
}

// CreateOp writes an item that must not be there yet.
func (t Table) CreateOp(item Item) Op { return t.PutOp(item, "attribute_not_exists(pk)", nil) }

// UpdateOp changes an item by an update expression.
func (t Table) UpdateOp(key Key, update, condition string, values Item) Op {
	return Op{types.TransactWriteItem{Update: &types.Update{
		TableName: &t.Name, Key: key.item(), UpdateExpression: &update, ConditionExpression: text(condition),
		ExpressionAttributeValues: filled(values),
	}}}
}

// DeleteOp removes an item.
func (t Table) DeleteOp(key Key, condition string, values Item) Op {
	return Op{types.TransactWriteItem{Delete: &types.Delete{
		TableName: &t.Name, Key: key.item(), ConditionExpression: text(condition), ExpressionAttributeValues: filled(values),
	}}}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func filled(values Item) Item {
	if len(values) == 0 {
		return nil
	}
	return values
}

// attempts bounds how often a transaction that collided with another is tried: collisions are short.
const attempts = 5

// Transact does all operations or none. When a condition was not met the error is a *Conflict that names
// the first such operation; a mere collision with another transaction is tried again. All attempts carry one
// token: an answer that was lost on the way cannot make the transaction happen twice.
func Transact(ctx context.Context, api API, ops ...Op) error {
	in := &dynamodb.TransactWriteItemsInput{}
	for _, op := range ops {
		in.TransactItems = append(in.TransactItems, op.item)
	}
	token := rand.Text()
	in.ClientRequestToken = &token
	for try := 1; ; try++ {
		_, err := api.TransactWriteItems(ctx, in)
		if err == nil {
			return nil
		}
		conflict, collision := cancelled(err)
		switch {
		case conflict != nil:
			return fmt.Errorf("writing a transaction: %w", conflict)
		case !collision || try == attempts:
			return fmt.Errorf("writing a transaction: %w", err)
		}
		if err := pause(ctx, time.Duration(try)*20*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting to try a transaction again: %w", ctx.Err())
	case <-time.After(d):
		return nil
	}
}

func cancelled(err error) (conflict *Conflict, collision bool) {
	c, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return nil, false
	}
	for i, r := range c.CancellationReasons {
		if r.Code == nil {
			continue
		}
		switch *r.Code {
		case "ConditionalCheckFailed":
			return &Conflict{Op: i}, false
		case "TransactionConflict":
			collision = true
		}
	}
	return nil, collision
}

// Named lets an update's expressions use a placeholder for an attribute whose name DynamoDB reserves.
func (o Op) Named(placeholder, attribute string) Op {
	if o.item.Update.ExpressionAttributeNames == nil {
		o.item.Update.ExpressionAttributeNames = map[string]string{}
	}
	o.item.Update.ExpressionAttributeNames[placeholder] = attribute
	return o
}
