package kms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/resource"
)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::KMS::Key", "AWS::KMS::Alias"} }

// Provision creates or updates a key or alias.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	if r.Type == "AWS::KMS::Alias" {
		return s.provisionAlias(r)
	}
	in := resource.Read(r)
	_ = pendingWindow(in)
	spec, usage := in.Required("KeySpec"), in.String("KeyUsage")
	policy, err := json.Marshal(in.Object("KeyPolicy"))
	if err != nil {
		in.Fail("KeyPolicy", "%w", err)
	}
	if !in.Has("KeyPolicy") {
		policy = nil
	}
	if in.Bool("MultiRegion") {
		in.Fail("MultiRegion", "the local KMS doesn't know this")
	}
	want := key{Description: in.String("Description"), Policy: policy, Tags: in.Tags("Tags"), State: enabled}
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	k, err := s.provisionKey(r.PhysicalID, spec, usage, want)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: k.ID, Attributes: map[string]any{"Arn": s.keyARN(k), "KeyId": k.ID}}, nil
}

func (s *Service) provisionKey(id, spec, usage string, want key) (*key, error) {
	before, there := s.keys.get(id, s.config.Now())
	if !there {
		k, err := s.draft(spec, usage)
		if err != nil {
			return nil, err
		}
		k.Description, k.Policy, k.Tags, k.State = want.Description, want.Policy, want.Tags, want.State
		if err := s.checkPolicy(nil, k, false); err != nil {
			return nil, err
		}
		return k, s.make(k)
	}
	if before.Spec != spec || before.Usage != usage {
		return nil, fmt.Errorf("KeySpec: key %s is a %s for %s; CloudFormation refuses to change that", id, before.Spec, before.Usage)
	}
	want.ID = id
	if want.Policy != nil && bytes.Equal(want.Policy, before.Declared) { // it isn't put again, so that its ids stay
		want.Policy, want.Declared = before.Policy, before.Declared
	} else if err := s.checkPolicy(nil, &want, false); err != nil {
		return nil, err
	}
	return s.keys.change(id, func(k *key) {
		k.Description, k.Policy, k.Declared, k.Tags = want.Description, want.Policy, want.Declared, want.Tags
		if k.State != pending {
			k.State = want.State
		}
	})
}

func (s *Service) provisionAlias(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	name, target := in.Required("AliasName"), in.Required("TargetKeyId")
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	if err := checkAliasName(name); err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	k, ok := s.keys.get(strings.TrimPrefix(target, s.arn("key/")), s.config.Now())
	if !ok {
		return resource.Outcome{}, fmt.Errorf("%s.TargetKeyId: no such key: %s", r.LogicalID, target)
	}
	if r.PhysicalID != "" && r.PhysicalID != name {
		return resource.Outcome{}, fmt.Errorf("%s.AliasName: %s cannot be renamed to %s", r.LogicalID, r.PhysicalID, name)
	}
	old, there := s.keys.alias(name)
	if there && r.New() {
		return resource.Outcome{}, fmt.Errorf("%s: %s: %w", r.LogicalID, name, resource.ErrExists)
	}
	if !there || old != k.ID {
		if err := s.setAlias(name, k, !there); err != nil {
			return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
		}
	}
	return resource.Outcome{Ref: name}, nil
}

// pendingWindow reads how long a key that was removed can still be had back.
func pendingWindow(in *resource.Reader) time.Duration {
	days := 30
	if in.Has("PendingWindowInDays") {
		var err error
		if days, err = strconv.Atoi(in.String("PendingWindowInDays")); err != nil || days < 7 || days > 30 {
			in.Fail("PendingWindowInDays", "must be 7 to 30")
		}
	}
	return time.Duration(days) * 24 * time.Hour
}

// Remove schedules the deletion of a key, or deletes an alias.
func (s *Service) Remove(r resource.Resource) error {
	if r.Type == "AWS::KMS::Alias" {
		return s.keys.dropAlias(r.PhysicalID)
	}
	if k, ok := s.keys.get(r.PhysicalID, s.config.Now()); !ok || k.State == pending {
		return nil
	}
	window := pendingWindow(resource.Read(r))
	_, err := s.keys.change(r.PhysicalID, func(k *key) { k.State, k.Deletion = pending, s.config.Now().UTC().Add(window) })
	return err
}
