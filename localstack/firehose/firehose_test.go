package firehose_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// event is a row of the table as parquet-go reads it.
type event struct {
	ID         *string            `parquet:"id,optional"`
	Count      *int32             `parquet:"count,optional"`
	Size       *int64             `parquet:"size,optional"`
	Ratio      *float64           `parquet:"ratio,optional"`
	OK         *bool              `parquet:"ok,optional"`
	At         *deprecated.Int96  `parquet:"at,optional"`
	Tags       []*string          `parquet:"tags,optional,list"`
	Attributes map[string]*string `parquet:"attributes,optional" parquet-value:",optional"`
}

func rows(t *testing.T, file []byte) []event {
	t.Helper()
	got, err := parquet.Read[event](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestRecordsBecomeRowsOfAParquetFile(t *testing.T) {
	w := newWorld(t)
	out := w.put(`{"id":"a","count":7,"size":9007199254740993,"ratio":0.5,"ok":true,"at":"2026-03-04T05:06:07.089Z","tags":["x",null,"y"],"attributes":{"k":"v","n":null}}`,
		`{"ID":"b"}{"id":"c","count":"8","tags":[],"attributes":{},"at":1}`)
	if aws.ToInt32(out.FailedPutCount) != 0 || len(out.RequestResponses) != 2 || aws.ToString(out.RequestResponses[0].RecordId) == "" {
		t.Errorf("%+v", out)
	}
	w.clock.Add(5 * time.Second) // the next day
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := []event{
		{
			ID: new("a"), Count: new(int32(7)), Size: new(int64(9007199254740993)), Ratio: new(0.5), OK: new(true), At: new(instant(t, "2026-03-04T05:06:07.089Z")),
			Tags: []*string{new("x"), nil, new("y")}, Attributes: map[string]*string{"k": new("v"), "n": nil},
		},
		{ID: new("b")},
		{ID: new("c"), Count: new(int32(8)), At: new(instant(t, "1970-01-01T00:00:01Z"))},
	}
	file := w.only("events/day=2026-03-04/lake-1-2026-03-05-00-00-03-")
	got := rows(t, file)
	if diff := cmp.Diff(want, got, cmp.Transformer("empty", func(l []*string) []*string { return append([]*string{}, l...) }),
		cmp.Transformer("none", list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range f.Schema().Fields() {
		names = append(names, c.Name())
	}
	if got := strings.Join(names, " "); got != "id count size ratio ok at tags attributes" {
		t.Errorf("columns %s", got)
	}
	if codec := f.Metadata().RowGroups[0].Columns[0].MetaData.Codec.String(); codec != "SNAPPY" {
		t.Errorf("compressed by %s", codec)
	}
	for key := range w.objects() {
		if !regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f-]{27}\.parquet$`).MatchString(key) {
			t.Errorf("key %s", key)
		}
	}
	if err := w.Flush(); err != nil || len(w.objects()) != 1 {
		t.Errorf("delivered twice: %v, %v", keysOf(w.objects()), err)
	}
}

func list(m map[string]*string) []string {
	out := []string{}
	for k, v := range m {
		text := "null"
		if v != nil {
			text = *v
		}
		out = append(out, k+"="+text)
	}
	if len(out) == 2 && out[0] > out[1] {
		out[0], out[1] = out[1], out[0]
	}
	return out
}

// instant is a time as the Parquet format's INT96 has it.
func instant(t *testing.T, text string) deprecated.Int96 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	midnight := at.Truncate(24 * time.Hour)
	nanos := uint64(at.Sub(midnight))
	return deprecated.Int96{uint32(nanos), uint32(nanos >> 32), uint32(midnight.Unix()/86400 + 2440588)}
}

func TestAnEmptyListAndMapAreNotNull(t *testing.T) {
	w := newWorld(t)
	w.put(`{"id":"a","tags":[],"attributes":{}}`, `{"id":"b"}`)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	file := w.only("events/")
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]parquet.Row, 2)
	reader := f.RowGroups()[0].Rows()
	defer func() { _ = reader.Close() }()
	if n, _ := reader.ReadRows(buffer); n != 2 {
		t.Fatalf("%d rows", n)
	}
	for i, want := range []int{1, 0} {
		for _, v := range buffer[i][6:] {
			if v.DefinitionLevel() != want {
				t.Errorf("row %d has %+v of level %d, want %d", i, v, v.DefinitionLevel(), want)
			}
		}
	}
}

func TestWhatCannotBeConvertedGoesToThePrefixOfErrors(t *testing.T) {
	w := newWorld(t)
	bad := map[string]string{
		`{"id":`: "DataFormatConversion.ParseError", `[{"id":"a"}]`: "DataFormatConversion.ParseError", `"a"`: "DataFormatConversion.ParseError",
		``: "DataFormatConversion.ParseError", `{"id":"a","ID":"b"}`: "DataFormatConversion.ParseError",
		strings.Repeat(`{"a":`, 600) + `1` + strings.Repeat(`}`, 600): "DataFormatConversion.ParseError",
		`{"count":"many"}`:             "DataFormatConversion.MalformedData",
		`{"count":2147483648}`:         "DataFormatConversion.MalformedData",
		`{"count":1.5}`:                "DataFormatConversion.MalformedData",
		`{"size":[1]}`:                 "DataFormatConversion.MalformedData",
		`{"ratio":"0x1p2"}`:            "DataFormatConversion.MalformedData",
		`{"ok":1}`:                     "DataFormatConversion.MalformedData",
		`{"at":"04.03.2026"}`:          "DataFormatConversion.MalformedData",
		`{"at":"2026-13-04 05:06:07"}`: "DataFormatConversion.MalformedData",
		`{"attributes":"none"}`:        "DataFormatConversion.MalformedData",
		`{"id":"c"}{"count":"x"}`:      "DataFormatConversion.MalformedData",
	}
	records := []string{`{"id":"good"}`}
	for r := range bad {
		records = append(records, r)
	}
	w.put(records...)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for key, body := range w.objects() {
		if strings.HasPrefix(key, "events/") {
			if got := rows(t, body); len(got) != 1 || *got[0].ID != "good" {
				t.Errorf("rows %+v", got)
			}
			continue
		}
		if !strings.HasPrefix(key, "failed/format-conversion-failed/2026-03-04/lake-1-") || strings.HasSuffix(key, ".parquet") {
			t.Errorf("key %s", key)
		}
		for line := range bytes.Lines(body) {
			seen++
			var e struct {
				AttemptsMade                    int
				ArrivalTimestamp                int64
				LastErrorCode, LastErrorMessage string
				RawData                         []byte
				DataCatalogTable                struct{ DatabaseName, TableName, Region string }
			}
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			if e.LastErrorCode != bad[string(e.RawData)] || e.LastErrorMessage == "" || e.AttemptsMade != 1 || e.DataCatalogTable.TableName != "events" ||
				e.ArrivalTimestamp != w.clock.Now().UnixMilli() {
				t.Errorf("%s", line)
			}
		}
	}
	if seen != len(bad) {
		t.Errorf("%d failed, want %d", seen, len(bad))
	}
}

func TestKeysFindTheirColumns(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		serde map[string]any
		want  string
	}{
		{map[string]any{}, "upper"},
		{map[string]any{"CaseInsensitive": false}, "none"},
		{map[string]any{"CaseInsensitive": false, "ColumnToJsonKeyMappings": map[string]any{"id": "ID"}}, "upper"},
		{map[string]any{"ColumnToJsonKeyMappings": map[string]any{"id": "Other.Key"}}, "other"},
		{map[string]any{"ColumnToJsonKeyMappings": map[string]any{"id": "other_key"}, "ConvertDotsInJsonKeysToUnderscores": "true"}, "other"},
	} {
		if err := w.change(func(d map[string]any) {
			d["DataFormatConversionConfiguration"].(map[string]any)["InputFormatConfiguration"] = map[string]any{"Deserializer": map[string]any{"OpenXJsonSerDe": c.serde}}
		}); err != nil {
			t.Fatal(err)
		}
		before := w.objects()
		w.put(`{"ID":"upper","Other.Key":"other"}`)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for key, body := range w.objects() {
			if _, old := before[key]; old {
				continue
			}
			got := "none"
			if r := rows(t, body); r[0].ID != nil {
				got = *r[0].ID
			}
			if got != c.want {
				t.Errorf("%v: id is %s, want %s", c.serde, got, c.want)
			}
		}
	}
}

func TestAStreamThatMayNotWriteKeepsWhatItHas(t *testing.T) {
	w := newWorld(t)
	w.put(`{"id":"a"}`)
	w.grant(toGlue)
	if err := w.Flush(); err == nil || !strings.Contains(err.Error(), "s3:PutObject") {
		t.Errorf("without s3:PutObject: %v", err)
	}
	w.grant(toBucket)
	if err := w.Flush(); err == nil || !strings.Contains(err.Error(), "glue:GetTable") {
		t.Errorf("without glue:GetTable: %v", err)
	}
	w.restart()
	if got := w.objects(); len(got) != 0 {
		t.Errorf("there are %v", keysOf(got))
	}
	w.grant(toBucket, toGlue)
	w.clock.Add(2 * time.Minute) // it tries again by itself
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for len(w.objects()) == 0 && time.Now().Before(deadline) {
		<-tick.C
	}
	if got := rows(t, w.only("events/day=2026-03-04/")); len(got) != 1 || *got[0].ID != "a" {
		t.Errorf("rows %+v", got)
	}
}

func TestABufferIsDeliveredWhenItIsOldEnough(t *testing.T) {
	w := newWorld(t)
	w.put(`{"id":"a"}`)
	w.clock.Add(61 * time.Second)
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for len(w.objects()) == 0 && time.Now().Before(deadline) {
		<-tick.C
	}
	w.only("events/day=2026-03-04/")
}

func TestLimitsOfRecordsAndBatches(t *testing.T) {
	w := newWorld(t)
	batch := func(n, size int) error {
		in := &awsfirehose.PutRecordBatchInput{DeliveryStreamName: aws.String("lake"), Records: []types.Record{}}
		for range n {
			in.Records = append(in.Records, types.Record{Data: bytes.Repeat([]byte("x"), size)})
		}
		_, err := w.client.PutRecordBatch(t.Context(), in)
		return err
	}
	for name, c := range map[string]struct {
		n, size int
		want    string
	}{
		"no record":      {0, 1, "ValidationException"},
		"501 records":    {501, 1, "ValidationException"},
		"a large record": {1, 1000<<10 + 1, "ValidationException"},
		"a large batch":  {5, 900 << 10, "InvalidArgumentException"},
	} {
		if err := batch(c.n, c.size); code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if err := batch(500, 1); err != nil {
		t.Errorf("500 records: %v", err)
	}
	if err := batch(1, 1000<<10); err != nil {
		t.Errorf("a record of 1,000 KiB: %v", err)
	}
}

func TestRecordsThatComeTooFastFailByThemselves(t *testing.T) {
	w := newWorld(t)
	large := strings.Repeat("x", 1000<<10)
	w.put(large, large, large, large)
	out := w.put(large, large, "small")
	if aws.ToInt32(out.FailedPutCount) != 1 {
		t.Fatalf("%d failed", aws.ToInt32(out.FailedPutCount))
	}
	for i, want := range []string{"", "ServiceUnavailableException", ""} {
		r := out.RequestResponses[i]
		if aws.ToString(r.ErrorCode) != want || (want == "") != (r.RecordId != nil) {
			t.Errorf("record %d: %s, id %v", i, aws.ToString(r.ErrorCode), r.RecordId)
		}
	}
	_, err := w.client.PutRecord(t.Context(), &awsfirehose.PutRecordInput{DeliveryStreamName: aws.String("lake"), Record: &types.Record{Data: []byte(large)}})
	if code(err) != "ServiceUnavailableException" {
		t.Errorf("one record: %v", err)
	}
	w.clock.Add(time.Second)
	if out := w.put(large); aws.ToInt32(out.FailedPutCount) != 0 {
		t.Error("a second later it still fails")
	}
}

func TestPuttingNeedsItsPermissionAndAStream(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]string{"another": "AccessDeniedException", "lake-gone": "ResourceNotFoundException"} {
		_, err := w.client.PutRecord(t.Context(), &awsfirehose.PutRecordInput{DeliveryStreamName: &name, Record: &types.Record{Data: []byte("{}")}})
		if code(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	out, err := w.client.DescribeDeliveryStream(t.Context(), &awsfirehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String("lake")})
	if err != nil {
		t.Fatal(err)
	}
	d := out.DeliveryStreamDescription
	if *d.DeliveryStreamARN != streamARN || d.DeliveryStreamStatus != types.DeliveryStreamStatusActive || *d.VersionId != "1" ||
		*d.Destinations[0].ExtendedS3DestinationDescription.BufferingHints.SizeInMBs != 64 {
		t.Errorf("%+v", d)
	}
}

func TestAStreamThatFirehoseWouldRefuseIsRefused(t *testing.T) {
	w := newWorld(t)
	conversion := func(name string, value any) func(map[string]any) {
		return func(d map[string]any) { d["DataFormatConversionConfiguration"].(map[string]any)[name] = value }
	}
	for want, edit := range map[string]func(map[string]any){
		"SizeInMBs":                       func(d map[string]any) { d["BufferingHints"] = map[string]any{"SizeInMBs": "5"} },
		"IntervalInSeconds":               func(d map[string]any) { d["BufferingHints"] = map[string]any{"IntervalInSeconds": "901"} },
		"ErrorOutputPrefix: is missing":   func(d map[string]any) { delete(d, "ErrorOutputPrefix") },
		"error-output-type":               func(d map[string]any) { d["ErrorOutputPrefix"] = "failed/!{timestamp:yyyy}/" },
		"Prefix: !{partitionKeyFromQuery": func(d map[string]any) { d["Prefix"] = "!{partitionKeyFromQuery:a}/" },
		"Prefix: !{timestamp:":            func(d map[string]any) { d["Prefix"] = "!{timestamp:YYYY-MM-dd}/" },
		"does not end":                    func(d map[string]any) { d["Prefix"] = "!{timestamp:yyyy" },
		"BucketARN":                       func(d map[string]any) { d["BucketARN"] = "lake" },
		"CompressionFormat":               func(d map[string]any) { d["CompressionFormat"] = "GZIP" },
		"role/nobody":                     func(d map[string]any) { d["RoleARN"] = strings.Replace(roleARN, "delivery", "nobody", 1) },
		"DynamicPartitioning":             func(d map[string]any) { d["DynamicPartitioningConfiguration"] = map[string]any{} },
		"EntityNotFoundException":         conversion("SchemaConfiguration", map[string]any{"DatabaseName": "lake", "TableName": "gone", "RoleARN": roleARN}),
		"OutputFormatConfiguration":       conversion("OutputFormatConfiguration", map[string]any{}),
		"HiveJsonSerDe":                   conversion("InputFormatConfiguration", map[string]any{"Deserializer": map[string]any{"HiveJsonSerDe": map[string]any{}}}),
	} {
		if err := w.change(edit); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	w.grant(toBucket)
	if err := w.change(nil); err == nil || !strings.Contains(err.Error(), "access was denied when calling Glue") {
		t.Errorf("a role that may not read the table: %v", err)
	}
}

func TestWithoutConversionRecordsAreJoined(t *testing.T) {
	w := newWorld(t)
	if err := w.change(func(d map[string]any) {
		delete(d, "DataFormatConversionConfiguration")
		d["Prefix"], d["ErrorOutputPrefix"] = "raw-", "failed-"
	}); err != nil {
		t.Fatal(err)
	}
	w.put("one\n", "two\n")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := w.only("raw-2026/03/04/23/lake-2-2026-03-04-23-59-58-"); string(got) != "one\ntwo\n" {
		t.Errorf("%s", got)
	}
}

func TestAStreamThatIsRemovedTakesItsRecordsAlong(t *testing.T) {
	w := newWorld(t)
	w.put(`{"id":"a"}`)
	r := delivery(nil)
	r.PhysicalID = "lake"
	for range 2 {
		if err := w.Remove(r); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	w.provision(w.Service, delivery(nil))
	if err := w.Flush(); err != nil || len(w.objects()) != 0 {
		t.Errorf("there are %v, %v", keysOf(w.objects()), err)
	}
}
