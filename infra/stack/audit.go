package stack

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsglue"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskinesisfirehose"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/stile-dev/stile/pkg/names"
)

const fnRelay = "relay"

// relayFunction puts what the ledger received on the bus. It reads the stream of the ledger's table alone: nothing that it could
// be sent by another way makes an event.
var relayFunction = function{
	name: fnRelay, does: "puts what the ledger received on the bus", memory: 256, timeout: 60, bucketless: true,
	env: map[string]func() *string{
		names.EnvBus:    func() *string { return imported(Data, "BusName") },
		names.EnvFailed: func() *string { return imported(Data, bucketFailures+"Name") },
	},
	may: func() []statement {
		return append(keepFailures(),
			statement{Sid: "PutOnBus", Actions: []string{"events:PutEvents"}, Resources: []any{imported(Data, "BusArn")}},
			statement{
				Sid: "KeepAside", Actions: []string{"s3:PutObject"}, Resources: []any{join(imported(Data, bucketFailures+"Arn"), "/"+names.KeptAside+"*")},
				Condition: condition{"StringEquals": {"aws:ResourceAccount": awscdk.Aws_ACCOUNT_ID()}},
				Why:       "each event that can't be put is an object of its own",
			},
			statement{
				Sid: "ReadStream", Actions: []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
				Resources: []any{imported(Data, tableLedger+"Stream")},
			},
			statement{
				Sid: "FindStream", Actions: []string{"dynamodb:ListStreams"}, Resources: []any{"*"},
				Why: "Lambda's event source mapping needs it, and the action knows no resource",
			},
		)
	},
}

// newAudit declares the way of audit events from the ledger to the lake. The ledger has them all whatever becomes of it: what is
// lost on the way is lost to SQL alone.
func newAudit(app awscdk.App, cfg Config, set settings) awscdk.Stack {
	s := newStack(app, Audit, "Stile: audit events on the bus and in the lake")
	boundary(s)
	newRelay(s, cfg)
	dead := newDeadLetters(s)
	stream := newLake(s)
	newAsking(s)
	rule := newDelivery(s, stream, dead)
	mayBury(s, dead, rule)
	for _, a := range auditAlarms(stream, dead) {
		a.alarm(s, imported(Control, exportAlarms), set.page(a.page))
	}
	return s
}

// newRelay declares the function and what brings it the ledger's stream. A batch is tried until the stream forgets it, after a
// day: the bus may be away for long, and an event that it never takes is kept aside by the function.
func newRelay(s awscdk.Stack, cfg Config) {
	newFunction(s, relayFunction, cfg.Code(s, fnRelay))
	awslambda.NewCfnEventSourceMapping(s, new("LedgerStream"), &awslambda.CfnEventSourceMappingProps{
		EventSourceArn: imported(Data, tableLedger+"Stream"),
		FunctionName:   ref(functionID(fnRelay)),
		// Not LATEST: that may miss what happens while the mapping is made.
		StartingPosition: new("TRIM_HORIZON"),
		BatchSize:        new(100.0), MaximumBatchingWindowInSeconds: new(1.0),
		BisectBatchOnFunctionError: new(true), MaximumRetryAttempts: new(-1.0), MaximumRecordAgeInSeconds: new(-1.0),
		FunctionResponseTypes: list("ReportBatchItemFailures"),
		FilterCriteria: &awslambda.CfnEventSourceMapping_FilterCriteriaProperty{
			Filters: &[]any{&awslambda.CfnEventSourceMapping_FilterProperty{Pattern: new(eventFilter())}},
		},
		DestinationConfig: &awslambda.CfnEventSourceMapping_DestinationConfigProperty{
			OnFailure: &awslambda.CfnEventSourceMapping_OnFailureProperty{Destination: imported(Data, bucketFailures+"Arn")},
		},
	})
}

// eventFilter lets through what is written among the events of all writers, also what overwrites another: no program of ours does,
// but whoever has a proxy's credentials could put something else first where an event is to be, and the lake would lack it.
func eventFilter() string {
	raw, err := json.Marshal(map[string]any{
		"eventName": []string{"INSERT", "MODIFY"},
		"dynamodb":  map[string]any{"Keys": map[string]any{names.PK: map[string]any{"S": []any{map[string]string{"prefix": names.Event + "#"}}}}},
	})
	if err != nil {
		panic(err) // strings in maps
	}
	return string(raw)
}

// newDeadLetters declares the queue of what the rule could not deliver for a day.
func newDeadLetters(s awscdk.Stack) awssqs.CfnQueue {
	q := awssqs.NewCfnQueue(s, new("DeadLetters"), &awssqs.CfnQueueProps{
		QueueName: new("stile-lake-dead"), MessageRetentionPeriod: new(14.0 * 24 * 3600), SqsManagedSseEnabled: new(true),
	})
	accept(q, accepted{"SQS3": "it is a dead-letter queue itself"})
	return q
}

// mayBury lets the rule put what it could not deliver into the queue, over TLS alone.
func mayBury(s awscdk.Stack, dead awssqs.CfnQueue, rule awsevents.CfnRule) {
	awssqs.NewCfnQueuePolicy(s, new("DeadLettersPolicy"), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{dead.Ref()},
		PolicyDocument: document(
			statement{
				Sid: "Bury", Principal: service("events"), Actions: []string{"sqs:SendMessage"}, Resources: []any{dead.AttrArn()},
				Condition: condition{"ArnEquals": {"aws:SourceArn": rule.AttrArn()}},
			},
			statement{
				Sid: "TLSOnly", Effect: "Deny", Principal: everyone, Actions: []string{"sqs:*"}, Resources: []any{dead.AttrArn()},
				Condition: condition{"Bool": {"aws:SecureTransport": "false"}},
			},
		),
	})
}

// lake names the role by which Firehose writes, as if it were a function's.
const lake = "lake"

// newLake declares the table and the stream that fills it: Parquet by the day on which it arrived.
func newLake(s awscdk.Stack) awskinesisfirehose.CfnDeliveryStream {
	database := awsglue.NewCfnDatabase(s, new("Database"), &awsglue.CfnDatabaseProps{
		CatalogId: awscdk.Aws_ACCOUNT_ID(), DatabaseInput: &awsglue.CfnDatabase_DatabaseInputProperty{Name: new(names.LakeDatabase), Description: new("Stile: audit")},
	})
	bucket := imported(Data, bucketLake+"Name")
	table := awsglue.NewCfnTable(s, new("Deliveries"), &awsglue.CfnTableProps{
		CatalogId: awscdk.Aws_ACCOUNT_ID(), DatabaseName: database.Ref(),
		TableInput: &awsglue.CfnTable_TableInputProperty{
			Name: new(names.LakeTable), TableType: new("EXTERNAL_TABLE"), Description: new("Stile: audit events as they arrived, some more than once"),
			Parameters: map[string]any{
				"classification":            "parquet",
				"projection.enabled":        "true",
				"projection.day.type":       "date",
				"projection.day.format":     "yyyy-MM-dd",
				"projection.day.range":      "2026-01-01,NOW+1DAY",
				"storage.location.template": join("s3://", bucket, "/"+names.LakePrefix+"day=${day}/"),
			},
			PartitionKeys:     &[]any{&awsglue.CfnTable_ColumnProperty{Name: new("day"), Type: new("string")}},
			StorageDescriptor: parquet(join("s3://", bucket, "/"+names.LakePrefix)),
		},
	})
	role := newRole(s, lake, service("firehose"), ours(), []statement{
		{
			Sid: "WriteLake", Actions: []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"},
			Resources: []any{join(imported(Data, bucketLake+"Arn"), "/"+names.LakePrefix+"*"), join(imported(Data, bucketLake+"Arn"), "/"+names.LakeFailed+"*")},
			Why:       "Firehose names each object by the time",
		},
		{Sid: "ListLake", Actions: []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"}, Resources: []any{imported(Data, bucketLake+"Arn")}},
		{
			Sid: "ReadTable", Actions: []string{"glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"},
			Resources: []any{
				sub("arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:catalog"),
				sub("arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:database/" + names.LakeDatabase),
				sub("arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:table/" + names.LakeDatabase + "/" + names.LakeTable),
			},
		},
	})
	return awskinesisfirehose.NewCfnDeliveryStream(s, new("Lake"), &awskinesisfirehose.CfnDeliveryStreamProps{
		DeliveryStreamName: new("stile-lake"), DeliveryStreamType: new("DirectPut"),
		DeliveryStreamEncryptionConfigurationInput: &awskinesisfirehose.CfnDeliveryStream_DeliveryStreamEncryptionConfigurationInputProperty{KeyType: new("AWS_OWNED_CMK")},
		ExtendedS3DestinationConfiguration: &awskinesisfirehose.CfnDeliveryStream_ExtendedS3DestinationConfigurationProperty{
			BucketArn: imported(Data, bucketLake+"Arn"), RoleArn: role.AttrArn(),
			Prefix:            new(names.LakePrefix + "day=!{timestamp:yyyy-MM-dd}/"),
			ErrorOutputPrefix: new(names.LakeFailed + "!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/"),
			BufferingHints:    &awskinesisfirehose.CfnDeliveryStream_BufferingHintsProperty{IntervalInSeconds: new(60.0), SizeInMBs: new(128.0)},
			DataFormatConversionConfiguration: &awskinesisfirehose.CfnDeliveryStream_DataFormatConversionConfigurationProperty{
				Enabled: new(true),
				InputFormatConfiguration: &awskinesisfirehose.CfnDeliveryStream_InputFormatConfigurationProperty{
					Deserializer: &awskinesisfirehose.CfnDeliveryStream_DeserializerProperty{
						OpenXJsonSerDe: &awskinesisfirehose.CfnDeliveryStream_OpenXJsonSerDeProperty{},
					},
				},
				OutputFormatConfiguration: &awskinesisfirehose.CfnDeliveryStream_OutputFormatConfigurationProperty{
					Serializer: &awskinesisfirehose.CfnDeliveryStream_SerializerProperty{
						ParquetSerDe: &awskinesisfirehose.CfnDeliveryStream_ParquetSerDeProperty{Compression: new("SNAPPY")},
					},
				},
				SchemaConfiguration: &awskinesisfirehose.CfnDeliveryStream_SchemaConfigurationProperty{
					CatalogId: awscdk.Aws_ACCOUNT_ID(), DatabaseName: database.Ref(), TableName: table.Ref(),
					Region: awscdk.Aws_REGION(), RoleArn: role.AttrArn(), VersionId: new("LATEST"),
				},
			},
		},
	})
}

// keepBodies grants to keep what events have no room for, to see that it is there, and to read it. The bucket's policy lets nothing
// there be replaced.
func keepBodies() statement {
	return statement{
		Sid: "KeepBodies", Actions: []string{"s3:GetObject", "s3:PutObject"}, Resources: []any{join(imported(Data, bucketLake+"Arn"), "/"+names.LakeBodies+"*")},
		Condition: condition{"StringEquals": {"aws:ResourceAccount": awscdk.Aws_ACCOUNT_ID()}}, Why: "each is called by its SHA-256",
	}
}

// newDelivery declares the rule that takes every event of the bus to the lake.
func newDelivery(s awscdk.Stack, stream awskinesisfirehose.CfnDeliveryStream, dead awssqs.CfnQueue) awsevents.CfnRule {
	role := newRole(s, "delivery", service("events"), condition{"StringEquals": {"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}}, []statement{
		{Sid: "PutRecords", Actions: []string{"firehose:PutRecord", "firehose:PutRecordBatch"}, Resources: []any{stream.AttrArn()}},
	})
	return awsevents.NewCfnRule(s, new("Deliver"), &awsevents.CfnRuleProps{
		Description: new("Stile: every audit event goes to the lake"), EventBusName: imported(Data, "BusName"), State: new("ENABLED"),
		EventPattern: map[string]any{"source": []string{names.BusSource}},
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{
			Id: new(lake), Arn: stream.AttrArn(), RoleArn: role.AttrArn(), InputPath: new("$.detail"),
			RetryPolicy:      &awsevents.CfnRule_RetryPolicyProperty{MaximumRetryAttempts: new(185.0), MaximumEventAgeInSeconds: new(86400.0)},
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: dead.AttrArn()},
		}},
	})
}

// auditAlarms are those of the way to the lake.
func auditAlarms(stream awskinesisfirehose.CfnDeliveryStream, dead awssqs.CfnQueue) []metricAlarm {
	firehose := func(name, statistic string) []metric {
		return []metric{{"AWS/Firehose", name, statistic, []dimension{{"DeliveryStreamName", stream.Ref()}}}}
	}
	return []metricAlarm{
		{
			id: "RelayBehind", says: "audit events wait in the ledger's stream, which forgets them after a day", page: "lake-behind",
			metrics: []metric{ofFunction(fnRelay, "IteratorAge", "Maximum")},
			compare: above, threshold: new(300_000.0), bad: 2, of: 2, missing: missingIsGood, // milliseconds
		},
		{
			id: "RelayLost", says: "audit events that the relay never put on the bus could not be kept", page: "failed-batch",
			metrics: []metric{ofFunction(fnRelay, "DestinationDeliveryFailures", "Sum")},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "ErrorsRelay", says: "function relay fails, crashes or runs out of time", page: "function-errors",
			metrics: []metric{ofFunction(fnRelay, "Errors", "Sum")},
			compare: atLeast, threshold: new(1.0), bad: 2, of: 3, missing: missingIsGood,
		},
		{
			id: "LakeUndelivered", says: "audit events could not be delivered to the lake for a day", page: "lake-behind",
			metrics: []metric{{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", []dimension{{"QueueName", dead.AttrQueueName()}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "LakeBehind", says: "audit events wait for half an hour to be written to the lake", page: "lake-behind",
			metrics: firehose("DeliveryToS3.DataFreshness", "Maximum"),
			compare: above, threshold: new(1800.0), bad: 2, of: 2, missing: missingIsGood, // seconds
		},
		{
			id: "LakeUnreadable", says: "audit events don't fit the lake's table", page: "lake-behind",
			metrics: firehose("FailedConversion.Records", "Sum"),
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
	}
}
