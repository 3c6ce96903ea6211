package apigateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types lists what the gateway provides.
func (g *Gateway) Types() []string {
	return []string{"AWS::ApiGateway::RestApi", "AWS::ApiGateway::Resource", "AWS::ApiGateway::Method", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"}
}

// Provision creates or updates one resource.
func (g *Gateway) Provision(r resource.Resource) (resource.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.Type {
	case "AWS::ApiGateway::RestApi":
		return g.putAPI(r)
	case "AWS::ApiGateway::Resource":
		return g.putResource(r)
	case "AWS::ApiGateway::Method":
		return g.putMethod(r)
	case "AWS::ApiGateway::Deployment":
		return g.putDeployment(r)
	case "AWS::ApiGateway::Stage":
		return g.putStage(r)
	}
	return resource.Outcome{}, fmt.Errorf("the local API Gateway does not provide %s", r.Type)
}

// apiSpec is AWS::ApiGateway::RestApi. What is raw JSON has no effect here.
type apiSpec struct {
	Name                      string
	Description               string
	Body                      json.RawMessage
	BinaryMediaTypes          []string
	FailOnWarnings            property.Bool
	DisableExecuteApiEndpoint property.Bool
	EndpointConfiguration     struct {
		Types         []string
		IpAddressType string
	}
	MinimumCompressionSize json.RawMessage
	Mode                   string
}

func (g *Gateway) putAPI(r resource.Resource) (resource.Outcome, error) {
	var spec apiSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	for _, kind := range spec.EndpointConfiguration.Types {
		if kind != "REGIONAL" {
			return resource.Outcome{}, fmt.Errorf("property EndpointConfiguration: %s is not supported, only REGIONAL is", kind)
		}
	}
	id := r.PhysicalID
	if id == "" {
		id = newID()
	}
	a := &api{id: id, name: spec.Name, binary: spec.BinaryMediaTypes, root: newNode("/"), paths: map[string]string{id + "root": "/"}}
	if len(spec.Body) > 0 {
		if err := a.read(spec.Body); err != nil {
			return resource.Outcome{}, fmt.Errorf("property Body: %w", err)
		}
	}
	g.apis[id] = a
	return resource.Outcome{Ref: id, Attributes: map[string]any{"RootResourceId": id + "root", "RestApiId": id}}, nil
}

// document is as much of an OpenAPI document as routes need.
type document struct {
	Paths    map[string]map[string]json.RawMessage `json:"paths"`
	Binary   []string                              `json:"x-amazon-apigateway-binary-media-types"`
	Policy   json.RawMessage                       `json:"x-amazon-apigateway-policy"`
	Security json.RawMessage                       `json:"security"`
}

type operation struct {
	Integration *integration    `json:"x-amazon-apigateway-integration"`
	Security    json.RawMessage `json:"security"`
}

// integration is the OpenAPI extension of that name, and AWS::ApiGateway::Method's Integration, whose keys
// differ in case only. What is raw JSON has no effect here.
type integration struct {
	Type                  string            `json:"type"`
	URI                   string            `json:"uri"`
	Method                string            `json:"httpMethod"`
	IntegrationHttpMethod string            `json:"integrationHttpMethod"`
	PayloadFormatVersion  property.Text     `json:"payloadFormatVersion"`
	PassthroughBehavior   string            `json:"passthroughBehavior"`
	TimeoutInMillis       property.Int      `json:"timeoutInMillis"`
	ContentHandling       string            `json:"contentHandling"`
	CacheNamespace        string            `json:"cacheNamespace"`
	CacheKeyParameters    []string          `json:"cacheKeyParameters"`
	Responses             json.RawMessage   `json:"responses"`
	IntegrationResponses  json.RawMessage   `json:"integrationResponses"`
	RequestParameters     map[string]string `json:"requestParameters"`
	ResponseTransferMode  string            `json:"responseTransferMode"`
}

// methods that an OpenAPI path item may have; any other key is not an operation.
var methods = map[string]string{
	"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE", "options": "OPTIONS", "head": "HEAD", "patch": "PATCH",
	"x-amazon-apigateway-any-method": "ANY",
}

func (a *api) read(raw []byte) error {
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	if len(doc.Policy) > 0 {
		return errors.New("x-amazon-apigateway-policy is not supported")
	}
	if len(doc.Paths) == 0 {
		return errors.New("it declares no paths")
	}
	a.binary = append(a.binary, doc.Binary...)
	for path, item := range doc.Paths {
		for key, value := range item {
			method, ok := methods[strings.ToLower(key)]
			if !ok {
				continue
			}
			var op operation
			if err := json.Unmarshal(value, &op); err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
			function, err := op.Integration.function()
			if err == nil {
				err = a.root.add(path, method, function)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
		}
	}
	return nil
}

var functionURI = regexp.MustCompile(`^arn:[^:]+:apigateway:[^:]+:lambda:path/2015-03-31/functions/(.+)/invocations$`)

// function is the ARN that an integration invokes.
func (i *integration) function() (string, error) {
	if i == nil {
		return "", errors.New("x-amazon-apigateway-integration is missing")
	}
	if !strings.EqualFold(i.Type, "aws_proxy") {
		return "", fmt.Errorf("integration type %q is not supported, only aws_proxy is", i.Type)
	}
	if method := i.Method + i.IntegrationHttpMethod; method != "POST" {
		return "", fmt.Errorf("a function must be invoked by POST, not by %q", method)
	}
	if i.PayloadFormatVersion != "" && i.PayloadFormatVersion != "1.0" {
		return "", fmt.Errorf("payload format %s is not one that a REST API has", i.PayloadFormatVersion)
	}
	parts := functionURI.FindStringSubmatch(i.URI)
	if parts == nil {
		return "", fmt.Errorf("uri %q does not invoke a function", i.URI)
	}
	return parts[1], nil
}

func (g *Gateway) api(id string) (*api, error) {
	if a := g.apis[id]; a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("property RestApiId: no API %q", id)
}

func (g *Gateway) putResource(r resource.Resource) (resource.Outcome, error) {
	var spec struct{ RestApiId, ParentId, PathPart string }
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	a, err := g.api(spec.RestApiId)
	if err != nil {
		return resource.Outcome{}, err
	}
	parent, ok := a.paths[spec.ParentId]
	if !ok {
		return resource.Outcome{}, fmt.Errorf("property ParentId: no resource %q", spec.ParentId)
	}
	id := r.PhysicalID
	if id == "" {
		id = newID()
	}
	a.paths[id] = strings.TrimSuffix(parent, "/") + "/" + spec.PathPart
	return resource.Outcome{Ref: id, Attributes: map[string]any{"ResourceId": id}}, nil
}

func (g *Gateway) putMethod(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		RestApiId, ResourceId, HttpMethod, AuthorizationType, OperationName string
		ApiKeyRequired                                                      property.Bool
		Integration                                                         *integration
		MethodResponses, RequestParameters, RequestModels                   json.RawMessage
		RequestValidatorId                                                  string
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	a, err := g.api(spec.RestApiId)
	if err != nil {
		return resource.Outcome{}, err
	}
	path, ok := a.paths[spec.ResourceId]
	if !ok {
		return resource.Outcome{}, fmt.Errorf("property ResourceId: no resource %q", spec.ResourceId)
	}
	if spec.AuthorizationType != "" && spec.AuthorizationType != "NONE" || bool(spec.ApiKeyRequired) {
		return resource.Outcome{}, errors.New("properties AuthorizationType and ApiKeyRequired: no authoriser is supported; the product verifies its own signatures")
	}
	function, err := spec.Integration.function()
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("property Integration: %w", err)
	}
	if err := a.root.add(path, spec.HttpMethod, function); err != nil {
		return resource.Outcome{}, err
	}
	return resource.Outcome{Ref: a.id + "/" + spec.ResourceId + "/" + spec.HttpMethod}, nil
}

// putDeployment records a deployment. A stage serves its API as it is declared now, which is what a
// deployment that the template replaces with each change amounts to.
func (g *Gateway) putDeployment(r resource.Resource) (resource.Outcome, error) {
	var spec struct{ RestApiId, Description, StageName string }
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if _, err := g.api(spec.RestApiId); err != nil {
		return resource.Outcome{}, err
	}
	id := r.PhysicalID
	if id == "" {
		id = newID()
	}
	outcome := resource.Outcome{Ref: id, Attributes: map[string]any{"DeploymentId": id}}
	if spec.StageName != "" {
		return outcome, g.open(spec.StageName, spec.RestApiId)
	}
	return outcome, nil
}

func (g *Gateway) putStage(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		RestApiId, DeploymentId, StageName, Description            string
		TracingEnabled                                             property.Bool
		MethodSettings, AccessLogSetting, Variables, CanarySetting json.RawMessage
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if _, err := g.api(spec.RestApiId); err != nil {
		return resource.Outcome{}, err
	}
	if len(spec.Variables) > 0 || len(spec.CanarySetting) > 0 {
		return resource.Outcome{}, errors.New("properties Variables and CanarySetting are not supported")
	}
	return resource.Outcome{Ref: spec.StageName}, g.open(spec.StageName, spec.RestApiId)
}

// open serves a stage. All APIs share one address here, so a stage's name must be unique.
func (g *Gateway) open(stage, id string) error {
	if stage == "" {
		return errors.New("property StageName is missing")
	}
	if other := g.stages[stage]; other != "" && other != id {
		return fmt.Errorf("property StageName: API %s already has a stage %s, and APIs are told apart by their stages here", other, stage)
	}
	g.stages[stage] = id
	return nil
}

var _ resource.Provider = (*Gateway)(nil)
