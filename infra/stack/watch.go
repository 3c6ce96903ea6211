package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
)

// A rule in state ENABLED hears no read-only management event of CloudTrail, whatever its pattern says.
const (
	changesOnly = "ENABLED"
	readsToo    = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
)

// apiCall is the detail-type of what CloudTrail reports.
const apiCall = "AWS API Call via CloudTrail"

// watch is a rule that tells the topic of each event that matches.
type watch struct {
	id, says, page string
	state          string
	source         []string
	kind           string // detail-type
	detail         map[string]any
}

// rule declares it; page is the URL of its page.
func (w watch) rule(s awscdk.Stack, topic awssns.CfnTopic, page string) awsevents.CfnRule {
	return awsevents.NewCfnRule(s, &w.id, &awsevents.CfnRuleProps{
		Description:  new("Stile: " + w.says + ". What to do: " + page),
		State:        &w.state,
		EventPattern: map[string]any{"source": w.source, "detail-type": []string{w.kind}, "detail": w.detail},
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{
			Id: new("alarms"), Arn: topic.Ref(),
			InputTransformer: &awsevents.CfnRule_InputTransformerProperty{InputTemplate: new(message(w.says, page))},
		}},
	})
}

// watches are all rules that tell the topic. A deployment changes functions and roles too and is told of: whoever can
// deploy could also change them for the worse, so nobody is left out.
func watches(set settings) []watch {
	return []watch{foreignSign(set), keyChange(set), codeChange(), roleChange(), frontChange(), storeChange(set), trailChange(), alarmChange(), failedBatch()}
}

// foreignSign reports a use of a CA key by anyone but its function, allowed or not. CloudTrail logs Sign as a read-only
// management event, hence the rule's state. A root user and an IAM user have no sessionContext.
func foreignSign(set settings) watch {
	var roles []any
	for _, function := range signers {
		roles = append(roles, roleARN(function))
	}
	others := []any{map[string]any{"anything-but": roles}, map[string]any{"exists": false}}
	return watch{
		id: "ForeignSign", page: "foreign-signature", state: readsToo, source: []string{"aws.kms"}, kind: apiCall,
		says: "a CA key was used, or a use was attempted, by something other than its function",
		detail: map[string]any{
			"eventSource": []string{"kms.amazonaws.com"}, "eventName": []string{"Sign"}, "resources": map[string]any{"ARN": caARNs(set)},
			"userIdentity": map[string]any{"sessionContext": map[string]any{"sessionIssuer": map[string]any{"arn": others}}},
		},
	}
}

// keyChange reports every change to who may use a CA key: nobody else sees what an account's administrator could do.
func keyChange(set settings) watch {
	return watch{
		id: "KeyChange", page: "key-changed", state: readsToo, source: []string{"aws.kms"}, kind: apiCall,
		says: "a change to who may use a CA key, or to the key's state",
		detail: map[string]any{
			"eventSource": []string{"kms.amazonaws.com"},
			"eventName":   []string{"CancelKeyDeletion", "CreateGrant", "DisableKey", "EnableKey", "PutKeyPolicy", "ReplicateKey", "ScheduleKeyDeletion"},
			"resources":   map[string]any{"ARN": caARNs(set)},
		},
	}
}

// caARNs are the keys that sign now, and those before them that are to be watched.
func caARNs(set settings) []any {
	var arns []any
	for _, purpose := range caKeys {
		arns = append(arns, keyARN(purpose))
	}
	for _, id := range set.former {
		arns = append(arns, sub("arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/"+id))
	}
	return arns
}

// codeChange reports every change of a function: its code, its configuration, who may invoke it, what feeds it and where
// its answers go. CloudTrail has the function as the caller wrote it, by name or ARN; a change of a mapping has it in the
// answer alone. A trail that logs invocations is not to be heard.
func codeChange() watch {
	ours := []any{map[string]any{"wildcard": "*stile-*"}}
	return watch{
		id: "CodeChange", page: "code-changed", state: changesOnly, source: []string{"aws.lambda"}, kind: apiCall,
		says: "a function's code, configuration, permissions or sources were changed, or an attempt was made",
		detail: map[string]any{
			"eventSource": []string{"lambda.amazonaws.com"},
			"eventName":   []any{map[string]any{"anything-but": map[string]any{"prefix": "Invoke"}}},
			"$or": []any{
				map[string]any{"requestParameters": map[string]any{"functionName": ours}},
				map[string]any{"responseElements": map[string]any{"functionArn": ours}},
			},
		},
	}
}

// roleChange reports every change of a role: what it may do, who may take it, its boundary. IAM's events come only to
// us-east-1, from where another rule has to forward them; the page has the commands.
func roleChange() watch {
	return watch{
		id: "RoleChange", page: "role-changed", state: changesOnly, source: []string{"aws.iam"}, kind: apiCall,
		says: "a role's permissions, trust or boundary were changed, or an attempt was made",
		detail: map[string]any{
			"eventSource":       []string{"iam.amazonaws.com"},
			"requestParameters": map[string]any{"roleName": []any{map[string]any{"wildcard": "stile-*"}}},
		},
	}
}

// frontChange reports every change of the API's routes, stage and policy: a route could lead past the functions.
func frontChange() watch {
	return watch{
		id: "FrontChange", page: "front-changed", state: changesOnly, source: []string{"aws.apigateway"}, kind: apiCall,
		says: "the API's routes, stage or settings were changed, or an attempt was made",
		detail: map[string]any{
			"eventSource":       []string{"apigateway.amazonaws.com"},
			"requestParameters": map[string]any{"restApiId": []any{ref("Api")}},
		},
	}
}

// storeChange reports what takes the protection of tables and documents away, or lets others read them.
func storeChange(set settings) watch {
	// Names or ARNs: those that CloudFormation makes, and those of tables that were restored.
	tables := []any{map[string]any{"wildcard": "*" + Data + "-Table*"}}
	for _, table := range sorted(set.tables) {
		tables = append(tables, map[string]any{"wildcard": "*" + set.tables[table]})
	}
	return watch{
		id: "StoreChange", page: "store-changed", state: changesOnly, source: []string{"aws.dynamodb", "aws.s3"}, kind: apiCall,
		says: "the protection of a table or of the documents was changed, or a copy was made, or an attempt was",
		detail: map[string]any{
			"eventName": []string{
				"DeleteTable", "UpdateTable", "UpdateContinuousBackups", "UpdateTimeToLive", "PutResourcePolicy", "DeleteResourcePolicy",
				"CreateBackup", "ExportTableToPointInTime", "EnableKinesisStreamingDestination",
				"DeleteBucket", "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketVersioning", "PutBucketLifecycle", "PutBucketReplication",
				"PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock",
			},
			"$or": []any{
				map[string]any{"requestParameters": map[string]any{"tableName": tables}},
				map[string]any{"requestParameters": map[string]any{"tableArn": tables}},
				map[string]any{"requestParameters": map[string]any{"resourceArn": tables}},
				map[string]any{"requestParameters": map[string]any{"bucketName": []any{imported(Data, bucketDocuments+"Name")}}},
			},
		},
	}
}

// silenced are the calls that end a rule; trailChange and alarmChange both hear them, so that neither can be switched
// off without the other's telling.
var silenced = []string{"DeleteRule", "DisableRule", "PutRule", "PutTargets", "RemoveTargets"}

// Names that CloudFormation generates for rules and alarms of the stacks.
var (
	rulesHere  = generated(Control, Audit)
	alarmsHere = generated(Control, Audit, Fleet)
)

func generated(stacks ...string) (names []any) {
	for _, s := range stacks {
		names = append(names, map[string]any{"prefix": s + "-"})
	}
	return names
}

// trailChange reports what stops CloudTrail, without which no rule hears anything.
func trailChange() watch {
	return watch{
		id: "TrailChange", page: "alarms-silenced", state: changesOnly, source: []string{"aws.cloudtrail", "aws.events"}, kind: apiCall,
		says: "CloudTrail was stopped or narrowed, or a rule was changed, or an attempt was made",
		detail: map[string]any{
			"$or": []any{
				map[string]any{"eventName": []string{"DeleteTrail", "PutEventSelectors", "StopLogging", "UpdateTrail"}},
				map[string]any{"eventName": silenced, "requestParameters": map[string]any{"name": rulesHere}},
				map[string]any{"eventName": silenced, "requestParameters": map[string]any{"rule": rulesHere}},
			},
		},
	}
}

// alarmChange reports what keeps rules, alarms and the topic from telling anybody.
func alarmChange() watch {
	topic := []any{map[string]any{"wildcard": "*:stile-alarms*"}}
	return watch{
		id: "AlarmChange", page: "alarms-silenced", state: changesOnly, source: []string{"aws.events", "aws.monitoring", "aws.sns"}, kind: apiCall,
		says: "a rule, an alarm or the topic of the alarms was changed, or an attempt was made",
		detail: map[string]any{
			"$or": []any{
				map[string]any{"eventName": silenced, "requestParameters": map[string]any{"name": rulesHere}},
				map[string]any{"eventName": silenced, "requestParameters": map[string]any{"rule": rulesHere}},
				map[string]any{"eventSource": []string{"monitoring.amazonaws.com"}, "requestParameters": map[string]any{"alarmName": alarmsHere}},
				map[string]any{"eventSource": []string{"monitoring.amazonaws.com"}, "requestParameters": map[string]any{"alarmNames": alarmsHere}},
				map[string]any{"eventSource": []string{"sns.amazonaws.com"}, "requestParameters": map[string]any{"topicArn": topic}},
				map[string]any{"eventSource": []string{"sns.amazonaws.com"}, "requestParameters": map[string]any{"subscriptionArn": topic}},
			},
		},
	}
}

// failedBatch reports a batch of a stream that its function never took, and an event that the relay set aside.
func failedBatch() watch {
	return watch{
		id: "FailedBatch", page: "failed-batch", state: changesOnly, source: []string{"aws.s3"}, kind: "Object Created",
		says:   "a batch of changes or audit events failed again and again and was given up, or an event was set aside",
		detail: map[string]any{"bucket": map[string]any{"name": []any{imported(Data, bucketFailures+"Name")}}},
	}
}
