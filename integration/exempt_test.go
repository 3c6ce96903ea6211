package integration_test

import (
	"testing"

	"github.com/stile-dev/stile/integration/stand"
)

func TestAnExceptionIsForTheActionsThatItNames(t *testing.T) {
	for a, want := range map[stand.Allow]bool{
		{Role: "lake", Sid: "WriteLake", Action: "s3:GetObject"}:                 true,
		{Role: "lake", Sid: "WriteLake", Action: "s3:PutObject"}:                 false,
		{Role: "lake", Sid: "ListLake", Action: "s3:ListBucket"}:                 true,
		{Role: "relay", Sid: "FindStream", Action: "dynamodb:ListStreams"}:       true,
		{Role: "relay", Sid: "ReadStream", Action: "dynamodb:GetRecords"}:        false,
		{Role: "delivery", Sid: "PutRecords", Action: "firehose:PutRecordBatch"}: true,
		{Role: "delivery", Sid: "PutRecords", Action: "firehose:PutRecord"}:      false,
		{Role: "lake", Sid: "ReadTable", Action: "glue:GetTableVersion"}:         true,
		{Role: "lake", Sid: "ReadTable", Action: "glue:GetTableVersions"}:        false,
		{Role: "lake", Sid: "WriteLake", Action: "s3:AbortMultipartUpload"}:      true,
		{Role: "admin", Sid: "WriteLog", Action: "logs:PutLogEvents"}:            true,
		{Role: "lake", Sid: "ListLake", Action: "s3:ListBucketMultipartUploads"}: true,
		{Role: "lake", Sid: "ListLake", Action: "s3:GetBucketLocation"}:          true,
	} {
		if exempt(a) != want {
			t.Errorf("%s is excepted: %v", a, !want)
		}
	}
}
