// Package ec2 is the metadata service of an instance, in its second version alone
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html): it hands out the
// credentials of the instance's role, and says where and who the instance is.
//
// It knows no agent and starts nothing. Its entry point is [New].
package ec2

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

const (
	// sessionLength of an instance's credentials; the SDKs fetch new ones shortly before their end.
	sessionLength = 6 * time.Hour
	// maxTokens bounds those in force; more are a client that asks for one with each request.
	maxTokens = 256
	maxTTL    = 6 * time.Hour
)

// Instance is a server with a role.
type Instance struct {
	ID      string // i-…, which is also the name of the role's session
	Role    string // ARN
	Account string
	Region  string
	ARN     string // of the instance, which the trust policy may ask for
}

// Metadata answers one instance, which is whoever reaches it.
type Metadata struct {
	authority *iam.Authority
	instance  Instance
	now       func() time.Time

	mu     sync.Mutex
	tokens map[string]time.Time // with their ends
}

// New fails when EC2 may not assume the instance's role.
func New(authority *iam.Authority, instance Instance) (*Metadata, error) {
	const service = "ec2.amazonaws.com"
	if _, _, err := authority.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal(service), RoleARN: instance.Role, Session: instance.ID, Duration: 15 * time.Minute,
		Context: map[string][]string{"aws:SourceAccount": {instance.Account}, "aws:SourceArn": {instance.ARN}},
	}); err != nil {
		return nil, fmt.Errorf("role %s cannot be assumed by %s: %w", instance.Role, service, err)
	}
	return &Metadata{authority: authority, instance: instance, now: time.Now, tokens: map[string]time.Time{}}, nil
}

// ServeHTTP answers as 169.254.169.254 does.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/latest/api/token":
		m.token(w, r)
	case !m.known(r.Header.Get("X-aws-ec2-metadata-token")):
		fail(w, http.StatusUnauthorized)
	case r.Method != http.MethodGet:
		fail(w, http.StatusMethodNotAllowed)
	default:
		m.get(w, r.URL.Path)
	}
}

// token starts a client's session. What came through a proxy is refused: a token is for programs on the instance.
func (m *Metadata) token(w http.ResponseWriter, r *http.Request) {
	const header = "X-aws-ec2-metadata-token-ttl-seconds"
	seconds, err := strconv.Atoi(r.Header.Get(header))
	switch {
	case r.Method != http.MethodPut:
		fail(w, http.StatusMethodNotAllowed)
	case r.Header.Get("X-Forwarded-For") != "":
		fail(w, http.StatusForbidden)
	case err != nil || seconds < 1 || time.Duration(seconds)*time.Second > maxTTL:
		fail(w, http.StatusBadRequest)
	default:
		w.Header().Set(header, strconv.Itoa(seconds))
		_, _ = fmt.Fprint(w, m.issue(time.Duration(seconds)*time.Second))
	}
}

func (m *Metadata) issue(life time.Duration) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	maps.DeleteFunc(m.tokens, func(_ string, end time.Time) bool { return !now.Before(end) })
	if len(m.tokens) >= maxTokens {
		clear(m.tokens) // clients ask for another when theirs is refused
	}
	token := rand.Text()
	m.tokens[token] = now.Add(life)
	return token
}

func (m *Metadata) known(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.tokens[token])
}

func (m *Metadata) get(w http.ResponseWriter, at string) {
	role := path.Base(m.instance.Role)
	switch at {
	case "/latest/meta-data/instance-id":
		_, _ = fmt.Fprint(w, m.instance.ID)
	case "/latest/meta-data/placement/region":
		_, _ = fmt.Fprint(w, m.instance.Region)
	case "/latest/dynamic/instance-identity/document":
		answer(w, map[string]string{"version": "2017-09-30", "accountId": m.instance.Account, "region": m.instance.Region, "instanceId": m.instance.ID})
	case "/latest/meta-data/iam/security-credentials/":
		_, _ = fmt.Fprint(w, role)
	case "/latest/meta-data/iam/security-credentials/" + role:
		m.credentials(w)
	default:
		fail(w, http.StatusNotFound)
	}
}

func (m *Metadata) credentials(w http.ResponseWriter) {
	minted, err := m.authority.Mint(m.instance.Role, m.instance.ID, sessionLength)
	if err != nil {
		answer(w, map[string]string{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role " + path.Base(m.instance.Role)})
		return
	}
	answer(w, map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": minted.AccessKeyID, "SecretAccessKey": minted.SecretAccessKey, "Token": minted.SessionToken,
		"LastUpdated": m.now().UTC().Format(time.RFC3339), "Expiration": minted.Expires.UTC().Format(time.RFC3339),
	})
}

func answer(w http.ResponseWriter, v map[string]string) { _ = json.NewEncoder(w).Encode(v) }

func fail(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }
