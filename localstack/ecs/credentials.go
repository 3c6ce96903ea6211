package ecs

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// CredentialsPath is where the container credentials endpoint is mounted.
const CredentialsPath = "/_ecs/credentials/"

// sessionLength of container credentials; the SDKs fetch new ones shortly before their end.
const sessionLength = 6 * time.Hour

// Credentials is the container credentials endpoint
// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html): a process that
// knows its path and token gets the session of its role. Paths and tokens are kept, because the processes
// that know them outlive the local AWS.
type Credentials struct {
	authority *iam.Authority
	path      string
	endpoint  string

	mu     sync.Mutex
	grants map[string]grant // by name
}

// grant is one process's claim to a role.
type grant struct {
	ID      string `json:"id"`    // the unguessable end of the path
	Token   string `json:"token"` // the Authorization header
	Role    string `json:"role"`  // ARN
	Session string `json:"session"`
}

// OpenCredentials reads what was granted before from a file in dir.
func OpenCredentials(authority *iam.Authority, dir, endpoint string) (*Credentials, error) {
	c := &Credentials{authority: authority, path: filepath.Join(dir, "credentials.json"), endpoint: endpoint, grants: map[string]grant{}}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c.grants)
	}
	if err != nil {
		return nil, fmt.Errorf("reading container credentials from %s: %w", c.path, err)
	}
	return c, nil
}

// Claim is a process that wants to act as a role.
type Claim struct {
	Name    string // of the process; its path and token stay the same for as long as the state does
	Service string // who assumes the role for it, such as ecs-tasks.amazonaws.com
	Source  string // ARN of the task or instance, which the trust policy may ask for
	Role    string // ARN
	Session string
}

// Grant lets a process act as a role, if the role's trust policy allows it, and returns the two variables
// that the SDKs look for.
func (c *Credentials) Grant(claim Claim) (map[string]string, error) {
	if _, _, err := c.authority.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal(claim.Service), RoleARN: claim.Role, Session: claim.Session, Duration: 15 * time.Minute,
		Context: map[string][]string{"aws:SourceAccount": {accountOf(claim.Source)}, "aws:SourceArn": {claim.Source}},
	}); err != nil {
		return nil, fmt.Errorf("role %s cannot be assumed by %s: %w", claim.Role, claim.Service, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.grants[claim.Name]
	if !ok {
		g = grant{ID: rand.Text(), Token: rand.Text()}
	}
	if g.Role != claim.Role || g.Session != claim.Session {
		g.Role, g.Session = claim.Role, claim.Session
		c.grants[claim.Name] = g
		if err := c.save(); err != nil {
			return nil, err
		}
	}
	return c.point(g), nil
}

// variables returns what a process of that name was granted, without changing whose credentials these are.
func (c *Credentials) variables(name string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g, ok := c.grants[name]; ok {
		return c.point(g)
	}
	return nil
}

func (c *Credentials) point(g grant) map[string]string {
	return map[string]string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": c.endpoint + CredentialsPath + g.ID,
		"AWS_CONTAINER_AUTHORIZATION_TOKEN":  g.Token,
	}
}

// accountOf is the account in an ARN, "" if there is none.
func accountOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}

func (c *Credentials) save() error {
	text, err := json.MarshalIndent(c.grants, "", " ")
	if err != nil {
		return fmt.Errorf("keeping container credentials: %w", err)
	}
	if err := os.WriteFile(c.path+".new", text, 0o600); err != nil {
		return fmt.Errorf("keeping container credentials: %w", err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		return fmt.Errorf("keeping container credentials: %w", err)
	}
	return nil
}

// ServeHTTP answers a process that asks for its credentials.
func (c *Credentials) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, CredentialsPath)
	g, ok := c.find(id, r.Header.Get("Authorization"))
	if !ok || r.Method != http.MethodGet {
		http.Error(w, `{"code":"AccessDenied","message":"no such credentials"}`, http.StatusForbidden)
		return
	}
	minted, err := c.authority.Mint(g.Role, g.Session, sessionLength)
	if err != nil {
		http.Error(w, `{"code":"InternalServerError","message":"the role is gone"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"RoleArn": g.Role, "AccessKeyId": minted.AccessKeyID, "SecretAccessKey": minted.SecretAccessKey,
		"Token": minted.SessionToken, "Expiration": minted.Expires.UTC().Format(time.RFC3339),
	})
}

func (c *Credentials) find(id, token string) (grant, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.grants {
		if subtle.ConstantTimeCompare([]byte(g.ID), []byte(id))&subtle.ConstantTimeCompare([]byte(g.Token), []byte(token)) == 1 {
			return g, true
		}
	}
	return grant{}, false
}
