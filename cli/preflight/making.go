package preflight

import (
	"slices"
)

// making are the actions that CloudFormation takes to make a resource of each type that is in the stacks, as their
// properties are there.
var making = map[string][]string{
	"AWS::ApiGateway::Deployment":               {"apigateway:POST"},
	"AWS::ApiGateway::RestApi":                  {"apigateway:POST"},
	"AWS::ApiGateway::Stage":                    {"apigateway:POST"},
	"AWS::Athena::WorkGroup":                    {"athena:CreateWorkGroup"},
	"AWS::CloudWatch::Alarm":                    {"cloudwatch:PutMetricAlarm"},
	"AWS::DynamoDB::Table":                      {"dynamodb:CreateTable", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTimeToLive"},
	"AWS::EC2::InternetGateway":                 {"ec2:CreateInternetGateway"},
	"AWS::EC2::Route":                           {"ec2:CreateRoute"},
	"AWS::EC2::RouteTable":                      {"ec2:CreateRouteTable"},
	"AWS::EC2::SecurityGroup":                   {"ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"},
	"AWS::EC2::SecurityGroupIngress":            {"ec2:AuthorizeSecurityGroupIngress"},
	"AWS::EC2::Subnet":                          {"ec2:CreateSubnet", "ec2:ModifySubnetAttribute"},
	"AWS::EC2::SubnetRouteTableAssociation":     {"ec2:AssociateRouteTable"},
	"AWS::EC2::VPC":                             {"ec2:CreateVpc", "ec2:ModifyVpcAttribute"},
	"AWS::EC2::VPCEndpoint":                     {"ec2:CreateVpcEndpoint"},
	"AWS::EC2::VPCGatewayAttachment":            {"ec2:AttachInternetGateway"},
	"AWS::ECR::Repository":                      {"ecr:CreateRepository", "ecr:PutLifecyclePolicy"},
	"AWS::ECS::Cluster":                         {"ecs:CreateCluster"},
	"AWS::ECS::Service":                         {"ecs:CreateService"},
	"AWS::ECS::TaskDefinition":                  {"ecs:RegisterTaskDefinition", "iam:PassRole"},
	"AWS::ElasticLoadBalancingV2::Listener":     {"elasticloadbalancing:CreateListener"},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {"elasticloadbalancing:CreateLoadBalancer"},
	"AWS::ElasticLoadBalancingV2::TargetGroup":  {"elasticloadbalancing:CreateTargetGroup"},
	"AWS::Events::EventBus":                     {"events:CreateEventBus"},
	"AWS::Events::Rule":                         {"events:PutRule", "events:PutTargets"},
	"AWS::Glue::Database":                       {"glue:CreateDatabase"},
	"AWS::Glue::Table":                          {"glue:CreateTable"},
	"AWS::IAM::Role":                            {"iam:CreateRole", "iam:PutRolePolicy"},
	"AWS::KMS::Alias":                           {"kms:CreateAlias"},
	"AWS::KMS::Key":                             {"kms:CreateKey"},
	"AWS::KinesisFirehose::DeliveryStream":      {"firehose:CreateDeliveryStream", "iam:PassRole"},
	"AWS::Lambda::EventSourceMapping":           {"lambda:CreateEventSourceMapping"},
	"AWS::Lambda::Function":                     {"lambda:CreateFunction", "iam:PassRole"},
	"AWS::Lambda::Permission":                   {"lambda:AddPermission"},
	"AWS::Logs::LogGroup":                       {"logs:CreateLogGroup", "logs:PutRetentionPolicy"},
	"AWS::S3::Bucket":                           {"s3:CreateBucket"},
	"AWS::S3::BucketPolicy":                     {"s3:PutBucketPolicy"},
	"AWS::SNS::Topic":                           {"sns:CreateTopic"},
	"AWS::SNS::TopicPolicy":                     {"sns:SetTopicAttributes"},
	"AWS::SQS::Queue":                           {"sqs:CreateQueue"},
	"AWS::SQS::QueuePolicy":                     {"sqs:SetQueueAttributes"},
	"AWS::WAFv2::WebACLAssociation":             {"wafv2:AssociateWebACL", "apigateway:SetWebACL"},
	"Custom::StileImage":                        {"lambda:InvokeFunction"},
	"Custom::StileProgram":                      {"lambda:InvokeFunction"},
	"Custom::StilePublication":                  {"lambda:InvokeFunction"},
	"Custom::StileTrust":                        {"lambda:InvokeFunction"},
}

// asked are the types that are made only if a parameter of the deployment, named here, is set.
var asked = map[string]string{"AWS::WAFv2::WebACLAssociation": "WebAclArn"}

// deploying returns the actions of all types, each once, and the parameter for which alone an action is needed.
func deploying() (actions []string, only map[string]string) {
	only = map[string]string{}
	for kind, parameter := range asked {
		for _, action := range making[kind] {
			only[action] = parameter
		}
	}
	for kind, list := range making {
		actions = append(actions, list...)
		for _, action := range list {
			if asked[kind] == "" {
				delete(only, action)
			}
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions), only
}
