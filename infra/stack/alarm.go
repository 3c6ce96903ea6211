package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
)

// newAlarm declares the rule that reports a use of a CA key by anyone but its function, allowed or not,
// and every change to who may use one: nobody else sees what an account's administrator could do.
// CloudTrail logs Sign as a read-only management event, hence the rule's state.
func newAlarm(s awscdk.Stack) {
	topic := awssns.NewCfnTopic(s, new("Alarms"), &awssns.CfnTopicProps{TopicName: new("stile-alarms"), DisplayName: new("Stile alarms")})
	var arns, roles []any
	for _, purpose := range caKeys {
		arns = append(arns, keyARN(purpose))
	}
	for _, function := range []string{fnPublish, fnRotate, fnSignHost, fnSignUser} {
		roles = append(roles, roleARN(function))
	}
	uses := watch(s, "ForeignSign", "Stile: a CA key was used, or a use was attempted, by something other than its function", map[string]any{
		"eventSource":  []string{"kms.amazonaws.com"},
		"eventName":    []string{"Sign"},
		"resources":    map[string]any{"ARN": arns},
		"userIdentity": map[string]any{"sessionContext": map[string]any{"sessionIssuer": map[string]any{"arn": []any{map[string]any{"anything-but": roles}, map[string]any{"exists": false}}}}},
	}, topic)
	changes := watch(s, "KeyChange", "Stile: a change to who may use a CA key, or to the key's state", map[string]any{
		"eventSource": []string{"kms.amazonaws.com"},
		"eventName":   []string{"CreateGrant", "DisableKey", "PutKeyPolicy", "ReplicateKey", "ScheduleKeyDeletion"},
		"resources":   map[string]any{"ARN": arns},
	}, topic)
	awssns.NewCfnTopicPolicy(s, new("AlarmsPolicy"), &awssns.CfnTopicPolicyProps{
		Topics: &[]*string{topic.Ref()},
		PolicyDocument: document(statement{
			Sid: "Rules", Principal: service("events"), Actions: []string{"sns:Publish"}, Resources: []any{topic.Ref()},
			Condition: condition{"ArnEquals": {"aws:SourceArn": []any{uses.AttrArn(), changes.AttrArn()}}},
		}),
	})
	export(s, "AlarmsArn", topic.Ref())
}

func watch(s awscdk.Stack, id, description string, detail map[string]any, topic awssns.CfnTopic) awsevents.CfnRule {
	return awsevents.NewCfnRule(s, &id, &awsevents.CfnRuleProps{
		Description: &description, State: new("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"),
		EventPattern: map[string]any{"source": []string{"aws.kms"}, "detail-type": []string{"AWS API Call via CloudTrail"}, "detail": detail},
		Targets:      &[]any{&awsevents.CfnRule_TargetProperty{Id: new("alarms"), Arn: topic.Ref()}},
	})
}
