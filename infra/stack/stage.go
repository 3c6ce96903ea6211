package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awswafv2"
)

// What a stage admits to one route. Whoever is signed in comes rarely; a function refuses who isn't, which costs its run.
// The open routes have the parameter OpenRouteRate and a burst for people who begin work at the same hour.
const (
	signedRate, signedBurst = 200.0, 400.0
	openBurst               = 200.0
)

// Parameters of the stage, and the conditions that they make.
const (
	paramOpenRate   = "OpenRouteRate"
	paramAccessLogs = "ApiAccessLogs"
	paramWebACL     = "WebAclArn"
	hasAccessLogs   = "HasApiAccessLogs"
	hasWebACL       = "HasWebAcl"
)

// stageParameters declares them, and returns the rate of an open route.
func stageParameters(s awscdk.Stack) *float64 {
	rate := awscdk.NewCfnParameter(s, new(paramOpenRate), &awscdk.CfnParameterProps{
		Type:        new("Number"),
		Description: new("Calls a second that each open route, of login and join, admits from all callers together; the rest are answered 429. It bounds the bill of a flood, and what a flood leaves to others: raise it where a web ACL limits each address"),
		Default:     50.0, MinValue: new(1.0), MaxValue: new(5000.0),
	})
	awscdk.NewCfnParameter(s, new(paramAccessLogs), &awscdk.CfnParameterProps{
		Description:   new("Whether API Gateway logs each request to /stile/api-access. It needs the account's CloudWatch role of API Gateway in this Region, which this stack never makes: with on and without the role the deployment fails"),
		Default:       "off",
		AllowedValues: list("off", "on"),
	})
	awscdk.NewCfnParameter(s, new(paramWebACL), &awscdk.CfnParameterProps{
		Description:           new("ARN of a regional web ACL of AWS WAF to put in front of the API; empty for none"),
		Default:               "",
		AllowedPattern:        new(`^(arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[A-Za-z0-9_-]{1,128}/[0-9a-f-]{36})?$`),
		ConstraintDescription: new("empty, or the ARN of a web ACL of scope REGIONAL in this Region"),
	})
	awscdk.NewCfnCondition(s, new(hasAccessLogs), &awscdk.CfnConditionProps{Expression: awscdk.Fn_ConditionEquals(ref(paramAccessLogs), "on")})
	conditionGiven(s, hasWebACL, paramWebACL)
	return rate.ValueAsNumber()
}

// newStage declares the stage of the API with its throttles, access log and web ACL.
func newStage(s awscdk.Stack, api awsapigateway.CfnRestApi, deployment awsapigateway.CfnDeployment, open []openRoute) {
	rate := stageParameters(s)
	log := awslogs.NewCfnLogGroup(s, new("LogApiAccess"), &awslogs.CfnLogGroupProps{
		LogGroupName: new("/stile/api-access"), RetentionInDays: new(90.0),
	})
	log.CfnOptions().SetCondition(found(s, hasAccessLogs))
	// The whole setting is absent without a log. The group's Arn attribute ends in :*, which is not the group's ARN.
	logged := awscdk.Fn_ConditionIf(new(hasAccessLogs), map[string]any{
		"DestinationArn": sub("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${LogApiAccess}"),
		"Format":         accessFormat(),
	}, awscdk.Aws_NO_VALUE())
	accept(awsapigateway.NewCfnStage(s, new("ApiStage"), &awsapigateway.CfnStageProps{
		RestApiId: api.Ref(), DeploymentId: deployment.Ref(), StageName: new(stage),
		MethodSettings: methodSettings(open, rate), AccessLogSetting: logged,
	}), accepted{
		"APIG1": "API Gateway writes logs by a role of the whole account, which isn't one stack's to set; a parameter switches them on where it is",
		"APIG6": "it writes logs by a role of the whole account, as for APIG1; functions log, and decisions are in the ledger",
	})
	acl := awswafv2.NewCfnWebACLAssociation(s, new("ApiWebAcl"), &awswafv2.CfnWebACLAssociationProps{
		ResourceArn: sub("arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/${ApiStage}"),
		WebAclArn:   ref(paramWebACL),
	})
	acl.CfnOptions().SetCondition(found(s, hasWebACL))
}

// found returns a condition of the stack.
func found(s awscdk.Stack, id string) awscdk.CfnCondition {
	return s.Node().FindChild(&id).(awscdk.CfnCondition)
}

// openRoute is a route that anybody may call.
type openRoute struct{ path, method string }

// methodSettings are the throttle of every route and those of the open ones, which take the place of the first there.
// Metrics of each method cost $0.30 a month each, and nobody looks at them: the API's own, which are free, are enough.
func methodSettings(open []openRoute, rate *float64) *[]any {
	settings := []any{setting("*", "/*", new(signedRate), signedBurst)}
	for _, r := range open {
		settings = append(settings, setting(strings.ToUpper(r.method), "/"+strings.ReplaceAll(r.path, "/", "~1"), rate, openBurst))
	}
	return &settings
}

func setting(method, path string, rate *float64, burst float64) *awsapigateway.CfnStage_MethodSettingProperty {
	return &awsapigateway.CfnStage_MethodSettingProperty{
		HttpMethod: &method, ResourcePath: &path, MetricsEnabled: new(false), ThrottlingRateLimit: rate, ThrottlingBurstLimit: &burst,
	}
}

// accessed are the fields of a line of the access log and what API Gateway puts there. None can hold a secret: no header,
// query or body, and of the path only the route that it fits. None is the caller's to choose but the method, which is one
// of HTTP's where a route fits, so that nobody can write a line into the log.
var accessed = map[string]string{
	"time":               "$context.requestTimeEpoch",
	"request_id":         "$context.requestId",
	"source_ip":          "$context.identity.sourceIp",
	"method":             "$context.httpMethod",
	"route":              "$context.resourcePath",
	"status":             "$context.status",
	"bytes":              "$context.responseLength",
	"latency_ms":         "$context.responseLatency",
	"refusal":            "$context.error.responseType",
	"integration_ms":     "$context.integration.latency",
	"integration_status": "$context.integration.status",
	"integration_error":  "$context.integration.error",
}

// accessFormat is the line: JSON, written by hand since API Gateway replaces what stands in it as text.
func accessFormat() string {
	var fields []string
	for _, name := range sorted(accessed) {
		fields = append(fields, `"`+name+`":"`+accessed[name]+`"`)
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// open lists the routes that anybody may call, sorted.
func (r *routed) open() []openRoute {
	var out []openRoute
	for _, path := range sorted(r.paths) {
		for _, method := range sorted(r.paths[path]) {
			if r.paths[path][method].anonymous {
				out = append(out, openRoute{path, method})
			}
		}
	}
	return out
}
