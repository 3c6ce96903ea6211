package stack

import "github.com/aws/aws-cdk-go/awscdk/v2"

// newCanary declares what makes the synthetic login run. Its measurements are lines of its log, of which CloudWatch
// makes metrics by itself; so the function's role may do nothing but write its log.
func newCanary(s awscdk.Stack) {
	every(s, "FiveMinutes", "5 minutes", fnCanary, "log in as the canary")
}

// canaryMatch is the resource.IAMMatch of the canary's role, as JSON; its role id, as fleetMatch has one.
func canaryMatch() *string {
	return sub(`{"partition":"${AWS::Partition}","account":"${AWS::AccountId}","role":"${RoleCanary}","role_id":"${RoleCanary.RoleId}"}`)
}
