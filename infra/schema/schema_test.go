package schema_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/schema"
)

// committed reads the templates; package synth's test says that they are what the app declares.
func committed(t *testing.T) map[string][]byte {
	t.Helper()
	raw := map[string][]byte{}
	for _, stack := range []string{"StileData", "StileControl", "StileAudit", "StileFleet"} {
		text, err := os.ReadFile("../templates/" + stack + ".json")
		if err != nil {
			t.Fatal(err)
		}
		raw[stack] = text
	}
	return raw
}

func schemas(t *testing.T) *schema.Schemas {
	t.Helper()
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheTemplatesAreWhatCloudFormationsSchemasTake(t *testing.T) {
	for _, fault := range schemas(t).Check(committed(t)) {
		t.Error(fault)
	}
}

// base exports what good imports, in both ways.
const base = `{"Resources": {"Store": {"Type": "AWS::S3::Bucket"}}, "Outputs": {"StoreArn": {
 "Value": {"Fn::GetAtt": ["Store", "Arn"]}, "Export": {"Name": "Base-StoreArn"}}}}`

// good has one of everything that the cases break.
const good = `{
"AWSTemplateFormatVersion": "2010-09-09", "Description": "d",
"Parameters": {
 "Count": {"Type": "Number", "Default": 1, "AllowedValues": [1, 2]},
 "Name": {"Type": "String", "Default": ""},
 "Nets": {"Type": "CommaDelimitedList"}},
"Conditions": {"Named": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Name"}, ""]}]}, "Both": {"Fn::And": [{"Condition": "Named"}, {"Fn::Equals": ["a", "a"]}]}},
"Resources": {
 "Queue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain", "Condition": "Named", "Properties": {"DelaySeconds": {"Ref": "Count"}, "MessageRetentionPeriod": 60, "QueueName": "q", "SqsManagedSseEnabled": true}},
 "Topic": {"Type": "AWS::SNS::Topic", "DependsOn": ["Fn"], "Properties": {"DisplayName": {"Fn::Sub": "${Name} ${AWS::Region} ${Fn.Arn} ${!literal}"}, "Tags": [{"Key": "k", "Value": "v"}]}},
 "Fn": {"Type": "AWS::Lambda::Function", "Properties": {
  "Code": {"S3Bucket": {"Fn::ImportValue": "Base-StoreArn"}, "S3Key": {"Fn::GetStackOutput": {"StackName": "Base", "OutputName": "StoreArn"}}},
  "Role": {"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}]]}, "PackageType": "Zip", "MemorySize": 128, "Architectures": ["arm64"],
  "DeadLetterConfig": {"Fn::If": ["Named", {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}}, {"Ref": "AWS::NoValue"}]},
  "VpcConfig": {"SubnetIds": {"Ref": "Nets"}},
  "Environment": {"Variables": {"A": "b", "C": {"Fn::If": ["Both", "x", "y"]}}}}},
 "Custom": {"Type": "Custom::It", "Properties": {"ServiceToken": {"Fn::GetAtt": ["Fn", "Arn"]}, "Deep": [{"Name": {"Ref": "Name"}}]}}},
"Outputs": {"Answer": {"Value": {"Fn::GetAtt": ["Custom", "Anything"]}}, "Url": {"Condition": "Named", "Value": {"Ref": "Queue"}, "Export": {"Name": "Good-Url"}}}}`

func check(t *testing.T, text string) []string {
	t.Helper()
	return schemas(t).Check(map[string][]byte{"Base": []byte(base), "Good": []byte(text)})
}

func TestWhatCloudFormationTakesIsNotRefused(t *testing.T) {
	if found := check(t, good); len(found) > 0 {
		t.Errorf("a good template is refused: %q", found)
	}
}

// Each case is one fault in a template that is good otherwise, found where it stands.
func TestEveryFaultIsFoundWhereItStands(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown property":                {`"QueueName"`, `"Quename"`, "Good.Queue: the property Quename is unknown"},
		"unknown nested property":         {`"S3Key"`, `"S3Kei"`, "Good.Fn.Code: the property S3Kei is unknown"},
		"unknown property of a tag":       {`"Key": "k"`, `"Kei": "k", "Key": "k"`, "Good.Topic.Tags[0]: the property Kei is unknown"},
		"missing property":                {`"Role": {"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}]]},`, "", "Good.Fn: the property Role is missing"},
		"missing nested property":         {`"Key": "k", `, "", "Good.Topic.Tags[0]: the property Key is missing"},
		"required and perhaps absent":     {`{"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}]]}`, `{"Fn::If": ["Named", "arn", {"Ref": "AWS::NoValue"}]}`, "Good.Fn: the property Role is required and can be AWS::NoValue"},
		"none of the values":              {`"Zip"`, `"zip"`, "Good.Fn.PackageType: zip is none of [Image Zip]"},
		"text for a number":               {`"MemorySize": 128`, `"MemorySize": "128"`, `Good.Fn.MemorySize: "128" is not of the type integer`},
		"fraction for an integer":         {`"MemorySize": 128`, `"MemorySize": 1.5`, "Good.Fn.MemorySize: 1.5 is not of the type integer"},
		"number for a text":               {`"QueueName": "q"`, `"QueueName": 1`, "Good.Queue.QueueName: 1 is not of the type string"},
		"text for a boolean":              {`"SqsManagedSseEnabled": true`, `"SqsManagedSseEnabled": "yes"`, `Good.Queue.SqsManagedSseEnabled: "yes" is not of the type boolean`},
		"text for a list":                 {`["arm64"]`, `"arm64"`, `Good.Fn.Architectures: "arm64" is not of the type list`},
		"list for an object":              {`"Code": {`, `"Code": [], "Tags": [], "ImageConfig": {`, "Good.Fn.Code: a list is not of the type object"},
		"list for a map":                  {`"Variables": {"A": "b", "C": {"Fn::If": ["Both", "x", "y"]}}`, `"Variables": [{"Fn::If": ["Both", "x", "y"]}]`, "Good.Fn.Environment.Variables: a list is not of the type map"},
		"number in a map of texts":        {`"A": "b"`, `"A": 1`, "Good.Fn.Environment.Variables.A: 1 is not of the type string"},
		"number in a list of texts":       {`["arm64"]`, `["arm64", 1]`, "Good.Fn.Architectures[1]: 1 is not of the type string"},
		"list where a text is wanted":     {`"QueueName": "q"`, `"QueueName": {"Ref": "Nets"}`, "Good.Queue.QueueName: Ref gives list where string is wanted"},
		"text where a number is":          {`"DelaySeconds": {"Ref": "Count"}`, `"DelaySeconds": {"Ref": "Name"}`, "Good.Queue.DelaySeconds: Ref gives string where integer is wanted"},
		"text where a list is":            {`{"SubnetIds": {"Ref": "Nets"}}`, `{"SubnetIds": {"Ref": "Name"}}`, "Good.Fn.VpcConfig.SubnetIds: Ref gives string where list is wanted"},
		"one branch of another type":      {`["Both", "x", "y"]`, `["Both", "x", 1]`, "Good.Fn.Environment.Variables.C: 1 is not of the type string"},
		"Ref to nothing":                  {`{"Ref": "Queue"}`, `{"Ref": "Qeue"}`, `Good.Outputs.Url.Value: there is no "Qeue" to refer to`},
		"Ref to nothing, deep inside":     {`[{"Name": {"Ref": "Name"}}]`, `[{"Name": {"Ref": "Nome"}}]`, `Good.Custom.Deep[0].Name: there is no "Nome" to refer to`},
		"attribute of nothing":            {`["Fn", "Arn"]`, `["Fm", "Arn"]`, `Good.Custom.ServiceToken: there is no "Fm" to refer to`},
		"unknown attribute":               {`["Queue", "Arn"]`, `["Queue", "ARN"]`, `Good.Fn.DeadLetterConfig.TargetArn: Queue, of type AWS::SQS::Queue, has no attribute "ARN"`},
		"Sub of nothing":                  {"${Name}", "${Nome}", `Good.Topic.DisplayName: there is no "Nome" to refer to`},
		"Sub of an unknown attribute":     {"${Fn.Arn}", "${Fn.Arm}", `Good.Topic.DisplayName: Fn, of type AWS::Lambda::Function, has no attribute "Arm"`},
		"Sub of a list":                   {"${Name}", "${Nets}", "Good.Topic.DisplayName: ${Nets} is list where string is wanted"},
		"unknown pseudo parameter":        {"${AWS::Region}", "${AWS::Zone}", `Good.Topic.DisplayName: there is no "AWS::Zone" to refer to`},
		"unknown condition":               {`"Condition": "Named", "Properties"`, `"Condition": "Nomed", "Properties"`, "Good.Queue: there is no condition Nomed"},
		"unknown condition in If":         {`["Both", "x", "y"]`, `["Boh", "x", "y"]`, "Good.Fn.Environment.Variables.C: there is no condition Boh"},
		"unknown condition in And":        {`{"Condition": "Named"}`, `{"Condition": "Nomed"}`, "Good.Conditions.Both: there is no condition Nomed"},
		"no condition at all":             {`{"Fn::Equals": ["a", "a"]}`, `"true"`, `Good.Conditions.Both: "true" is not a condition`},
		"resource that may not exist":     {`"Url": {"Condition": "Named", `, `"Url": {`, "Good.Outputs.Url.Value: Queue exists only if Named, and nothing says so here"},
		"the branch where it doesn't":     {`["Named", {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}}, {"Ref": "AWS::NoValue"}]`, `["Named", {"Ref": "AWS::NoValue"}, {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}}]`, "Good.Fn.DeadLetterConfig.TargetArn: Queue exists only if Named, and nothing says so here"},
		"dependence on nothing":           {`"DependsOn": ["Fn"]`, `"DependsOn": "Fm"`, "Good.Topic.DependsOn: there is no other resource Fm"},
		"dependence on itself":            {`"DependsOn": ["Fn"]`, `"DependsOn": ["Topic"]`, "Good.Topic.DependsOn: there is no other resource Topic"},
		"unknown deletion policy":         {`"Retain"`, `"Keep"`, `Good.Queue: DeletionPolicy "Keep" is not known`},
		"import of nothing":               {`"Fn::ImportValue": "Base-StoreArn"`, `"Fn::ImportValue": "Base-Store"`, "Good.Fn.Code.S3Bucket: no other stack exports Base-Store"},
		"import of its own":               {`"Fn::ImportValue": "Base-StoreArn"`, `"Fn::ImportValue": "Good-Url"`, "Good.Fn.Code.S3Bucket: no other stack exports Good-Url"},
		"output of no stack":              {`"StackName": "Base"`, `"StackName": "Bass"`, `Good.Fn.Code.S3Key: there is no other stack "Bass"`},
		"output that isn't there":         {`"OutputName": "StoreArn"`, `"OutputName": "Store"`, `Good.Fn.Code.S3Key: Base has no output "Store"`},
		"output of another Region":        {`"OutputName": "StoreArn"`, `"OutputName": "StoreArn", "Region": "eu-west-1"`, "Good.Fn.Code.S3Key: Fn::GetStackOutput with Region is not known here"},
		"unused parameter":                {`"DelaySeconds": {"Ref": "Count"}`, `"DelaySeconds": 1`, "Good.Parameters.Count: nothing uses it"},
		"unused condition":                {`["Both", "x", "y"]`, `["Named", "x", "y"]`, "Good.Conditions.Both: nothing uses it"},
		"unknown type of a parameter":     {`"Type": "Number"`, `"Type": "Int"`, `Good.Parameters.Count: the type "Int" is not known here`},
		"default that isn't allowed":      {`"Default": 1`, `"Default": 3`, "Good.Parameters.Count: the default 3 is not among the allowed values"},
		"output without a value":          {`"Answer": {"Value": {"Fn::GetAtt": ["Custom", "Anything"]}}`, `"Answer": {}`, "Good.Outputs.Answer: Value is missing"},
		"custom resource without code":    {`"ServiceToken"`, `"Token"`, "Good.Custom: ServiceToken is missing"},
		"unknown type":                    {"AWS::SNS::Topic", "AWS::SNS::Topik", "Good.Topic: there is no schema of AWS::SNS::Topik here; if AWS knows it, run make schemas"},
		"unknown function":                {"Fn::Join", "Fn::Concat", "Good.Fn.Role: the function Fn::Concat is not known here"},
		"too few arguments":               {`[":", ["arn", {"Ref": "AWS::Partition"}]]`, `[["arn", {"Ref": "AWS::Partition"}]]`, "Good.Fn.Role.Fn::Join: it takes 2 arguments"},
		"unknown section":                 {`"Outputs": {`, `"Output": {`, `Good: json: unknown field "Output"`},
		"unknown attribute of a resource": {`"DependsOn": ["Fn"]`, `"Depends": ["Fn"]`, `Good: json: unknown field "Depends"`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("the case changes nothing")
			}
			if got := check(t, bad); !slices.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
