package template

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/stile-dev/stile/localstack/resource"
)

// Config is what a Deployer works with.
type Config struct {
	Account, Region, Partition string
	State                      *State
	Providers                  []resource.Provider
	Custom                     Custom       // answers custom resources
	Log                        *slog.Logger // nil: slog.Default()
}

// Deployer brings stacks to the state that their templates declare.
type Deployer struct {
	Config
	providers map[string]resource.Provider
}

// Stack is one deployment.
type Stack struct {
	Name       string
	Template   *Template
	Parameters map[string]string
}

// New checks that no two providers claim a type and that every type that runs has one.
func New(c Config) (*Deployer, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	d := &Deployer{Config: c, providers: map[string]resource.Provider{}}
	var faults []error
	for _, p := range c.Providers {
		for _, typ := range p.Types() {
			if d.providers[typ] != nil {
				faults = append(faults, fmt.Errorf("two providers claim %s", typ))
			}
			if row, err := Lookup(typ); err != nil || row.Treatment != Runs {
				faults = append(faults, fmt.Errorf("a provider claims %s, which the table does not list as %q", typ, Runs))
			}
			d.providers[typ] = p
		}
	}
	return d, errors.Join(faults...)
}

// Orphans lists the types that the table says run but for which no provider was given.
func (d *Deployer) Orphans() []string {
	var missing []string
	for _, row := range table {
		if row.Treatment == Runs && d.providers[row.Type] == nil {
			missing = append(missing, row.Type)
		}
	}
	return missing
}

// Deploy provisions every resource of a stack in order, then records outputs and exports. What a previous
// deployment made is handed to its provider again, which changes nothing if nothing changed; a resource
// that left the template is forgotten, and a custom one gets its Delete first.
func (d *Deployer) Deploy(ctx context.Context, stack Stack) (map[string]string, error) {
	outputs, err := d.deploy(ctx, stack)
	if err != nil {
		return nil, fmt.Errorf("deploying %s: %w", stack.Name, err)
	}
	return outputs, nil
}

func (d *Deployer) deploy(ctx context.Context, stack Stack) (map[string]string, error) {
	for _, id := range sortedKeys(stack.Template.Resources) {
		if err := stack.Template.Resources[id].check(); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	state := d.State.stack(stack.Name, fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/", d.Partition, d.Region, d.Account))
	scope, err := NewScope(stack.Template, d.pseudo(state.ID), stack.Parameters)
	if err != nil {
		return nil, err
	}
	scope.Import = d.State.Export
	scope.Zones = []string{d.Region + "a", d.Region + "b", d.Region + "c"}
	order, err := stack.Template.Order(scope)
	if err != nil {
		return nil, err
	}
	run := &deployment{Deployer: d, stack: stack, state: state, scope: scope}
	for _, id := range order {
		if err := run.provision(ctx, id); err != nil {
			return nil, fmt.Errorf("%s (%s): %w", id, stack.Template.Resources[id].Type, err)
		}
	}
	if err := run.forget(ctx, order); err != nil {
		return nil, err
	}
	return run.outputs()
}

func (d *Deployer) pseudo(id string) map[string]any {
	suffix := "amazonaws.com"
	if strings.HasPrefix(d.Partition, "aws-cn") {
		suffix = "amazonaws.com.cn"
	}
	return map[string]any{
		"AWS::AccountId": d.Account, "AWS::Region": d.Region, "AWS::Partition": d.Partition, "AWS::URLSuffix": suffix, "AWS::StackId": id,
		"AWS::NoValue": noValue{},
	}
}

// deployment is one run over one stack.
type deployment struct {
	*Deployer
	stack Stack
	state *StackState
	scope *Scope
}

func (r *deployment) provision(ctx context.Context, id string) error {
	declaration := r.stack.Template.Resources[id]
	properties, err := r.scope.Resolve(orEmpty(declaration.Properties))
	if err != nil {
		return fmt.Errorf("properties: %w", err)
	}
	metadata, err := r.scope.Resolve(orEmpty(declaration.Metadata))
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	res := resource.Resource{
		Stack: r.stack.Name, StackID: r.state.ID, LogicalID: id, Type: declaration.Type,
		Properties: properties.(map[string]any), Metadata: metadata.(map[string]any),
	}
	before := r.state.Resources[id]
	if before != nil && before.Type != res.Type {
		return fmt.Errorf("it was a %s before; give the new one another name", before.Type)
	}
	if before != nil {
		res.PhysicalID = before.Ref
	}
	after, err := r.make(ctx, res, before)
	if err != nil {
		return err
	}
	r.scope.Resources[id] = after.outcome()
	return r.State.update(func() { r.state.Resources[id] = after })
}

func (r *deployment) make(ctx context.Context, res resource.Resource, before *ResourceState) (*ResourceState, error) {
	if IsCustom(res.Type) {
		return r.custom(ctx, res, before)
	}
	row, err := Lookup(res.Type)
	if err != nil {
		return nil, err
	}
	var outcome resource.Outcome
	switch provider := r.providers[res.Type]; {
	case row.Treatment == Recorded:
		outcome = recorded{r.scope.Pseudo}.provision(res)
	case provider == nil:
		return nil, errors.New("no provider runs this type")
	default:
		outcome, err = provider.Provision(res)
	}
	if err != nil {
		return nil, err
	}
	r.Log.Debug("Provisioned a resource", "stack", res.Stack, "resource", res.LogicalID, "type", res.Type, "id", outcome.Ref)
	return &ResourceState{Type: res.Type, Ref: outcome.Ref, Attributes: outcome.Attributes}, nil
}

// forget drops what the template no longer declares.
func (r *deployment) forget(ctx context.Context, order []string) error {
	kept := map[string]bool{}
	for _, id := range order {
		kept[id] = true
	}
	for _, id := range sortedKeys(r.state.Resources) {
		gone := r.state.Resources[id]
		if kept[id] {
			continue
		}
		if IsCustom(gone.Type) {
			if err := r.deleteCustom(ctx, id, gone); err != nil {
				return fmt.Errorf("%s (%s): %w", id, gone.Type, err)
			}
		}
		r.Log.Info("Forgot a resource that left its template", "stack", r.stack.Name, "resource", id, "id", gone.Ref)
		if err := r.State.update(func() { delete(r.state.Resources, id) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *deployment) outputs() (map[string]string, error) {
	outputs, exports := map[string]string{}, map[string]string{}
	for _, name := range sortedKeys(r.stack.Template.Outputs) {
		output := r.stack.Template.Outputs[name]
		exists, err := r.scope.holds(output.Condition)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if !exists {
			continue
		}
		if outputs[name], err = r.text(output.Value); err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if output.Export == nil {
			continue
		}
		export, err := r.text(output.Export.Name)
		if err != nil {
			return nil, fmt.Errorf("export of output %s: %w", name, err)
		}
		exports[export] = outputs[name]
	}
	return outputs, r.State.update(func() { r.state.Outputs, r.state.Exports = outputs, exports })
}

func (r *deployment) text(v any) (string, error) {
	value, err := r.scope.Resolve(v)
	if err != nil {
		return "", err
	}
	return scalar(value)
}

func orEmpty(m map[string]any) any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
