package cost

// price is what AWS takes for a unit, before taxes, discounts and the free tier.
type price struct {
	dollars float64
	unit    string
	page    string // AWS's page of prices that it stands on
}

// dated says when the prices were noted. They were known then, not looked up by a program: check with the AWS calculator.
const dated = "November 2026, us-east-1"

// prices are all that the model knows.
var prices = map[string]price{
	"api call":          {3.50e-6, "request", "API Gateway, REST APIs, first 333 million"},
	"lambda run":        {0.20e-6, "request", "Lambda"},
	"lambda time":       {13.3334e-6, "GB-second, arm64", "Lambda"},
	"write unit":        {0.625e-6, "write request unit", "DynamoDB, on demand"},
	"read unit":         {0.125e-6, "read request unit", "DynamoDB, on demand"},
	"table storage":     {0.45, "GB-month, $0.25 with $0.20 for point-in-time recovery", "DynamoDB"},
	"key":               {1, "key-month", "KMS"},
	"signature":         {0.15 / 10e3, "ECC request", "KMS"},
	"mac":               {0.03 / 10e3, "symmetric request", "KMS"},
	"object write":      {0.005 / 1e3, "PUT", "S3 Standard"},
	"object read":       {0.0004 / 1e3, "GET", "S3 Standard"},
	"object storage":    {0.023, "GB-month", "S3 Standard"},
	"event":             {1.00e-6, "event of one's own", "EventBridge"},
	"delivery":          {0.029, "GB, of which each record is 5 KB at least", "Data Firehose, Direct PUT, first 500 TB"},
	"conversion":        {0.018, "GB, as for delivery", "Data Firehose, format conversion"},
	"query":             {5.00, "TB that queries read, 10 MB each at least", "Athena, SQL queries"},
	"log":               {0.53, "GB, $0.50 to take it in and $0.03 for a month", "CloudWatch Logs"},
	"alarm":             {0.10, "metric that an alarm reads, a month", "CloudWatch, alarms of standard resolution"},
	"metric":            {0.30, "metric of one's own, a month; by the hour in which it is measured", "CloudWatch, first 10,000"},
	"canary run":        {0.0012, "run", "CloudWatch Synthetics"},
	"processor":         {0.03238, "vCPU-hour, arm64", "Fargate"},
	"memory":            {0.00356, "GB-hour, arm64", "Fargate"},
	"balancer":          {0.0225, "hour", "Elastic Load Balancing, Network"},
	"balancer capacity": {0.006, "NLCU-hour", "Elastic Load Balancing, Network"},
	"public address":    {0.005, "hour", "VPC, public IPv4"},
	"traffic":           {0.09, "GB to the internet", "EC2, data transfer"},
	"image storage":     {0.10, "GB-month", "ECR"},
}
