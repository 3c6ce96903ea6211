package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
)

// newSweep declares when recordings are looked after.
func newSweep(s awscdk.Stack) {
	rule := awsevents.NewCfnRule(s, new("EveryTenMinutes"), &awsevents.CfnRuleProps{
		Description:        new("Stile: close recordings whose agents aren't heard of any more"),
		ScheduleExpression: new("rate(10 minutes)"), State: new("ENABLED"),
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{Id: new(fnSweep), Arn: functionARN(fnSweep)}},
	})
	permit(s, fnSweep, "events", rule.AttrArn())
}
