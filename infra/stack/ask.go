package stack

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsathena"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsglue"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/stile-dev/stile/pkg/names"
)

// paramScanLimit is the parameter of how many bytes of the lake one query may read.
const paramScanLimit = "QueryScanLimit"

// newResults declares the bucket of what queries found: whoever asked reads it within minutes, and it holds events.
func newResults(s awscdk.Stack) {
	bucket := newBucket(s, bucketResults, false)
	bucket.SetLifecycleConfiguration(&awss3.CfnBucket_LifecycleConfigurationProperty{
		Rules: &[]any{&awss3.CfnBucket_RuleProperty{
			Id: new("day"), Status: new("Enabled"), ExpirationInDays: new(1.0),
			AbortIncompleteMultipartUpload: &awss3.CfnBucket_AbortIncompleteMultipartUploadProperty{DaysAfterInitiation: new(1.0)},
		}},
	})
}

// newAsking declares what the lake is asked by: the view of each event once, the table of what the ledger received last, and the workgroup that bounds what a query reads and
// says where its results go, whatever the query says.
func newAsking(s awscdk.Stack) {
	awsglue.NewCfnTable(s, new("Events"), &awsglue.CfnTableProps{
		CatalogId: awscdk.Aws_ACCOUNT_ID(), DatabaseName: ref("Database"), TableInput: eventsView(),
	})
	newRecent(s)
	awscdk.NewCfnParameter(s, new(paramScanLimit), &awscdk.CfnParameterProps{
		Type: new("Number"), Default: 107_374_182_400, MinValue: new(10_000_000.0),
		Description: new("How many bytes of the lake one query of audit events may read; what would read more is ended, and billed as far as it came"),
	})
	awsathena.NewCfnWorkGroup(s, new("Workgroup"), &awsathena.CfnWorkGroupProps{
		Name: new(names.LakeWorkgroup), Description: new("Stile: questions to the audit lake"), State: new("ENABLED"),
		WorkGroupConfiguration: &awsathena.CfnWorkGroup_WorkGroupConfigurationProperty{
			BytesScannedCutoffPerQuery:      awscdk.Token_AsNumber(ref(paramScanLimit)),
			EnforceWorkGroupConfiguration:   new(true),
			PublishCloudWatchMetricsEnabled: new(false),
			EngineVersion:                   &awsathena.CfnWorkGroup_EngineVersionProperty{SelectedEngineVersion: new("Athena engine version 3")},
			ResultConfiguration: &awsathena.CfnWorkGroup_ResultConfigurationProperty{
				OutputLocation:          join("s3://", imported(Data, bucketResults+"Name"), "/"),
				ExpectedBucketOwner:     awscdk.Aws_ACCOUNT_ID(),
				EncryptionConfiguration: &awsathena.CfnWorkGroup_EncryptionConfigurationProperty{EncryptionOption: new("SSE_S3")},
			},
		},
	})
}

// newRecent declares the table of what the ledger received last: each question has a partition of its own, which its SQL has to
// name, so that nothing else is read.
func newRecent(s awscdk.Stack) {
	at := []any{"s3://", imported(Data, bucketResults+"Name"), "/" + names.RecentPrefix}
	awsglue.NewCfnTable(s, new("Recent"), &awsglue.CfnTableProps{
		CatalogId: awscdk.Aws_ACCOUNT_ID(), DatabaseName: ref("Database"),
		TableInput: &awsglue.CfnTable_TableInputProperty{
			Name: new(names.LakeRecent), TableType: new("EXTERNAL_TABLE"), Description: new("Stile: audit events that a question took out of the ledger"),
			Parameters: map[string]any{
				"classification":     "parquet",
				"projection.enabled": "true",
				"projection." + names.RecentQuestion + ".type": "injected",
				"storage.location.template":                    join(append(at, names.RecentQuestion+"=${"+names.RecentQuestion+"}/")...),
			},
			PartitionKeys:     &[]any{&awsglue.CfnTable_ColumnProperty{Name: new(names.RecentQuestion), Type: new("string")}},
			StorageDescriptor: parquet(join(at...)),
		},
	})
}

// parquet is how a table with the lake's columns is stored.
func parquet(location *string) *awsglue.CfnTable_StorageDescriptorProperty {
	var columns []any
	for _, c := range names.LakeColumns {
		columns = append(columns, &awsglue.CfnTable_ColumnProperty{Name: &c.Name, Type: &c.Type})
	}
	return &awsglue.CfnTable_StorageDescriptorProperty{
		Location:     location,
		InputFormat:  new("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"),
		OutputFormat: new("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"),
		SerdeInfo:    &awsglue.CfnTable_SerdeInfoProperty{SerializationLibrary: new("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe")},
		Columns:      &columns,
	}
}

// presto says a type of the lake's columns as SQL does.
var presto = strings.NewReplacer(
	"array<string>", "array(varchar)", "map<string,string>", "map(varchar,varchar)", "string", "varchar", "timestamp", "timestamp(3)",
)

// eventsView is the view as Athena keeps one in the catalog: its SQL in a comment, with the columns' types as SQL calls them, beside
// the same columns as Hive calls them.
func eventsView() *awsglue.CfnTable_TableInputProperty {
	var hive []any
	var columns []map[string]string
	for _, c := range append(slices.Clone(names.LakeColumns), names.Column{Name: names.LakeOrigin, Type: "string"}) {
		hive = append(hive, &awsglue.CfnTable_ColumnProperty{Name: &c.Name, Type: &c.Type})
		columns = append(columns, map[string]string{"name": c.Name, "type": presto.Replace(c.Type)})
	}
	raw, err := json.Marshal(map[string]any{
		"originalSql": names.LakeEvents("", "", ""), "catalog": "awsdatacatalog", "schema": names.LakeDatabase, "columns": columns,
	})
	if err != nil {
		panic(err) // strings in maps
	}
	return &awsglue.CfnTable_TableInputProperty{
		Name: new(names.LakeView), TableType: new("VIRTUAL_VIEW"), Description: new("Stile: audit events, each once"),
		Parameters:       map[string]any{"presto_view": "true", "comment": "Presto View"},
		ViewExpandedText: new("/* Presto View */"),
		ViewOriginalText: new("/* Presto View: " + base64.StdEncoding.EncodeToString(raw) + " */"),
		StorageDescriptor: &awsglue.CfnTable_StorageDescriptorProperty{
			Columns: &hive, SerdeInfo: &awsglue.CfnTable_SerdeInfoProperty{},
		},
	}
}

// mayQuery is what asking takes. Athena reads the catalog and the lake and writes results as whoever asks, so that what a query
// could reach or change is what this role may, whatever the SQL says.
func mayQuery() []statement {
	results, lake := imported(Data, bucketResults+"Arn"), imported(Data, bucketLake+"Arn")
	own := condition{"StringEquals": {"aws:ResourceAccount": awscdk.Aws_ACCOUNT_ID()}}
	catalog := "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:"
	return []statement{
		items(tableState, "GetState", getting, names.Checked, names.Looked, names.Revoked),
		items(tableState, "ListHead", querying, names.Head),
		items(tablePresence, "CountArrivals", updating, names.Arrival),
		items(tableLedger, "ListEvents", querying, names.Event),
		items(tableLedger, "PutEvents", putting, eventsOf(fnQuery), names.Decided),
		objects("ReadDocuments", "s3:GetObject", ""),
		{
			Sid: "Ask", Actions: []string{"athena:GetQueryExecution", "athena:GetQueryResults", "athena:StartQueryExecution", "athena:StopQueryExecution"},
			Resources: []any{sub("arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/" + names.LakeWorkgroup)},
		},
		{
			Sid: "FindDatabase", Actions: []string{"glue:GetDatabase"},
			Resources: []any{sub(catalog + "catalog"), sub(catalog + "database/" + names.LakeDatabase)},
		},
		{
			Sid: "ReadTables", Actions: []string{"glue:GetPartitions", "glue:GetTable"},
			Resources: []any{
				sub(catalog + "catalog"), sub(catalog + "database/" + names.LakeDatabase),
				sub(catalog + "table/" + names.LakeDatabase + "/" + names.LakeTable),
				sub(catalog + "table/" + names.LakeDatabase + "/" + names.LakeRecent),
			},
		},
		{
			Sid: "ReadLake", Actions: []string{"s3:GetObject"}, Resources: []any{join(lake, "/"+names.LakePrefix+"*")}, Condition: own,
			Why: "Firehose names each object by the time",
		},
		keepBodies(),
		{
			Sid: "KeepResults", Actions: []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"},
			Resources: []any{join(results, "/*")}, Condition: own, Why: "Athena names each object by the query, and what is added to the lake by the question",
		},
		{Sid: "ListLake", Actions: []string{"s3:GetBucketLocation", "s3:ListBucket"}, Resources: []any{lake}, Condition: own},
		{
			Sid: "ListResults", Actions: []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"},
			Resources: []any{results}, Condition: own,
		},
	}
}
