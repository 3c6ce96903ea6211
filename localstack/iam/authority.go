// Package iam is the local account's Identity and Access Management: who exists, with which credentials,
// and what policies let them do. It decides as AWS documents it: an explicit deny wins, the rest of the
// rules are at [Authority.Decide].
//
// It knows no service and no HTTP. Its entry point is [Open].
package iam

import (
	"encoding/json"
	"errors"
	"time"
)

// Config says whose account this is and where it is kept.
type Config struct {
	Dir       string           // where iam.bolt is kept, created 0700
	Account   string           // twelve digits
	Partition string           // default aws
	Region    string           // default us-east-1
	Now       func() time.Time // default time.Now
}

// Authority holds the account's roles, users, policies and credentials. It is safe for concurrent use.
type Authority struct {
	config Config
}

// Role is an IAM role.
type Role struct {
	Account    string // default the authority's; another makes a foreign role
	Name       string
	Path       string // default "/"; "/aws-reserved/sso.amazonaws.com/" is allowed
	ID         string // AROA…, given by the authority and stable
	ARN        string // given by the authority
	Trust      json.RawMessage
	Inline     map[string]Inline // by policy name
	Managed    []string          // ARNs
	Boundary   string            // ARN of a managed policy
	MaxSession time.Duration     // default one hour
	Tags       map[string]string
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

// Credentials sign calls. Keep the secrets out of logs.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    // "" for a user's key
	Expires         time.Time // zero for a user's key
}

// ErrNotFound means that no such role, user, policy or key exists.
var ErrNotFound = errors.New("no such entity")

var errLater = errors.New("not there yet")

// Open reads or creates the authority kept in c.Dir. Close it when done.
func Open(c Config) (*Authority, error) { return &Authority{config: c}, nil }

// Close releases the file.
func (a *Authority) Close() error { return nil }

// Account is the twelve digits of the authority's own account.
func (a *Authority) Account() string { return a.config.Account }

// Partition is aws, aws-cn or aws-us-gov.
func (a *Authority) Partition() string { return a.config.Partition }

// Region is the one Region that services answer for.
func (a *Authority) Region() string { return a.config.Region }

// PutRole creates the role, or replaces all of an existing one but its ID. It returns it with ID and ARN.
func (a *Authority) PutRole(r Role) (Role, error) { return r, errLater }

// Role gives the role with that name or ARN.
func (a *Authority) Role(nameOrARN string) (Role, error) { return Role{}, errLater }

// DeleteRole removes the role; its sessions end at once.
func (a *Authority) DeleteRole(nameOrARN string) error { return errLater }

// PutUser creates the user, or replaces all of an existing one but its ID.
func (a *Authority) PutUser(u UserRecord) (UserRecord, error) { return u, errLater }

// CreateAccessKey gives the user a new long-term key.
func (a *Authority) CreateAccessKey(userNameOrARN string) (Credentials, error) {
	return Credentials{}, errLater
}

// PutManagedPolicy creates or replaces a customer managed policy and returns its ARN.
func (a *Authority) PutManagedPolicy(path, name string, document json.RawMessage) (string, error) {
	return "", errLater
}

// Mint makes credentials for a session of the role without asking its trust policy, as the service that
// runs a function or task does after it has asked. Any positive duration is good.
func (a *Authority) Mint(roleARN, session string, d time.Duration) (Credentials, error) {
	return Credentials{}, errLater
}

// Assume is sts:AssumeRole: it asks the trust policy whether the caller may (use [ServicePrincipal] for
// Lambda and ECS tasks), then mints.
func (a *Authority) Assume(r AssumeRequest) (Credentials, *Principal, error) {
	return Credentials{}, nil, errLater
}

// AssumeRequest is what sts:AssumeRole takes.
type AssumeRequest struct {
	Caller   *Principal
	RoleARN  string
	Session  string        // 2 to 64 characters of [\w+=,.@-]
	Duration time.Duration // default one hour; 15 minutes up to the role's MaxSession
	Policy   []byte        // session policy, or nil
	Context  map[string][]string
}

// Lookup finds who an access key belongs to. The credentials' token and expiry are the caller's to check.
func (a *Authority) Lookup(accessKeyID string) (Credentials, *Principal, error) {
	return Credentials{}, nil, errLater
}

// Decide answers the query as AWS would.
func (a *Authority) Decide(p *Principal, q Query) Decision { return Decision{Reason: "not there yet"} }

// NewProvider provisions AWS::IAM::Role, AWS::IAM::Policy and AWS::IAM::ManagedPolicy into the authority.
func NewProvider(a *Authority) *Provider { return &Provider{authority: a} }

// Provider is a resource.Provider.
type Provider struct {
	authority *Authority
}
