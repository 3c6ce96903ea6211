package stack

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
)

// signers are the functions that may sign with a CA key.
var signers = []string{fnPublish, fnRotate, fnSignHost, fnSignUser}

// signingsID is the queue of what CloudTrail says of the use of CA keys.
const signingsID = "Signings"

// newSignings declares the queue of each use of a CA key and the rule that fills it: functions/sweep compares them with what the
// signers say. A record stays until it is settled, for two weeks at most. What the rule can't deliver is told as
// what CloudTrail doesn't bring: claims without records.
func newSignings(s awscdk.Stack, set settings) {
	q := awssqs.NewCfnQueue(s, new(signingsID), &awssqs.CfnQueueProps{
		QueueName: new("stile-signings"), MessageRetentionPeriod: new(14.0 * 24 * 3600), SqsManagedSseEnabled: new(true),
	})
	accept(q, accepted{"SQS3": "a record that can't be read is told, and taken out then"})
	rule := awsevents.NewCfnRule(s, new("Signed"), &awsevents.CfnRuleProps{
		Description: new("Stile: each signature by a CA key is to be claimed by a function. What to do where none is recorded: " + set.page("signatures-unrecorded")),
		State:       new(readsToo),
		EventPattern: map[string]any{
			"source": []string{"aws.kms"}, "detail-type": []string{apiCall},
			"detail": map[string]any{
				"eventSource": []string{"kms.amazonaws.com"}, "eventName": []string{"Sign"}, "resources": map[string]any{"ARN": caARNs(set)},
				"errorCode": []any{map[string]any{"exists": false}}, // what failed has signed nothing
			},
		},
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{Id: new("signings"), Arn: q.AttrArn()}},
	})
	awssqs.NewCfnQueuePolicy(s, new(signingsID+"Policy"), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{q.Ref()},
		PolicyDocument: document(
			statement{
				Sid: "Record", Principal: service("events"), Actions: []string{"sqs:SendMessage"}, Resources: []any{q.AttrArn()},
				Condition: condition{"ArnEquals": {"aws:SourceArn": rule.AttrArn()}},
			},
			statement{
				Sid: "NobodyElseTakes", Effect: "Deny", Principal: everyone, Actions: []string{"sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:ReceiveMessage"},
				Resources: []any{q.AttrArn()}, Condition: condition{"ArnNotEquals": {"aws:PrincipalArn": roleARN(fnSweep)}},
			},
			statement{
				Sid: "TLSOnly", Effect: "Deny", Principal: everyone, Actions: []string{"sqs:*"}, Resources: []any{q.AttrArn()},
				Condition: condition{"Bool": {"aws:SecureTransport": "false"}},
			},
		),
	})
}

// signersByRole says, as JSON, which function signs by which role.
func signersByRole() *string {
	by := map[string]string{}
	for _, function := range signers {
		by["arn:${AWS::Partition}:iam::${AWS::AccountId}:role/stile-"+function+"-${AWS::Region}"] = function
	}
	raw, err := json.Marshal(by)
	if err != nil {
		panic(err) // strings in a map
	}
	return sub(string(raw))
}
