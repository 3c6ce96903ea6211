// Package stack declares what a cluster is made of in AWS: StileData (what must survive), StileControl (the
// functions, their roles and the API), StileAudit (the way of audit events to the lake) and StileFleet (the
// proxies). The stacks depend one way, Data ← Control ← Audit and Fleet, by outputs with plain names. A reference reads the output when a deployment changes the resource that refers
// to it, and holds nothing fast: what an output says may change. docs/decisions/0017 says how.
//
// It uses the CDK's level 1 constructs: every line of a template has its line here, and no policy,
// role or helper function appears by itself. It must not know how functions are built (package code)
// nor import anything of the product but pkg/names. The entry point is [New].
package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
)

// Names of the stacks.
const (
	Data    = "StileData"
	Control = "StileControl"
	Audit   = "StileAudit"
	Fleet   = "StileFleet"
)

// Config is what the stacks need from outside.
type Config struct {
	// API is the OpenAPI document, as openapi.yaml in the repository's root.
	API []byte
	// Code places the zip of one function, named as its folder under functions/.
	Code func(scope constructs.Construct, function string) *awslambda.CfnFunction_CodeProperty
	// Program places the proxy, which is named as its folder.
	Program Program
	// Consumed is the metadata Consumes by stack and logical id. It is made from the templates without it.
	Consumed map[string]map[string]string
}

// Consumes is the metadata of a resource that refers to other stacks: a digest of what the outputs there are made of.
const Consumes = "stile:consumes"

// New adds the four stacks to the app, as the settings in its context say. A setting that is wrong is an error. It
// panics when the OpenAPI document can't be routed, as everything in the CDK does: only the author could handle it.
func New(app awscdk.App, cfg Config) error {
	context, _ := app.Node().GetAllContext(nil).(map[string]any)
	set, err := readSettings(context)
	if err != nil {
		return err
	}
	data := newData(app, set)
	control := newControl(app, cfg, set)
	fleet := newFleet(app, cfg, set)
	audit := newAudit(app, cfg, set)
	control.AddStackDependency(data, new("tables, keys and buckets"))
	audit.AddStackDependency(control, new("the topic of alarms"))
	fleet.AddStackDependency(control, new("the proxies' role and the API"))
	for _, s := range []awscdk.Stack{data, control, audit, fleet} {
		describe(s, cfg.Consumed[*s.StackName()])
	}
	return nil
}

// describe writes into resources what they consume of other stacks.
func describe(s awscdk.Stack, consumed map[string]string) {
	for _, id := range sorted(consumed) {
		child := s.Node().FindChild(&id)
		child.(awscdk.CfnResource).AddMetadata(new(Consumes), consumed[id])
	}
}

func newStack(app awscdk.App, name, description string) awscdk.Stack {
	return awscdk.NewStack(app, &name, &awscdk.StackProps{
		StackName:             &name,
		Description:           &description,
		TerminationProtection: new(name == Data && !first(app)),
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			BucketPrefix:                 new(AssetPrefix),
			GenerateBootstrapVersionRule: new(false), // the CLI checks it anyway; a template without parameters of its own reads better
		}),
	})
}

// export makes a value of one stack known to the others, and to people, as the output Out<name>.
func export(s awscdk.Stack, name string, value *string) {
	awscdk.NewCfnOutput(s, new("Out"+name), &awscdk.CfnOutputProps{Value: value})
}

// imported is the value that another stack exports under the name.
func imported(stack, name string) *string {
	return awscdk.Fn_GetStackOutput(&stack, new("Out"+name), nil, nil)
}

// sub is Fn::Sub: pseudo parameters and logical ids of the same stack in ${}.
func sub(text string) *string { return awscdk.Fn_Sub(&text, nil) }

// list makes the CDK's list of strings.
func list(items ...string) *[]*string {
	out := make([]*string, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return &out
}

// keep makes a resource outlive its stack, whether that is deleted or the resource replaced. A deployment that makes it
// and fails takes it away again: it has held nothing yet.
func keep(r awscdk.CfnResource) {
	r.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE, &awscdk.RemovalPolicyOptions{ApplyToUpdateReplacePolicy: new(true)})
}

// anyList makes the CDK's list where it takes references of other kinds too.
func anyList(items ...*string) *[]any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = item
	}
	return &out
}
