package iam

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"time"
)

// Credentials sign calls.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    // "" for a user's key
	Expires         time.Time // zero for a user's key
}

// LogValue keeps the secrets out of logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.AccessKeyID) }

// String keeps the secrets out of messages.
func (c Credentials) String() string { return c.AccessKeyID }

// AssumeRequest is what sts:AssumeRole takes.
type AssumeRequest struct {
	Caller     *Principal
	RoleARN    string
	Session    string              // 2 to 64 characters of [\w+=,.@-]
	Duration   time.Duration       // default one hour; 15 minutes up to the role's MaxSession, one hour when roles are chained
	Policy     []byte              // session policy, or nil
	ExternalID string              // for sts:ExternalId
	Context    map[string][]string // further condition keys
}

// Refusal is why a role cannot be assumed.
type Refusal struct {
	Denied bool // by policy; else the request is malformed
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

var errNoCredentials = errors.New("no such access key")

var sessionForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// PutAccessKey gives the user a long-term key that the caller has chosen, as an account file does.
func (a *Authority) PutAccessKey(userNameOrARN string, c Credentials) error {
	if len(c.AccessKeyID) < 16 || len(c.SecretAccessKey) < 16 || c.SessionToken != "" {
		return fmt.Errorf("access key %q of user %s: an id and a secret have 16 or more characters and no token", c.AccessKeyID, userNameOrARN)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	user := a.owner(userNameOrARN)
	if _, ok := a.users[user]; !ok {
		return fmt.Errorf("user %s: %w", userNameOrARN, ErrNotFound)
	}
	return a.keep(keyRecord{Credentials: Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey}, User: user})
}

// CreateAccessKey gives the user a new long-term key.
func (a *Authority) CreateAccessKey(userNameOrARN string) (Credentials, error) {
	c := Credentials{AccessKeyID: newID("AKIA")[:20], SecretAccessKey: secret(30)}
	return c, a.PutAccessKey(userNameOrARN, c)
}

// Mint makes credentials for a session of the role without asking its trust policy, as the service that
// runs a function or task does after it has asked. Any positive duration is good.
func (a *Authority) Mint(roleARN, session string, d time.Duration) (Credentials, error) {
	c, err := a.mint(roleARN, session, d, nil)
	if err != nil {
		return c, fmt.Errorf("making credentials for %s: %w", roleARN, err)
	}
	return c, nil
}

func (a *Authority) mint(roleARN, session string, d time.Duration, policy json.RawMessage) (Credentials, error) {
	if !sessionForm.MatchString(session) {
		return Credentials{}, fmt.Errorf("session name %q: must be 2 to 64 of letters, digits and _+=,.@-", session)
	}
	if d <= 0 {
		return Credentials{}, fmt.Errorf("duration %s: must be positive", d)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.owner(roleARN)
	r, ok := a.roles[key]
	if !ok || r.ARN != roleARN {
		return Credentials{}, ErrNotFound
	}
	if err := a.forget(); err != nil {
		return Credentials{}, err
	}
	k := keyRecord{
		Credentials: Credentials{
			AccessKeyID: newID("ASIA")[:20], SecretAccessKey: secret(30),
			SessionToken: secret(192), Expires: a.now().Add(d).UTC(),
		},
		Role: key, RoleID: r.ID, Session: session, Policy: policy,
	}
	return k.Credentials, a.keep(k)
}

// keep stores a key. The lock is held.
func (a *Authority) keep(k keyRecord) error {
	if err := a.put("key", k.AccessKeyID, k); err != nil {
		return err
	}
	return a.remember(k)
}

// forgetAfter is long enough that the holders of expired sessions learn why they are refused.
const forgetAfter = time.Hour

// forget removes sessions that expired a while ago. The lock is held.
func (a *Authority) forget() error {
	var stale []string
	for id, k := range a.keys {
		if !k.Expires.IsZero() && a.now().After(k.Expires.Add(forgetAfter)) {
			stale = append(stale, id)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	if err := a.drop("key", stale...); err != nil {
		return err
	}
	for _, id := range stale {
		delete(a.keys, id)
		delete(a.sessions, id)
	}
	return nil
}

// Assume is sts:AssumeRole: it asks the trust policy whether the caller may (use [ServicePrincipal] for
// Lambda and ECS tasks), then mints. The error is a [*Refusal] where the caller is to blame.
func (a *Authority) Assume(r AssumeRequest) (Credentials, *Principal, error) {
	role, err := a.Role(r.RoleARN)
	if err != nil || !strings.HasPrefix(r.RoleARN, "arn:") {
		return Credentials{}, nil, a.mayNot(r)
	}
	if r.Duration == 0 {
		r.Duration = min(time.Hour, role.MaxSession)
	}
	if err := checkAssume(r, role); err != nil {
		return Credentials{}, nil, err
	}
	context := maps.Clone(r.Context)
	if context == nil {
		context = map[string][]string{}
	}
	if r.ExternalID != "" {
		context["sts:ExternalId"] = []string{r.ExternalID}
	}
	a.mu.RLock()
	entry, there := a.roles[a.owner(r.RoleARN)]
	a.mu.RUnlock()
	if !there {
		return Credentials{}, nil, a.mayNot(r)
	}
	d := a.Decide(r.Caller, Query{
		Action: "sts:AssumeRole", Resource: role.ARN, Context: context,
		ResourcePolicies: []*Policy{entry.trust}, Mode: TrustPolicy, ResourceAccount: role.Account,
	})
	if !d.Allowed {
		return Credentials{}, nil, a.mayNot(r)
	}
	c, err := a.mint(role.ARN, r.Session, r.Duration, r.Policy)
	if err != nil {
		return c, nil, err
	}
	_, p, err := a.Lookup(c.AccessKeyID)
	return c, p, err
}

// mayNot is the same for a role that doesn't exist and one that doesn't trust the caller, as in AWS.
func (a *Authority) mayNot(r AssumeRequest) error {
	return &Refusal{Denied: true, Reason: "User: " + r.Caller.String() + " is not authorized to perform: sts:AssumeRole on resource: " + r.RoleARN}
}

func checkAssume(r AssumeRequest, role Role) error {
	limit := role.MaxSession
	if r.Caller != nil && r.Caller.Kind == AssumedRole {
		limit = min(limit, time.Hour)
	}
	switch {
	case !sessionForm.MatchString(r.Session):
		return &Refusal{Reason: "1 validation error detected: Value '" + r.Session + "' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]{2,64}"}
	case r.Duration < 15*time.Minute:
		return &Refusal{Reason: "1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"}
	case r.Duration > limit:
		return &Refusal{Reason: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."}
	case len(r.Policy) > 2048:
		return &Refusal{Reason: "Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"}
	}
	if len(r.Policy) > 0 {
		if _, err := Parse("session policy", IdentityShape, r.Policy); err != nil {
			return &Refusal{Reason: err.Error()}
		}
	}
	return nil
}

// Lookup finds who an access key belongs to. The token and expiry are the caller's to check.
func (a *Authority) Lookup(accessKeyID string) (Credentials, *Principal, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	k, ok := a.keys[accessKeyID]
	if !ok {
		return Credentials{}, nil, errNoCredentials
	}
	p := &Principal{Partition: a.config.Partition, AccessKeyID: accessKeyID}
	if k.User != "" {
		u, ok := a.users[k.User]
		if !ok {
			return Credentials{}, nil, errNoCredentials
		}
		p.Kind, p.Account, p.ARN, p.UserID, p.Tags, p.user = User, u.Account, u.ARN, u.ID, u.Tags, u.Name
		return k.Credentials, p, nil
	}
	r, ok := a.roles[k.Role]
	if !ok || r.ID != k.RoleID {
		return Credentials{}, nil, errNoCredentials
	}
	p.Kind, p.Account, p.RoleARN, p.RoleName, p.Session, p.Tags = AssumedRole, r.Account, r.ARN, r.Name, k.Session, r.Tags
	p.ARN = "arn:" + p.Partition + ":sts::" + r.Account + ":assumed-role/" + r.Name + "/" + k.Session
	p.UserID = r.ID + ":" + k.Session
	if sp, ok := a.sessions[accessKeyID]; ok {
		p.Policies = []*Policy{sp}
	}
	return k.Credentials, p, nil
}

// secret returns n bytes that nobody can guess, in base64.
func secret(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails; see crypto/rand
	return base64.StdEncoding.EncodeToString(raw)
}
