package kms

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/iam"
)

type aliasInput struct {
	AliasName   string
	TargetKeyID string `json:"TargetKeyId"`
}

var aliasForm = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)

func checkAliasName(name string) error {
	if !aliasForm.MatchString(name) {
		return fail("ValidationException", "Alias must start with the prefix \"alias/\" and have letters, digits, /, _ and -: '%s'", name)
	}
	if strings.HasPrefix(name, "alias/aws/") {
		return fail("NotAuthorizedException", "alias/aws/ is reserved for AWS")
	}
	return nil
}

// mayAlias asks for the action on the alias itself, which only identity policies mention.
func (s *Service) mayAlias(r *request, name string) error {
	return r.call.Authorize(iam.Query{Action: "kms:" + r.name, Resource: s.arn(name)})
}

func createAlias(s *Service, r *request) (any, error) {
	var in aliasInput
	if err := r.read(&in); err != nil {
		return nil, err
	}
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	k, err := s.findKey(r, in.TargetKeyID)
	if err != nil {
		return nil, err
	}
	if err := s.mayAlias(r, in.AliasName); err != nil {
		return nil, err
	}
	if err := s.authorize(r, k, nil); err != nil {
		return nil, err
	}
	return struct{}{}, s.setAlias(in.AliasName, k, true)
}

func (s *Service) setAlias(name string, k *key, create bool) error {
	if k.State == pending {
		return s.usable(k)
	}
	err := s.keys.putAlias(name, k.ID, create, s.config.Now().UTC())
	if errors.Is(err, errAlias) && create {
		return fail("AlreadyExistsException", "An alias with the name %s already exists", s.arn(name))
	}
	if errors.Is(err, errAlias) {
		return fail("NotFoundException", "Alias %s is not found.", s.arn(name))
	}
	return err
}

func deleteAlias(s *Service, r *request) (any, error) {
	var in aliasInput
	if err := r.read(&in); err != nil {
		return nil, err
	}
	k, err := s.find(r, in.AliasName)
	if err != nil {
		return nil, err
	}
	if err := s.mayAlias(r, in.AliasName); err != nil {
		return nil, err
	}
	r.alias = ""
	if err := s.authorize(r, k, nil); err != nil {
		return nil, err
	}
	return struct{}{}, s.keys.dropAlias(in.AliasName)
}

type aliasEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyID     string `json:"TargetKeyId"`
	CreationDate    float64
	LastUpdatedDate float64
}

func listAliases(s *Service, r *request) (any, error) {
	in := struct {
		KeyID  string `json:"KeyId"`
		Limit  int
		Marker string
	}{Limit: 50}
	if err := r.read(&in); err != nil {
		return nil, err
	}
	if in.Limit < 1 || in.Limit > 100 {
		return nil, fail("ValidationException", "Limit must be 1 to 100")
	}
	if err := r.call.Authorize(iam.Query{Action: "kms:ListAliases", Resource: "*"}); err != nil {
		return nil, err
	}
	only := ""
	if in.KeyID != "" {
		k, err := s.findKey(r, in.KeyID)
		if err != nil {
			return nil, err
		}
		only = k.ID
	}
	out := []aliasEntry{}
	all := s.keys.allAliases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		if name <= in.Marker || only != "" && a.Target != only {
			continue
		}
		if len(out) == in.Limit {
			return map[string]any{"Aliases": out, "Truncated": true, "NextMarker": out[len(out)-1].AliasName}, nil
		}
		out = append(out, aliasEntry{name, s.arn(name), a.Target, seconds(a.Created), seconds(a.Updated)})
	}
	return map[string]any{"Aliases": out, "Truncated": false}, nil
}
