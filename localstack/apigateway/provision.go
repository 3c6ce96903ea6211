package apigateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types lists what the gateway provides.
func (g *Gateway) Types() []string {
	return []string{"AWS::ApiGateway::RestApi", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"}
}

// Provision creates or updates one resource.
func (g *Gateway) Provision(r resource.Resource) (resource.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.Type {
	case "AWS::ApiGateway::RestApi":
		return g.putAPI(r)
	case "AWS::ApiGateway::Deployment":
		return g.putDeployment(r)
	case "AWS::ApiGateway::Stage":
		return g.putStage(r)
	}
	return resource.Outcome{}, fmt.Errorf("the local API Gateway does not provide %s", r.Type)
}

// apiSpec is AWS::ApiGateway::RestApi. What is raw JSON has no effect here.
type apiSpec struct {
	Name                  string
	Description           string
	Body                  json.RawMessage
	EndpointConfiguration struct{ Types []string }
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
	a := &api{id: id, name: spec.Name, root: newNode("/")}
	if len(spec.Body) > 0 {
		if err := a.read(spec.Body); err != nil {
			return resource.Outcome{}, fmt.Errorf("property Body: %w", err)
		}
	}
	g.apis[id] = a
	return resource.Outcome{Ref: id}, nil
}

// document is as much of an OpenAPI document as routes need.
type document struct {
	Paths    map[string]map[string]json.RawMessage `json:"paths"`
	Policy   json.RawMessage                       `json:"x-amazon-apigateway-policy"`
	Binary   json.RawMessage                       `json:"x-amazon-apigateway-binary-media-types"`
	Security json.RawMessage                       `json:"security"`
}

type operation struct {
	Integration *integration    `json:"x-amazon-apigateway-integration"`
	Security    json.RawMessage `json:"security"`
}

// integration is the OpenAPI extension of that name. What is raw JSON has no effect here.
type integration struct {
	Type                string          `json:"type"`
	URI                 string          `json:"uri"`
	Method              string          `json:"httpMethod"`
	TimeoutInMillis     json.RawMessage `json:"timeoutInMillis"`
	PassthroughBehavior json.RawMessage `json:"passthroughBehavior"`
}

// UnmarshalJSON refuses a key that isn't known, since it may change what AWS does.
func (i *integration) UnmarshalJSON(raw []byte) error {
	type plain integration
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(i))
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
	if len(doc.Policy) > 0 || len(doc.Binary) > 0 || len(doc.Security) > 0 {
		return errors.New("security, x-amazon-apigateway-policy and x-amazon-apigateway-binary-media-types are not supported")
	}
	if len(doc.Paths) == 0 {
		return errors.New("it declares no paths")
	}
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
			if len(op.Security) > 0 {
				return fmt.Errorf("%s %s: no authoriser is supported; the product verifies its own signatures", method, path)
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
	if i.Method != "POST" {
		return "", fmt.Errorf("a function must be invoked by POST, not by %q", i.Method)
	}
	parts := functionURI.FindStringSubmatch(i.URI)
	if parts == nil {
		return "", fmt.Errorf("uri %q does not invoke a function", i.URI)
	}
	return parts[1], nil
}

// known refuses the id of an API that isn't there. The lock is held.
func (g *Gateway) known(id string) error {
	if _, ok := g.apis[id]; !ok {
		return fmt.Errorf("property RestApiId: no API %q", id)
	}
	return nil
}

// putDeployment records a deployment. A stage serves its API as it is declared now, which is what a
// deployment that the template replaces with each change amounts to.
func (g *Gateway) putDeployment(r resource.Resource) (resource.Outcome, error) {
	var spec struct{ RestApiId, Description string }
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if err := g.known(spec.RestApiId); err != nil {
		return resource.Outcome{}, err
	}
	id := r.PhysicalID
	if id == "" {
		id = newID()
	}
	return resource.Outcome{Ref: id, Attributes: map[string]any{"DeploymentId": id}}, nil
}

// Remove deletes what Provision made. A deployment that a stage points to stays.
func (g *Gateway) Remove(r resource.Resource) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.Type {
	case "AWS::ApiGateway::RestApi":
		delete(g.apis, r.PhysicalID)
		maps.DeleteFunc(g.stages, func(_ string, s *stage) bool { return s.api == r.PhysicalID })
	case "AWS::ApiGateway::Deployment":
		for name, s := range g.stages {
			if s.deployment == r.PhysicalID {
				return fmt.Errorf("active stages pointing to this deployment must be moved or deleted: %s", name)
			}
		}
	case "AWS::ApiGateway::Stage":
		if s := g.stages[r.PhysicalID]; s != nil && s.api == r.Properties["RestApiId"] {
			delete(g.stages, r.PhysicalID)
		}
	}
	return nil
}

var _ resource.Provider = (*Gateway)(nil)
