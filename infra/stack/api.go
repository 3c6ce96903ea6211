package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/goccy/go-yaml"
)

// The API's name and its one stage.
const (
	apiName = "stile"
	stage   = "prod"
)

// pathParameter is one {name} in a path.
var pathParameter = regexp.MustCompile(`\{([a-z_]+)\}`)

// fronts are the functions that the API may reach. Signers, publish and rotate are not among them.
var fronts = []string{fnAdmin, fnAPI, fnJoin, fnLogin, fnQuery, fnRecording}

// Routes lists the functions that serve an OpenAPI document's operations, or says what can't be routed in it.
func Routes(doc []byte) ([]string, error) {
	_, functions, err := route(doc)
	return functions, err
}

// newAPI declares the Regional REST API, whose body is made from the OpenAPI document.
func newAPI(s awscdk.Stack, doc []byte, set settings) {
	body, tags, err := route(doc)
	if err != nil {
		panic(err)
	}
	digest := bodyDigest(body)
	api := awsapigateway.NewCfnRestApi(s, new("Api"), &awsapigateway.CfnRestApiProps{
		Name: new(apiName), Description: new("Stile: the API of a cluster"),
		EndpointConfiguration: &awsapigateway.CfnRestApi_EndpointConfigurationProperty{Types: list("REGIONAL")},
		Body:                  body.tokens(),
	})
	accept(api, accepted{"APIG2": "functions check what they are sent, and more strictly than API Gateway could"})
	// A deployment is a snapshot of the API: a changed body needs a new one, hence the digest in its name.
	deployment := awsapigateway.NewCfnDeployment(s, new("ApiDeployment"+digest), &awsapigateway.CfnDeploymentProps{
		RestApiId: api.Ref(), Description: new("routes " + digest),
	})
	newStage(s, api, deployment, body.open())
	for _, function := range tags {
		permit(s, function, "apigateway", sub("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/"+stage+"/*"))
	}
	export(s, exportAPI, set.apiAddress())
}

// routed is an OpenAPI document for API Gateway: paths → method → operation, each with its function.
type routed struct {
	paths map[string]map[string]operation
	title string
}

type operation struct {
	id, function string
	anonymous    bool
	parameters   []string // in the path
}

// route reads the OpenAPI document: every operation has one tag, the function that serves it. Schemas stay
// behind: functions check what they are sent, strictly, and API Gateway knows only a part of the language.
func route(doc []byte) (*routed, []string, error) {
	var raw struct {
		Info struct {
			Title string `yaml:"title"`
		} `yaml:"info"`
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(doc, &raw); err != nil {
		return nil, nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	out := &routed{title: raw.Info.Title, paths: map[string]map[string]operation{}}
	var tags []string
	for _, path := range sorted(raw.Paths) {
		out.paths[path] = map[string]operation{}
		for _, method := range sorted(raw.Paths[path]) {
			if method == "parameters" {
				continue
			}
			op, err := readOperation(path, raw.Paths[path][method])
			if err != nil {
				return nil, nil, fmt.Errorf("reading the OpenAPI document: %s %s: %w", method, path, err)
			}
			out.paths[path][method] = op
			tags = append(tags, op.function)
		}
	}
	slices.Sort(tags)
	return out, slices.Compact(tags), nil
}

func readOperation(path string, raw any) (operation, error) {
	fields, _ := raw.(map[string]any)
	id, _ := fields["operationId"].(string)
	tags, _ := fields["tags"].([]any)
	if id == "" || len(tags) != 1 {
		return operation{}, fmt.Errorf("an operation needs an operationId and exactly one tag, the function that serves it")
	}
	function, _ := tags[0].(string)
	if !slices.Contains(fronts, function) {
		return operation{}, fmt.Errorf("tag %q is not a function that the API may reach; the fronts are %s", function, strings.Join(fronts, ", "))
	}
	caller, _ := fields["x-stile-caller"].(string)
	if !slices.Contains([]string{"anonymous", "user", "admin", "host"}, caller) {
		return operation{}, fmt.Errorf("x-stile-caller must say who may call it: anonymous, user, admin or host")
	}
	op := operation{id: id, function: function, anonymous: caller == "anonymous"}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		op.parameters = append(op.parameters, m[1])
	}
	return op, nil
}

// document renders the body; uri returns the integration URI of a function.
func (r *routed) document(uri func(function string) any) map[string]any {
	paths := map[string]any{}
	for path, methods := range r.paths {
		item := map[string]any{}
		for method, op := range methods {
			item[method] = op.render(uri(op.function))
		}
		paths[path] = item
	}
	return map[string]any{
		"openapi": "3.0.1",
		"info":    map[string]any{"title": r.title, "version": "1"},
		"paths":   paths,
	}
}

func (o operation) render(uri any) map[string]any {
	out := map[string]any{
		"operationId": o.id,
		"responses":   map[string]any{"200": map[string]any{"description": "see the reference of the API"}},
		"x-amazon-apigateway-integration": map[string]any{
			"type": "aws_proxy", "httpMethod": "POST", "uri": uri, "passthroughBehavior": "when_no_match", "timeoutInMillis": 29000,
		},
	}
	var parameters []any
	for _, name := range o.parameters {
		parameters = append(parameters, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	if parameters != nil {
		out["parameters"] = parameters
	}
	return out
}

// tokens is the body with every function's ARN in place.
func (r *routed) tokens() map[string]any {
	return r.document(func(function string) any {
		return sub("arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:stile-" + function + "/invocations")
	})
}

// bodyDigest is a digest of the body without its tokens, which differ from one synthesis to another.
func bodyDigest(r *routed) string {
	raw, err := json.Marshal(r.document(func(function string) any { return function }))
	if err != nil {
		panic(err) // strings in maps
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:5])
}
