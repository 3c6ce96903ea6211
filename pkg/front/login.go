package front

import (
	"context"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// Logins is the front of logging in. It may be used by several goroutines.
type Logins struct {
	front[proof.UserRequest, wire.UserCredential]
}

// NewLogins returns the front of logging in.
func NewLogins(c Config[proof.UserRequest, wire.UserCredential]) *Logins {
	return &Logins{begin(names.PurposeLogin, c)}
}

// IAM logs in with a signed sts:GetCallerIdentity request.
func (l *Logins) IAM(ctx context.Context, c Call, r wire.LoginIAMRequest) (wire.UserCredential, error) {
	evidence, err := proof.IAMEvidence(r.STS)
	if err != nil {
		return wire.UserCredential{}, err
	}
	claim := proof.Claim{Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey}
	cred, proxies, err := l.sign(ctx, c, claim, &r.STS, proof.UserRequest{
		Method: resource.MethodIAM, Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey, TTLSeconds: r.TTLSeconds, Evidence: evidence,
		RequestID: c.RequestID, SourceIP: c.SourceIP,
	})
	if err != nil {
		return wire.UserCredential{}, err
	}
	cred.Proxies = proxies
	return cred, nil
}
