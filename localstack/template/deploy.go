package template

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	// Protect says whether the stack has termination protection from now on. The CDK's command line sets it before
	// it changes anything, so that it outlives a creation that fails.
	Protect bool
	Import  bool // take over what exists under a name that the template fixes, as ImportExistingResources does
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
			if _, err := Lookup(typ); err != nil {
				faults = append(faults, fmt.Errorf("a provider claims a type that is not in the table: %w", err))
			}
			d.providers[typ] = p
		}
	}
	records := NewRecorded(c)
	for _, typ := range records.Types() {
		if d.providers[typ] == nil {
			d.providers[typ] = records
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

// Deploy does what `cdk deploy` has CloudFormation do: it creates the stack, or updates it, and rolls back what it did
// when a resource fails. A stack whose creation failed is deleted first. What a previous deployment made is handed to
// its provider again even if nothing changed, because some providers keep what they have in memory.
//
// When ctx ends, or the process does, nothing is rolled back: the next Deploy goes on where this one stopped.
func (d *Deployer) Deploy(ctx context.Context, stack Stack) (map[string]string, error) {
	for _, id := range sortedKeys(stack.Template.Resources) {
		if err := stack.Template.Resources[id].check(); err != nil {
			return nil, fmt.Errorf("deploying %s: %s: %w", stack.Name, id, err)
		}
	}
	if d.State.Status(stack.Name).creationFailed() {
		d.Log.Info("Deleting a stack that was not created, before it is created again", "stack", stack.Name)
		if _, err := d.Delete(ctx, stack.Name); err != nil {
			return nil, fmt.Errorf("deploying %s: deleting what an earlier deployment could not create: %w", stack.Name, err)
		}
	}
	outputs, err := d.deploy(ctx, stack)
	if err != nil {
		return nil, fmt.Errorf("deploying %s: %w", stack.Name, err)
	}
	return outputs, nil
}

func (d *Deployer) deploy(ctx context.Context, stack Stack) (map[string]string, error) {
	run := d.open(stack.Name)
	if len(run.state.Gone) > 0 { // an interrupted deployment was about to delete it
		run.logged(run.clean(ctx))
	}
	if run.state.Status.rollingBack() {
		if err := run.rollBack(ctx); err != nil {
			return nil, fmt.Errorf("rolling back an earlier update: %w", err)
		}
	}
	var err error
	if run.scope, err = NewScope(stack.Template, d.pseudo(run.state.ID), run.state.given(stack)); err != nil {
		return nil, err
	}
	run.template, run.adopting = stack.Template, stack.Import
	run.scope.Import, run.scope.Output = run.imported, d.State.Output
	run.scope.Zones = []string{d.Region + "a", d.Region + "b", d.Region + "c"}
	order, err := stack.Template.Order(run.scope)
	if err != nil {
		return nil, err
	}
	prior := run.state.Status
	if err := run.begin(stack.Protect); err != nil {
		return nil, err
	}
	outputs, err := run.forward(ctx, order)
	switch {
	case err == nil:
		return outputs, run.finish(ctx, prior)
	case ctx.Err() != nil:
		return nil, errors.Join(err, d.State.update(func() {}))
	}
	return nil, run.fail(ctx, err)
}

func (d *Deployer) pseudo(id string) map[string]any {
	suffix := "amazonaws.com"
	if strings.HasPrefix(d.Partition, "aws-cn") {
		suffix = "amazonaws.com.cn"
	}
	return map[string]any{
		"AWS::AccountId": d.Account, "AWS::Region": d.Region, "AWS::Partition": d.Partition, "AWS::URLSuffix": suffix, "AWS::StackId": id,
		"AWS::NoValue": absent{},
	}
}

// deployment is one run over one stack.
type deployment struct {
	*Deployer
	name     string
	state    *StackState
	template *Template // nil when the stack is deleted
	scope    *Scope
	imports  []string
	changed  bool // whether anything differs from what the stack had
	adopting bool // what exists under a name that the template fixes may be taken over
}

func (d *Deployer) open(name string) *deployment {
	prefix := fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/", d.Partition, d.Region, d.Account)
	return &deployment{Deployer: d, name: name, state: d.State.stack(name, prefix)}
}

// imported resolves an import, and remembers it: what is imported can't change.
func (r *deployment) imported(name string) (any, error) {
	value, err := r.State.Export(name)
	if err == nil && !slices.Contains(r.imports, name) {
		r.imports = append(r.imports, name)
	}
	return value, err
}

// begin notes that the stack is being created or updated, and what it had before.
func (r *deployment) begin(protect bool) error {
	return r.State.update(func() {
		s := r.state
		s.Protected = protect
		switch {
		case s.Status.creating():
			s.Status = CreateInProgress
		case s.Status != UpdateInProgress:
			s.Status, s.Before = UpdateInProgress, maps.Clone(s.Resources)
		}
	})
}

// forward provisions every resource in order, then resolves the outputs.
func (r *deployment) forward(ctx context.Context, order []string) (map[string]string, error) {
	for _, id := range order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.provision(ctx, id); err != nil {
			return nil, fmt.Errorf("%s (%s): %w", id, r.template.Resources[id].Type, err)
		}
	}
	r.leave(order)
	r.scope.Output = r.State.Output
	return r.outputs()
}

// leave notes what the template no longer declares, and what was replaced.
func (r *deployment) leave(order []string) {
	r.State.note(func() {
		for _, id := range sortedKeys(r.state.Resources) {
			if !slices.Contains(order, id) {
				r.discard(id)
				delete(r.state.Resources, id)
				r.changed = true
			}
		}
	})
}

// discard has a resource deleted at the end that the stack had neither before nor is to have now: an interrupted
// deployment made it. The state's lock is held.
func (r *deployment) discard(id string) {
	current := r.state.Resources[id]
	if old := r.state.Before[id]; old == nil || !identical(old, current) {
		r.state.Gone = append(r.state.Gone, Leaving{LogicalID: id, ResourceState: current})
	}
}

// identical reports whether two states are of the same physical resource.
func identical(a, b *ResourceState) bool { return a.Ref == b.Ref && a.Generation == b.Generation }

// finish deletes what the new template no longer needs. What can't be deleted is left behind, as CloudFormation does.
func (r *deployment) finish(ctx context.Context, prior Status) error {
	status := UpdateComplete
	switch {
	case prior.creating():
		status = CreateComplete
	case !r.changed && prior != UpdateInProgress:
		status = prior
	}
	if err := r.State.update(func() {
		r.state.Gone = append(r.state.Gone, superseded(r.state.Before, r.state.Resources)...)
		r.state.Before, r.state.Status, r.state.Parameters = nil, status, r.scope.values()
	}); err != nil {
		return err
	}
	r.logged(r.clean(ctx))
	return nil
}

// logged tells of what could not be deleted, where that is no failure: it is left behind.
func (r *deployment) logged(err error) {
	if err != nil {
		r.Log.Warn("What the stack no longer needs could not be deleted, and is left behind", "stack", r.name, "cause", err)
	}
	if err := r.State.update(r.abandon); err != nil {
		r.Log.Error("The state of a stack could not be written", "stack", r.name, "cause", err)
	}
}

// abandon leaves behind what is still to be deleted; the state's lock is held.
func (r *deployment) abandon() {
	for _, l := range r.state.Gone {
		if l.Ref != "" {
			r.State.Retained = append(r.State.Retained, Retained{r.name, l.LogicalID, l.Type, l.Ref})
		}
	}
	r.state.Gone = nil
}

// superseded lists, in the order in which to delete them, the resources of the first map that the second has not.
func superseded(before, now map[string]*ResourceState) (gone []Leaving) {
	for _, id := range slices.Backward(orderOf(before)) {
		old, current := before[id], now[id]
		switch {
		case current == nil:
			gone = append(gone, Leaving{LogicalID: id, ResourceState: old})
		case !identical(old, current):
			copied := *old
			copied.OnDelete = kept(old.OnReplace, current.OnReplace)
			gone = append(gone, Leaving{LogicalID: id, ResourceState: &copied})
		}
	}
	return gone
}

// kept is the policy for a resource that was replaced: both templates must agree to its deletion.
func kept(policies ...string) string {
	if slices.Contains(policies, retain) {
		return retain
	}
	return ""
}

// orderOf lists resources, each after those that it needs.
func orderOf(resources map[string]*ResourceState) []string {
	graph := map[string][]string{}
	for id, r := range resources {
		graph[id] = r.Needs
	}
	order, err := sortGraph(graph)
	if err != nil { // an update may have turned two around; then any order is as good
		return sortedKeys(resources)
	}
	return order
}
