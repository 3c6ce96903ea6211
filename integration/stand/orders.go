package stand

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/table"
)

// Revoke has so many users revoked who never were, one order each as changes would have written, numbered by the
// counter of orders, which counts on. Nothing else may be changed meanwhile. The person is the reader.
func (p *Person) Revoke(ctx context.Context, many int) error {
	db := dynamodb.NewFromConfig(p.AWS())
	tables, err := db.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return err
	}
	name, err := named(tables.TableNames, "state")
	if err != nil {
		return err
	}
	state := table.Table{API: db, Name: name}
	counter, err := state.Get(ctx, store.KeyInput)
	if err != nil {
		return fmt.Errorf("reading the input counter, which is there after the first change: %w", err)
	}
	first, until := counter.Int("orders")+1, time.Now().Add(12*time.Hour)
	group, writing := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range int64(many) {
		group.Go(func() error {
			return state.Create(writing, store.OrderItem(revoked.Order{
				Seq: first + i, Ref: identity.Record("flood", fmt.Sprintf("user-%d", first+i)), Group: identity.Ref{Target: "mapping", Value: "flood"}, Reserve: true, Until: until,
			}))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	counter["n"], counter["orders"] = table.Int(counter.Int("n")+int64(many)), table.Int(first+int64(many)-1)
	_, err = db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(state.Name), Item: counter})
	return err
}
