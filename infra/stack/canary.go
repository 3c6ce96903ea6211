package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
)

// newCanary declares what makes the synthetic login run. Its measurements are lines of its log, of which CloudWatch
// makes metrics by itself; so the function's role may do nothing but write its log.
func newCanary(s awscdk.Stack) {
	rule := awsevents.NewCfnRule(s, new("EveryFiveMinutes"), &awsevents.CfnRuleProps{
		Description:        new("Stile: log in as the canary"),
		ScheduleExpression: new("rate(5 minutes)"), State: new("ENABLED"),
		Targets: &[]any{&awsevents.CfnRule_TargetProperty{Id: new(fnCanary), Arn: functionARN(fnCanary)}},
	})
	permit(s, fnCanary, "events", rule.AttrArn())
}

// canaryMatch is the resource.IAMMatch of the canary's role, as JSON; its role id, as fleetMatch has one.
func canaryMatch() *string {
	return sub(`{"partition":"${AWS::Partition}","account":"${AWS::AccountId}","role":"${RoleCanary}","role_id":"${RoleCanary.RoleId}"}`)
}
