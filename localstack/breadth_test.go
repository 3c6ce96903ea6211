package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stile-dev/stile/localstack/athena"
	"github.com/stile-dev/stile/localstack/dynamodb"
	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/firehose"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/kms"
	"github.com/stile-dev/stile/localstack/lambda"
	"github.com/stile-dev/stile/localstack/s3"
	"github.com/stile-dev/stile/localstack/sqs"
	"github.com/stile-dev/stile/localstack/sts"
	"github.com/stile-dev/stile/localstack/template"
)

// The local AWS is as broad as what uses it, and these tests keep it so: what nothing uses goes, with its code and its
// tests, and what something begins to use is refused until somebody has made it behave as AWS does.

// deployed are the templates that are deployed here: the product's, and those of the conformance suite, which stand
// for what the product relies on AWS for. The suite's nlb.json and extra.json are for a real account alone.
var deployed = []string{
	"infra/templates/StileData.json", "infra/templates/StileControl.json", "infra/templates/StileFleet.json",
	"infra/templates/changed/StileData.json",
	"localstack/conformance/testdata/store.json", "localstack/conformance/testdata/world.json",
	"localstack/conformance/testdata/custom.json", "localstack/conformance/testdata/trust.json",
	"localstack/conformance/testdata/alarm.json", "localstack/conformance/testdata/lock.json",
	"localstack/conformance/testdata/lake.json",
}

// resources are those of the templates, as they were written.
func resources(t *testing.T, templates []string) (resources []map[string]any) {
	t.Helper()
	for _, path := range templates {
		raw, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Resources map[string]map[string]any }
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		resources = slices.AppendSeq(resources, maps.Values(doc.Resources))
	}
	return resources
}

// differ calls beyond for what is known and not used, and missing for what is used and not known.
func differ(known, used []string, beyond, missing func(string)) {
	for _, one := range known {
		if !slices.Contains(used, one) {
			beyond(one)
		}
	}
	for _, one := range used {
		if !slices.Contains(known, one) {
			missing(one)
		}
	}
}

func TestTypesAndPropertiesAreThoseOfTheTemplates(t *testing.T) {
	used := map[string][]string{}
	for _, r := range resources(t, deployed) {
		if kind := r["Type"].(string); !template.IsCustom(kind) {
			properties, _ := r["Properties"].(map[string]any)
			used[kind] = slices.AppendSeq(used[kind], maps.Keys(properties))
		}
	}
	known := map[string][]string{}
	for _, row := range template.Table() {
		known[row.Type] = row.Properties
	}
	differ(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(used)), func(kind string) {
		t.Errorf("no template of infra or the conformance suite declares %s: delete its row in localstack/template/table.go, "+
			"and what provides it", kind)
	}, func(kind string) {
		t.Errorf("a template of infra or the conformance suite declares %s, which has no row in localstack/template/table.go: "+
			"say there who runs it, or why it is only recorded", kind)
	})
	for kind := range known {
		differ(known[kind], unique(used[kind]), func(property string) {
			t.Errorf("no template of infra or the conformance suite sets %s of %s: delete it in localstack/template/table.go, "+
				"and what reads it", property, kind)
		}, func(property string) {
			t.Errorf("a template of infra or the conformance suite sets %s of %s: see what it changes on AWS, make it so here, "+
				"then name it in localstack/template/table.go", property, kind)
		})
	}
}

func unique(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// caller says who uses something: a folder of this repository in whose Go files, or cases, it is written.
type caller string

const (
	byProduct caller = "pkg" // and a role of infra/templates may do it
	bySuite   caller = "localstack/conformance"
	byTests   caller = "integration"
)

// operations is every operation that a service answers, with one who calls it.
var operations = map[string]map[string]caller{
	"athena": {
		"BatchGetNamedQuery": bySuite, "GetNamedQuery": bySuite, "GetQueryExecution": bySuite, "GetQueryResults": bySuite, "GetWorkGroup": bySuite,
		"ListNamedQueries": bySuite, "StartQueryExecution": bySuite, "StopQueryExecution": bySuite,
	},
	"dynamodb": {
		"BatchGetItem": bySuite, "CreateTable": bySuite, "DeleteItem": byProduct, "DeleteTable": bySuite,
		"DescribeTable": bySuite, "GetItem": byProduct, "ListTables": byTests, "PutItem": byProduct, "Query": byProduct,
		"Scan": byTests, "TransactGetItems": byProduct, "TransactWriteItems": byProduct, "UpdateItem": byProduct,
		"UpdateTable": byTests, "UpdateTimeToLive": byTests,
		"DescribeStream": bySuite, "GetRecords": bySuite, "GetShardIterator": bySuite,
	},
	"ecr": {
		"BatchCheckLayerAvailability": byProduct, "BatchGetImage": byProduct, "CompleteLayerUpload": byProduct,
		"InitiateLayerUpload": byProduct, "PutImage": byProduct, "UploadLayerPart": byProduct,
	},
	"events":   {"PutEvents": bySuite},
	"firehose": {"DescribeDeliveryStream": bySuite, "PutRecord": bySuite, "PutRecordBatch": bySuite},
	"glue":     {"GetTable": bySuite, "GetTables": bySuite},
	"kms": {
		"CancelKeyDeletion": bySuite, "CreateAlias": bySuite, "CreateKey": bySuite, "DeleteAlias": bySuite,
		"DescribeKey": bySuite, "DisableKey": bySuite, "EnableKey": bySuite, "GenerateMac": byProduct,
		"GetPublicKey": byProduct, "ListAliases": bySuite, "ScheduleKeyDeletion": bySuite, "Sign": byProduct,
		"Verify": bySuite, "VerifyMac": bySuite,
	},
	"lambda": {"Invoke": byProduct},
	"s3": {
		"DeleteObject": bySuite, "DeleteObjects": bySuite, "GetObject": byProduct,
		"GetObjectLegalHold": bySuite, "GetObjectRetention": bySuite, "HeadObject": byProduct, "ListBuckets": byTests,
		"ListObjectVersions": byProduct, "ListObjects": byProduct, "PutObject": byProduct,
		"PutObjectLegalHold": bySuite, "PutObjectRetention": bySuite,
	},
	"sqs": {
		"DeleteMessage": bySuite, "GetQueueAttributes": bySuite, "PurgeQueue": bySuite, "ReceiveMessage": bySuite,
		"SendMessage": bySuite, "SendMessageBatch": bySuite,
	},
	"sts": {"AssumeRole": byProduct, "GetCallerIdentity": byProduct},
}

// spelt is how a call of an operation is written where that isn't its name followed by Input.
var spelt = map[string]string{
	"ListObjects": "ListObjectsV2Input", "GetCallerIdentity": "Action=GetCallerIdentity",
	"BatchGetNamedQuery": "AmazonAthena.BatchGetNamedQuery", "GetNamedQuery": "AmazonAthena.GetNamedQuery",
	"GetWorkGroup": "AmazonAthena.GetWorkGroup", "ListNamedQueries": "AmazonAthena.ListNamedQueries",
	"GetQueryExecution": "AmazonAthena.GetQueryExecution", "GetQueryResults": "AmazonAthena.GetQueryResults",
	"StartQueryExecution": "AmazonAthena.StartQueryExecution", "StopQueryExecution": "AmazonAthena.StopQueryExecution",
	"GetTable": `"AWSGlue.GetTable"`, "GetTables": `"AWSGlue.GetTables"`,
}

// permissions are the actions that an operation needs where their name isn't the operation's; asking who one is needs
// none.
var permissions = map[string]string{
	"dynamodb:TransactGetItems": "dynamodb:GetItem", "dynamodb:TransactWriteItems": "dynamodb:PutItem",
	"lambda:Invoke": "lambda:InvokeFunction",
	"s3:HeadObject": "s3:GetObject", "s3:ListObjects": "s3:ListBucket", "s3:ListObjectVersions": "s3:ListBucketVersions",
	"sts:GetCallerIdentity": "",
}

func TestOperationsAreThoseThatSomebodyCalls(t *testing.T) {
	services := map[string]interface{ Operations() []string }{
		"athena": &athena.Service{}, "dynamodb": &dynamodb.Server{}, "ecr": &ecr.Service{}, "events": &events.Service{},
		"firehose": &firehose.Service{}, "glue": &glue.Service{}, "kms": &kms.Service{},
		"lambda": &lambda.Service{}, "s3": &s3.Service{}, "sqs": &sqs.Service{}, "sts": sts.New(),
	}
	for name, service := range services {
		differ(service.Operations(), slices.Sorted(maps.Keys(operations[name])), func(operation string) {
			t.Errorf("%s answers %s, which is not in this test's list: if something calls it, say who; else delete it",
				name, operation)
		}, func(operation string) {
			t.Errorf("%s does not answer %s any more: delete it from this test's list", name, operation)
		})
		for operation, by := range operations[name] {
			if !calls(t, by, operation) {
				t.Errorf("%s answers %s for %s, but nothing there calls it: name another caller, "+
					"or delete the operation and its tests", name, operation, by)
			}
		}
	}
}

func TestTheProductCallsWhatItsRolesMayDo(t *testing.T) {
	allowed := allowedActions(resources(t, deployed[:len(stacks)]))
	for service, list := range operations {
		for operation, by := range list {
			action, listed := permissions[service+":"+operation]
			if !listed {
				action = service + ":" + operation
			}
			if by == byProduct && action != "" && !slices.Contains(allowed, action) {
				t.Errorf("%s answers %s for the product, but no role of infra/templates may do %s: name another caller, "+
					"or delete the operation and its tests", service, operation, action)
			}
		}
	}
}

// calls reports whether a file of the folder calls the operation.
func calls(t *testing.T, folder caller, operation string) bool {
	t.Helper()
	if written, ok := spelt[operation]; ok {
		return contains(t, folder, regexp.MustCompile(regexp.QuoteMeta(written)))
	}
	return contains(t, folder, regexp.MustCompile(`\b(New)?`+operation+`(Input|Paginator)\b`))
}

// contains reports whether a file of the folder has a match.
func contains(t *testing.T, folder caller, form *regexp.Regexp) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join("..", string(folder)), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		found = found || form.Match(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// allowedActions are the actions of every Allow in the policies of roles.
func allowedActions(resources []map[string]any) (actions []string) {
	for _, r := range resources {
		properties, _ := r["Properties"].(map[string]any)
		policies, _ := properties["Policies"].([]any)
		for _, p := range policies {
			document, _ := p.(map[string]any)["PolicyDocument"].(map[string]any)
			statements, _ := document["Statement"].([]any)
			for _, s := range statements {
				if statement := s.(map[string]any); statement["Effect"] == "Allow" {
					actions = append(actions, texts(statement["Action"])...)
				}
			}
		}
	}
	return actions
}

// texts are a string, or the strings of a list.
func texts(v any) (list []string) {
	if one, ok := v.(string); ok {
		return []string{one}
	}
	items, _ := v.([]any)
	for _, item := range items {
		list = append(list, item.(string))
	}
	return list
}
