package iam

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stile-dev/stile/localstack/resource"
)

// Provider is a resource.Provider for roles.
type Provider struct {
	authority *Authority
}

// NewProvider provisions AWS::IAM::Role into the authority.
func NewProvider(a *Authority) *Provider { return &Provider{authority: a} }

// Types names what the provider provisions.
func (p *Provider) Types() []string { return []string{"AWS::IAM::Role"} }

func document(p *resource.Reader, name string) json.RawMessage {
	raw, err := json.Marshal(p.Object(name))
	if err != nil || !p.Has(name) {
		p.Fail(name, "is missing")
	}
	return raw
}

// Provision creates or updates a role.
func (p *Provider) Provision(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	in.Accept("Description")
	want := Role{
		Name: cmp.Or(in.String("RoleName"), r.Name(64)), Trust: document(in, "AssumeRolePolicyDocument"),
		Inline: map[string]Inline{},
	}
	if in.String("PermissionsBoundary") != "" {
		in.Add(errors.New("property PermissionsBoundary: there are no managed policies here"))
	}
	for i, o := range in.Objects("Policies") {
		one := resource.ReadObject(fmt.Sprintf("%s.Policies[%d]", r.LogicalID, i), o)
		want.Inline[one.Required("PolicyName")] = Inline{Document: document(one, "PolicyDocument")}
		in.Add(one.Done())
	}
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	trust, err := Parse("trust policy of role/"+want.Name, TrustShape, want.Trust)
	if err == nil {
		err = p.authority.CheckPrincipals(trust)
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s.AssumeRolePolicyDocument: %w", r.LogicalID, err)
	}
	if r.PhysicalID != "" && r.PhysicalID != want.Name {
		return resource.Outcome{}, fmt.Errorf("%s.RoleName: role %s cannot be renamed to %s", r.LogicalID, r.PhysicalID, want.Name)
	}
	if _, err := p.authority.Role(want.Name); err == nil && r.New() {
		return resource.Outcome{}, fmt.Errorf("%s: role %s: %w", r.LogicalID, want.Name, resource.ErrExists)
	}
	made, err := p.authority.PutRoleSlowly(want)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: made.Name, Attributes: map[string]any{"Arn": made.ARN, "RoleId": made.ID}}, nil
}

// Remove deletes the role.
func (p *Provider) Remove(r resource.Resource) error {
	if err := p.authority.DeleteRole(r.PhysicalID); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
