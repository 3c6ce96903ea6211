// Package entry logs a person in, from the person's side: two keys, a challenge of them, evidence of an AWS identity,
// and the answer checked against the cluster's authorities.
//
// It keeps nothing. Its entry points are [IAM] and [Check].
package entry

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
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
	API API
	AWS aws.Config
	TTL time.Duration // 0: what the roles give
}

// IAM goes through challenge and evidence, and returns what the API answered, which nobody has checked yet.
func IAM(ctx context.Context, c Config, keys Keys) (wire.UserCredential, error) {
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

// Check verifies that the certificates are for our keys, come from the cluster's authority, and say the same
// as the answer around them. Without a login there is no SSH certificate, and there must be none.
func Check(c wire.UserCredential, keys Keys, trust document.Trust, now time.Time) error {
	user, cert, err := certs.VerifyX509User([][]byte{c.TLSCertificate}, trust.CA(names.KeyUserX509), now)
	if err != nil {
		return err
	}
	key, isEC := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !isEC || !key.Equal(keys.TLS.Public()):
		return fault.New(fault.Unauthenticated, "a certificate is for another key", "log in again")
	case user.Certificate != c.CertificateID, user.Name != c.User, user.Cluster != c.Cluster:
		return fault.New(fault.Unauthenticated, "the certificates don't match the API's answer", "log in again")
	case len(c.Logins) == 0 && len(c.SSHCertificate) == 0:
		return nil
	}
	return checkSSH(c, keys, trust, user, now)
}

func checkSSH(c wire.UserCredential, keys Keys, trust document.Trust, user identity.User, now time.Time) error {
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
	plain, err := ssh.NewPublicKey(keys.SSH.Public())
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
