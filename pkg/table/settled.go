package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// settledAtOnce is how many items DynamoDB reads in one transaction.
const settledAtOnce = 100

// Settled reads items as no other read can: whatever a transaction did to them whose effect was seen anywhere is in the
// answer. DynamoDB writes the items of a transaction one after the other, and Get, List and Page, though strongly consistent,
// can show one of them from after it and another from before. Here those that are being written at the moment make the
// read fail; it is tried again for a fifth of a second, and what is then still being written is busy. A key that is in
// neither answer has no item.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-isolation
func (t Table) Settled(ctx context.Context, keys []Key) (items map[Key]Item, busy []Key, err error) {
	items = map[Key]Item{}
	for some := range slices.Chunk(keys, settledAtOnce) {
		some = slices.Clone(some)
		for try := 1; len(some) > 0; try++ {
			out, err := t.API.TransactGetItems(ctx, t.gets(some))
			if err == nil {
				for i, r := range out.Responses {
					if len(r.Item) > 0 {
						items[some[i]] = r.Item
					}
				}
				break
			}
			written := beingWritten(err, some)
			if len(written) == 0 {
				return nil, nil, fmt.Errorf("reading %s/%s and others: %w", some[0].PK, some[0].SK, err)
			}
			if try%attempts == 0 {
				busy = append(busy, written...)
				some = slices.DeleteFunc(some, func(k Key) bool { return slices.Contains(written, k) })
				continue
			}
			if err := pause(ctx, time.Duration(try%attempts)*20*time.Millisecond); err != nil {
				return nil, nil, err
			}
		}
	}
	return items, busy, nil
}

func (t Table) gets(keys []Key) *dynamodb.TransactGetItemsInput {
	in := &dynamodb.TransactGetItemsInput{}
	for _, k := range keys {
		in.TransactItems = append(in.TransactItems, types.TransactGetItem{Get: &types.Get{TableName: &t.Name, Key: k.item()}})
	}
	return in
}

// beingWritten lists the keys that kept a transaction from reading.
func beingWritten(err error, keys []Key) (written []Key) {
	c, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return nil
	}
	for i, r := range c.CancellationReasons {
		if i < len(keys) && r.Code != nil && *r.Code == "TransactionConflict" {
			written = append(written, keys[i])
		}
	}
	return written
}
