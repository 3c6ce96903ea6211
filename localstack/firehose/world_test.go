package firehose_test

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/localstack/firehose"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
)

const (
	account   = "111122223333"
	streamARN = "arn:aws:firehose:us-east-1:" + account + ":deliverystream/lake"
	roleARN   = "arn:aws:iam::" + account + ":role/delivery"
	toBucket  = `{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::lake/*"}`
	toGlue    = `{"Effect":"Allow","Action":["glue:GetTable","glue:GetTableVersions"],"Resource":["arn:aws:glue:us-east-1:` + account + `:catalog",` +
		`"arn:aws:glue:us-east-1:` + account + `:database/lake","arn:aws:glue:us-east-1:` + account + `:table/lake/events"]}`
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a Firehose with what it needs: a bucket, a table and a role, and a client that may use one stream.
type world struct {
	*firehose.Service
	t         *testing.T
	dir       string
	authority *iam.Authority
	s3        *s3.Service
	glue      *glue.Service
	clock     *clock
	client    *awsfirehose.Client
	bucket    *awss3.Client
	service   *front
}

// front is the service that the gate has, which a restart replaces.
type front struct{ gate.Service }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{now: time.Date(2026, 3, 4, 23, 59, 58, 0, time.UTC)}}
	var err error
	w.authority, err = iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	w.must(err)
	w.s3, err = s3.Open(s3.Config{Dir: t.TempDir(), Authority: w.authority})
	w.must(err)
	w.glue, err = glue.Open(glue.Config{Dir: t.TempDir(), Authority: w.authority})
	w.must(err)
	w.grant(toBucket, toGlue)
	w.open()
	w.provision(w.s3, resource.Resource{LogicalID: "Bucket", Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": "lake"}})
	w.provision(w.glue, resource.Resource{LogicalID: "Database", Type: "AWS::Glue::Database", Properties: map[string]any{
		"CatalogId": account, "DatabaseInput": map[string]any{"Name": "lake"},
	}})
	w.provision(w.glue, resource.Resource{LogicalID: "Table", Type: "AWS::Glue::Table", Properties: table()})
	w.provision(w.Service, delivery(nil))
	w.service = &front{w.Service}
	g, err := gate.New(gate.Config{Authority: w.authority, Services: []gate.Service{w.service, w.s3}})
	w.must(err)
	server := httptest.NewServer(g)
	t.Cleanup(func() {
		server.Close()
		for _, closer := range []io.Closer{w.Service, w.glue, w.s3, w.authority} {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	w.client = awsfirehose.New(awsfirehose.Options{Region: "us-east-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, Credentials: w.login("producer",
		`{"Effect":"Allow","Action":["firehose:PutRecord","firehose:PutRecordBatch","firehose:DescribeDeliveryStream"],"Resource":["`+streamARN+`","`+streamARN+`-gone"]}`)})
	w.bucket = awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, UsePathStyle: true,
		Credentials: w.login("reader", `{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::lake","arn:aws:s3:::lake/*"]}`),
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open begins to serve what there is.
func (w *world) open() {
	var err error
	w.Service, err = firehose.Open(firehose.Config{Dir: w.dir, Authority: w.authority, Buckets: w.s3, Catalog: w.glue, Now: w.clock.Now, Look: 5 * time.Millisecond})
	w.must(err)
}

// restart is what a new process finds.
func (w *world) restart() {
	w.must(w.Service.Close())
	w.open()
	w.service.Service = w.Service
}

// grant has the delivery role do that and nothing else.
func (w *world) grant(statements ...string) {
	_, err := w.authority.PutRole(iam.Role{
		Name: "delivery",
		Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"firehose.amazonaws.com"},"Action":"sts:AssumeRole",` +
			`"Condition":{"StringEquals":{"sts:ExternalId":"` + account + `"}}}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)}},
	})
	w.must(err)
}

func (w *world) login(name, statement string) aws.CredentialsProvider {
	role, err := w.authority.PutRole(iam.Role{
		Name:   name,
		Trust:  json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)}},
	})
	w.must(err)
	c, err := w.authority.Mint(role.ARN, name, time.Hour)
	w.must(err)
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

func (w *world) provision(p resource.Provider, r resource.Resource) {
	w.t.Helper()
	r.Stack = "Lake"
	if _, err := p.Provision(r); err != nil {
		w.t.Fatal(err)
	}
}

// table has a column of each type.
func table() map[string]any {
	column := func(name, kind string) any { return map[string]any{"Name": name, "Type": kind} }
	return map[string]any{"CatalogId": account, "DatabaseName": "lake", "TableInput": map[string]any{
		"Name": "events", "TableType": "EXTERNAL_TABLE",
		"Parameters": map[string]any{
			"classification": "parquet", "projection.enabled": "true", "projection.day.type": "date", "projection.day.format": "yyyy-MM-dd",
			"projection.day.range": "2026-01-01,NOW", "storage.location.template": "s3://lake/events/day=${day}/",
		},
		"PartitionKeys": []any{column("day", "string")},
		"StorageDescriptor": map[string]any{
			"Location":    "s3://lake/events/",
			"InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat", "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
			"SerdeInfo": map[string]any{"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
			"Columns": []any{
				column("id", "string"), column("count", "int"), column("size", "bigint"), column("ratio", "double"), column("ok", "boolean"),
				column("at", "timestamp"), column("tags", "array<string>"), column("attributes", "map<string,string>"),
			},
		},
	}}
}

// delivery is the stream, whose destination edit changes.
func delivery(edit func(destination map[string]any)) resource.Resource {
	d := map[string]any{
		"BucketARN": "arn:aws:s3:::lake", "RoleARN": roleARN,
		"Prefix": "events/day=!{timestamp:yyyy-MM-dd}/", "ErrorOutputPrefix": "failed/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/",
		"BufferingHints": map[string]any{"IntervalInSeconds": "60", "SizeInMBs": "64"},
		"DataFormatConversionConfiguration": map[string]any{
			"Enabled":                   true,
			"InputFormatConfiguration":  map[string]any{"Deserializer": map[string]any{"OpenXJsonSerDe": map[string]any{}}},
			"OutputFormatConfiguration": map[string]any{"Serializer": map[string]any{"ParquetSerDe": map[string]any{"Compression": "SNAPPY"}}},
			"SchemaConfiguration":       map[string]any{"DatabaseName": "lake", "TableName": "events", "RoleARN": roleARN},
		},
	}
	if edit != nil {
		edit(d)
	}
	return resource.Resource{LogicalID: "Stream", Type: "AWS::KinesisFirehose::DeliveryStream", PhysicalID: "", Properties: map[string]any{
		"DeliveryStreamName": "lake", "DeliveryStreamType": "DirectPut", "ExtendedS3DestinationConfiguration": d,
	}}
}

// change updates the stream.
func (w *world) change(edit func(destination map[string]any)) error {
	r := delivery(edit)
	r.PhysicalID = "lake"
	_, err := w.Provision(r)
	return err
}

func (w *world) put(records ...string) *awsfirehose.PutRecordBatchOutput {
	w.t.Helper()
	in := &awsfirehose.PutRecordBatchInput{DeliveryStreamName: aws.String("lake")}
	for _, r := range records {
		in.Records = append(in.Records, types.Record{Data: []byte(r)})
	}
	out, err := w.client.PutRecordBatch(w.t.Context(), in)
	w.must(err)
	return out
}

// objects are the keys of the bucket with what they hold.
func (w *world) objects() map[string][]byte {
	w.t.Helper()
	list, err := w.bucket.ListObjectsV2(w.t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("lake")})
	w.must(err)
	out := map[string][]byte{}
	for _, o := range list.Contents {
		got, err := w.bucket.GetObject(w.t.Context(), &awss3.GetObjectInput{Bucket: aws.String("lake"), Key: o.Key})
		w.must(err)
		body, err := io.ReadAll(got.Body)
		w.must(err)
		out[*o.Key] = body
	}
	return out
}

// only is the one object there is, whose key begins with a prefix.
func (w *world) only(prefix string) []byte {
	w.t.Helper()
	all := w.objects()
	for key, body := range all {
		if len(all) == 1 && strings.HasPrefix(key, prefix) {
			return body
		}
	}
	w.t.Fatalf("there is not one object below %s: %v", prefix, keysOf(all))
	return nil
}

func keysOf(m map[string][]byte) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}
