// Package login turns an AWS identity into a credential on this machine: it logs in as package entry does, and keeps
// what comes back only after verifying it.
//
// It prints nothing and asks nothing. Its entry point is [IAM].
package login

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
)

// Config is one login.
type Config struct {
	API     entry.API
	Profile *profile.Profile
	AWS     aws.Config
	TTL     time.Duration // 0: what the roles give
	Now     func() time.Time
}

// IAM logs in. On an error the profile stays as it was, except that it may keep newer trust documents.
func IAM(ctx context.Context, c Config) (profile.Credential, error) {
	undo, err := c.Profile.Prepare()
	if err != nil {
		return profile.Credential{}, err
	}
	cred, err := c.iam(ctx)
	if err != nil {
		undo()
	}
	return cred, err
}

func (c Config) iam(ctx context.Context) (profile.Credential, error) {
	keys, err := entry.NewKeys()
	if err != nil {
		return profile.Credential{}, err
	}
	answer, err := entry.IAM(ctx, entry.Config{API: c.API, AWS: c.AWS, TTL: c.TTL}, keys)
	if err != nil {
		return profile.Credential{}, err
	}
	cred := profile.Credential{
		API: c.Profile.API(), Cluster: answer.Cluster, User: answer.User, Roles: answer.Roles, Logins: answer.Logins, DeniedBy: answer.DeniedBy,
		CertificateID: answer.CertificateID, ExpiresAt: answer.ExpiresAt,
		SSHCertificate: answer.SSHCertificate, TLSCertificate: answer.TLSCertificate, Keys: keys,
	}
	documents := client.Documents(answer.Trust...)
	trust, err := c.Profile.Judge(documents)
	if err != nil {
		return profile.Credential{}, err
	}
	if err := entry.Check(answer, keys, trust, c.API.Now()); err != nil {
		return profile.Credential{}, fault.New(fault.Unauthenticated, "the API returned a credential that can't be used: "+fault.From(err).Message,
			"check STILE_API; if it is right, tell your administrator").Because(err)
	}
	if err := c.Profile.Keep(documents); err != nil {
		return profile.Credential{}, err
	}
	if err := c.Profile.SetProxies(answer.Proxies); err != nil {
		return profile.Credential{}, err
	}
	return cred, c.Profile.Save(cred)
}
