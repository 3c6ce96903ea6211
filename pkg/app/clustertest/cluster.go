// Package clustertest is a cluster in memory for tests: keys, signed documents, certificates, challenges and the
// evidence of AWS identities, all real except for the key store and AWS. Product code does not import it.
//
// Its entry point is [New].
package clustertest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// Purposes of a cluster's signing keys.
var Purposes = []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509}

// Name is the cluster's name.
const Name = "stile"

// Cluster is a cluster in memory.
type Cluster struct {
	ID   string
	Keys map[string]*ecdsa.PrivateKey // by purpose
	Now  time.Time                    // the time at which its clock stands still

	t    testing.TB
	mac  []byte
	mu   sync.Mutex
	view document.View
}

// New makes a cluster whose documents hold the presets and the given roles.
func New(t testing.TB, roles ...resource.Role) *Cluster {
	t.Helper()
	c := &Cluster{
		ID: "0b5f9f1e-6f6a-4c0e-9a53-0d6f3c1f7a11", Keys: map[string]*ecdsa.PrivateKey{}, t: t,
		Now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), mac: []byte(rand.Text()),
	}
	for _, p := range Purposes {
		c.Keys[p] = Key(t)
	}
	c.Publish(roles...)
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

// SPKI writes a public key as it is sent.
func SPKI(t testing.TB, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Publish makes new documents with the given roles and no locks.
func (c *Cluster) Publish(roles ...resource.Role) { c.Revoke(document.Revocations{}, roles...) }

// Revoke makes new documents with these locks.
func (c *Cluster) Revoke(r document.Revocations, roles ...resource.Role) { c.publish(r, nil, roles) }

// Bar makes new documents that revoke what was issued to these until now.
func (c *Cluster) Bar(refs ...identity.Ref) { c.publish(document.Revocations{}, refs, nil) }

// Begin makes the documents of an epoch, as after a restore of the state table.
func (c *Cluster) Begin(epoch uint64) {
	c.mu.Lock()
	v := &c.view
	v.Head.Trust = identity.Version{Epoch: epoch, Counter: 1}
	next := v.State.Trust
	next.Version, next.IssuedAt = v.Head.Trust, c.Now
	v.Trust, v.Head.CopyOf = append(slices.Clone(v.Trust), c.seal(document.KindTrust, next, names.KeyRoot)), ""
	c.mu.Unlock()
	c.Publish()
}

// CopyOf makes the head one that was read from a copy of a table, of which no epoch has begun yet.
func (c *Cluster) CopyOf(table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Head.CopyOf = table
}

func (c *Cluster) publish(r document.Revocations, refs []identity.Ref, roles []resource.Role) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := document.View{Trust: c.view.Trust, Head: c.view.Head}
	if v.Trust == nil {
		v.Head.Trust = identity.Version{Epoch: 1, Counter: 1}
		v.State.Trust = document.Trust{Cluster: c.ID, Name: Name, Version: v.Head.Trust, IssuedAt: c.Now}
		for _, p := range Purposes {
			k, err := document.NewKey(p, document.StateActive, c.Keys[p].Public())
			c.must(err)
			v.State.Trust.Keys = append(v.State.Trust.Keys, k)
		}
		v.Trust = []document.Signed{c.seal(document.KindTrust, v.State.Trust, names.KeyRoot)}
	}
	var err error
	v.State.Trust, err = document.OpenTrust(v.Trust, "")
	c.must(err)
	v.Head.Policy = identity.Version{Epoch: v.Head.Trust.Epoch, Counter: v.Head.Policy.Counter + 1}
	v.Head.Revocations = identity.Version{Epoch: v.Head.Trust.Epoch, Counter: v.Head.Revocations.Counter + 1}
	v.Policy = c.seal(document.KindPolicy, document.Policy{
		Cluster: c.ID, Version: v.Head.Policy, IssuedAt: c.Now, Roles: append(resource.Presets(), roles...),
	}, names.KeyPolicy)
	r.Cluster, r.Version, r.IssuedAt, r.Trust, r.Policy = c.ID, v.Head.Revocations, c.Now, v.Head.Trust, v.Head.Policy
	lists := c.lists(&r, refs)
	v.Revocations = c.seal(document.KindRevocations, r, names.KeyPolicy)
	sent := v.Revocations
	sent.Lists = lists
	h := document.NewHolder(c.ID, "")
	c.must(h.Accept(append(slices.Clone(v.Trust), v.Policy, sent)...))
	v.State = h.State()
	c.view = v
}

// lists makes the lists of what is revoked and has the document name them.
func (c *Cluster) lists(r *document.Revocations, refs []identity.Ref) map[string]revoked.Records {
	var orders []revoked.Order
	for _, ref := range refs {
		orders = append(orders, revoked.Order{Ref: ref, Until: c.Now.Add(time.Hour)})
	}
	lists := map[string]revoked.Records{}
	for list, sum := range map[string]*revoked.Sum{revoked.Users: &r.Users, revoked.Agents: &r.Agents} {
		set, _ := revoked.Set{}.Settle(list, orders, r.Version, c.Now)
		*sum, lists[list] = set.Sum(), revoked.Records{Whole: true, Entries: set.Bytes()}
	}
	return lists
}

func (c *Cluster) seal(kind document.Kind, body any, purpose string) document.Signed {
	s, err := document.Seal(kind, body, c.Keys[purpose])
	c.must(err)
	return s
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// Fresh returns the documents in force.
func (c *Cluster) Fresh(context.Context) (document.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, nil
}

// Clock returns the cluster's time.
func (c *Cluster) Clock() time.Time { return c.Now }

// Generate makes a code of a time.
func (c *Cluster) Generate(_ context.Context, message []byte, issued time.Time) ([]byte, error) {
	h := hmac.New(sha256.New, c.mac)
	h.Write([]byte(issued.UTC().Format(time.RFC3339Nano)))
	h.Write(message)
	return h.Sum(nil), nil
}

// Verify refuses a code that is not this cluster's, or of another time.
func (c *Cluster) Verify(ctx context.Context, message, mac []byte, issued time.Time) error {
	want, err := c.Generate(ctx, message, issued)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, mac) {
		return fault.New(fault.Unauthenticated, "the challenge was not made by this cluster", "start again")
	}
	return nil
}

// Authority signs with the cluster's key of a purpose.
func (c *Cluster) Authority(purpose string) issue.Authority {
	return func(context.Context) (issue.Signer, error) { return &signer{Signer: c.Keys[purpose]}, nil }
}

type signer struct {
	crypto.Signer
	requests []string
}

// Requests returns made-up request ids, one for each signature asked for.
func (s *signer) Requests() []string { return append(s.requests, "request-1") }

// Doubtful returns none.
func (*signer) Doubtful() []string { return nil }

// User makes a user's certificate for the documents in force, valid for an hour, and its key.
func (c *Cluster) User(name string, roles ...string) (*ecdsa.PrivateKey, []byte) {
	c.t.Helper()
	return c.UserUntil(name, c.Now.Add(time.Hour), roles...)
}

// UserUntil makes a user's certificate that ends at a time; it began an hour before that.
func (c *Cluster) UserUntil(name string, until time.Time, roles ...string) (*ecdsa.PrivateKey, []byte) {
	c.t.Helper()
	key := Key(c.t)
	t, err := certs.UserTemplate(certs.UserRequest{
		Identity: identity.User{
			Cluster: c.ID, Certificate: identity.NewID("crt", rand.Reader, c.Now), Name: name, UID: "usr_" + fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:32],
			Roles: roles, Versions: c.view.Head.Versions(), IssuedAt: until.Add(-time.Hour),
		},
		TLSKey: &key.PublicKey, From: until.Add(-time.Hour), Until: until, Entropy: rand.Reader,
	})
	c.must(err)
	der, err := certstest.SignX509(t.X509, t.TLSKey, c.Keys[names.KeyUserX509])
	c.must(err)
	return key, der
}

// Host makes an agent's or a proxy's X.509 certificate and its key.
func (c *Cluster) Host(h identity.Host, until time.Time) (*ecdsa.PrivateKey, []byte) {
	c.t.Helper()
	key := Key(c.t)
	h.Cluster, h.ClusterName, h.Certificate, h.IssuedAt = c.ID, Name, identity.NewID("crt", rand.Reader, c.Now), until.Add(-time.Hour)
	t, err := certs.HostTemplate(certs.HostRequest{Identity: h, TLSKey: &key.PublicKey, From: until.Add(-time.Hour), Until: until, Entropy: rand.Reader})
	c.must(err)
	der, err := certstest.SignX509(t.X509, t.TLSKey, c.Keys[names.KeyHostX509])
	c.must(err)
	return key, der
}

// Challenge makes a genuine challenge for two keys.
func (c *Cluster) Challenge(purpose string, ssh, tls []byte) string {
	c.t.Helper()
	ch, err := proof.NewChallenge(purpose, c.ID, certs.KeysHash(ssh, tls), c.Now, rand.Reader)
	c.must(err)
	sealed, err := ch.Seal(func(message []byte) ([]byte, error) { return c.Generate(c.t.Context(), message, ch.IssuedAt) })
	c.must(err)
	return sealed.Challenge
}

// STSRequest signs evidence with made-up credentials, which [STS] knows by their key id.
func (c *Cluster) STSRequest(keyID string, b proof.Binding) wire.STSRequest {
	c.t.Helper()
	cfg := aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider(keyID, "secret", "token")}
	r, err := prover.IAM(c.t.Context(), cfg, prover.Request{Challenge: b.Challenge, Purpose: b.Purpose, Cluster: b.Cluster, Keys: b.Keys, Now: c.Now})
	c.must(err)
	return r
}

// STS answers as AWS would, from a table of access key ids.
type STS map[string]resource.IAMIdentity

// Caller finds out whose key id is in the authorization.
func (s STS) Caller(_ context.Context, r proof.Request) (resource.IAMIdentity, error) {
	for _, h := range r.Headers {
		if h.Name != "Authorization" {
			continue
		}
		for id, who := range s {
			if len(h.Value) > 100 && h.Value[len("AWS4-HMAC-SHA256 Credential="):][:len(id)] == id {
				return who, nil
			}
		}
	}
	return resource.IAMIdentity{}, fault.New(fault.Unauthenticated, "AWS does not accept the signed identity request: InvalidClientTokenId", "log in to AWS again")
}
