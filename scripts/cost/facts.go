package cost

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// facts are what the templates say that costs depend on.
type facts struct {
	count                          map[string]int // resources by type; those of a condition that is off by default count
	proxies, zones                 int
	alarmMetrics, alarmQueries     int
	taskProcessors, taskGigabytes  float64
	front, signer                  float64 // GB of the largest front and the largest signer
	openRoutes, challengeRoutes    int
	openRate, signedRate, signedOf float64
}

type resource struct {
	Type       string
	Properties map[string]any
}

// read reads the templates below infra/templates.
func read(root string) (facts, error) {
	f := facts{count: map[string]int{}}
	for _, stack := range []string{"StileData", "StileControl", "StileAudit", "StileFleet"} {
		raw, err := os.ReadFile(filepath.Join(root, "infra/templates", stack+".json"))
		if err != nil {
			return f, fmt.Errorf("reading the template of %s: %w", stack, err)
		}
		var doc struct {
			Resources  map[string]resource
			Parameters map[string]struct{ Default any }
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return f, fmt.Errorf("reading the template of %s: %w", stack, err)
		}
		if p, ok := doc.Parameters["DesiredCount"]; ok {
			f.proxies = int(number(p.Default))
		}
		if p, ok := doc.Parameters["OpenRouteRate"]; ok {
			f.openRate = number(p.Default)
		}
		for _, r := range doc.Resources {
			f.count[r.Type]++
			if err := f.note(r); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// note takes from one resource what costs depend on, and refuses what the model would get wrong.
func (f *facts) note(r resource) error {
	switch r.Type {
	case "AWS::CloudWatch::Alarm":
		f.alarm(r.Properties["Metrics"])
	case "AWS::EC2::Subnet":
		f.zones++
	case "AWS::EC2::VPCEndpoint":
		if r.Properties["VpcEndpointType"] != "Gateway" {
			return fmt.Errorf("an endpoint of type %v is billed by the hour: say so in scripts/cost/resources.go", r.Properties["VpcEndpointType"])
		}
	case "AWS::ECS::TaskDefinition":
		f.taskProcessors, f.taskGigabytes = number(r.Properties["Cpu"])/1024, number(r.Properties["Memory"])/1024
	case "AWS::DynamoDB::Table":
		if r.Properties["BillingMode"] != "PAY_PER_REQUEST" {
			return fmt.Errorf("a table with billing mode %v is billed by the hour: say so in scripts/cost/resources.go", r.Properties["BillingMode"])
		}
	case "AWS::Lambda::Function":
		name, memory := fmt.Sprint(r.Properties["FunctionName"]), number(r.Properties["MemorySize"])/1024
		if name == "stile-login" || name == "stile-join" {
			f.front = max(f.front, memory)
		} else {
			f.signer = max(f.signer, memory)
		}
	case "AWS::ApiGateway::Stage":
		f.throttles(r.Properties["MethodSettings"].([]any))
	case "AWS::ApiGateway::RestApi":
		for _, item := range r.Properties["Body"].(map[string]any)["paths"].(map[string]any) {
			f.signedOf += float64(len(item.(map[string]any)))
		}
	}
	return nil
}

// alarm counts what an alarm reads, which is what is billed: its one metric, those of its expression, or a query.
func (f *facts) alarm(queries any) {
	list, several := queries.([]any)
	if !several {
		f.alarmMetrics++
		return
	}
	before := f.alarmMetrics
	for _, q := range list {
		if q.(map[string]any)["MetricStat"] != nil {
			f.alarmMetrics++
		}
	}
	if f.alarmMetrics == before {
		f.alarmQueries++
	}
}

// throttles are those of the open routes, which have their own, and of all others.
func (f *facts) throttles(settings []any) {
	for _, one := range settings {
		s := one.(map[string]any)
		path := fmt.Sprint(s["ResourcePath"])
		switch {
		case path == "/*":
			f.signedRate = number(s["ThrottlingRateLimit"])
		case strings.HasSuffix(path, "challenge"):
			f.challengeRoutes++
			fallthrough
		default:
			f.openRoutes++
		}
	}
}

func number(v any) float64 {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		return 0
	}
	return n
}
