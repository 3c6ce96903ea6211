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
	Managed    []string          // ARNs
	Boundary   string            // ARN of a managed policy
	MaxSession time.Duration     // default one hour
	Tags       map[string]string
	Created    time.Time // given by the authority
}

// Inline is a policy that lives in its role or user.
type Inline struct {
	Document json.RawMessage
	Owner    string // which template resource put it there; "" for the identity itself
}

// UserRecord is an IAM user.
type UserRecord struct {
	Account  string
	Name     string
	Path     string // default "/"
	ID       string // AIDA…
	ARN      string
	Inline   map[string]Inline
	Managed  []string
	Boundary string
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
	if err := a.checkManaged(append(slices.Clone(r.Managed), r.Boundary)); err != nil {
		return r, fmt.Errorf("role %s: %w", r.Name, err)
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
	inline, err := parseInline("role/"+r.Name, r.Inline)
	return &roleEntry{Role: r, trust: trust, inline: inline}, err
}

func newUserEntry(u UserRecord) (*userEntry, error) {
	inline, err := parseInline("user/"+u.Name, u.Inline)
	return &userEntry{UserRecord: u, inline: inline}, err
}

func parseInline(owner string, inline map[string]Inline) ([]*Policy, error) {
	var out []*Policy
	for name, doc := range inline {
		p, err := Parse(owner+"/"+name, IdentityShape, doc.Document)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y *Policy) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

func (a *Authority) checkManaged(arns []string) error {
	for _, arn := range arns {
		if arn == "" {
			continue
		}
		if _, err := a.managedPolicy(arn); err != nil {
			return fmt.Errorf("%w; of AWS's own policies this account holds %s", err, strings.Join(awsManagedNames(), ", "))
		}
	}
	return nil
}

// Role gives the role with that name (in the authority's account) or ARN.
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
	if err := a.checkManaged(append(slices.Clone(u.Managed), u.Boundary)); err != nil {
		return u, fmt.Errorf("user %s: %w", u.Name, err)
	}
	if err := a.put("user", key, u); err != nil {
		return u, err
	}
	a.users[key] = entry
	return u, nil
}

// PutManagedPolicy creates or replaces a customer managed policy of the authority's account and returns its ARN.
func (a *Authority) PutManagedPolicy(path, name string, document json.RawMessage) (string, error) {
	if path == "" {
		path = "/"
	}
	if err := checkName("policy", name, path, 128); err != nil {
		return "", err
	}
	arn := "arn:" + a.config.Partition + ":iam::" + a.config.Account + ":policy" + path + name
	p, err := Parse(arn, IdentityShape, document)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	entry := managedEntry{ARN: arn, Document: document, policy: p}
	if before, ok := a.managed[arn]; ok {
		entry.Attached = before.Attached
	}
	if err := a.put("managed", arn, entry); err != nil {
		return "", err
	}
	a.managed[arn] = &entry
	return arn, nil
}

// DeleteManagedPolicy removes a customer managed policy that nobody uses any more.
func (a *Authority) DeleteManagedPolicy(arn string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.roles {
		if slices.Contains(r.Managed, arn) || r.Boundary == arn {
			return fmt.Errorf("policy %s: role %s still uses it", arn, r.Name)
		}
	}
	if _, ok := a.managed[arn]; !ok {
		return fmt.Errorf("policy %s: %w", arn, ErrNotFound)
	}
	if err := a.drop("managed", arn); err != nil {
		return err
	}
	delete(a.managed, arn)
	return nil
}

// changeRole reads, changes and writes one role while nobody else does.
func (a *Authority) changeRole(nameOrARN string, change func(*Role)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.owner(nameOrARN)
	before, ok := a.roles[key]
	if !ok {
		return fmt.Errorf("role %s: %w", nameOrARN, ErrNotFound)
	}
	r := before.Role
	r.Managed = slices.Clone(r.Managed)
	inline := make(map[string]Inline, len(r.Inline))
	maps.Copy(inline, r.Inline)
	r.Inline = inline
	change(&r)
	entry, err := newRoleEntry(r)
	if err != nil {
		return err
	}
	if err := a.checkManaged(r.Managed); err != nil {
		return fmt.Errorf("role %s: %w", r.Name, err)
	}
	if err := a.put("role", key, r); err != nil {
		return err
	}
	a.roles[key] = entry
	return nil
}

// PutInlinePolicy gives the role an inline policy, replacing the one of that name.
func (a *Authority) PutInlinePolicy(role, name string, doc Inline) error {
	return a.changeRole(role, func(r *Role) { r.Inline[name] = doc })
}

// DeleteInlinePolicy takes an inline policy from the role; one that isn't there is no error.
func (a *Authority) DeleteInlinePolicy(role, name string) error {
	return a.changeRole(role, func(r *Role) { delete(r.Inline, name) })
}

// AttachPolicy attaches a managed policy to the role; twice is no error.
func (a *Authority) AttachPolicy(role, policyARN string) error {
	return a.changeRole(role, func(r *Role) {
		if !slices.Contains(r.Managed, policyARN) {
			r.Managed = append(r.Managed, policyARN)
		}
	})
}

// DetachPolicy detaches a managed policy from the role; one that isn't attached is no error.
func (a *Authority) DetachPolicy(role, policyARN string) error {
	return a.changeRole(role, func(r *Role) {
		r.Managed = slices.DeleteFunc(r.Managed, func(s string) bool { return s == policyARN })
	})
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
