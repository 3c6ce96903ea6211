package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// keep writes an item of the state table.
func (v *vandal) keep(t *testing.T, i item) {
	t.Helper()
	if _, err := v.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.table, Item: i}); err != nil {
		t.Fatal(err)
	}
}

// partition lists what stands under a partition key, sort key by sort key.
func (v *vandal) partition(t *testing.T, table, pk string) map[string]item {
	t.Helper()
	out := map[string]item{}
	pages := dynamodb.NewQueryPaginator(v.db, &dynamodb.QueryInput{
		TableName: &table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": &types.AttributeValueMemberS{Value: pk}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			out[text(i["sk"])] = i
		}
	}
	return out
}

// TestSec_S99_WhatIsSignedIsClaimedAndWhatIsNotIsTold logs in and lets an agent join, whose signatures are settled by what the signers
// say, and then has a record come of a signature that no function asked for.
func TestSec_S99_WhatIsSignedIsClaimedAndWhatIsNotIsTold(t *testing.T) {
	v := newVandal(t)
	hour := func(at time.Time) string { return at.UTC().Format("2006-01-02T15") }
	now := time.Now()
	at := func(pk, sk, name string, when time.Time) item {
		return item{
			"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk},
			name: &types.AttributeValueMemberN{Value: fmt.Sprint(when.UnixMilli())},
		}
	}
	// Comparing began hours ago, when nothing was signed yet, and the next hour to be stated is the last one.
	v.keep(t, at("looked", "signatures", "began_ms", now.Add(-6*time.Hour).Truncate(time.Hour)))
	v.keep(t, at("checked", "signatures", "until_ms", now.Add(-30*time.Minute).Truncate(time.Hour).Add(-time.Hour)))
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, engineer).login(t)
	shared.agent(t, enrol{name: "node-signed"})
	eventually(t, 30*time.Second, p.online(t, "node-signed", true))
	claims := func(function string) (ids []string) {
		for _, h := range slices.Compact([]string{hour(now), hour(time.Now())}) {
			for id, i := range v.partition(t, v.ledger, "claimed#"+function+"#"+h) {
				if ms := i["at_ms"].(*types.AttributeValueMemberN).Value; ms >= fmt.Sprint(now.UnixMilli()) { // before, the rule may not have been there
					ids = append(ids, id)
				}
			}
		}
		return ids
	}
	told := func() []listed { return boss.events(t, "--since", "1h", "--type", "signing.unclaimed") }
	before := told()
	for _, function := range []string{"sign-user", "sign-host", "publish"} {
		swept := 0                                   // claims that were there before the last sweep: a record that it saw before its claim waits in the queue for minutes
		eventually(t, 3*time.Minute, func() string { // documents are signed once a minute
			ids := claims(function)
			if len(ids) == swept {
				return fmt.Sprintf("%s claims nothing, and %d before", function, swept)
			}
			swept = len(ids)
			shared.sweep(t)
			settled := map[string]item{}
			for _, h := range slices.Compact([]string{hour(now), hour(time.Now())}) {
				maps.Copy(settled, v.partition(t, v.table, "signing#"+function+"#"+h))
			}
			some := false
			for _, id := range ids {
				if settled[id]["unclaimed"] != nil {
					t.Errorf("%s claims %s, and it was told", function, id)
				}
				some = some || settled[id] != nil
			}
			if !some {
				return fmt.Sprintf("%s: nothing of what it claims is settled, of %d", function, len(ids))
			}
			return ""
		})
	}
	if after := told(); len(after) != len(before) {
		t.Errorf("told: %+v", after)
	}
	queue := sqs.NewFromConfig(shared.readerConfig(t))
	url := aws.String("https://sqs." + shared.person(t, admin).Env["AWS_REGION"] + ".amazonaws.com/111122223333/stile-signings")
	if _, err := queue.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("somebody else takes records out: %v", err)
	}
	request := fmt.Sprintf("%08x-0000-4000-8000-000000000000", now.UnixNano()&0xffffffff)
	body, err := json.Marshal(map[string]any{"source": "aws.kms", "detail": map[string]any{
		"eventTime": now.Add(-10 * time.Minute).UTC().Format(time.RFC3339), "eventName": "Sign", "requestID": request,
		"userIdentity": map[string]any{"arn": "arn:aws:sts::111122223333:assumed-role/somebody/x", "sessionContext": map[string]any{"sessionIssuer": map[string]any{"arn": "arn:aws:iam::111122223333:role/somebody"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queue.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String(string(body))}); err != nil {
		t.Fatal(err)
	}
	_, n := measured(shared.log("stile-sweep"), names.MetricSignaturesUnrecorded, names.MetricSignaturesUnclaimed)
	for range 2 {
		shared.sweep(t)
		all := slices.DeleteFunc(told(), func(e listed) bool { return e.Data["request"] != request })
		if len(all) != 1 || all[0].Standing != "proven" || all[0].Source != "function/sweep" || all[0].Outcome != audit.Failure {
			t.Fatalf("told: %+v", all)
		}
	}
	eventually(t, 10*time.Second, func() string {
		if _, m := measured(shared.log("stile-sweep"), names.MetricSignaturesUnrecorded, names.MetricSignaturesUnclaimed); m != n+1 {
			return fmt.Sprintf("measured %d, and %d before", m, n)
		}
		return ""
	})
	if !slices.ContainsFunc(boss.events(t, "--since", "1h", "--type", "evidence.checked"), func(e listed) bool { return e.Data["check"] == "signatures" }) {
		t.Error("no hour is stated")
	}
}
