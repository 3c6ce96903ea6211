package stack

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/stile-dev/stile/pkg/names"
)

// policyInputs are the entities of table state that the policy and revocations documents are made from.
var policyInputs = []string{names.Role, names.Settings, names.Lock, names.Order}

// newPublishing declares what makes documents: the two custom resources that make the first ones when the
// stack is deployed, the minute's schedule that renews the stamp, the day's that drops a replaced key when what it signed has
// expired, and the stream of table state, which catches
// a change whose writer died before it could invoke publish.
func newPublishing(s awscdk.Stack, set settings, code map[string]*awslambda.CfnFunction_CodeProperty, made map[string]awslambda.CfnFunction) {
	trust := custom(s, set, "Trust", fnRotate, code[fnRotate].S3Key)
	publication := custom(s, set, "Publication", fnPublish, code[fnPublish].S3Key)
	publication.AddResourceDependency(trust, nil)
	// The function refuses a value that names nobody, and those that are given it wait for that: a wrong one reaches neither.
	publication.AddPropertyOverride(new("BootstrapAdmin"), bootstrapAdmin())
	for _, f := range functions {
		if _, given := f.env[names.EnvBootstrapAdmin]; given {
			made[f.name].AddResourceDependency(publication, nil)
		}
	}

	every(s, "Minute", "1 minute", fnPublish, "renew the stamp of the revocations document")
	every(s, "Day", "1 day", fnRotate, "drop replaced keys of agents from the trust document once what they signed has expired")

	awslambda.NewCfnEventSourceMapping(s, new("StateStream"), &awslambda.CfnEventSourceMappingProps{
		EventSourceArn: imported(Data, tableState+"Stream"),
		FunctionName:   ref(functionID(fnPublish)),
		// Not LATEST: that may miss what happens while the mapping is made.
		StartingPosition: new("TRIM_HORIZON"),
		BatchSize:        new(100.0), MaximumBatchingWindowInSeconds: new(1.0),
		BisectBatchOnFunctionError: new(true), MaximumRetryAttempts: new(5.0), MaximumRecordAgeInSeconds: new(3600.0),
		FilterCriteria: &awslambda.CfnEventSourceMapping_FilterCriteriaProperty{
			Filters: &[]any{&awslambda.CfnEventSourceMapping_FilterProperty{Pattern: new(partitionFilter(policyInputs))}},
		},
		DestinationConfig: &awslambda.CfnEventSourceMapping_DestinationConfigProperty{
			OnFailure: &awslambda.CfnEventSourceMapping_OnFailureProperty{Destination: imported(Data, bucketFailures+"Arn")},
		},
	})
}

// every declares a schedule that invokes a function once in a time, which is part of the rule's id in one word, and spelt as a rate.
func every(s awscdk.Stack, id, rate, function, does string) {
	rule := awsevents.NewCfnRule(s, new("Every"+id), &awsevents.CfnRuleProps{
		Description:        new("Stile: " + does),
		ScheduleExpression: new("rate(" + rate + ")"), State: new("ENABLED"),
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{Id: &function, Arn: functionARN(function)}},
	})
	permit(s, function, "events", rule.AttrArn())
}

// partitionFilter lets through the stream's records of some entities.
func partitionFilter(entities []string) string {
	raw, err := json.Marshal(map[string]any{"dynamodb": map[string]any{"Keys": map[string]any{names.PK: map[string]any{"S": entities}}}})
	if err != nil {
		panic(err) // strings in maps
	}
	return string(raw)
}

// custom declares a custom resource that its function answers. It runs again when a key changes, the function does, the state
// table is another one, an epoch begins, or the cluster's name changes, which is refused after the first time.
func custom(s awscdk.Stack, set settings, id, function string, build *string) awscdk.CfnResource {
	keys := map[string]any{}
	for _, purpose := range caKeys {
		keys[purpose] = keyARN(purpose)
	}
	return awscdk.NewCfnResource(s, &id, &awscdk.CfnResourceProps{
		Type: new("Custom::Stile" + id),
		Properties: &map[string]any{
			"ServiceToken":   awscdk.Fn_GetAtt(new(functionID(function)), new("Arn")),
			"ServiceTimeout": "300",
			"Cluster":        imported(Data, "ClusterId"),
			"ClusterName":    clusterName(),
			"Keys":           keys,
			"StateTable":     imported(Data, tableState+"Name"),
			"Epoch":          set.inEpoch(),
			"Build":          build,
		},
	})
}

// permit lets a service invoke a function on behalf of one resource, whose ARN names the account.
func permit(s awscdk.Stack, function, by string, source *string) {
	awslambda.NewCfnPermission(s, new("Permit"+camel(by)+camel(function)), &awslambda.CfnPermissionProps{
		Action: new("lambda:InvokeFunction"), FunctionName: ref(functionID(function)),
		Principal: new(by + ".amazonaws.com"), SourceArn: source,
	})
}
