package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// journal waits until the ledger holds every session whole, and judges what it lacks.
func (r *run) journal(ctx context.Context) error {
	reader, err := r.Person(stand.ReaderFile, "")
	if err != nil {
		return err
	}
	db := dynamodb.NewFromConfig(reader.AWS())
	table, err := ledgerTable(ctx, db)
	if err != nil {
		return err
	}
	seen := r.sessions.all()
	var excused int
	var faults []string
	until(ctx, recovery, func() string {
		var entries []rule.Entry
		if entries, err = entriesOf(ctx, db, table); err != nil {
			return err.Error()
		}
		r.whole, excused, faults = rule.Ledger(seen, entries, r.kills)
		return strings.Join(faults, "\n")
	})
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	for range r.whole {
		r.book.Held(rule.Journal)
	}
	for range excused {
		r.book.Excused(rule.Journal)
	}
	for _, f := range faults {
		r.book.Broken(rule.Journal, time.Now(), "%s", f)
	}
	return nil
}

// ledgerTable finds the table that events are in.
func ledgerTable(ctx context.Context, db *dynamodb.Client) (string, error) {
	tables, err := db.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return "", err
	}
	for _, name := range tables.TableNames {
		if strings.Contains(strings.ToLower(name), "ledger") {
			return name, nil
		}
	}
	return "", fmt.Errorf("none of %v is the ledger", tables.TableNames)
}

// entriesOf reads what the ledger says of sessions.
func entriesOf(ctx context.Context, db *dynamodb.Client, table string) (list []rule.Entry, err error) {
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{
		TableName: aws.String(table), ConsistentRead: aws.Bool(true), FilterExpression: aws.String("#type = :start OR #type = :end"),
		ExpressionAttributeNames: map[string]string{"#type": "type"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":start": &types.AttributeValueMemberS{Value: "session.start"}, ":end": &types.AttributeValueMemberS{Value: "session.end"},
		},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			text, _ := item["event"].(*types.AttributeValueMemberS)
			if text == nil {
				return nil, fmt.Errorf("an item of the ledger holds no event: %v", item)
			}
			var e struct {
				Time                time.Time
				Type, Actor, Target string
				SessionID           string `json:"session_id"`
				TargetKind          string `json:"target_kind"`
			}
			if err := json.Unmarshal([]byte(text.Value), &e); err != nil {
				return nil, fmt.Errorf("reading an event: %w", err)
			}
			list = append(list, rule.Entry{
				SessionID: e.SessionID, User: strings.TrimPrefix(e.Actor, "user/"), Target: e.Target, Start: e.Type == "session.start", At: e.Time,
			})
		}
	}
	return list, nil
}
