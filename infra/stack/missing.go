package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
)

// wantsProxies is the condition under which there is to be a proxy at all.
const wantsProxies = "WantsProxies"

// newMissing declares the alarm that fewer proxies are healthy than the service wants. It reads the maximum, as AWS
// advises for this metric: each node of the load balancer counts for itself, and one that has just begun counts too few.
// A group without targets has no data, so that missing data is bad. It comes after the service, whose deployment waits for
// healthy proxies: so it doesn't ring at the first deployment, nor because more are wanted than there were.
func newMissing(s awscdk.Stack, service awscdk.CfnResource, p ports, set settings) {
	awscdk.NewCfnCondition(s, new(wantsProxies), &awscdk.CfnConditionProps{
		Expression: awscdk.Fn_ConditionNot(awscdk.Fn_ConditionEquals(ref(paramCount), "0")),
	})
	missing := metricAlarm{
		id: "ProxiesMissing", says: "fewer proxies than wanted were healthy for ten minutes", page: "proxies-missing",
		metrics: []metric{{"AWS/NetworkELB", "HealthyHostCount", "Maximum", []dimension{
			{"LoadBalancer", attribute("Balancer", "LoadBalancerFullName")}, {"TargetGroup", attribute("Targets", "TargetGroupFullName")},
		}}},
		compare: below, threshold: p.count, bad: 2, of: 2, missing: missingIsBad,
	}
	alarm := missing.alarm(s, imported(Control, exportAlarms), set.page(missing.page))
	alarm.CfnOptions().SetCondition(found(s, wantsProxies))
	alarm.AddResourceDependency(service, nil)
}

// attribute is one of a resource of the same stack.
func attribute(id, name string) *string {
	return awscdk.Token_AsString(awscdk.Fn_GetAtt(&id, &name), nil)
}
