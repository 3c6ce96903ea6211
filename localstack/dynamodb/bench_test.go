package dynamodb_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// BenchmarkPut counts acknowledged writes, signature and policies included: one caller, then many who share commits.
func BenchmarkPut(b *testing.B) {
	c := client(b, open(b))
	table(b, c, "state", streaming)
	var n atomic.Int64
	one := func() {
		_, err := c.PutItem(b.Context(), &sdk.PutItemInput{TableName: aws.String("state"), Item: key("a", strconv.FormatInt(n.Add(1), 10))})
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("one caller", func(b *testing.B) {
		for b.Loop() {
			one()
		}
	})
	b.Run("64 callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				one()
			}
		})
	})
}

// BenchmarkGet counts reads, signature and policies included.
func BenchmarkGet(b *testing.B) {
	c := client(b, open(b))
	table(b, c, "state")
	put(b, c, "state", key("a", "1"))
	for b.Loop() {
		if _, err := c.GetItem(b.Context(), &sdk.GetItemInput{TableName: aws.String("state"), Key: key("a", "1")}); err != nil {
			b.Fatal(err)
		}
	}
}
