package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/stile-dev/stile/pkg/names"
)

// Tables, by their names in logical ids and outputs.
const (
	tableState    = "TableState"
	tableSecrets  = "TableSecrets"
	tableLedger   = "TableLedger"
	tablePresence = "TablePresence"
)

// Buckets, likewise.
const (
	bucketDocuments  = "BucketDocuments"
	bucketRecordings = "BucketRecordings"
	bucketLake       = "BucketLake"
	bucketFailures   = "BucketFailures"
	bucketResults    = "BucketResults"
)

// newData declares what must survive every deployment and the deletion of the stack itself.
func newData(app awscdk.App, set settings) awscdk.Stack {
	s := newStack(app, Data, "Stile: tables, buckets, keys and bus. Everything here is retained")
	confirm(s, set.changed())
	// The cluster's id is the UUID at the end of this stack's id: it is there before anything else, names no
	// Region, and can't be chosen.
	cluster := awscdk.Fn_Select(new(2.0), awscdk.Fn_Split(new("/"), awscdk.Aws_STACK_ID(), nil))
	export(s, "ClusterId", cluster)
	newTable(s, set, tableState, true)
	newTable(s, set, tableSecrets, false)
	newTable(s, set, tableLedger, true)
	newTable(s, set, tablePresence, false)
	newBucket(s, bucketDocuments, true)
	set.retention.apply(newBucket(s, bucketRecordings, true))
	newBucket(s, bucketLake, false, writtenOnce(bucketLake, names.LakeBodies)...)
	newFailures(s)
	newResults(s)
	newKeys(s, set)
	// A bus must have a name. With a fixed one, a bus that was retained would keep the next StileData from being created.
	bus := awsevents.NewCfnEventBus(s, new("Bus"), &awsevents.CfnEventBusProps{Name: awscdk.Fn_Join(new("-"), &[]*string{new("stile"), cluster})})
	keep(bus)
	export(s, "BusName", bus.Ref())
	export(s, "BusArn", bus.AttrArn())
	return s
}

// newTable declares a table in the shape that all tables have: string keys pk and sk. CloudFormation names it, unless
// the settings put one that exists in its place.
func newTable(s awscdk.Stack, set settings, id string, stream bool) {
	props := &awsdynamodb.CfnTableProps{
		AttributeDefinitions: &[]any{
			&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: new(names.PK), AttributeType: new("S")},
			&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: new(names.SK), AttributeType: new("S")},
		},
		KeySchema: &[]any{
			&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: new(names.PK), KeyType: new("HASH")},
			&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: new(names.SK), KeyType: new("RANGE")},
		},
		BillingMode:                      new("PAY_PER_REQUEST"),
		DeletionProtectionEnabled:        new(!first(s)),
		PointInTimeRecoverySpecification: &awsdynamodb.CfnTable_PointInTimeRecoverySpecificationProperty{PointInTimeRecoveryEnabled: new(true)},
		TimeToLiveSpecification:          &awsdynamodb.CfnTable_TimeToLiveSpecificationProperty{AttributeName: new(names.Expires), Enabled: new(true)},
	}
	if stream {
		props.StreamSpecification = &awsdynamodb.CfnTable_StreamSpecificationProperty{StreamViewType: new("NEW_AND_OLD_IMAGES")}
	}
	if name, ok := set.tables[id]; ok {
		props.TableName = &name
	}
	table := awsdynamodb.NewCfnTable(s, new(set.tableID(id)), props)
	keep(table)
	export(s, id+"Name", table.Ref())
	export(s, id+"Arn", table.AttrArn())
	if stream {
		export(s, id+"Stream", table.AttrStreamArn())
	}
}

// newBucket declares a private bucket that only TLS reaches, with further rules. In one with versions each key is written once and
// nothing is deleted.
func newBucket(s awscdk.Stack, id string, versioned bool, further ...statement) awss3.CfnBucket {
	props := &awss3.CfnBucketProps{
		PublicAccessBlockConfiguration: &awss3.CfnBucket_PublicAccessBlockConfigurationProperty{
			BlockPublicAcls: new(true), BlockPublicPolicy: new(true), IgnorePublicAcls: new(true), RestrictPublicBuckets: new(true),
		},
		OwnershipControls: &awss3.CfnBucket_OwnershipControlsProperty{
			Rules: &[]any{&awss3.CfnBucket_OwnershipControlsRuleProperty{ObjectOwnership: new("BucketOwnerEnforced")}},
		},
		BucketEncryption: &awss3.CfnBucket_BucketEncryptionProperty{
			ServerSideEncryptionConfiguration: &[]any{&awss3.CfnBucket_ServerSideEncryptionRuleProperty{
				ServerSideEncryptionByDefault: &awss3.CfnBucket_ServerSideEncryptionByDefaultProperty{SseAlgorithm: new("AES256")},
			}},
		},
	}
	if versioned {
		props.VersioningConfiguration = &awss3.CfnBucket_VersioningConfigurationProperty{Status: new("Enabled")}
	}
	bucket := awss3.NewCfnBucket(s, &id, props)
	keep(bucket)
	accept(bucket, accepted{"S1": "access logs need a bucket that logs itself in turn; CloudTrail's data events say who wrote, where the account records them"})
	rules := append([]statement{{
		Sid: "TLSOnly", Effect: "Deny", Principal: everyone, Actions: []string{"s3:*"},
		Resources: []any{bucket.AttrArn(), sub("${" + id + ".Arn}/*")},
		Condition: condition{"Bool": {"aws:SecureTransport": "false"}},
	}}, further...)
	if versioned {
		rules = append(rules, writtenOnce(id, "")...)
	}
	policy := awss3.NewCfnBucketPolicy(s, new(id+"Policy"), &awss3.CfnBucketPolicyProps{Bucket: bucket.Ref(), PolicyDocument: document(rules...)})
	keep(policy)
	export(s, id+"Name", bucket.Ref())
	export(s, id+"Arn", bucket.AttrArn())
	return bucket
}

// writtenOnce demands of every write below a prefix that there is no object of this name, and lets nobody delete one: S3 takes a name
// whose newest version is a delete marker for free, even where versions are locked. The parts of a large upload need no
// such header; its completion does.
func writtenOnce(bucket, prefix string) []statement {
	objects := []any{sub("${" + bucket + ".Arn}/" + prefix + "*")}
	return []statement{
		{
			Sid: "WriteOnce", Effect: "Deny", Principal: everyone, Actions: []string{"s3:PutObject"}, Resources: objects,
			Condition: condition{"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
		},
		{Sid: "DeleteNothing", Effect: "Deny", Principal: everyone, Actions: []string{"s3:DeleteObject", "s3:DeleteObjectVersion"}, Resources: objects},
	}
}
