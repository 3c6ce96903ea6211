package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/stile-dev/stile/pkg/names"
)

// Outputs of Control that Fleet reads.
const (
	exportAPI       = "ApiUrl"
	exportFleetRole = "FleetRoleArn"
	exportAlarms    = "AlarmsArn"
)

// paramReserved is the parameter of what is kept free for the functions without which nobody is let in or put out. A new
// account has ten executions in all and refuses any reservation.
const paramReserved = "ReservedConcurrency"

// paramBoundary is a parameter of each stack that has roles.
const paramBoundary = "PermissionsBoundary"

// boundary declares the parameter of the roles' permissions boundary.
func boundary(s awscdk.Stack) {
	awscdk.NewCfnParameter(s, new(paramBoundary), &awscdk.CfnParameterProps{
		Description: new("ARN of a managed policy that bounds every role, where your organisation demands one; empty for none"), Default: "",
		AllowedPattern: new(`^(arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+)?$`), ConstraintDescription: new("empty, or the ARN of a managed policy"),
	})
	conditionGiven(s, "HasBoundary", paramBoundary)
}

// newControl declares what decides and signs, and the API in front.
func newControl(app awscdk.App, cfg Config, set settings) awscdk.Stack {
	s := newStack(app, Control, "Stile: functions, their roles, the API and the proxies' role")
	parameters(s)
	boundary(s)
	confirm(s, set.changedControl())
	newFleetRole(s)
	programs := newStock(s, cfg)
	code := map[string]*awslambda.CfnFunction_CodeProperty{}
	made := map[string]awslambda.CfnFunction{}
	for _, f := range functions {
		if f.name == fnCanary {
			f.env = map[string]func() *string{names.EnvAPI: set.apiAddress}
		}
		if f.name == fnAPI {
			f.env = programs
		}
		if f.name == fnRotate {
			f.env = map[string]func() *string{names.EnvClusterName: clusterName, names.EnvEpoch: func() *string { return new(set.inEpoch()) }}
		}
		code[f.name] = cfg.Code(s, f.name)
		made[f.name] = newFunction(s, f, code[f.name])
	}
	newReader(s)
	newAPI(s, cfg.API, set)
	newPublishing(s, set, code, made)
	newCanary(s)
	every(s, "TenMinutes", "10 minutes", fnSweep, "close recordings whose agents aren't heard of any more, look for what the ledger and the lake lack, and state what the evidence proves")
	newSignings(s, set)
	newAlarm(s, set)
	return s
}

func parameters(s awscdk.Stack) {
	awscdk.NewCfnParameter(s, new("BootstrapAdmin"), &awscdk.CfnParameterProps{
		Description:           new(`The first administrator, as JSON: {"account":"111122223333","role":"PlatformAdmin"}. A role of IAM Identity Center is given by its full name, with the session: {"account":"111122223333","role":"AWSReservedSSO_Admin_0123456789abcdef","session":"alice@example.com"}`),
		AllowedPattern:        new(`^\{.*\}$`),
		ConstraintDescription: new("a JSON object with account and role, and optionally partition, role_id and session"),
	})
	awscdk.NewCfnParameter(s, new("ClusterName"), &awscdk.CfnParameterProps{
		Description:           new("The cluster's name: the last part of a node's full name, as in web-1.stile. It can't change after the first deployment"),
		Default:               "stile",
		AllowedPattern:        new(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`),
		ConstraintDescription: new("1 to 63 lower-case letters, digits, dots and hyphens"),
	})
	awscdk.NewCfnParameter(s, new(paramReserved), &awscdk.CfnParameterProps{
		Type: new("Number"), Default: 0.0, MinValue: new(0.0), MaxValue: new(1000.0),
		Description: new("Concurrent executions reserved for each of admin, publish, sign-host and sign-user, which is also the most that each gets; 0 reserves none. An account whose limit leaves fewer than 100 for the rest refuses it"),
	})
	awscdk.NewCfnCondition(s, new("HasReserved"), &awscdk.CfnConditionProps{
		Expression: awscdk.Fn_ConditionNot(awscdk.Fn_ConditionEquals(ref(paramReserved), "0")),
	})
}

// apiAddress is the API's URL with its stage, or the one under somebody's own domain.
func (s settings) apiAddress() *string {
	if s.apiURL != "" {
		return &s.apiURL
	}
	return sub("https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/" + stage)
}

// roleName returns the fixed name of a role: an account may have a cluster in each Region, and role names are global.
func roleName(function string) *string { return sub("stile-" + function + "-${AWS::Region}") }

func roleARN(function string) *string {
	return sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/stile-" + function + "-${AWS::Region}")
}

// fleet names the proxies' role as if it were a function's.
const fleet = "fleet"

// newFleetRole declares the role of the proxies' tasks. It is made here because the signers are told which
// role proxies join with.
func newFleetRole(s awscdk.Stack) {
	role := newRole(s, fleet, service("ecs-tasks"), ecsTasks(), []statement{
		items(tableState, "GetHead", getting, names.Head, names.Revoked),
		items(tablePresence, "ListProxies", querying, names.Proxy),
		items(tablePresence, "PutPresence", putting, names.Proxy, names.Tunnels),
		items(tablePresence, "LeaveProxies", deleting, names.Proxy),
		items(tableLedger, "PutEvents", putting, events(names.WriterProxy), events(names.WriterAgent), names.Certificate, names.Happened, names.Decided),
		objects("ReadDocuments", "s3:GetObject", ""),
	})
	export(s, exportFleetRole, role.AttrArn())
}

// ecsTasks limits a trust in ECS to this account's tasks in this Region.
func ecsTasks() condition {
	return condition{
		"StringEquals": {"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()},
		"ArnLike":      {"aws:SourceArn": sub("arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:*")},
	}
}

// fleetMatch is the resource.IAMMatch of the proxies' role, as JSON. The role id changes when the role is
// deleted and made again: then an older role's credentials are worth nothing.
func fleetMatch() *string {
	return sub(`{"partition":"${AWS::Partition}","account":"${AWS::AccountId}","role":"${RoleFleet}","role_id":"${RoleFleet.RoleId}"}`)
}

// newRole declares a role with a fixed name, one service that may assume it, and one inline policy.
func newRole(s awscdk.Stack, name string, who map[string]any, when condition, may []statement) awsiam.CfnRole {
	role := awsiam.NewCfnRole(s, new("Role"+camel(name)), &awsiam.CfnRoleProps{
		PermissionsBoundary: either("HasBoundary", ref(paramBoundary), awscdk.Aws_NO_VALUE()),
		RoleName:            roleName(name),
		Description:         new("Stile " + strings.ReplaceAll(name, "-", " ")),
		AssumeRolePolicyDocument: document(statement{
			Sid: "Service", Principal: who, Actions: []string{"sts:AssumeRole"}, Condition: when,
		}),
		Policies: &[]any{&awsiam.CfnRole_PolicyProperty{PolicyName: new(name), PolicyDocument: document(may...)}},
	})
	acknowledge(role, "F3033")
	if reasons := reasons(may); len(reasons) > 0 {
		role.AddMetadata(new(why), reasons)
		accept(role, accepted{"IAM5": "each wildcard is in a resource, never in an action, and has its reason in stile:why"})
	}
	return role
}

// acknowledge tells the CDK's validator that a finding is none: it takes a parameter's empty default for a property's
// value, under a condition by which that is never so.
func acknowledge(r awscdk.CfnResource, rule string) {
	awscdk.Validations_Of(r).Acknowledge(&awscdk.Acknowledgment{
		Id: new("CloudFormation-Validate::" + rule), Reason: new("the parameter's default is never used here: a condition chooses between them"),
	})
}

func ref(id string) *string { return awscdk.Fn_Ref(&id) }

// join puts strings and tokens together.
func join(parts ...any) *string {
	out := make([]*string, len(parts))
	for i, p := range parts {
		switch p := p.(type) {
		case string:
			out[i] = &p
		case *string:
			out[i] = p
		}
	}
	return awscdk.Fn_Join(new(""), &out)
}
