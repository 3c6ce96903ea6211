package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
)

// canaryRow is a delivery of the lake's table, whose columns can be taken away.
type canaryRow struct {
	ID          *string            `parquet:"id,optional"`
	Time        *deprecated.Int96  `parquet:"time,optional"` // as Hive writes it
	Type        *string            `parquet:"type,optional"`
	Code        *string            `parquet:"code,optional"`
	Cluster     *string            `parquet:"cluster,optional"`
	Actor       *string            `parquet:"actor,optional"`
	ActorRoles  []*string          `parquet:"actor_roles,optional,list"`
	TargetKind  *string            `parquet:"target_kind,optional"`
	Target      *string            `parquet:"target,optional"`
	Scope       *string            `parquet:"scope,optional"`
	SessionID   *string            `parquet:"session_id,optional"`
	RequestID   *string            `parquet:"request_id,optional"`
	DecisionID  *string            `parquet:"decision_id,optional"`
	Outcome     *string            `parquet:"outcome,optional"`
	Reason      *string            `parquet:"reason,optional"`
	SourceIP    *string            `parquet:"source_ip,optional"`
	Source      *string            `parquet:"source,optional"`
	SourceEpoch *string            `parquet:"source_epoch,optional"`
	Seq         *int64             `parquet:"seq,optional"`
	SourceAfter *string            `parquet:"source_after,optional"`
	Data        map[string]*string `parquet:"data,optional" parquet-value:",optional"`
	Writer      *string            `parquet:"writer,optional"`
	Receipt     *string            `parquet:"receipt,optional"`
	Received    *deprecated.Int96  `parquet:"received,optional"`
}

// arrived is what the lake has under a receipt.
func (s *system) arrived(t *testing.T, receipt string) (found []canaryRow) {
	t.Helper()
	if err := s.person(t, admin).Flush(); err != nil {
		t.Fatal(err)
	}
	for key, file := range s.bucket(t, "lake", names.LakePrefix) {
		rows, err := parquet.Read[canaryRow](bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for _, r := range rows {
			if aws.ToString(r.Receipt) == receipt {
				found = append(found, r)
			}
		}
	}
	return found
}

// wrote has the canary of an hour that is over be the one that was written in this one, and returns its receipt.
func (v *vandal) wrote(t *testing.T, canary listed, hour time.Time) (receipt string) {
	t.Helper()
	at := hour.Add(20 * time.Minute)
	v.earlier(t, canary.Source, canary.ID, at)
	receipt = ledger.Receipt(at, []byte(text(v.copies(t, canary.ID)[0]["event"])))
	v.put(t, item{
		"pk": &types.AttributeValueMemberS{Value: "looked"}, "sk": &types.AttributeValueMemberS{Value: "canary#" + hour.Format(ledger.HourForm)},
		"at": &types.AttributeValueMemberS{Value: ledger.Partition(canary.Source, at, canary.ID)}, "under": &types.AttributeValueMemberS{Value: receipt},
	})
	return receipt
}

// TestTheCanaryOfAnHourArrivesWithAValueInEachColumn has this hour's canary be of hours that are over: of one it arrived, and of one a
// row came to the lake as well that lacks columns.
func TestTheCanaryOfAnHourArrivesWithAValueInEachColumn(t *testing.T) {
	boss, v := shared.person(t, admin).login(t), newVandal(t)
	var canary listed
	eventually(t, 90*time.Second, func() string { // none is written in the last minute of an hour
		shared.sweep(t)
		all := boss.events(t, "--since", "1h", "--type", string(audit.EvidenceCanary))
		if len(all) == 0 {
			return "there is no canary"
		}
		canary = all[len(all)-1]
		return ""
	})
	if canary.Standing != "proven" || canary.Source != "function/sweep" {
		t.Fatalf("%+v", canary)
	}
	shared.sweep(t)
	if n := len(boss.events(t, "--since", canary.Received.Truncate(time.Hour).Format(time.RFC3339), "--until", canary.Received.Truncate(time.Hour).Add(time.Hour).Format(time.RFC3339), "--type", string(audit.EvidenceCanary))); n != 1 {
		t.Errorf("its hour has %d canaries", n)
	}

	none := time.Now().UTC().Add(-20 * time.Hour).Truncate(checked.Hour)
	good, bad := none.Add(checked.Hour), none.Add(2*checked.Hour)
	receipts := []string{v.wrote(t, canary, good), v.wrote(t, canary, bad)}
	var row canaryRow
	eventually(t, 60*time.Second, func() string {
		for _, receipt := range receipts {
			rows := shared.arrived(t, receipt)
			if len(rows) == 0 {
				return "the lake doesn't have " + receipt
			}
			row = rows[0]
		}
		return ""
	})
	if row.ActorRoles == nil || row.Seq == nil || aws.ToString(row.Data["text"]) != canary.Data["text"] {
		t.Errorf("%+v", row)
	}
	row.ActorRoles, row.Seq, row.Reason = nil, nil, new("another")
	v.delivers(t, row)

	stated := func() (all map[string]string) {
		all = map[string]string{}
		for _, e := range boss.events(t, "--since", "1h", "--type", "evidence.checked") {
			if s, ok := checked.Read(e.Event); ok && s.Check == checked.Canaries && e.Standing == "proven" && e.Source == "function/sweep" {
				all[s.From.Format(time.RFC3339)] = fmt.Sprintf("%d %d %q %q", s.Looked, s.Found, s.Which, s.Unproved)
			}
		}
		return all
	}
	v.recheck(t, checked.Canaries, none)
	eventually(t, 60*time.Second, func() string { // the lake may be slow
		shared.sweep(t)
		if _, all := stated()[bad.Format(time.RFC3339)]; !all {
			return fmt.Sprintf("stated are %v", stated())
		}
		return ""
	})
	n := len(names.LakeColumns)
	for hour, want := range map[time.Time]string{
		none: `0 0 "" "no canary was written in the hour"`,
		good: fmt.Sprintf(`%d 0 "" ""`, n),
		bad:  fmt.Sprintf(`%d 3 "actor_roles, reason, seq" ""`, n),
	} {
		if got := stated()[hour.Format(time.RFC3339)]; got != want {
			t.Errorf("of %s is stated %s, not %s", hour.Format(time.RFC3339), got, want)
		}
	}
	r := boss.run(t, nil, "audit", "verify", "--since", "24h")
	if want := fmt.Sprintf("3 of %d: actor_roles, reason, seq; see: stile audit ls", n); r.status != 1 || !strings.Contains(r.out, want) || !strings.Contains(r.out, "no canary was written in the hour") {
		t.Errorf("%d: %s%s", r.status, r.out, r.err)
	}
}

// delivers puts a row into the lake by an object of its own, which is gone after the test.
func (v *vandal) delivers(t *testing.T, r canaryRow) {
	t.Helper()
	var file bytes.Buffer
	if err := parquet.Write(&file, []canaryRow{r}); err != nil {
		t.Fatal(err)
	}
	store := s3.NewFromConfig(shared.person(t, meddler).AWS(), func(o *s3.Options) { o.UsePathStyle = true })
	bucket, key := shared.bucketName(t, "lake"), names.LakePrefix+"day="+time.Now().UTC().Format(time.DateOnly)+"/vandal.parquet"
	if _, err := store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(file.Bytes())}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := store.DeleteObject(context.WithoutCancel(t.Context()), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
			t.Error(err)
		}
	})
}
