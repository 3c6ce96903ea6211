// Package join is the front of joining and renewing for agents and proxies: it hands out challenges, refuses
// what is malformed before anybody is called, and gives evidence to the signer, who judges it again. It can
// neither sign nor read users.
//
// Its entry point is [New].
package join

import (
	"context"
	"crypto/rand"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

// MAC makes the codes that show challenges to be ours.
type MAC interface {
	Generate(ctx context.Context, message []byte) ([]byte, error)
}

// Signer judges evidence and signs; its refusals are faults.
type Signer interface {
	Issue(context.Context, proof.HostRequest) (wire.HostCredential, error)
}

// Proxies gives the public addresses of the proxies that live at a time.
type Proxies interface {
	Addrs(ctx context.Context, now time.Time) ([]string, error)
}

// Config is what the front is given.
type Config struct {
	Cluster string
	MAC     MAC
	Signer  Signer
	Proxies Proxies
	Entropy io.Reader // nil: crypto/rand
}

// Front takes joins. It may be used by several goroutines.
type Front struct{ config Config }

// New makes a front.
func New(c Config) *Front {
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Front{c}
}

// Call is where a request came from, and when.
type Call struct {
	RequestID string
	SourceIP  string
	Now       time.Time
}

// Challenge makes a challenge for two keys. It is stored nowhere.
func (f *Front) Challenge(ctx context.Context, c Call, r wire.ChallengeRequest) (wire.Challenge, error) {
	ch, err := proof.NewChallenge(names.PurposeJoin, f.config.Cluster, r.Keys, c.Now, f.config.Entropy)
	if err != nil {
		return wire.Challenge{}, err
	}
	return ch.Seal(func(message []byte) ([]byte, error) { return f.config.MAC.Generate(ctx, message) })
}

// IAM joins, or renews, with a signed sts:GetCallerIdentity request.
func (f *Front) IAM(ctx context.Context, c Call, r wire.JoinIAMRequest) (wire.HostCredential, error) {
	return f.join(ctx, c, proof.HostRequest{Join: r.Join, STS: &r.STS})
}

// Token joins with a token's secret, or renews with the credential held.
func (f *Front) Token(ctx context.Context, c Call, r wire.JoinTokenRequest) (wire.HostCredential, error) {
	return f.join(ctx, c, proof.HostRequest{Join: r.Join, Secret: r.Secret})
}

func (f *Front) join(ctx context.Context, c Call, r proof.HostRequest) (wire.HostCredential, error) {
	if r.Join.Token == "" {
		return wire.HostCredential{}, fault.New(fault.BadInput, "no join token is named", "set token in the agent's configuration").With("join.token", "empty")
	}
	terms := proof.Terms{Purpose: names.PurposeJoin, Cluster: f.config.Cluster, Now: c.Now}
	ck, err := proof.Check(proof.Claim{Challenge: r.Join.Challenge, SSHKey: r.Join.SSHKey, TLSKey: r.Join.TLSKey}, terms)
	if err != nil {
		return wire.HostCredential{}, err
	}
	if r.STS != nil {
		if _, err := proof.Rebuild(*r.STS, ck.Binding(r.Join.Challenge, terms), c.Now); err != nil {
			return wire.HostCredential{}, err
		}
	}
	r.RequestID, r.SourceIP = c.RequestID, c.SourceIP
	// Asked first: a credential that was signed must not get lost because this fails.
	proxies, err := f.config.Proxies.Addrs(ctx, c.Now)
	if err != nil {
		return wire.HostCredential{}, err
	}
	cred, err := f.config.Signer.Issue(ctx, r)
	if err != nil {
		return wire.HostCredential{}, err
	}
	cred.Proxies = proxies
	return cred, nil
}
