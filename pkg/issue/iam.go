package issue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/wire"
)

// maxSTS bounds the JSON of a signed identity request: a session token has up to 8 KiB.
const maxSTS = 16 << 10

// IAM authenticates by a signed sts:GetCallerIdentity request, which AWS itself confirms, and the iam_mappings.
type IAM struct {
	STS       STS
	Mappings  func(context.Context) ([]resource.Mapping, error) // with strong consistency
	Bootstrap resource.IAMMatch                                 // the first administrator; zero for none
	Refuse    error                                             // answered to everybody, if the deployment is wrong
	Canary    resource.IAMMatch                                 // the role of the synthetic login; zero for none
}

// Authenticate implements [Authenticator]; the evidence is a wire.STSRequest.
func (i IAM) Authenticate(ctx context.Context, e Evidence) (Principal, Witness, error) {
	w := Witness{Actor: outsider(resource.IAMIdentity{})}
	if i.Refuse != nil {
		return Principal{}, w, i.Refuse
	}
	var sent wire.STSRequest
	if err := strict.JSON(e.Raw, maxSTS, &sent); err != nil {
		return Principal{}, w, err
	}
	caller, err := callerOf(ctx, i.STS, sent, e)
	if err != nil {
		return Principal{}, w, err
	}
	w = Witness{Proven: true, Actor: outsider(caller), Data: map[string]string{"aws": proof.Name(caller)}}
	if err := e.Proven(ctx); err != nil {
		return Principal{}, w, err
	}
	mappings, err := i.Mappings(ctx)
	if err != nil {
		return Principal{}, w, err
	}
	m, err := i.admitted(mappings, caller)
	if err != nil {
		return Principal{}, w, err
	}
	w.Data["mapping"] = m.Metadata.Name
	p, err := named(m, caller)
	return p, w, err
}

// callerOf rebuilds the request and has AWS say who signed it.
func callerOf(ctx context.Context, sts STS, sent wire.STSRequest, e Evidence) (resource.IAMIdentity, error) {
	request, err := proof.Rebuild(sent, e.Binding, e.Now)
	if err != nil {
		return resource.IAMIdentity{}, err
	}
	return sts.Caller(ctx, request)
}

// admitted finds the mapping that admits the caller. The canary is nobody else, whatever is written: another mapping
// could give it something, or keep it out.
func (i IAM) admitted(stored []resource.Mapping, c resource.IAMIdentity) (resource.Mapping, error) {
	if i.Canary.Account != "" && i.Canary.Matches(c) {
		return resource.Canary(i.Canary), nil
	}
	return mapped(append(i.builtin(), stored...), c)
}

// builtin is the first administrator's mapping, from the deployment's configuration.
func (i IAM) builtin() []resource.Mapping {
	if i.Bootstrap.Account == "" {
		return nil
	}
	return []resource.Mapping{resource.Bootstrap(i.Bootstrap)}
}

// mapped finds the one mapping that admits the caller: the first administrator's, before any other. Two that match are
// refused, naming both: the signer must not guess which of them was meant.
func mapped(mappings []resource.Mapping, c resource.IAMIdentity) (resource.Mapping, error) {
	var found []resource.Mapping
	for _, m := range mappings {
		if m.Spec.Match.Matches(c) {
			found = append(found, m)
		}
	}
	if i := slices.IndexFunc(found, func(m resource.Mapping) bool { return m.Metadata.Name == resource.BootstrapMapping }); i >= 0 {
		return found[i], nil // no other mapping can keep the first administrator out
	}
	switch len(found) {
	case 1:
		if found[0].Unreadable {
			return resource.Mapping{}, fault.Newf(fault.Denied, "ask an administrator to update the cluster or rewrite the mapping",
				"iam_mapping %s says something that this release doesn't know", found[0].Metadata.Name)
		}
		return found[0], nil
	case 0:
		if err := remade(mappings, c); err != nil {
			return resource.Mapping{}, err
		}
		return resource.Mapping{}, fault.Newf(fault.Denied, "ask an administrator for an iam_mapping of this role",
			"no iam_mapping admits the role %s of account %s", c.Role, c.Account)
	}
	var both []string
	for _, m := range found {
		both = append(both, m.Metadata.Name)
	}
	return resource.Mapping{}, fault.Newf(fault.Denied, "ask an administrator to change or delete iam_mappings until only one matches",
		"more than one iam_mapping matches this identity: %s", strings.Join(both, ", "))
}

// remade refuses somebody whose role was admitted before AWS gave it another suffix. The evidence proves the same permission
// set in the same account, so that no stranger learns of the mapping.
func remade(mappings []resource.Mapping, c resource.IAMIdentity) error {
	i := slices.IndexFunc(mappings, func(m resource.Mapping) bool { return m.Spec.Match.Remade(c) })
	if i < 0 {
		return nil
	}
	m := mappings[i]
	hint := fmt.Sprintf("ask an administrator to put %s into spec.match.role of iam_mapping %s", c.Role, m.Metadata.Name)
	if m.Metadata.Name == resource.BootstrapMapping {
		hint = fmt.Sprintf("deploy StileControl again with the role %s in BootstrapAdmin, or ask an administrator of the AWS account to do so", c.Role)
	}
	return fault.Newf(fault.Denied, hint, "the role %s of account %s differs only in its suffix from the one that iam_mapping %s admits: its permission set was assigned again in IAM Identity Center",
		c.Role, c.Account, m.Metadata.Name)
}

// named makes the principal. Without a user's name in the mapping it takes the session's, where that proves something.
func named(m resource.Mapping, c resource.IAMIdentity) (Principal, error) {
	name := m.Spec.User
	if name == "" {
		if !resource.IsSSO(c.Role) || m.Spec.Match.Role != c.Role {
			return Principal{}, fault.Newf(fault.Denied, "ask an administrator to set spec.user in it",
				"iam_mapping %s names no user, and the session name of %s proves nothing", m.Metadata.Name, c.Role)
		}
		name = c.Session
	}
	if !identity.ValidUserName(name) {
		return Principal{}, fault.Newf(fault.Denied, "ask an administrator to set spec.user in a mapping for this person", "%.64q can't be a user's name", name)
	}
	return Principal{
		Name: name, Mapping: m.Metadata.Name, Subject: []string{c.Partition, c.Account, c.RoleID, name},
		Roles: m.Spec.Roles, Traits: m.Spec.Traits,
	}, nil
}
