// Package login turns an AWS identity into a credential on this machine: it makes two keys, has the API
// challenge them, signs the evidence, and keeps what comes back only after verifying it.
//
// It prints nothing and asks nothing. Its entry point is [IAM].
package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/wire"
)

// API is what a login needs of package client.
type API interface {
	LoginChallenge(ctx context.Context, keys string) (wire.Challenge, error)
	LoginIAM(ctx context.Context, r wire.LoginIAMRequest) (wire.UserCredential, error)
	Now() time.Time // the server's time, as far as its answers told it
}

// Config is one login.
type Config struct {
	API     API
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
	keys, err := profile.NewKeys()
	if err != nil {
		return profile.Credential{}, err
	}
	answer, err := c.ask(ctx, keys)
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
	if err := check(cred, trust, c.API.Now()); err != nil {
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

// ask goes through challenge and evidence.
func (c Config) ask(ctx context.Context, keys profile.Keys) (wire.UserCredential, error) {
	sshKey, err := x509.MarshalPKIXPublicKey(keys.SSH.Public())
	if err != nil {
		return wire.UserCredential{}, fmt.Errorf("encoding the ssh key: %w", err)
	}
	tlsKey, err := x509.MarshalPKIXPublicKey(keys.TLS.Public())
	if err != nil {
		return wire.UserCredential{}, fmt.Errorf("encoding the tls key: %w", err)
	}
	hash := certs.KeysHash(sshKey, tlsKey)
	challenge, err := c.API.LoginChallenge(ctx, hash)
	if err != nil {
		return wire.UserCredential{}, err
	}
	shown, err := prover.IAM(ctx, c.AWS, prover.Request{
		Challenge: challenge.Challenge, Purpose: names.PurposeLogin, Cluster: challenge.Cluster, Keys: hash, Now: c.API.Now(),
	})
	if err != nil {
		return wire.UserCredential{}, err
	}
	return c.API.LoginIAM(ctx, wire.LoginIAMRequest{
		Challenge: challenge.Challenge, SSHKey: sshKey, TLSKey: tlsKey, STS: shown, TTLSeconds: int64(c.TTL / time.Second),
	})
}

// check verifies that the certificates are for our keys, come from the cluster's authority, and say the same
// as the answer around them. Without a login there is no SSH certificate, and there must be none.
func check(c profile.Credential, trust document.Trust, now time.Time) error {
	user, cert, err := certs.VerifyX509User([][]byte{c.TLSCertificate}, trust.CA(names.KeyUserX509), now)
	if err != nil {
		return err
	}
	key, isEC := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !isEC || !key.Equal(c.Keys.TLS.Public()):
		return fault.New(fault.Unauthenticated, "a certificate is for another key", "log in again")
	case user.Certificate != c.CertificateID, user.Name != c.User, user.Cluster != c.Cluster:
		return fault.New(fault.Unauthenticated, "the certificates don't match the API's answer", "log in again")
	case len(c.Logins) == 0 && len(c.SSHCertificate) == 0:
		return nil
	}
	return checkSSH(c, trust, user, now)
}

func checkSSH(c profile.Credential, trust document.Trust, user identity.User, now time.Time) error {
	pub, err := ssh.ParsePublicKey(c.SSHCertificate)
	if err != nil {
		return fault.New(fault.Unauthenticated, "the SSH certificate is malformed", "log in again").Because(err)
	}
	sshCert, ok := pub.(*ssh.Certificate)
	if !ok || len(c.Logins) == 0 {
		return fault.New(fault.Unauthenticated, "there is no SSH certificate for a login", "log in again")
	}
	// The nodes judge for which login and from which address it is valid.
	same, err := certs.IdentifySSHUser(sshCert, trust.CA(names.KeyUserSSH), now)
	if err != nil {
		return err
	}
	plain, err := ssh.NewPublicKey(c.Keys.SSH.Public())
	if err != nil {
		return fmt.Errorf("encoding the ssh key: %w", err)
	}
	switch {
	case string(sshCert.Key.Marshal()) != string(plain.Marshal()):
		return fault.New(fault.Unauthenticated, "a certificate is for another key", "log in again")
	case same.Certificate != user.Certificate, same.UID != user.UID, !slices.Equal(sorted(sshCert.ValidPrincipals), sorted(c.Logins)):
		return fault.New(fault.Unauthenticated, "the certificates don't match the API's answer", "log in again")
	}
	return nil
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
