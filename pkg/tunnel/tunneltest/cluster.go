// Package tunneltest makes small clusters for tests: authorities with their own keys, signed documents,
// and credentials of users, agents and proxies. Nothing but tests imports it.
//
// Its entry point is [New].
package tunneltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Name is the cluster's name.
const Name = "stile"

// Cluster is an authority and its documents.
type Cluster struct {
	ID   string
	Keys map[string]*ecdsa.PrivateKey // by purpose

	t           testing.TB
	trust       document.Signed
	policy      document.Signed
	revocations document.Signed
	versions    identity.Versions
}

// New makes a cluster with a trust document, a policy of the preset roles and the given ones, and no locks.
func New(t testing.TB, roles ...resource.Role) *Cluster {
	t.Helper()
	c := &Cluster{ID: "6f2f3c1e-0000-4000-8000-000000000001", Keys: map[string]*ecdsa.PrivateKey{}, t: t}
	for _, p := range []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		c.Keys[p] = Key(t)
	}
	c.versions = identity.Versions{
		Trust: identity.Version{Epoch: 1, Counter: 1}, Policy: identity.Version{Epoch: 1}, Revocations: identity.Version{Epoch: 1},
	}
	trust := document.Trust{Cluster: c.ID, Name: Name, Version: c.versions.Trust, IssuedAt: time.Now().UTC()}
	for p, k := range c.Keys {
		trust.Keys = append(trust.Keys, document.Key{Purpose: p, ID: document.KeyID(k.Public()), State: document.StateActive, Public: SPKI(t, k)})
	}
	c.trust = c.seal(document.KindTrust, trust, names.KeyRoot)
	c.SetRoles(roles...)
	c.Lock()
	return c
}

// Key makes a P-256 key.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// SPKI is a key's public half in DER.
func SPKI(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *Cluster) seal(kind document.Kind, body any, purpose string) document.Signed {
	c.t.Helper()
	s, err := document.Seal(kind, body, c.Keys[purpose])
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// SetRoles publishes a policy of the preset roles and these.
func (c *Cluster) SetRoles(roles ...resource.Role) {
	c.versions.Policy.Counter++
	c.policy = c.seal(document.KindPolicy, document.Policy{
		Cluster: c.ID, Version: c.versions.Policy, IssuedAt: time.Now().UTC(), Roles: append(resource.Presets(), roles...),
	}, names.KeyPolicy)
}

// Lock publishes revocations with these locks and nothing else.
func (c *Cluster) Lock(locks ...document.Lock) { c.revoke(document.Revocations{Locks: locks}) }

// Bar publishes revocations of what was issued to these until now.
func (c *Cluster) Bar(refs ...identity.Ref) {
	c.revoke(document.Revocations{}, refs...)
}

func (c *Cluster) revoke(r document.Revocations, refs ...identity.Ref) {
	c.versions.Revocations.Counter++
	now := time.Now().UTC()
	lists := map[string]revoked.Records{}
	for list, sum := range map[string]*revoked.Sum{revoked.Users: &r.Users, revoked.Agents: &r.Agents} {
		var orders []revoked.Order
		for _, ref := range refs {
			orders = append(orders, revoked.Order{Ref: ref, Until: now.Add(time.Hour)})
		}
		set, _ := revoked.Set{}.Settle(list, orders, c.versions.Revocations, now)
		*sum, lists[list] = set.Sum(), revoked.Records{Whole: true, Entries: set.Bytes()}
	}
	r.Cluster, r.Version, r.IssuedAt, r.Trust, r.Policy = c.ID, c.versions.Revocations, now, c.versions.Trust, c.versions.Policy
	c.revocations = c.seal(document.KindRevocations, r, names.KeyPolicy)
	c.revocations.Lists = lists
}

// Documents returns the newest of each kind.
func (c *Cluster) Documents() []document.Signed {
	return []document.Signed{c.trust, c.policy, c.revocations}
}

// Versions returns the versions of Documents.
func (c *Cluster) Versions() identity.Versions { return c.versions }

// Holder holds Documents as they are now.
func (c *Cluster) Holder() *document.Holder {
	c.t.Helper()
	h := document.NewHolder(c.ID, document.KeyID(c.Keys[names.KeyRoot].Public()))
	if err := h.Accept(c.Documents()...); err != nil {
		c.t.Fatal(err)
	}
	return h
}

// Credential is somebody's keys and certificates.
type Credential struct {
	TLS     *tls.Certificate
	SSHKey  *ecdsa.PrivateKey
	SSHCert *ssh.Certificate // nil for a proxy
}

// Signer signs with the SSH certificate.
func (c Credential) Signer() (ssh.Signer, error) {
	key, err := ssh.NewSignerFromSigner(c.SSHKey)
	if err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(c.SSHCert, key)
}

// User says who a user's credential is for. Zero fields take defaults: user ada with role access, one hour, login of the name.
type User struct {
	Identity identity.User
	Logins   []string
	TTL      time.Duration
}

// User issues a user's credential.
func (c *Cluster) User(u User) Credential {
	c.t.Helper()
	now := time.Now()
	id := &u.Identity
	def(&id.Cluster, c.ID)
	def(&id.Name, "ada")
	def(&id.UID, fmt.Sprintf("usr_%x", sha256.Sum256([]byte(id.Name)))[:20]) // each their own
	def(&id.Certificate, identity.NewID("crt", rand.Reader, now))
	id.IssuedAt = now.UTC()
	if id.Versions == (identity.Versions{}) {
		id.Versions = c.versions
	}
	if len(u.Logins) == 0 {
		u.Logins = []string{id.Name}
	}
	if u.TTL == 0 {
		u.TTL = time.Hour
	}
	if id.Roles == nil {
		id.Roles = []string{"access"}
		id.Traits = map[string][]string{"logins": u.Logins}
	}
	sshKey, tlsKey := Key(c.t), Key(c.t)
	template, err := certs.UserTemplate(certs.UserRequest{
		Identity: *id, SSHKey: &sshKey.PublicKey, TLSKey: &tlsKey.PublicKey, Logins: u.Logins, From: now, Until: now.Add(u.TTL), Entropy: rand.Reader,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.sign(template, sshKey, tlsKey, names.KeyUserSSH, names.KeyUserX509)
}

// Agent issues an agent's credential for node names.
func (c *Cluster) Agent(labels map[string]string, nodes ...string) (identity.Host, Credential) {
	c.t.Helper()
	var targets []identity.Target
	for _, n := range nodes {
		targets = append(targets, identity.Target{Kind: names.KindNode, Name: n})
	}
	return c.Host(labels, targets...)
}

// Host issues an agent's credential for targets of any kind.
func (c *Cluster) Host(labels map[string]string, targets ...identity.Target) (identity.Host, Credential) {
	c.t.Helper()
	return c.host(identity.Host{Kind: identity.KindAgent, ID: identity.NewID("agt", rand.Reader, time.Now()), Targets: targets, Labels: labels})
}

// Proxy issues a proxy's credential.
func (c *Cluster) Proxy() (identity.Host, Credential) {
	c.t.Helper()
	return c.host(identity.Host{Kind: identity.KindProxy, ID: identity.NewID("prx", rand.Reader, time.Now())})
}

// Renewed issues one more credential for a host, as of some time.
func (c *Cluster) Renewed(h identity.Host, now time.Time) Credential {
	c.t.Helper()
	_, credential := c.issue(h, now)
	return credential
}

func (c *Cluster) host(h identity.Host) (identity.Host, Credential) { return c.issue(h, time.Now()) }

func (c *Cluster) issue(h identity.Host, now time.Time) (identity.Host, Credential) {
	h.Cluster, h.ClusterName, h.Scope, h.Method, h.Token = c.ID, Name, "/", "token", "test"
	h.Certificate = identity.NewID("crt", rand.Reader, now)
	h.Versions, h.IssuedAt = c.versions, now.UTC()
	sshKey, tlsKey := Key(c.t), Key(c.t)
	r := certs.HostRequest{Identity: h, TLSKey: &tlsKey.PublicKey, From: now, Until: now.Add(time.Hour), Entropy: rand.Reader}
	if h.Kind == identity.KindAgent {
		r.SSHKey = &sshKey.PublicKey
	}
	template, err := certs.HostTemplate(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return h, c.sign(template, sshKey, tlsKey, names.KeyHostSSH, names.KeyHostX509)
}

func (c *Cluster) sign(t certs.Template, sshKey, tlsKey *ecdsa.PrivateKey, sshCA, x509CA string) Credential {
	der, err := certstest.SignX509(t.X509, t.TLSKey, c.Keys[x509CA])
	if err != nil {
		c.t.Fatal(err)
	}
	out := Credential{TLS: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: tlsKey}, SSHKey: sshKey, SSHCert: t.SSH}
	if t.SSH != nil {
		if err := certstest.SignSSH(t.SSH, c.Keys[sshCA]); err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

func def(s *string, v string) {
	if *s == "" {
		*s = v
	}
}
