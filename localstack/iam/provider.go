package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/localstack/resource"
)

// Provider is a resource.Provider and resource.Remover for roles and policies.
type Provider struct {
	authority *Authority
}

// NewProvider provisions AWS::IAM::Role, AWS::IAM::Policy and AWS::IAM::ManagedPolicy into the authority.
func NewProvider(a *Authority) *Provider { return &Provider{authority: a} }

// Types names what the provider provisions.
func (p *Provider) Types() []string {
	return []string{"AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}
}

// Provision creates or updates a role or policy.
func (p *Provider) Provision(r resource.Resource) (resource.Outcome, error) {
	switch r.Type {
	case "AWS::IAM::Role":
		return p.role(r)
	case "AWS::IAM::Policy":
		return p.inline(r)
	case "AWS::IAM::ManagedPolicy":
		return p.managed(r)
	default:
		return resource.Outcome{}, fmt.Errorf("iam provides no %s", r.Type)
	}
}

// Remove deletes what Provision made.
func (p *Provider) Remove(r resource.Resource) error {
	var err error
	switch r.Type {
	case "AWS::IAM::Role":
		err = p.authority.DeleteRole(r.PhysicalID)
	case "AWS::IAM::Policy":
		return p.authority.withdraw(ownerOf(r), nil)
	case "AWS::IAM::ManagedPolicy":
		if err = p.authority.detachAll(r.PhysicalID, nil); err == nil {
			err = p.authority.DeleteManagedPolicy(r.PhysicalID)
		}
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// ownerOf marks what a template resource has put into roles.
func ownerOf(r resource.Resource) string { return r.Stack + "/" + r.LogicalID }

func document(p *resource.Reader, name string) json.RawMessage {
	raw, err := json.Marshal(p.Object(name))
	if err != nil || !p.Has(name) {
		p.Fail(name, "is missing")
	}
	return raw
}

func (p *Provider) role(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	in.Accept("Description")
	want := Role{
		Name: in.String("RoleName"), Path: in.String("Path"), Trust: document(in, "AssumeRolePolicyDocument"),
		Managed: in.Strings("ManagedPolicyArns"), Boundary: in.String("PermissionsBoundary"),
		MaxSession: time.Duration(in.Int("MaxSessionDuration")) * time.Second, Tags: in.Tags("Tags"),
		Inline: map[string]Inline{},
	}
	if want.Name == "" {
		want.Name = r.Name(64)
	}
	if d := want.MaxSession; d != 0 && (d < time.Hour || d > 12*time.Hour) {
		in.Fail("MaxSessionDuration", "must be 3600 to 43200 seconds")
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
	p.authority.adopt(&want)
	made, err := p.authority.PutRole(want)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	if r.PhysicalID != "" && r.PhysicalID != made.Name {
		if err := p.Remove(r); err != nil {
			return resource.Outcome{}, err
		}
	}
	return resource.Outcome{Ref: made.Name, Attributes: map[string]any{"Arn": made.ARN, "RoleId": made.ID}}, nil
}

// adopt keeps what other resources have put into the role that stands already.
func (a *Authority) adopt(want *Role) {
	before, err := a.Role(want.Name)
	if err != nil {
		return
	}
	for name, doc := range before.Inline {
		if _, own := want.Inline[name]; doc.Owner != "" && !own {
			want.Inline[name] = doc
		}
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, arn := range before.Managed {
		if m, ok := a.managed[arn]; ok && slices.Contains(m.Attached, before.Name) && !slices.Contains(want.Managed, arn) {
			want.Managed = append(want.Managed, arn)
		}
	}
}

func (p *Provider) inline(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	name, doc, roles := in.Required("PolicyName"), document(in, "PolicyDocument"), in.Strings("Roles")
	if len(roles) == 0 {
		in.Fail("Roles", "is empty; the local AWS attaches policies to roles only")
	}
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	owner := ownerOf(r)
	for _, role := range roles {
		if err := p.authority.PutInlinePolicy(role, name, Inline{Document: doc, Owner: owner}); err != nil {
			return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
		}
	}
	keep := func(role, policy string) bool { return policy == name && slices.Contains(roles, role) }
	if err := p.authority.withdraw(owner, keep); err != nil {
		return resource.Outcome{}, err
	}
	return resource.Outcome{Ref: r.Name(128), Attributes: map[string]any{"Id": r.Name(128)}}, nil
}

// withdraw takes from all roles the inline policies of that owner, but for those to keep.
func (a *Authority) withdraw(owner string, keep func(role, policy string) bool) error {
	a.mu.RLock()
	var stale [][2]string
	for _, entry := range a.roles {
		for policy, doc := range entry.Inline {
			if doc.Owner == owner && (keep == nil || !keep(entry.Name, policy)) {
				stale = append(stale, [2]string{entry.ARN, policy})
			}
		}
	}
	a.mu.RUnlock()
	for _, s := range stale {
		if err := a.DeleteInlinePolicy(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Provider) managed(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	in.Accept("Description")
	name, path, roles := in.String("ManagedPolicyName"), in.String("Path"), in.Strings("Roles")
	doc := document(in, "PolicyDocument")
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	if name == "" {
		r.PhysicalID = "" // an ARN, from which no name is to be made
		name = r.Name(128)
	}
	arn, err := p.authority.PutManagedPolicy(path, name, doc)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	if err := p.authority.detachAll(arn, roles); err != nil {
		return resource.Outcome{}, err
	}
	for _, role := range roles {
		if err := p.authority.AttachPolicy(role, arn); err != nil {
			return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
		}
	}
	return resource.Outcome{Ref: arn, Attributes: map[string]any{"PolicyArn": arn}}, p.authority.attached(arn, roles)
}

// attached remembers which roles the policy's own resource names, so that a role provisioned again keeps it.
func (a *Authority) attached(arn string, roles []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := *a.managed[arn]
	m.Attached = roles
	if err := a.put("managed", arn, m); err != nil {
		return err
	}
	a.managed[arn] = &m
	return nil
}

// detachAll takes the policy from the roles that its resource named before and names no more.
func (a *Authority) detachAll(arn string, keep []string) error {
	a.mu.RLock()
	m, ok := a.managed[arn]
	a.mu.RUnlock()
	if !ok {
		return nil
	}
	for _, role := range m.Attached {
		if slices.Contains(keep, role) {
			continue
		}
		if err := a.DetachPolicy(role, arn); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
