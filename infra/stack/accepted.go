package stack

import "github.com/aws/aws-cdk-go/awscdk/v2"

// accepted are rules of cdk-nag's AwsSolutions pack that a resource doesn't keep, each with the reason.
type accepted map[string]string

// accept writes the reasons into the resource's metadata, where cdk-nag looks for them. A finding without a reason fails a
// test of package synth, and so does a reason without a finding.
func accept(r awscdk.CfnResource, rules accepted) {
	var list []any
	for _, rule := range sorted(rules) {
		list = append(list, map[string]any{"id": "AwsSolutions-" + rule, "reason": rules[rule]})
	}
	r.AddMetadata(new("cdk_nag"), map[string]any{"rules_to_suppress": list})
}
