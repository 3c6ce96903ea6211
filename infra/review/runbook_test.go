package review_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/review"
)

// Runbooks are pasted into a shell at night: what they name has to be there, and nothing may be left to fill in but what
// the first lines of a block assign.

// called are the names that commands may use, by what they are names of.
type called map[string]map[string]bool

func namesOf(a *review.Account) called {
	c := called{}
	add := func(kind, name string) {
		if c[kind] == nil {
			c[kind] = map[string]bool{}
		}
		c[kind][name] = true
	}
	for _, r := range a.Resources() {
		text := func(property string) string { return a.Text(r, r.Properties[property]) }
		add("stack", r.Stack)
		add("resource", r.Stack+" "+r.ID)
		switch r.Type {
		case "AWS::Lambda::Function":
			add("function", text("FunctionName"))
		case "AWS::IAM::Role":
			add("role", strings.TrimSuffix(text("RoleName"), "-<region>"))
		case "AWS::Logs::LogGroup":
			add("log group", text("LogGroupName"))
		case "AWS::KMS::Alias":
			add("alias", text("AliasName"))
		case "AWS::ApiGateway::RestApi":
			add("API", text("Name"))
		case "AWS::ApiGateway::Stage":
			add("stage", text("StageName"))
		case "AWS::ECS::Cluster":
			add("cluster", text("ClusterName"))
		case "AWS::ECS::Service":
			add("service", text("ServiceName"))
		case "AWS::ECS::TaskDefinition":
			add("family", text("Family"))
		case "AWS::CloudWatch::Alarm":
			for _, m := range append(metricsOf(r), r.Properties) {
				if name, ok := m["MetricName"].(string); ok {
					add("metric", m["Namespace"].(string)+" "+name)
				}
			}
		}
	}
	return c
}

func metricsOf(alarm review.Resource) (out []map[string]any) {
	queries, _ := alarm.Properties["Metrics"].([]any)
	for _, q := range queries {
		if stat, ok := q.(map[string]any)["MetricStat"].(map[string]any); ok {
			out = append(out, stat["Metric"].(map[string]any))
		}
	}
	return out
}

// mentions are the places of a command where a name stands, each with the kind that it is of. Two groups are a name that
// belongs to another, as an output to its stack.
var mentions = []struct {
	kind string
	at   *regexp.Regexp
}{
	{"stack", regexp.MustCompile(`--stack-name (\S+)`)},
	{"stack", regexp.MustCompile(`--(?:alarm-)?name-prefix "?([A-Za-z$]+)-`)},
	{"stack", regexp.MustCompile(`aws-cdk@\S+ (?:deploy|diff|drift|destroy) (?:-e )?([A-Z]\w+)`)},
	{"output", regexp.MustCompile(`--stack-name (\S+)[^\n]*?OutputKey=='(\w+)'`)},
	{"resource", regexp.MustCompile(`--stack-name (\S+) --logical-resource-id (\w+)`)},
	{"function", regexp.MustCompile(`--function-name (\S+)`)},
	{"function", regexp.MustCompile(`Name=FunctionName,Value=([\w$-]+)`)},
	{"role", regexp.MustCompile(`--role-name (\S+)`)},
	{"log group", regexp.MustCompile(`logs tail "?([^\s"]+)`)},
	{"alias", regexp.MustCompile(`--key-id (alias/\S+)`)},
	{"API", regexp.MustCompile(`items\[\?name=='(\w+)'\]`)},
	{"stage", regexp.MustCompile(`--stage-name (\S+)`)},
	{"cluster", regexp.MustCompile(`--cluster (\S+)`)},
	{"service", regexp.MustCompile(`--services? (\S+)`)},
	{"family", regexp.MustCompile(`--family (\S+)`)},
	{"metric", regexp.MustCompile(`--namespace (\S+) --metric-name (\S+)`)},
}

var (
	block       = regexp.MustCompile("(?ms)^ *```[a-z]*\n(.*?)^ *```$")
	codeSpan    = regexp.MustCompile("`((?:aws|npx) [^`\n]+)`")
	placeholder = regexp.MustCompile(`<[a-z][a-z ]*>|…`)
	variable    = regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)\}?`)
	assigned    = regexp.MustCompile(`(?m)(?:^ *|export |; )([a-zA-Z_]\w*)=("?[^\s"#]*)`)
	loop        = regexp.MustCompile(`for (\w+) in ([\w -]+); do`)
	quoted      = regexp.MustCompile(`'[^']*'`)
)

// given are the variables that README.md sets before anything else.
var given = []string{"AWS_REGION", "PWD", "PATH"}

// madeByHand are names of what a page itself has made.
var madeByHand = []string{"stile-iam-events"}

// faults are what is wrong with the commands of a page.
func faults(a *review.Account, page string) (out []string) {
	known := namesOf(a)
	for _, m := range block.FindAllStringSubmatch(page, -1) {
		out = append(out, unfilled(m[1])...)
		out = append(out, known.unknown(a, m[1])...)
	}
	for _, m := range codeSpan.FindAllStringSubmatch(page, -1) {
		out = append(out, known.unknown(a, m[1])...)
	}
	return out
}

// unfilled are the holes of a block, and the variables that nothing in it sets.
func unfilled(text string) (out []string) {
	for _, hole := range placeholder.FindAllString(text, -1) {
		out = append(out, "a hole is to be filled in: "+hole)
	}
	set := slices.Clone(given)
	for _, m := range assigned.FindAllStringSubmatch(text, -1) {
		set = append(set, m[1])
	}
	for _, m := range regexp.MustCompile(`for (\w+) in `).FindAllStringSubmatch(text, -1) {
		set = append(set, m[1])
	}
	for _, m := range regexp.MustCompile(`--arg (\w+) `).FindAllStringSubmatch(text, -1) {
		set = append(set, m[1]) // of jq
	}
	for _, m := range variable.FindAllStringSubmatch(quoted.ReplaceAllString(text, ""), -1) {
		if !slices.Contains(set, m[1]) {
			out = append(out, "nothing sets $"+m[1])
		}
	}
	return out
}

// unknown are the names in some commands that no template knows, once for each value of a variable.
func (c called) unknown(a *review.Account, text string) (out []string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, text := range spelled(text) {
		for _, m := range mentions {
			for _, hit := range m.at.FindAllStringSubmatch(text, -1) {
				name := strings.Trim(strings.Join(hit[1:], " "), `"`)
				name = strings.ReplaceAll(name, `"`, "")
				switch {
				case strings.Contains(name, "$") || slices.Contains(madeByHand, name):
				case m.kind == "output" && a.HasOutput(hit[1], hit[2]):
				case m.kind == "role" && c["role"][strings.TrimSuffix(name, "-eu-central-1")]:
				case !c[m.kind][name]:
					out = append(out, fmt.Sprintf("no template has the %s %s", m.kind, name))
				}
			}
		}
	}
	return out
}

// spelled is a text with the values of its variables, once for each word of its loops.
func spelled(text string) []string {
	for _, m := range assigned.FindAllStringSubmatch(text, -1) {
		if value := strings.Trim(m[2], `"`); value != "" && !strings.ContainsAny(value, "$(") {
			text = replaced(text, m[1], value)
		}
	}
	all := []string{text}
	for _, m := range loop.FindAllStringSubmatch(text, -1) {
		var next []string
		for word := range strings.FieldsSeq(m[2]) {
			for _, one := range all {
				next = append(next, replaced(one, m[1], word))
			}
		}
		all = next
	}
	return all
}

func replaced(text, name, value string) string {
	return strings.ReplaceAll(regexp.MustCompile(`\$`+name+`\b`).ReplaceAllLiteralString(text, value), "${"+name+"}", value)
}

func TestRunbooksNameWhatThereIs(t *testing.T) {
	a := account(t)
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, path := range pages {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(a, string(raw)) {
			t.Errorf("%s: %s", filepath.Base(path), fault)
		}
	}
}

// The guide to a deployment leaves more to its reader, but what it names has to be there as well.
func TestTheGuideToADeploymentNamesWhatThereIs(t *testing.T) {
	a := account(t)
	for _, name := range []string{"deploy.md", "audit.md"} {
		raw, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		known := namesOf(a)
		for _, m := range slices.Concat(block.FindAllStringSubmatch(string(raw), -1), codeSpan.FindAllStringSubmatch(string(raw), -1)) {
			for _, fault := range known.unknown(a, m[1]) {
				t.Errorf("%s: %s", name, fault)
			}
		}
	}
}

// What the two tests above are to find, they find.
func TestAWrongCommandIsFound(t *testing.T) {
	a := account(t)
	inBlock := func(text string) string { return "```\n" + text + "\n```" }
	for page, want := range map[string]string{
		inBlock("aws lambda get-policy --function-name stile-sign-users"):                           "the function stile-sign-users",
		inBlock("f=api\naws lambda get-policy --function-name \"stile-$f\""):                        "",
		inBlock("for f in api admins; do aws logs tail /stile/$f --since 30m; done"):                "the log group /stile/admins",
		inBlock("fn=sign-user   # a comment\naws logs tail \"/stile/$fn\""):                         "",
		inBlock("aws iam get-role --role-name stile-nobody-eu-central-1"):                           "the role stile-nobody-eu-central-1",
		inBlock("aws cloudformation describe-stacks --stack-name StileDatum"):                       "the stack StileDatum",
		inBlock("aws events list-rules --name-prefix StileControls-"):                               "the stack StileControls",
		inBlock("npx aws-cdk@2.1148.1 deploy StileFleets --force"):                                  "the stack StileFleets",
		inBlock("t=State\nx --stack-name StileData --query \"O[?OutputKey=='OutTable${t}Name']\""):  "",
		inBlock("t=Stats\nx --stack-name StileData --query \"O[?OutputKey=='OutTable${t}Name']\""):  "the output StileData OutTableStatsName",
		inBlock("x --stack-name StileFleet --logical-resource-id Target"):                           "the resource StileFleet Target",
		inBlock("aws kms sign --key-id alias/stile/roots"):                                          "the alias alias/stile/roots",
		inBlock("aws apigateway get-rest-apis --query \"items[?name=='stiles'].id\""):               "the API stiles",
		inBlock("aws apigateway get-stage --stage-name production"):                                 "the stage production",
		inBlock("aws ecs describe-services --cluster stile --services stile-proxies"):               "the service stile-proxies",
		inBlock("aws cloudwatch get-metric-statistics --namespace AWS/Lambda --metric-name Thrott"): "the metric AWS/Lambda Thrott",
		inBlock("aws kms enable-key --key-id <arn>"):                                                "to be filled in: <arn>",
		inBlock("aws kms enable-key --key-id \"$key\""):                                             "nothing sets $key",
		"see `aws logs tail /stile/nobody` there":                                                   "the log group /stile/nobody",
	} {
		got := strings.Join(faults(a, page), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s\nis found to be %q, want %q", page, got, want)
		}
	}
}
