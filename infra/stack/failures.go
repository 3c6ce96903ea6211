package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
)

// newFailures declares the bucket of what was given up. Only S3 gets the records of a stream's batch; a queue gets
// their positions alone, and the stream forgets them after a day. The bucket tells EventBridge of each object, which
// costs nothing until there is one.
func newFailures(s awscdk.Stack) {
	bucket := newBucket(s, bucketFailures, false)
	bucket.SetNotificationConfiguration(&awss3.CfnBucket_NotificationConfigurationProperty{
		EventBridgeConfiguration: &awss3.CfnBucket_EventBridgeConfigurationProperty{EventBridgeEnabled: new(true)},
	})
	bucket.SetLifecycleConfiguration(&awss3.CfnBucket_LifecycleConfigurationProperty{
		Rules: &[]any{&awss3.CfnBucket_RuleProperty{Id: new("month"), Status: new("Enabled"), ExpirationInDays: new(30.0)}},
	})
}

// keepFailures are what Lambda needs to put a batch that was given up into the bucket, as the function. The account's
// number is there because a bucket's name can be another account's once the bucket is gone.
func keepFailures() []statement {
	own := condition{"StringEquals": {"aws:ResourceAccount": awscdk.Aws_ACCOUNT_ID()}}
	bucket := imported(Data, bucketFailures+"Arn")
	return []statement{
		{
			Sid: "KeepFailures", Actions: []string{"s3:PutObject"}, Resources: []any{join(bucket, "/aws/lambda/*")}, Condition: own,
			Why: "Lambda names each object by the mapping, the shard and the time",
		},
		{Sid: "FindFailures", Actions: []string{"s3:ListBucket"}, Resources: []any{bucket}, Condition: own},
	}
}
