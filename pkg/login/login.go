// Package login is the front of logging in: it hands out challenges, refuses what is malformed before anybody
// is called, and gives evidence to the signer, who judges it again. It can neither sign nor read a table.
//
// Its entry point is [New].
package login

import (
	"context"
	"crypto/rand"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/access"
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
	Issue(context.Context, proof.UserRequest) (wire.UserCredential, error)
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

// Front takes logins. It may be used by several goroutines.
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
	ch, err := proof.NewChallenge(names.PurposeLogin, f.config.Cluster, r.Keys, c.Now, f.config.Entropy)
	if err != nil {
		return wire.Challenge{}, err
	}
	return ch.Seal(func(message []byte) ([]byte, error) { return f.config.MAC.Generate(ctx, message) })
}

// IAM logs in with a signed sts:GetCallerIdentity request.
func (f *Front) IAM(ctx context.Context, c Call, r wire.LoginIAMRequest) (wire.UserCredential, error) {
	terms := proof.Terms{Purpose: names.PurposeLogin, Cluster: f.config.Cluster, Now: c.Now}
	ck, err := proof.Check(proof.Claim{Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey}, terms)
	if err != nil {
		return wire.UserCredential{}, err
	}
	if _, err := proof.Rebuild(r.STS, ck.Binding(r.Challenge, terms), c.Now); err != nil {
		return wire.UserCredential{}, err
	}
	evidence, err := proof.IAMEvidence(r.STS)
	if err != nil {
		return wire.UserCredential{}, err
	}
	// Asked first: a credential that was signed must not get lost because this fails.
	proxies, err := f.config.Proxies.Addrs(ctx, c.Now)
	if err != nil {
		return wire.UserCredential{}, err
	}
	cred, err := f.config.Signer.Issue(ctx, proof.UserRequest{
		Method: access.MethodIAM, Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey, TTLSeconds: r.TTLSeconds, Evidence: evidence,
		RequestID: c.RequestID, SourceIP: c.SourceIP,
	})
	if err != nil {
		return wire.UserCredential{}, err
	}
	cred.Proxies = proxies
	return cred, nil
}
