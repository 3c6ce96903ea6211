// Package iam is the local account's Identity and Access Management: who exists, with which credentials,
// and what policies let them do. It decides as AWS documents it; the rules are at [Authority.Decide].
//
// It knows no service and no HTTP. Its entry point is [Open].
package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// Config says whose account this is and where it is kept.
type Config struct {
	Dir       string           // where iam.bolt is kept, created 0700
	Account   string           // twelve digits
	Partition string           // default aws
	Region    string           // default us-east-1
	Now       func() time.Time // default time.Now
	// Settle is how long after a template made or changed a role its own policies take effect; 0 means at once. On AWS
	// it takes some seconds, and sometimes half a minute.
	Settle time.Duration
}

// Authority holds the account's roles, users, policies and credentials. It is safe for concurrent use:
// readers share a lock over maps that mirror the file, writers change both.
type Authority struct {
	config Config
	db     *bbolt.DB
	uses   *usage

	mu       sync.RWMutex
	roles    map[string]*roleEntry // by account/name
	users    map[string]*userEntry // by account/name
	keys     map[string]keyRecord
	sessions map[string]*Policy // parsed session policies by access key
}

type roleEntry struct {
	Role
	trust *Policy
	policies
	earlier []*Policy // what counts in place of the inline policies until then
	until   time.Time
}

type userEntry struct {
	UserRecord
	policies
}

// keyRecord is a stored access key: a user's, or a role session's.
type keyRecord struct {
	Credentials
	User    string // key into users
	Role    string // key into roles
	RoleID  string // a session dies with the role it was made for
	Session string
	Policy  json.RawMessage `json:",omitempty"` // session policy; a nil one would be read back as null
}

// ErrNotFound means that no such role, user, policy or key exists.
var ErrNotFound = errors.New("no such entity")

// Open reads or creates the authority kept in c.Dir. Close it when done.
func Open(c Config) (*Authority, error) {
	if c.Partition == "" {
		c.Partition = "aws"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if !accountForm.MatchString(c.Account) {
		return nil, fmt.Errorf("opening iam: account %q is not twelve digits", c.Account)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening iam: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "iam.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening iam: another process may hold %s: %w", c.Dir, err)
	}
	list, err := openUses(c.Dir, c.Now)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening iam: %w", err), db.Close())
	}
	a := &Authority{
		config: c, db: db, uses: list,
		roles: map[string]*roleEntry{}, users: map[string]*userEntry{},
		keys: map[string]keyRecord{}, sessions: map[string]*Policy{},
	}
	if err := a.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening iam: %w", err), a.Close())
	}
	return a, nil
}

// Close releases the files.
func (a *Authority) Close() error { return errors.Join(a.uses.close(), a.db.Close()) }

// Account returns the twelve digits of the authority's own account.
func (a *Authority) Account() string { return a.config.Account }

// Partition returns aws, aws-cn or aws-us-gov.
func (a *Authority) Partition() string { return a.config.Partition }

// Region returns the Region that services answer for.
func (a *Authority) Region() string { return a.config.Region }

func (a *Authority) now() time.Time { return a.config.Now() }

// owner splits "name" or an ARN of a role, user or session into the key of our maps.
func (a *Authority) owner(nameOrARN string) string {
	if !strings.HasPrefix(nameOrARN, "arn:") {
		return a.config.Account + "/" + nameOrARN
	}
	parts := strings.SplitN(nameOrARN, ":", 6)
	if len(parts) < 6 {
		return nameOrARN
	}
	name := parts[5][strings.LastIndexByte(parts[5], '/')+1:]
	return parts[4] + "/" + name
}

// bindings collects the policies that decide about the principal at this moment.
func (a *Authority) bindings(p *Principal) (bindings, error) {
	b := bindings{session: p.Policies}
	if p.Kind == Service {
		return b, nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	var own policies
	if p.Kind == AssumedRole {
		r, ok := a.roles[a.owner(p.RoleARN)]
		if !ok || r.ARN != p.RoleARN {
			return b, fmt.Errorf("the role %s is gone", p.RoleARN)
		}
		own = r.effective(a.now())
	} else {
		u, ok := a.users[a.owner(p.ARN)]
		if !ok || u.ARN != p.ARN {
			return b, fmt.Errorf("the user %s is gone", p.ARN)
		}
		own = u.policies
	}
	b.identity, b.boundary = own.inline, own.boundary
	return b, nil
}
