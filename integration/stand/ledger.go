package stand

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Ledger reads the audit events of the system, as the reader, and verifies them by its trust documents.
func (s *System) Ledger(ctx context.Context) (reader.Report, error) {
	p, err := s.Person(ReaderFile, "")
	if err != nil {
		return reader.Report{}, err
	}
	db := dynamodb.NewFromConfig(p.AWS())
	store := s3.NewFromConfig(p.AWS(), func(o *s3.Options) { o.UsePathStyle = true })
	tables, err := db.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return reader.Report{}, err
	}
	buckets, err := store.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return reader.Report{}, err
	}
	var stored []string
	for _, b := range buckets.Buckets {
		stored = append(stored, aws.ToString(b.Name))
	}
	state, err1 := named(tables.TableNames, "state")
	ledger, err2 := named(tables.TableNames, "ledger")
	bucket, err3 := named(stored, "documents")
	if err := errors.Join(err1, err2, err3); err != nil {
		return reader.Report{}, err
	}
	trust, err := trustOf(ctx, head.New(head.Config{DynamoDB: db, S3: store, Table: state, Bucket: bucket}))
	if err != nil {
		return reader.Report{}, err
	}
	return reader.Read(ctx, db, ledger, trust...)
}

// named finds the one name that contains a word.
func named(all []string, word string) (string, error) {
	for _, name := range all {
		if strings.Contains(strings.ToLower(name), word) {
			return name, nil
		}
	}
	return "", fmt.Errorf("none of %v is for %s", all, word)
}

// trustOf reads all trust documents, oldest first.
func trustOf(ctx context.Context, store *head.Store) (all []document.Trust, err error) {
	newest, err := store.Glance(ctx)
	if err != nil {
		return nil, err
	}
	chain, err := store.Trust(ctx, newest)
	if err != nil {
		return nil, err
	}
	return document.OpenChain(chain, "")
}

// Leases returns the ids of the proxies that have a lease, read as the reader. One that was killed keeps it until its time has passed.
func (s *System) Leases(ctx context.Context) (ids []string, err error) {
	p, err := s.Person(ReaderFile, "")
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(p.AWS())
	tables, err := db.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return nil, err
	}
	presence, err := named(tables.TableNames, "presence")
	if err != nil {
		return nil, err
	}
	out, err := db.Scan(ctx, &dynamodb.ScanInput{TableName: &presence})
	if err != nil {
		return nil, err
	}
	for _, i := range out.Items {
		if item := table.Item(i); item.Text(names.PK) == names.Proxy {
			ids = append(ids, item.Text(names.SK))
		}
	}
	return ids, nil
}
