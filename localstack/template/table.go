package template

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Treatment says what the local AWS does with a resource type.
type Treatment string

// The two treatments. A type that has neither is refused.
const (
	Runs     Treatment = "runs"     // a local service provides it
	Recorded Treatment = "recorded" // it gets a name and attributes, and does nothing
)

// Row is one line of the table of resource types.
type Row struct {
	Type       string
	Treatment  Treatment
	Note       string   // who runs it, or why it is only recorded
	Properties []string // those that it may have
}

// table is the one list of resource types and their properties: what infra/templates and the templates of the
// conformance suite declare, and nothing else; breadth_test.go in localstack compares them.
var table = []Row{
	{"AWS::ApiGateway::Deployment", Runs, "apigateway", []string{"Description", "RestApiId"}},
	{"AWS::ApiGateway::RestApi", Runs, "apigateway", []string{
		"Body", "Description", "EndpointConfiguration", "Name",
	}},
	{"AWS::ApiGateway::Stage", Runs, "apigateway", []string{
		"AccessLogSetting", "DeploymentId", "MethodSettings", "RestApiId", "StageName",
	}},
	{"AWS::Athena::NamedQuery", Runs, "athena; kept and shown", []string{"Database", "Description", "Name", "QueryString", "WorkGroup"}},
	{"AWS::Athena::WorkGroup", Runs, "athena; queries run in it", []string{
		"Description", "Name", "RecursiveDeleteOption", "State", "WorkGroupConfiguration",
	}},
	{"AWS::CloudWatch::Alarm", Runs, "notice; checked as CloudWatch checks it, and never rings: nothing is measured here", []string{
		"AlarmActions", "AlarmDescription", "ComparisonOperator", "DatapointsToAlarm", "Dimensions", "EvaluationPeriods",
		"MetricName", "Metrics", "Namespace", "OKActions", "Period", "Statistic", "Threshold", "TreatMissingData",
	}},
	{"AWS::DynamoDB::Table", Runs, "dynamodb", []string{
		"AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled", "KeySchema",
		"PointInTimeRecoverySpecification", "StreamSpecification", "TableName", "TimeToLiveSpecification",
	}},
	{"AWS::EC2::InternetGateway", Recorded, "no network here", []string{"Tags"}},
	{"AWS::EC2::Route", Recorded, "no network here", []string{
		"DestinationCidrBlock", "GatewayId", "RouteTableId",
	}},
	{"AWS::EC2::RouteTable", Recorded, "no network here", []string{"Tags", "VpcId"}},
	{"AWS::EC2::SecurityGroup", Recorded, "everything listens on loopback", []string{
		"GroupDescription", "SecurityGroupEgress", "SecurityGroupIngress", "Tags", "VpcId",
	}},
	{"AWS::EC2::SecurityGroupIngress", Recorded, "everything listens on loopback", []string{
		"Description", "FromPort", "GroupId", "IpProtocol", "SourceSecurityGroupId", "ToPort",
	}},
	{"AWS::EC2::Subnet", Recorded, "no network here", []string{
		"AvailabilityZone", "CidrBlock", "MapPublicIpOnLaunch", "Tags", "VpcId",
	}},
	{"AWS::EC2::SubnetRouteTableAssociation", Recorded, "no network here", []string{"RouteTableId", "SubnetId"}},
	{"AWS::EC2::VPC", Recorded, "no network here", []string{
		"CidrBlock", "EnableDnsHostnames", "EnableDnsSupport", "Tags",
	}},
	{"AWS::EC2::VPCEndpoint", Recorded, "every call goes to one endpoint", []string{
		"RouteTableIds", "ServiceName", "VpcEndpointType", "VpcId",
	}},
	{"AWS::EC2::VPCGatewayAttachment", Recorded, "no network here", []string{"InternetGatewayId", "VpcId"}},
	{"AWS::ECR::Repository", Runs, "ecr", []string{"EmptyOnDelete", "ImageTagMutability", "LifecyclePolicy"}},
	{"AWS::ECS::Cluster", Runs, "ecs", []string{"ClusterName"}},
	{"AWS::ECS::Service", Runs, "ecs", []string{
		"Cluster", "DeploymentConfiguration", "DesiredCount", "HealthCheckGracePeriodSeconds", "LaunchType",
		"LoadBalancers", "NetworkConfiguration", "PropagateTags", "ServiceName", "TaskDefinition",
	}},
	{"AWS::ECS::TaskDefinition", Runs, "ecs", []string{
		"ContainerDefinitions", "Cpu", "ExecutionRoleArn", "Family", "Memory", "NetworkMode",
		"RequiresCompatibilities", "RuntimePlatform", "TaskRoleArn", "Volumes",
	}},
	{"AWS::ElasticLoadBalancingV2::Listener", Runs, "ecs", []string{
		"DefaultActions", "LoadBalancerArn", "Port", "Protocol",
	}},
	{"AWS::ElasticLoadBalancingV2::LoadBalancer", Runs, "ecs", []string{
		"IpAddressType", "LoadBalancerAttributes", "Scheme", "SecurityGroups", "Subnets", "Type",
	}},
	{"AWS::ElasticLoadBalancingV2::TargetGroup", Runs, "ecs", []string{
		"HealthCheckEnabled", "HealthCheckIntervalSeconds", "HealthCheckProtocol", "HealthCheckTimeoutSeconds", "HealthyThresholdCount",
		"Port", "Protocol", "TargetGroupAttributes", "TargetType", "UnhealthyThresholdCount", "VpcId",
	}},
	{"AWS::Events::EventBus", Runs, "events", []string{"Name"}},
	{"AWS::Events::Rule", Runs, "events; rate() schedules with functions as targets, and patterns with topics, queues and delivery streams, which hear of KMS's calls, of objects and of PutEvents", []string{
		"Description", "EventBusName", "EventPattern", "Name", "ScheduleExpression", "State", "Targets",
	}},
	{"AWS::Glue::Database", Runs, "glue", []string{"CatalogId", "DatabaseInput"}},
	{"AWS::Glue::Table", Runs, "glue; of Parquet files with a projection, or a view of Athena's, both of which are checked", []string{"CatalogId", "DatabaseName", "TableInput"}},
	{"AWS::IAM::Role", Runs, "iam", []string{
		"AssumeRolePolicyDocument", "Description", "PermissionsBoundary", "Policies", "RoleName",
	}},
	{"AWS::KinesisFirehose::DeliveryStream", Runs, "firehose; to S3, converted to Parquet or as it is", []string{
		"DeliveryStreamEncryptionConfigurationInput", "DeliveryStreamName", "DeliveryStreamType", "ExtendedS3DestinationConfiguration",
	}},
	{"AWS::KMS::Alias", Runs, "kms", []string{"AliasName", "TargetKeyId"}},
	{"AWS::KMS::Key", Runs, "kms", []string{
		"Description", "KeyPolicy", "KeySpec", "KeyUsage", "MultiRegion", "PendingWindowInDays", "Tags",
	}},
	{"AWS::Lambda::EventSourceMapping", Runs, "lambda", []string{
		"BatchSize", "BisectBatchOnFunctionError", "DestinationConfig", "EventSourceArn", "FilterCriteria",
		"FunctionName", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
		"StartingPosition",
	}},
	{"AWS::Lambda::Function", Runs, "lambda", []string{
		"Architectures", "Code", "Description", "Environment", "FunctionName", "Handler", "LoggingConfig",
		"MemorySize", "ReservedConcurrentExecutions", "Role", "Runtime", "Timeout",
	}},
	{"AWS::Lambda::Permission", Runs, "lambda", []string{"Action", "FunctionName", "Principal", "SourceArn"}},
	{"AWS::Logs::LogGroup", Recorded, "logs are files under log/", []string{"LogGroupName", "RetentionInDays"}},
	{"AWS::S3::Bucket", Runs, "s3", []string{
		"BucketEncryption", "LifecycleConfiguration", "NotificationConfiguration", "ObjectLockConfiguration", "OwnershipControls",
		"PublicAccessBlockConfiguration", "VersioningConfiguration",
	}},
	{"AWS::S3::BucketPolicy", Runs, "s3", []string{"Bucket", "PolicyDocument"}},
	{"AWS::SNS::Topic", Runs, "notice; nobody subscribes, and messages are kept in a file", []string{"DisplayName", "TopicName"}},
	{"AWS::SNS::TopicPolicy", Runs, "notice; refused with a Condition for EventBridge, which then delivers nothing on AWS", []string{"PolicyDocument", "Topics"}},
	{"AWS::SQS::Queue", Runs, "sqs; standard queues", []string{
		"MessageRetentionPeriod", "QueueName", "SqsManagedSseEnabled", "VisibilityTimeout",
	}},
	{"AWS::SQS::QueuePolicy", Runs, "sqs", []string{"PolicyDocument", "Queues"}},
	{"AWS::WAFv2::WebACLAssociation", Recorded, "nothing filters here", []string{"ResourceArn", "WebACLArn"}},
}

// Table returns the table of resource types, sorted by type.
func Table() []Row {
	rows := slices.Clone(table)
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Type, b.Type) })
	return rows
}

// Lookup finds a type's row; an unknown type is refused with how to add it.
func Lookup(typ string) (Row, error) {
	for _, row := range table {
		if row.Type == typ {
			return row, nil
		}
	}
	return Row{}, fmt.Errorf("resource type %s is unknown to the local AWS; give it a provider, "+
		"or a row in localstack/template/table.go that says why it may merely be recorded", typ)
}

// check refuses a resource of a type, or with a property, that isn't in the table. Custom resources are left to
// their functions.
func (d Declaration) check() error {
	if err := d.checkPolicies(); err != nil {
		return err
	}
	if IsCustom(d.Type) {
		return nil
	}
	row, err := Lookup(d.Type)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(d.Properties) {
		if !slices.Contains(row.Properties, name) {
			return fmt.Errorf("the local AWS doesn't know the property %s of %s; if a template sets it, see what it changes here, "+
				"then name it in localstack/template/table.go", name, d.Type)
		}
	}
	return nil
}

// Markdown writes the table as it is in the README.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| type | here | by, or why |\n|---|---|---|\n")
	for _, row := range Table() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row.Type, row.Treatment, row.Note)
	}
	fmt.Fprintf(&b, "| `Custom::…` | %s | %s |\n", Runs, "the template's own function")
	return b.String()
}
