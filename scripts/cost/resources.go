package cost

import "github.com/stile-dev/stile/pkg/names"

// kind is a type of resource in the templates: what is billed for it, or why nothing is.
type kind struct {
	billed []string                       // names of prices whose use it brings
	always func(facts, string) []standing // what is billed by time, for all resources of the type together; nil for nothing
	free   string                         // the reason, for a type that isn't billed
}

// standing is a quantity that is billed whether anybody comes or not.
type standing struct {
	price    string
	quantity float64
}

// each bills every resource of a type by the month.
func each(price string) func(facts, string) []standing {
	return func(f facts, kind string) []standing { return []standing{{price, float64(f.count[kind])}} }
}

const (
	noMore = "no charge of its own"
	policy = "a policy"
)

// kinds is the one list. A type that a template declares and that is missing here fails the test.
var kinds = map[string]kind{
	"AWS::ApiGateway::Deployment":               {free: noMore},
	"AWS::ApiGateway::RestApi":                  {billed: []string{"api call"}},
	"AWS::ApiGateway::Stage":                    {free: "calls are billed by the API; no cache, and no metrics of each method. Its access log, if it is on, is about 0.4 KB a call"},
	"AWS::Athena::WorkGroup":                    {billed: []string{"query"}},
	"AWS::CloudWatch::Alarm":                    {always: alarms},
	"AWS::CloudWatch::Dashboard":                {free: "the first three of an account"},
	"AWS::DynamoDB::Table":                      {billed: []string{"write unit", "read unit", "table storage"}},
	"AWS::EC2::InternetGateway":                 {free: noMore},
	"AWS::EC2::Route":                           {free: noMore},
	"AWS::EC2::RouteTable":                      {free: noMore},
	"AWS::EC2::SecurityGroup":                   {free: noMore},
	"AWS::EC2::SecurityGroupIngress":            {free: noMore},
	"AWS::EC2::Subnet":                          {free: noMore},
	"AWS::EC2::SubnetRouteTableAssociation":     {free: noMore},
	"AWS::EC2::VPC":                             {billed: []string{"traffic"}},
	"AWS::EC2::VPCEndpoint":                     {free: "gateway endpoints, of DynamoDB and S3; a test refuses another type"},
	"AWS::EC2::VPCGatewayAttachment":            {free: noMore},
	"AWS::ECR::Repository":                      {always: func(facts, string) []standing { return []standing{{"image storage", 0.1}} }},
	"AWS::ECS::Cluster":                         {free: noMore},
	"AWS::ECS::Service":                         {always: tasks},
	"AWS::ECS::TaskDefinition":                  {free: "tasks are billed by the service"},
	"AWS::ElasticLoadBalancingV2::Listener":     {free: noMore},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {always: balancers, billed: []string{"balancer capacity"}},
	"AWS::ElasticLoadBalancingV2::TargetGroup":  {free: noMore},
	"AWS::Events::EventBus":                     {billed: []string{"event"}},
	"AWS::Events::Rule":                         {free: "events of AWS and schedules on the default bus; that of the cluster's bus by the event that is put there"},
	"AWS::Glue::Database":                       {free: "the first million objects of a catalog"},
	"AWS::Glue::Table":                          {free: "the first million objects of a catalog"},
	"AWS::IAM::ManagedPolicy":                   {free: policy},
	"AWS::IAM::Policy":                          {free: policy},
	"AWS::IAM::Role":                            {free: noMore},
	"AWS::KinesisFirehose::DeliveryStream":      {billed: []string{"delivery", "conversion"}},
	"AWS::KMS::Alias":                           {free: noMore},
	"AWS::KMS::Key":                             {always: each("key"), billed: []string{"signature", "mac"}},
	"AWS::Lambda::EventInvokeConfig":            {free: noMore},
	"AWS::Lambda::EventSourceMapping":           {free: "Lambda reads the streams of tables without charge"},
	"AWS::Lambda::Function":                     {billed: []string{"lambda run", "lambda time"}},
	"AWS::Lambda::Permission":                   {free: policy},
	"AWS::Logs::LogGroup":                       {billed: []string{"log"}},
	"AWS::Logs::MetricFilter":                   {free: "the filter; the metric that it makes is billed as one of your own, $0.30 a month"},
	"AWS::S3::Bucket":                           {billed: []string{"object write", "object read", "object storage"}},
	"AWS::S3::BucketPolicy":                     {free: policy},
	"AWS::SNS::Subscription":                    {free: noMore},
	"AWS::SNS::Topic":                           {free: "some alarms a month; $0.50 a million"},
	"AWS::SNS::TopicPolicy":                     {free: policy},
	"AWS::SQS::Queue":                           {free: "only failures are sent there; $0.40 a million"},
	"AWS::SQS::QueuePolicy":                     {free: policy},
	"AWS::Synthetics::Canary": {always: func(f facts, kind string) []standing {
		return []standing{{"canary run", float64(f.count[kind]) * seconds / 300}} // every five minutes
	}},
	"AWS::WAFv2::WebACLAssociation": {free: "off by default. With a web ACL of yours: $5 a month, $1 a rule and $0.60 a million calls"},
}

// alarms are billed by the metric that they read. What a query finds is known to CloudWatch alone: it counts as one here,
// and the document says what it may become. What functions measure for them is billed with them.
func alarms(f facts, _ string) []standing {
	return []standing{{"alarm", float64(f.alarmMetrics + f.alarmQueries)}, {"metric", float64(len(names.Measured))}}
}

// tasks are the proxies: processor, memory and a public address each.
func tasks(f facts, _ string) []standing {
	n := float64(f.proxies) * hours
	return []standing{{"processor", n * f.taskProcessors}, {"memory", n * f.taskGigabytes}, {"public address", n}}
}

// balancers have an address in each zone.
func balancers(f facts, kind string) []standing {
	n := float64(f.count[kind]) * hours
	return []standing{{"balancer", n}, {"public address", n * float64(f.zones)}}
}
