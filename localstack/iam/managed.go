package iam

import (
	"maps"
	"slices"
	"strings"
)

// awsManaged is the part of AWS's own policies that templates here name, with the content that the AWS
// Managed Policy Reference documents. An unknown one is refused where it is attached.
var awsManaged = parseManaged(map[string]string{
	"AdministratorAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	"service-role/AWSLambdaBasicExecutionRole": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}]}`,
	"service-role/AWSLambdaDynamoDBExecutionRole": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator","dynamodb:ListStreams",
		"logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}]}`,
	"service-role/AmazonECSTaskExecutionRolePolicy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage",
		"logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}]}`,
	"service-role/AmazonAPIGatewayPushToCloudWatchLogs": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:DescribeLogGroups","logs:DescribeLogStreams",
		"logs:PutLogEvents","logs:GetLogEvents","logs:FilterLogEvents"],"Resource":"*"}]}`,
})

// parseManaged keys the policies by ARN, in each partition. A document that doesn't parse stops the program
// at once, since it is a mistake in the table above.
func parseManaged(documents map[string]string) map[string]*Policy {
	out := map[string]*Policy{}
	for name, doc := range documents {
		for _, partition := range []string{"aws", "aws-cn", "aws-us-gov"} {
			arn := "arn:" + partition + ":iam::aws:policy/" + name
			p, err := Parse(arn, IdentityShape, []byte(doc))
			if err != nil {
				panic(err)
			}
			out[arn] = p
		}
	}
	return out
}

// awsManagedNames lists the table's policies for messages.
func awsManagedNames() []string {
	var names []string
	for arn := range maps.Keys(awsManaged) {
		if name, ok := strings.CutPrefix(arn, "arn:aws:iam::aws:policy/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
