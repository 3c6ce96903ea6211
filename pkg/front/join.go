package front

import (
	"context"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

// Joins is the front of joining and renewing for agents and proxies. It may be used by several goroutines.
type Joins struct {
	front[proof.HostRequest, wire.HostCredential]
}

// NewJoins returns the front of joining and renewing.
func NewJoins(c Config[proof.HostRequest, wire.HostCredential]) *Joins {
	return &Joins{begin(names.PurposeJoin, c)}
}

// IAM joins, or renews, with a signed sts:GetCallerIdentity request.
func (j *Joins) IAM(ctx context.Context, c Call, r wire.JoinIAMRequest) (wire.HostCredential, error) {
	return j.join(ctx, c, proof.HostRequest{Join: r.Join, STS: &r.STS})
}

// Token joins with a token's secret, or renews with the previous credential.
func (j *Joins) Token(ctx context.Context, c Call, r wire.JoinTokenRequest) (wire.HostCredential, error) {
	return j.join(ctx, c, proof.HostRequest{Join: r.Join, Secret: r.Secret})
}

func (j *Joins) join(ctx context.Context, c Call, r proof.HostRequest) (wire.HostCredential, error) {
	if r.Join.Token == "" {
		return wire.HostCredential{}, fault.New(fault.BadInput, "no join token was named", "set token in the agent's configuration").With("join.token", "empty")
	}
	r.RequestID, r.SourceIP = c.RequestID, c.SourceIP
	claim := proof.Claim{Challenge: r.Join.Challenge, SSHKey: r.Join.SSHKey, TLSKey: r.Join.TLSKey}
	cred, proxies, err := j.sign(ctx, c, claim, r.STS, r)
	if err != nil {
		return wire.HostCredential{}, err
	}
	cred.Proxies = proxies
	return cred, nil
}
