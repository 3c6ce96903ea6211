// Package front is where strangers arrive: people who log in, and agents and proxies that join and renew. It hands out
// challenges, refuses what is malformed before anything is called, and gives evidence to the signer, which judges it
// again. Nobody has shown anything yet, so an address may come only so often. It can neither sign nor read a table of users
// or nodes.
//
// Its entry points are [NewLogins] and [NewJoins]; packages prover and joiner are the other side.
package front

import (
	"context"
	"crypto/rand"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/vouch"
	"github.com/stile-dev/stile/pkg/wire"
)

// MAC makes the codes that show that challenges are ours.
type MAC interface {
	Generate(ctx context.Context, message []byte, issued time.Time) ([]byte, error)
}

// Proxies returns the public addresses of the proxies that are live at a time, and the key by which one vouches for
// callers, nil for one that doesn't.
type Proxies interface {
	Addrs(ctx context.Context, now time.Time) ([]string, error)
	Key(ctx context.Context, proxy string, now time.Time) ([]byte, error)
}

// Rate bounds how often one address arrives, by itself or, if one is named, through a proxy. A refusal is a fault that says
// how long to wait.
type Rate interface {
	Arrive(ctx context.Context, proxy, source string, now time.Time) error
}

// Config is what a front needs, with the signer's request and the credential that it answers.
type Config[Request, Credential any] struct {
	Cluster string
	MAC     MAC
	Proxies Proxies
	Rate    Rate
	Sign    func(context.Context, Request) (Credential, error) // judges evidence and signs; its refusals are faults
	Entropy io.Reader                                          // nil: crypto/rand
}

// Call is where a request came from, and when.
type Call struct {
	RequestID string
	SourceIP  string
	Via       string // what a proxy said of the caller, as the caller tells it
	Now       time.Time
}

// front is what logins and joins have in common.
type front[Request, Credential any] struct {
	purpose string
	config  Config[Request, Credential]
}

func begin[Request, Credential any](purpose string, c Config[Request, Credential]) front[Request, Credential] {
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return front[Request, Credential]{purpose, c}
}

// Challenge returns a challenge for two keys. It is stored nowhere.
func (f *front[_, _]) Challenge(ctx context.Context, c Call, r wire.ChallengeRequest) (wire.Challenge, error) {
	ch, err := proof.NewChallenge(f.purpose, f.config.Cluster, r.Keys, c.Now, f.config.Entropy)
	if err != nil {
		return wire.Challenge{}, err
	}
	if err := f.arrive(ctx, c); err != nil {
		return wire.Challenge{}, err
	}
	return ch.Seal(func(message []byte) ([]byte, error) { return f.config.MAC.Generate(ctx, message, ch.IssuedAt) })
}

// arrive counts the caller by the address that a live proxy vouches for, or else by that from which the request came: what
// proves nothing is worth no more than nothing.
func (f *front[_, _]) arrive(ctx context.Context, c Call) error {
	v, err := vouch.Parse(c.Via)
	if err != nil || !v.Current(c.Now) {
		return f.config.Rate.Arrive(ctx, "", c.SourceIP, c.Now)
	}
	key, err := f.config.Proxies.Key(ctx, v.Proxy, c.Now)
	if err != nil {
		return err
	}
	if !v.Verify(key, f.config.Cluster) {
		return f.config.Rate.Arrive(ctx, "", c.SourceIP, c.Now)
	}
	return f.config.Rate.Arrive(ctx, v.Proxy, v.Source.String(), c.Now)
}

// sign checks the claim, and the signed request where there is one, before the first call. It returns what the signer
// answers, with the addresses of the proxies.
func (f *front[Request, Credential]) sign(
	ctx context.Context, c Call, claim proof.Claim, sts *wire.STSRequest, r Request,
) (cred Credential, proxies []string, err error) {
	terms := proof.Terms{Purpose: f.purpose, Cluster: f.config.Cluster, Now: c.Now}
	checked, err := proof.Check(claim, terms)
	if err != nil {
		return cred, nil, err
	}
	if sts != nil {
		if _, err := proof.Rebuild(*sts, checked.Binding(claim.Challenge, terms), c.Now); err != nil {
			return cred, nil, err
		}
	}
	// The first call of all: whoever comes too often costs no other.
	if err := f.arrive(ctx, c); err != nil {
		return cred, nil, err
	}
	// Asked for first: a signed credential must not be lost because this fails.
	if proxies, err = f.config.Proxies.Addrs(ctx, c.Now); err != nil {
		return cred, nil, err
	}
	cred, err = f.config.Sign(ctx, r)
	return cred, proxies, err
}
