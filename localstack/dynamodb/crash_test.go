package dynamodb_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

// crashDir tells a child of the crash test where to write.
const crashDir = "STILE_DYNAMODB_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeForever(dir)
		return
	}
	os.Exit(m.Run())
}

// child stands in for a test in the child, where a failure ends the process.
type child struct{ testing.TB }

func (child) Helper()           {}
func (child) Cleanup(func())    {}
func (child) TempDir() string   { d, _ := os.MkdirTemp("", "crash"); return d }
func (child) Error(args ...any) { fmt.Fprintln(os.Stderr, args...) }
func (child) Fatal(args ...any) { fmt.Fprintln(os.Stderr, args...); os.Exit(1) }

// writeForever puts pairs of items in transactions and prints the number of each that was acknowledged.
func writeForever(dir string) {
	t := child{}
	c := client(t, open(t, func(c *dynamodb.Config) { c.Dir = dir }))
	ctx := context.Background()
	if _, err := c.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: aws.String("state")}); err != nil {
		table(t, c, "state", streaming)
	}
	count, err := c.Scan(ctx, &sdk.ScanInput{TableName: aws.String("state")})
	if err != nil {
		t.Fatal(err)
	}
	for n := int(count.Count) / 2; ; n++ {
		pair := make([]types.TransactWriteItem, 2)
		for i := range pair {
			pair[i].Put = &types.Put{TableName: aws.String("state"), Item: key(strconv.Itoa(n), strconv.Itoa(i))}
		}
		if _, err := c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: pair}); err != nil {
			t.Fatal(err)
		}
		fmt.Println(n)
	}
}

func TestAcknowledgedWritesSurviveSIGKILL(t *testing.T) {
	dir, last := t.TempDir(), -1
	for round := range 3 {
		last = max(last, killAfter(t, dir, 10+7*round))
	}
	s := open(t, func(c *dynamodb.Config) { c.Dir = dir })
	c := client(t, s)
	for n := range last + 1 {
		page, err := c.Query(t.Context(), &sdk.QueryInput{
			TableName: aws.String("state"), KeyConditionExpression: aws.String("pk = :p"),
			ExpressionAttributeValues: attrs{":p": str(strconv.Itoa(n))},
		})
		if err != nil || page.Count != 2 {
			t.Fatalf("transaction %d of %d: %d of its two items, %v", n, last, page.Count, err)
		}
	}
	count, err := c.Scan(t.Context(), &sdk.ScanInput{TableName: aws.String("state")})
	if err != nil || count.Count%2 != 0 {
		t.Errorf("half a transaction: %d items, %v", count.Count, err)
	}
	told, err := c.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String("state")})
	if err != nil {
		t.Fatal(err)
	}
	records, err := s.Records(t.Context(), *told.Table.LatestStreamArn, "", 10000)
	if err != nil || len(records) != int(count.Count) {
		t.Errorf("%d records for %d items, %v", len(records), count.Count, err)
	}
}

// killAfter runs a writer until it has had some writes acknowledged, kills it, and gives the last one's number.
func killAfter(t *testing.T, dir string, writes int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), crashDir+"="+dir), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, lines := -1, bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatalf("the writer said %q", lines.Text())
		}
		if n == writes {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || last < 0 {
		t.Fatalf("the writer ended by itself after %d: %v", last, err)
	}
	return last
}
