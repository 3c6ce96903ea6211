package ecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/localstack/resource"
)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::ECR::Repository"} }

var nameForm = regexp.MustCompile(`^[a-z0-9]+(?:[._/-][a-z0-9]+)*$`)

// Provision makes or changes a repository.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	name := strings.ToLower(r.Name(200))
	if !nameForm.MatchString(name) {
		in.Fail("RepositoryName", "%q is not a name of a repository", name)
	}
	mutability := in.String("ImageTagMutability")
	if mutability != "" && mutability != "IMMUTABLE" && mutability != "MUTABLE" {
		in.Fail("ImageTagMutability", "%q is neither IMMUTABLE nor MUTABLE", mutability)
	}
	empty := in.Bool("EmptyOnDelete")
	keep, err := lifecycle(in.Object("LifecyclePolicy"))
	if err != nil {
		in.Fail("LifecyclePolicy", "%w", err)
	}
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.repositories[name]
	if have == nil {
		have = &repository{Layers: map[string]int64{}, Images: map[string]*image{}}
		s.repositories[name] = have
	}
	have.Immutable, have.EmptyOnDelete, have.Keep = mutability == "IMMUTABLE", empty, keep
	if err := s.expire(name, have); err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": s.arn(name), "RepositoryUri": s.URI(name)}}, s.save()
}

// Remove deletes the repository, which must be empty or say that it may be emptied.
func (s *Service) Remove(r resource.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.repositories[r.PhysicalID]
	if have == nil {
		return nil
	}
	if len(have.Images) > 0 && !have.EmptyOnDelete {
		return fmt.Errorf("%s: the repository with name '%s' cannot be deleted because it still contains images", r.LogicalID, r.PhysicalID)
	}
	delete(s.repositories, r.PhysicalID)
	for id, u := range s.uploads {
		if u.repository == r.PhysicalID {
			delete(s.uploads, id)
		}
	}
	if err := os.RemoveAll(s.folder(r.PhysicalID)); err != nil {
		return fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return s.save()
}

// lifecycle reads the one form of rule that is understood: keep so many images, whatever their tags.
func lifecycle(property map[string]any) (keep int, err error) {
	if property == nil {
		return 0, nil
	}
	text, _ := property["LifecyclePolicyText"].(string)
	var policy struct {
		Rules []struct {
			RulePriority int    `json:"rulePriority"`
			Description  string `json:"description"`
			Selection    struct {
				TagStatus   string `json:"tagStatus"`
				CountType   string `json:"countType"`
				CountNumber int    `json:"countNumber"`
			} `json:"selection"`
			Action struct {
				Type string `json:"type"`
			} `json:"action"`
		} `json:"rules"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&policy); err != nil {
		return 0, fmt.Errorf("reading LifecyclePolicyText: %w", err)
	}
	if len(property) != 1 || len(policy.Rules) != 1 {
		return 0, errors.New("the local ECR understands LifecyclePolicyText with one rule")
	}
	rule := policy.Rules[0]
	if rule.RulePriority < 1 || rule.Selection.TagStatus != "any" || rule.Selection.CountType != "imageCountMoreThan" ||
		rule.Selection.CountNumber < 1 || rule.Action.Type != "expire" {
		return 0, errors.New("the local ECR understands a rule that counts images of any tag status with imageCountMoreThan and expires the others")
	}
	return rule.Selection.CountNumber, nil
}
