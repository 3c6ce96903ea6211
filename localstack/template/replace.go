package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// replacing lists, for each type of the table, the properties whose change makes CloudFormation replace the resource:
// those that its documentation marks with "Update requires: Replacement".
var replacing = map[string][]string{
	"AWS::ApiGateway::Deployment":           {"RestApiId"},
	"AWS::ApiGateway::RestApi":              nil,
	"AWS::ApiGateway::Stage":                {"RestApiId", "StageName"},
	"AWS::Athena::NamedQuery":               {"Database", "Description", "Name", "QueryString", "WorkGroup"},
	"AWS::Athena::WorkGroup":                {"Name"},
	"AWS::CloudWatch::Alarm":                nil,
	"AWS::DynamoDB::Table":                  {"KeySchema"},
	"AWS::EC2::InternetGateway":             nil,
	"AWS::EC2::Route":                       {"DestinationCidrBlock", "RouteTableId"},
	"AWS::EC2::RouteTable":                  {"VpcId"},
	"AWS::EC2::SecurityGroup":               {"GroupDescription", "VpcId"},
	"AWS::EC2::SecurityGroupIngress":        {"FromPort", "GroupId", "IpProtocol", "SourceSecurityGroupId", "ToPort"},
	"AWS::EC2::Subnet":                      {"AvailabilityZone", "CidrBlock", "VpcId"},
	"AWS::EC2::SubnetRouteTableAssociation": {"RouteTableId", "SubnetId"},
	"AWS::EC2::VPC":                         {"CidrBlock"},
	"AWS::EC2::VPCEndpoint":                 {"ServiceName", "VpcEndpointType", "VpcId"},
	"AWS::EC2::VPCGatewayAttachment":        {"VpcId"},
	"AWS::ECR::Repository":                  nil,
	"AWS::ECS::Cluster":                     {"ClusterName"},
	"AWS::ECS::Service":                     {"Cluster", "LaunchType", "ServiceName"},
	"AWS::ECS::TaskDefinition": {
		"ContainerDefinitions", "Cpu", "ExecutionRoleArn", "Family", "Memory", "NetworkMode", "RequiresCompatibilities",
		"RuntimePlatform", "TaskRoleArn", "Volumes",
	},
	"AWS::ElasticLoadBalancingV2::Listener":     {"LoadBalancerArn"},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {"Scheme", "Type"},
	"AWS::ElasticLoadBalancingV2::TargetGroup":  {"Port", "Protocol", "TargetType", "VpcId"},
	"AWS::Events::EventBus":                     {"Name"},
	"AWS::Events::Rule":                         {"EventBusName", "Name"},
	"AWS::Glue::Database":                       {"CatalogId"},
	"AWS::Glue::Table":                          {"CatalogId", "DatabaseName"},
	"AWS::IAM::Role":                            {"RoleName"},
	"AWS::KMS::Alias":                           {"AliasName"},
	"AWS::KMS::Key":                             nil,
	"AWS::KinesisFirehose::DeliveryStream":      {"DeliveryStreamName", "DeliveryStreamType"},
	"AWS::Lambda::EventSourceMapping":           {"EventSourceArn", "StartingPosition"},
	"AWS::Lambda::Function":                     {"FunctionName"},
	"AWS::Lambda::Permission":                   {"Action", "FunctionName", "Principal", "SourceArn"},
	"AWS::Logs::LogGroup":                       {"LogGroupName"},
	"AWS::S3::Bucket":                           nil,
	"AWS::S3::BucketPolicy":                     {"Bucket"},
	"AWS::SNS::Topic":                           {"TopicName"},
	"AWS::SNS::TopicPolicy":                     nil,
	"AWS::SQS::Queue":                           {"QueueName"},
	"AWS::SQS::QueuePolicy":                     nil,
	"AWS::WAFv2::WebACLAssociation":             {"ResourceArn", "WebACLArn"},
}

// customNames are the properties by which a template names a resource itself, among those that may have to be replaced
// for another reason.
var customNames = map[string]string{"AWS::ECS::Service": "ServiceName"}

// replaced says whether a resource has to be replaced for its new properties. One that keeps a name of its own can't be:
// both would have that name for a while.
func replaced(before *ResourceState, typ string, properties map[string]any) (bool, error) {
	if before.Properties == nil || IsCustom(typ) { // a custom resource says so by another physical id
		return false, nil
	}
	differs := func(name string) bool { return !same(before.Properties[name], properties[name]) }
	if !slices.ContainsFunc(replacing[typ], differs) {
		return false, nil
	}
	if own := customNames[typ]; own != "" && properties[own] != nil && !differs(own) {
		return false, fmt.Errorf("CloudFormation cannot update a stack when a custom-named resource requires replacing. "+
			"Rename %v and update the stack again", properties[own])
	}
	return true, nil
}

// same compares what was read from JSON, whatever its numbers were read as.
func same(a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && bytes.Equal(x, y)
}
