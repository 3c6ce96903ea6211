// Package resource is the seam between the template reader and the local services: a service says which
// CloudFormation types it provides, and is handed each declared resource with its properties resolved.
//
// It knows neither templates nor services. Its entry point is [Provider].
package resource

import "errors"

// Resource is one resource of a template, with every intrinsic function in Properties resolved.
type Resource struct {
	Stack      string         // the stack's name
	StackID    string         // arn:aws:cloudformation:<region>:<account>:stack/<name>/<uuid>
	LogicalID  string         // the key under Resources
	Type       string         // AWS::DynamoDB::Table and the like
	Properties map[string]any // as encoding/json decodes them; numbers are json.Number or strings
	Metadata   map[string]any // the resource's Metadata, resolved
	PhysicalID string         // Outcome.Ref of the deployment before; "" the first time
	Generation int            // how many resources of this logical id the stack has made before this one
	Begun      bool           // a deployment that was making it was interrupted, so that it may be there already
	Import     bool           // take over what exists under the name in Properties; else that it exists is an error
}

// New reports whether the resource has to be made, so that one of the same name stands in its way.
func (r Resource) New() bool { return r.PhysicalID == "" && !r.Begun }

// ErrExists means that a resource of that name is already there, in or outside a stack.
var ErrExists = errors.New("already exists")

// Outcome is what a template may ask about a provisioned resource.
type Outcome struct {
	Ref        string         // what Ref returns, which is the resource's physical id
	Attributes map[string]any // what Fn::GetAtt returns, by attribute name
}

// Provider creates or updates resources of the types that it names. Provision is idempotent: the same
// resource again changes nothing, and a changed property is either applied or refused with an error that
// names the property. Properties that a provider doesn't know are an error, never ignored. A new resource whose
// name is taken is refused with [ErrExists]; a Provision that fails leaves nothing new behind, or returns the Ref of
// what it leaves beside its error.
type Provider interface {
	Types() []string
	Provision(Resource) (Outcome, error)
	// Remove deletes what Provision made for this resource, as its service would; nil when it is gone already.
	Remove(Resource) error
}
