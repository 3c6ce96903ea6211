package iam

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// uniqueForm is the form of the unique id of a role or user.
var uniqueForm = regexp.MustCompile(`^(AROA|AIDA)[A-Z2-7]{17}$`)

// Pin is what a service stores of a resource policy: in it, the ARN of a role or user of this account as a principal is
// replaced by its unique id, as AWS does when the policy is put. Whoever is made later under the same name is not meant.
// A principal that does not exist is refused, as in [Authority.CheckPrincipals].
func (a *Authority) Pin(policy *Policy, raw json.RawMessage) (json.RawMessage, error) {
	if err := a.CheckPrincipals(policy); err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("policy %s: %w", policy.Name, err)
	}
	statements, several := doc["Statement"].([]any)
	if !several {
		statements = []any{doc["Statement"]}
	}
	for _, s := range statements {
		statement, _ := s.(map[string]any)
		for _, element := range []string{"Principal", "NotPrincipal"} {
			if by, ok := statement[element].(map[string]any); ok && by["AWS"] != nil {
				by["AWS"] = a.pinned(by["AWS"])
			}
		}
	}
	return json.Marshal(doc)
}

// pinned replaces ARNs in a string or a list of them.
func (a *Authority) pinned(v any) any {
	switch v := v.(type) {
	case string:
		if id := a.uniqueID(v); id != "" {
			return id
		}
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = a.pinned(one)
		}
		return out
	}
	return v
}

// uniqueID returns the id of a role or user of this account, "" for all else.
func (a *Authority) uniqueID(arn string) string {
	if accountOf(arn) != a.config.Account {
		return ""
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if r, ok := a.roles[a.owner(arn)]; ok && r.ARN == arn {
		return r.ID
	}
	if u, ok := a.users[a.owner(arn)]; ok && u.ARN == arn {
		return u.ID
	}
	return ""
}

// listed reports whether a role or user is among those that the element names by ARN or by unique id.
func (p *principals) listed(arn string, who *Principal) bool {
	id, _, _ := strings.Cut(who.UserID, ":")
	return slices.Contains(p.arns, arn) || slices.Contains(p.ids, id)
}
