package iam

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Role is an IAM role.
type Role struct {
	Account    string // default the authority's; another makes a foreign role
	Name       string
	Path       string            // default "/"; "/aws-reserved/sso.amazonaws.com/" is allowed
	ID         string            // AROA…, given by the authority and stable
	ARN        string            // given by the authority
	Trust      json.RawMessage   // its trust policy
	Inline     map[string]Inline // by policy name
	Boundary   json.RawMessage   `json:"BoundaryPolicy,omitempty"` // its permissions boundary, the policy itself
	MaxSession time.Duration     // default one hour
	Tags       map[string]string
	Created    time.Time // given by the authority
}

// Inline is a policy that lives in its role or user.
type Inline struct {
	Document json.RawMessage
}

// UserRecord is an IAM user.
type UserRecord struct {
	Account  string
	Name     string
	Path     string // default "/"
	ID       string // AIDA…
	ARN      string
	Inline   map[string]Inline
	Boundary json.RawMessage `json:"BoundaryPolicy,omitempty"`
	Tags     map[string]string
}

var (
	nameForm = regexp.MustCompile(`^[\w+=,.@-]+$`)
	pathForm = regexp.MustCompile(`^/([\x21-\x2e\x30-\x7e]+/)*$`)
)

// checkName refuses what IAM refuses.
func checkName(kind, name, path string, limit int) error {
	if !nameForm.MatchString(name) || len(name) > limit {
		return fmt.Errorf("%s name %q: must be 1 to %d of letters, digits and _+=,.@-", kind, name, limit)
	}
	if !pathForm.MatchString(path) || len(path) > 512 {
		return fmt.Errorf("%s path %q: must begin and end with /", kind, path)
	}
	return nil
}

// PutRole creates the role, or replaces all of an existing one but its ID, account and creation time. It
// returns it with ID and ARN. A changed path makes another role, with another ID, as it would in AWS.
func (a *Authority) PutRole(r Role) (Role, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r = a.roleDefaults(r)
	if err := checkName("role", r.Name, r.Path, 64); err != nil {
		return r, err
	}
	key := r.Account + "/" + r.Name
	r.ARN = "arn:" + a.config.Partition + ":iam::" + r.Account + ":role" + r.Path + r.Name
	r.ID, r.Created = newID("AROA"), a.now().UTC()
	if before, ok := a.roles[key]; ok && before.ARN == r.ARN {
		r.ID, r.Created = before.ID, before.Created
	}
	entry, err := newRoleEntry(r)
	if err != nil {
		return r, err
	}
	if err := a.put("role", key, r); err != nil {
		return r, err
	}
	a.roles[key] = entry
	return r, nil
}

func (a *Authority) roleDefaults(r Role) Role {
	if r.Account == "" {
		r.Account = a.config.Account
	}
	if r.Path == "" {
		r.Path = "/"
	}
	if r.MaxSession == 0 {
		r.MaxSession = time.Hour
	}
	return r
}

func newRoleEntry(r Role) (*roleEntry, error) {
	trust, err := Parse("trust policy of role/"+r.Name, TrustShape, r.Trust)
	if err != nil {
		return nil, err
	}
	own, err := parsePolicies("role/"+r.Name, r.Inline, r.Boundary)
	return &roleEntry{Role: r, trust: trust, policies: own}, err
}

func newUserEntry(u UserRecord) (*userEntry, error) {
	own, err := parsePolicies("user/"+u.Name, u.Inline, u.Boundary)
	return &userEntry{UserRecord: u, policies: own}, err
}

// policies are those of a role or user, parsed.
type policies struct {
	inline   []*Policy
	boundary *Policy // nil when there is none
}

func parsePolicies(owner string, inline map[string]Inline, boundary json.RawMessage) (out policies, err error) {
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		p, err := Parse(owner+"/"+name, IdentityShape, inline[name].Document)
		if err != nil {
			return out, err
		}
		out.inline = append(out.inline, p)
	}
	if boundary != nil {
		out.boundary, err = Parse("boundary of "+owner, IdentityShape, boundary)
	}
	return out, err
}

// Role returns the role with that name (in the authority's account) or ARN.
func (a *Authority) Role(nameOrARN string) (Role, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	r, ok := a.roles[a.owner(nameOrARN)]
	if !ok || strings.HasPrefix(nameOrARN, "arn:") && r.ARN != nameOrARN {
		return Role{}, fmt.Errorf("role %s: %w", nameOrARN, ErrNotFound)
	}
	return r.Role, nil
}

// DeleteRole removes the role; its sessions end at once.
func (a *Authority) DeleteRole(nameOrARN string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.owner(nameOrARN)
	if _, ok := a.roles[key]; !ok {
		return fmt.Errorf("role %s: %w", nameOrARN, ErrNotFound)
	}
	if err := a.drop("role", key); err != nil {
		return err
	}
	delete(a.roles, key)
	return nil
}

// PutUser creates the user, or replaces all of an existing one but its ID.
func (a *Authority) PutUser(u UserRecord) (UserRecord, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.Account == "" {
		u.Account = a.config.Account
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if err := checkName("user", u.Name, u.Path, 64); err != nil {
		return u, err
	}
	key := u.Account + "/" + u.Name
	u.ARN = "arn:" + a.config.Partition + ":iam::" + u.Account + ":user" + u.Path + u.Name
	u.ID = newID("AIDA")
	if before, ok := a.users[key]; ok && before.ARN == u.ARN {
		u.ID = before.ID
	}
	entry, err := newUserEntry(u)
	if err != nil {
		return u, err
	}
	if err := a.put("user", key, u); err != nil {
		return u, err
	}
	a.users[key] = entry
	return u, nil
}

// newID makes a unique id of AWS's form: four letters that name the kind and seventeen of base 32.
func newID(prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	raw := make([]byte, 17)
	_, _ = rand.Read(raw) // never fails; see crypto/rand
	for i, b := range raw {
		raw[i] = alphabet[b%32]
	}
	return prefix + string(raw)
}

// CheckPrincipals refuses a resource or trust policy that names a role or user of this account which does
// not exist, as AWS does when the policy is written.
func (a *Authority) CheckPrincipals(p *Policy) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, s := range p.Statements {
		for _, name := range s.Principals() {
			if accountOf(name) != a.config.Account || strings.HasSuffix(name, ":root") {
				continue
			}
			role, isRole := a.roles[a.owner(name)]
			user, isUser := a.users[a.owner(name)]
			switch {
			case strings.Contains(name, ":assumed-role/"):
			case isRole && role.ARN == name, isUser && user.ARN == name:
			default:
				return fmt.Errorf("policy %s, statement %s: the principal %s: %w", p.Name, s.Sid, name, ErrNotFound)
			}
		}
	}
	return nil
}
