package integration_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/parquet-go/parquet-go"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// row is what a test looks at of the lake's table.
type row struct {
	ID         *string            `parquet:"id,optional"`
	Type       *string            `parquet:"type,optional"`
	Actor      *string            `parquet:"actor,optional"`
	ActorRoles []*string          `parquet:"actor_roles,optional,list"`
	SessionID  *string            `parquet:"session_id,optional"`
	Source     *string            `parquet:"source,optional"`
	Writer     *string            `parquet:"writer,optional"`
	Receipt    *string            `parquet:"receipt,optional"`
	Seq        *int64             `parquet:"seq,optional"`
	Data       map[string]*string `parquet:"data,optional" parquet-value:",optional"`
}

// bucketName is the name of the bucket for a purpose.
func (s *system) bucketName(t *testing.T, purpose string) string {
	t.Helper()
	store := s3.NewFromConfig(s.readerConfig(t), func(o *s3.Options) { o.UsePathStyle = true })
	buckets, err := store.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(buckets.Buckets, func(b s3types.Bucket) bool { return strings.Contains(strings.ToLower(*b.Name), purpose) })
	if i < 0 {
		t.Fatalf("no bucket of %s", purpose)
	}
	return *buckets.Buckets[i].Name
}

// bucket reads the objects of a bucket below a prefix, by their keys.
func (s *system) bucket(t *testing.T, purpose, prefix string) map[string][]byte {
	t.Helper()
	store, all := s3.NewFromConfig(s.readerConfig(t), func(o *s3.Options) { o.UsePathStyle = true }), map[string][]byte{}
	name := s.bucketName(t, purpose)
	pages := s3.NewListObjectsV2Paginator(store, &s3.ListObjectsV2Input{Bucket: &name, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got, err := store.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &name, Key: o.Key})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if err = cmp.Or(err, got.Body.Close()); err != nil {
				t.Fatal(err)
			}
			all[*o.Key] = body
		}
	}
	return all
}

// lake is what SQL would read by now of the events that a test is about, by their ids.
func (s *system) lake(t *testing.T, of func(row) bool) map[string]row {
	t.Helper()
	if err := s.person(t, admin).Flush(); err != nil {
		t.Fatal(err)
	}
	all := map[string]row{}
	for key, file := range s.bucket(t, "lake", names.LakePrefix) {
		rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for _, r := range rows {
			if of(r) {
				all[aws.ToString(r.ID)] = r
			}
		}
	}
	return all
}

// What a session left in the ledger is in the lake, whatever happens on the way there.
func TestASessionsEventsAreInTheLakeAsInTheLedger(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	alike := func(id string) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			var want, got []string
			for _, e := range boss.events(t, "--session", id) {
				want = append(want, e.ID)
			}
			rows := shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == id })
			for _, r := range rows {
				got = append(got, *r.ID)
			}
			slices.Sort(want)
			slices.Sort(got)
			if len(want) < 2 || !slices.Equal(want, got) {
				return fmt.Sprintf("the ledger has %v, the lake %v", want, got)
			}
			return ""
		})
	}
	session := func() string {
		t.Helper()
		id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
		eventually(t, 30*time.Second, func() string {
			all := boss.events(t, "--session", id)
			if !slices.ContainsFunc(all, func(e listed) bool { return e.Type == audit.SessionEnd }) {
				return fmt.Sprintf("the ledger has no end among %d events of the session", len(all))
			}
			return ""
		})
		return id
	}
	id := session()
	alike(id)
	for _, r := range shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == id }) {
		switch {
		case !strings.HasPrefix(aws.ToString(r.Receipt), "01"), aws.ToString(r.Writer) == "agent" && aws.ToInt64(r.Seq) == 0:
			t.Errorf("%+v", r)
		case *r.Type == string(audit.SessionStart) && (*r.Actor != "user/alice" || len(r.ActorRoles) == 0 || aws.ToString(r.Data["certificate"]) == "" || *r.Writer != "agent"):
			t.Errorf("%+v", r)
		}
	}

	// the bus is away: what happens meanwhile comes later
	over := shared.trouble(t, stand.Fault{Service: "events", Operation: "PutEvents", Kind: "error", Status: 500, Code: "InternalException"})
	late := session()
	if rows := shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == late }); len(rows) != 0 {
		t.Errorf("%d events came past the bus", len(rows))
	}
	over()
	alike(late)

	// what is no event is kept aside, and holds up nothing
	db := shared.asProxy(t)
	day := time.Now().UTC()
	_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(shared.table(t, dynamodb.NewFromConfig(shared.readerConfig(t)), "ledger")), Item: map[string]types.AttributeValue{
		names.PK: &types.AttributeValueMemberS{Value: "event#proxy#" + day.Format(time.DateOnly) + "#0"}, names.SK: &types.AttributeValueMemberS{Value: "poison-" + late},
		"event": &types.AttributeValueMemberS{Value: "{"}, "received_ms": &types.AttributeValueMemberN{Value: fmt.Sprint(day.UnixMilli())},
	}})
	if err != nil {
		t.Fatal(err)
	}
	next := session()
	alike(next)
	eventually(t, 30*time.Second, func() string {
		for _, body := range shared.bucket(t, "failures", names.KeptAside) {
			if bytes.Contains(body, []byte("poison-"+late)) {
				return ""
			}
		}
		return "the poison isn't kept aside"
	})
}
