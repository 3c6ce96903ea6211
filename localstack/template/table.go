package template

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Treatment says what the local AWS does with a resource type.
type Treatment string

// The three treatments.
const (
	Runs     Treatment = "runs"     // a local service provides it
	Recorded Treatment = "recorded" // it gets a name and attributes, and does nothing
	Refused  Treatment = "refused"  // the deployment stops, with the reason
)

// Row is one line of the table of resource types.
type Row struct {
	Type      string
	Treatment Treatment
	Note      string // who runs it, or why it is only recorded or refused
}

// table is the one list of resource types. A type that is missing here is refused too.
var table = []Row{
	{"AWS::ApiGateway::Account", Recorded, "its role for logs is not used"},
	{"AWS::ApiGateway::Deployment", Runs, "apigateway"},
	{"AWS::ApiGateway::GatewayResponse", Recorded, "answers keep AWS's default bodies"},
	{"AWS::ApiGateway::Method", Runs, "apigateway"},
	{"AWS::ApiGateway::RequestValidator", Recorded, "requests reach the function unvalidated"},
	{"AWS::ApiGateway::Resource", Runs, "apigateway"},
	{"AWS::ApiGateway::RestApi", Runs, "apigateway"},
	{"AWS::ApiGateway::Stage", Runs, "apigateway; throttles and logs of a stage are not kept"},
	{"AWS::CDK::Metadata", Recorded, "analytics of the CDK"},
	{"AWS::CertificateManager::Certificate", Refused, "the product needs no public certificate"},
	{"AWS::CloudFormation::CustomResource", Runs, "the template's own function"},
	{"AWS::CloudWatch::Alarm", Recorded, "no metrics here"},
	{"AWS::CloudWatch::Dashboard", Recorded, "no metrics here"},
	{"AWS::DynamoDB::GlobalTable", Runs, "dynamodb; one replica"},
	{"AWS::DynamoDB::Table", Runs, "dynamodb"},
	{"AWS::EC2::FlowLog", Recorded, "no network here"},
	{"AWS::EC2::InternetGateway", Recorded, "no network here"},
	{"AWS::EC2::NatGateway", Refused, "the fleet's network has none"},
	{"AWS::EC2::Route", Recorded, "no network here"},
	{"AWS::EC2::RouteTable", Recorded, "no network here"},
	{"AWS::EC2::SecurityGroup", Recorded, "everything listens on loopback"},
	{"AWS::EC2::SecurityGroupEgress", Recorded, "everything listens on loopback"},
	{"AWS::EC2::SecurityGroupIngress", Recorded, "everything listens on loopback"},
	{"AWS::EC2::Subnet", Recorded, "no network here"},
	{"AWS::EC2::SubnetRouteTableAssociation", Recorded, "no network here"},
	{"AWS::EC2::VPC", Recorded, "no network here"},
	{"AWS::EC2::VPCEndpoint", Recorded, "every call goes to one endpoint"},
	{"AWS::EC2::VPCGatewayAttachment", Recorded, "no network here"},
	{"AWS::ECS::Cluster", Runs, "ecs"},
	{"AWS::ECS::ClusterCapacityProviderAssociations", Recorded, "one machine"},
	{"AWS::ECS::Service", Runs, "ecs"},
	{"AWS::ECS::TaskDefinition", Runs, "ecs"},
	{"AWS::ElasticLoadBalancingV2::Listener", Runs, "ecs"},
	{"AWS::ElasticLoadBalancingV2::LoadBalancer", Runs, "ecs"},
	{"AWS::ElasticLoadBalancingV2::TargetGroup", Runs, "ecs"},
	{"AWS::Events::Archive", Recorded, "nothing is replayed here"},
	{"AWS::Events::EventBus", Runs, "events"},
	{"AWS::Events::Rule", Runs, "events; rate() schedules with functions as targets run, patterns are only recorded"},
	{"AWS::IAM::ManagedPolicy", Runs, "iam"},
	{"AWS::IAM::Policy", Runs, "iam"},
	{"AWS::IAM::Role", Runs, "iam"},
	{"AWS::KMS::Alias", Runs, "kms"},
	{"AWS::KMS::Key", Runs, "kms"},
	{"AWS::KinesisFirehose::DeliveryStream", Refused, "the lake comes later"},
	{"AWS::Lambda::EventSourceMapping", Runs, "lambda"},
	{"AWS::Lambda::Function", Runs, "lambda"},
	{"AWS::Lambda::Permission", Runs, "lambda"},
	{"AWS::Logs::LogGroup", Recorded, "logs are files under log/"},
	{"AWS::Logs::MetricFilter", Recorded, "no metrics here"},
	{"AWS::Logs::ResourcePolicy", Recorded, "logs are files under log/"},
	{"AWS::S3::Bucket", Runs, "s3"},
	{"AWS::S3::BucketPolicy", Runs, "s3"},
	{"AWS::SNS::Topic", Recorded, "nobody listens"},
	{"AWS::SNS::TopicPolicy", Recorded, "nobody listens"},
	{"AWS::SQS::Queue", Runs, "lambda; only as a failure destination, kept as a file"},
	{"AWS::SQS::QueuePolicy", Recorded, "a queue here takes only failed batches"},
	{"AWS::WAFv2::WebACL", Recorded, "requests are not filtered"},
	{"AWS::WAFv2::WebACLAssociation", Recorded, "requests are not filtered"},
}

// Table returns the table of resource types, sorted by type.
func Table() []Row {
	rows := slices.Clone(table)
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Type, b.Type) })
	return rows
}

// Lookup finds a type's row; an unknown type is refused with how to add it.
func Lookup(typ string) (Row, error) {
	if strings.HasPrefix(typ, "Custom::") {
		return Row{typ, Runs, "the template's own function"}, nil
	}
	for _, row := range table {
		if row.Type == typ {
			if row.Treatment == Refused {
				return row, fmt.Errorf("resource type %s is refused by the local AWS: %s", typ, row.Note)
			}
			return row, nil
		}
	}
	return Row{}, fmt.Errorf("resource type %s is unknown to the local AWS; give it a provider, or a row in localstack/template/table.go that says why it may merely be recorded", typ)
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
