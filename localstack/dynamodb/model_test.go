package dynamodb_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

// model is the naive table: a map from the two keys to a number.
type model map[[2]string]int

// sorted are the sort keys of a partition from a lower bound, in order.
func (m model) sorted(pk, from string) []string {
	var keys []string
	for k := range m {
		if k[0] == pk && k[1] >= from {
			keys = append(keys, k[1])
		}
	}
	slices.Sort(keys)
	return keys
}

func TestAnyRunOfOperationsAgreesWithANaiveTable(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		s, err := dynamodb.Open(dynamodb.Config{Dir: fmt.Sprint(dir, "/", runs), Account: "111122223333", Region: "eu-west-1"})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				rt.Error(err)
			}
		}()
		c := client(t, s)
		table(t, c, "state")
		m := model{}
		for range rapid.IntRange(1, 25).Draw(rt, "operations") {
			operate(rt, t, c, m)
		}
		compare(rt, t, c, m)
	})
}

// operate does one random operation on both tables.
func operate(rt *rapid.T, t *testing.T, c *sdk.Client, m model) {
	k := [2]string{rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "pk"), rapid.SampledFrom([]string{"1", "2", "3", "10", "20"}).Draw(rt, "sk")}
	name, where := aws.String("state"), key(k[0], k[1])
	_, exists := m[k]
	var err error
	expectFailure := false
	switch rapid.SampledFrom([]string{"put", "create", "count", "delete", "transact"}).Draw(rt, "operation") {
	case "put":
		m[k] = 0
		_, err = c.PutItem(t.Context(), &sdk.PutItemInput{TableName: name, Item: attrs{"pk": where["pk"], "sk": where["sk"], "n": num("0")}})
	case "create":
		expectFailure = exists
		if !exists {
			m[k] = 7
		}
		_, err = c.PutItem(t.Context(), &sdk.PutItemInput{
			TableName: name, Item: attrs{"pk": where["pk"], "sk": where["sk"], "n": num("7")}, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		})
	case "count":
		m[k]++
		_, err = c.UpdateItem(t.Context(), &sdk.UpdateItemInput{
			TableName: name, Key: where, UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: attrs{":one": num("1")},
		})
	case "delete":
		delete(m, k)
		_, err = c.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: name, Key: where})
	case "transact":
		expectFailure = !exists
		if exists {
			m[[2]string{k[0], "t"}]++
		}
		_, err = c.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Update: &types.Update{TableName: name, Key: key(k[0], "t"), UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: attrs{":one": num("1")}}},
			{ConditionCheck: &types.ConditionCheck{TableName: name, Key: where, ConditionExpression: aws.String("attribute_exists(pk)")}},
		}})
	}
	var failed *types.ConditionalCheckFailedException
	var cancelled *types.TransactionCanceledException
	if failure := errors.As(err, &failed) || errors.As(err, &cancelled); failure != expectFailure || err != nil && !failure {
		rt.Fatalf("expected a failure: %v, got %v", expectFailure, err)
	}
}

// compare reads everything back: by paged queries both ways and by a paged scan.
func compare(rt *rapid.T, t *testing.T, c *sdk.Client, m model) {
	limit := int32(rapid.IntRange(1, 4).Draw(rt, "page"))
	for _, pk := range []string{"a", "b"} {
		from := rapid.SampledFrom([]string{"1", "10", "2", "3"}).Draw(rt, "from")
		for _, forward := range []bool{true, false} {
			var got []string
			pages := sdk.NewQueryPaginator(c, &sdk.QueryInput{
				TableName: aws.String("state"), KeyConditionExpression: aws.String("pk = :p AND sk >= :from"), Limit: &limit,
				ExpressionAttributeValues: attrs{":p": str(pk), ":from": str(from)}, ScanIndexForward: &forward,
			})
			for pages.HasMorePages() {
				page, err := pages.NextPage(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				for _, i := range page.Items {
					got = append(got, i["sk"].(*types.AttributeValueMemberS).Value)
				}
			}
			if !forward {
				slices.Reverse(got)
			}
			if diff := cmp.Diff(m.sorted(pk, from), got); diff != "" {
				rt.Fatalf("partition %s from %s, forward %v: %s", pk, from, forward, diff)
			}
		}
	}
	scanned := model{}
	pages := sdk.NewScanPaginator(c, &sdk.ScanInput{TableName: aws.String("state"), Limit: &limit})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		for _, i := range page.Items {
			n, err := strconv.Atoi(i["n"].(*types.AttributeValueMemberN).Value)
			if err != nil {
				rt.Fatal(err)
			}
			scanned[[2]string{i["pk"].(*types.AttributeValueMemberS).Value, i["sk"].(*types.AttributeValueMemberS).Value}] = n
		}
	}
	if diff := cmp.Diff(m, scanned); diff != "" {
		rt.Fatalf("scan: %s", diff)
	}
}

func TestConcurrentIncrementsAndTransfersLoseNothing(t *testing.T) {
	c := client(t, open(t))
	table(t, c, "state")
	const workers, each = 8, 15
	put(t, c, "state", attrs{"pk": str("x"), "sk": str("from"), "n": num(strconv.Itoa(workers * each))})
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			for n := range each {
				_, err := c.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
					{Update: &types.Update{TableName: aws.String("state"), Key: key("x", "from"), UpdateExpression: aws.String("SET n = n - :one"), ConditionExpression: aws.String("n > :zero"), ExpressionAttributeValues: attrs{":one": num("1"), ":zero": num("0")}}},
					{Update: &types.Update{TableName: aws.String("state"), Key: key("x", "to"), UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: attrs{":one": num("1")}}},
					{Put: &types.Put{TableName: aws.String("state"), Item: key("moved", fmt.Sprint(w, ".", n)), ConditionExpression: aws.String("attribute_not_exists(pk)")}},
				}})
				if err != nil {
					t.Error(err)
				}
				both, err := c.TransactGetItems(t.Context(), &sdk.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
					{Get: &types.Get{TableName: aws.String("state"), Key: key("x", "from")}}, {Get: &types.Get{TableName: aws.String("state"), Key: key("x", "to")}},
				}})
				if err != nil {
					t.Error(err)
					continue
				}
				total := 0
				for _, r := range both.Responses {
					n, err := strconv.Atoi(r.Item["n"].(*types.AttributeValueMemberN).Value)
					if err != nil {
						t.Error(err)
					}
					total += n
				}
				if total != workers*each {
					t.Errorf("a reader saw %d in all", total)
				}
			}
		})
	}
	done.Wait()
	moved, err := c.Query(t.Context(), &sdk.QueryInput{TableName: aws.String("state"), KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: attrs{":p": str("moved")}})
	if err != nil || moved.Count != workers*each {
		t.Errorf("%d moved, %v", moved.Count, err)
	}
}
