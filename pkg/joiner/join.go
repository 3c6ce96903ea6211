// Package joiner gets agents and proxies their credential and keeps it fresh: it joins by evidence of an AWS
// identity or by a token's secret, verifies what comes back against the documents that came with it, and
// renews at two thirds of its life.
//
// It doesn't know what the credential is used for; package front is the other side. Its entry points are [Join] and [Renewer].
package joiner

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// API is what we use of a client of the HTTP API.
type API interface {
	JoinChallenge(ctx context.Context, keys string) (wire.Challenge, error)
	JoinIAM(context.Context, wire.JoinIAMRequest) (wire.HostCredential, error)
	JoinToken(context.Context, wire.JoinTokenRequest) (wire.HostCredential, error)
}

// Claim is what a host asks to be, and how it proves who it is.
type Claim struct {
	Kind    string            // identity.KindAgent or identity.KindProxy
	Method  string            // resource.MethodIAM or resource.MethodToken
	Token   string            // name of the join token
	Targets []identity.Target // what it serves; none for a proxy
	Labels  map[string]string
	TTL     time.Duration                             // 0 is the API's default
	AWS     func(context.Context) (aws.Config, error) // for method iam
	Secret  func() (string, error)                    // for method token, asked at the first join only
}

// Keys are a host's two key pairs, P-256.
type Keys struct {
	SSH, TLS *ecdsa.PrivateKey
}

// Documents takes signed documents and returns the trust document in force.
type Documents interface {
	Accept(...document.Signed) error
	Trust() document.Trust
}

// Credential is what a host is, with the proof of it.
type Credential struct {
	Host    identity.Host
	TLS     *tls.Certificate // with its key
	SSH     ssh.Signer       // of the host certificate; nil for a proxy
	From    time.Time        // of issue
	Until   time.Time        // of expiry, exclusive
	Proxies []string         // host:port, live at the time of issue
	Wire    wire.HostCredential
}

// Join asks for a credential for these keys. With prior, the previous credential, it is a renewal: the host
// keeps its id. The documents of the answer are accepted first, and the certificates are verified with them.
func Join(ctx context.Context, api API, claim Claim, keys Keys, prior *Credential) (wire.HostCredential, error) {
	var none wire.HostCredential
	sshKey, tlsKey, err := keys.spki()
	if err != nil {
		return none, err
	}
	hash := certs.KeysHash(sshKey, tlsKey)
	challenge, err := api.JoinChallenge(ctx, hash)
	if err != nil {
		return none, fmt.Errorf("asking for a challenge: %w", err)
	}
	request := wire.JoinRequest{
		Challenge: challenge.Challenge, SSHKey: sshKey, TLSKey: tlsKey, Token: claim.Token,
		Labels: claim.Labels, TTLSeconds: int64(claim.TTL / time.Second),
	}
	for _, t := range claim.Targets {
		request.Targets = append(request.Targets, t.String())
	}
	if request.Holds, err = keys.prove(challenge.Challenge, hash); err != nil {
		return none, err
	}
	if prior != nil {
		if request.Prior, err = prior.prove(challenge.Challenge, hash); err != nil {
			return none, err
		}
	}
	if claim.Method == resource.MethodIAM {
		return joinIAM(ctx, api, claim, request, prover.Request{
			Challenge: challenge.Challenge, Purpose: names.PurposeJoin, Cluster: challenge.Cluster, Keys: hash,
		})
	}
	return joinToken(ctx, api, claim, request, prior)
}

func joinIAM(ctx context.Context, api API, claim Claim, r wire.JoinRequest, e prover.Request) (wire.HostCredential, error) {
	cfg, err := claim.AWS(ctx)
	if err != nil {
		return wire.HostCredential{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	sts, err := prover.IAM(ctx, cfg, e)
	if err != nil {
		return wire.HostCredential{}, err
	}
	return api.JoinIAM(ctx, wire.JoinIAMRequest{Join: r, STS: sts})
}

// joinToken renews by the credential while that is valid; a secret may work only once.
func joinToken(ctx context.Context, api API, claim Claim, r wire.JoinRequest, prior *Credential) (wire.HostCredential, error) {
	request := wire.JoinTokenRequest{Join: r}
	if prior == nil || !time.Now().Before(prior.Until) {
		var err error
		if request.Secret, err = claim.Secret(); err != nil {
			return wire.HostCredential{}, err
		}
	}
	return api.JoinToken(ctx, request)
}

func (k Keys) spki() (sshKey, tlsKey []byte, err error) {
	if k.SSH == nil || k.TLS == nil {
		return nil, nil, errors.New("joining: no keys")
	}
	if sshKey, err = x509.MarshalPKIXPublicKey(k.SSH.Public()); err != nil {
		return nil, nil, fmt.Errorf("encoding the SSH key: %w", err)
	}
	if tlsKey, err = x509.MarshalPKIXPublicKey(k.TLS.Public()); err != nil {
		return nil, nil, fmt.Errorf("encoding the TLS key: %w", err)
	}
	return sshKey, tlsKey, nil
}

// prove signs the challenge with both keys: if the answer is lost, they are let in again as the same host.
func (k Keys) prove(challenge, keys string) (p wire.KeyProof, err error) {
	digest := certs.KeysDigest(challenge, keys)
	if p.SSH, err = ecdsa.SignASN1(rand.Reader, k.SSH, digest[:]); err != nil {
		return p, fmt.Errorf("proving the SSH key: %w", err)
	}
	if p.TLS, err = ecdsa.SignASN1(rand.Reader, k.TLS, digest[:]); err != nil {
		return p, fmt.Errorf("proving the TLS key: %w", err)
	}
	return p, nil
}

// prove signs the challenge with the previous credential's key.
func (c *Credential) prove(challenge, keys string) (wire.PriorCredential, error) {
	key, ok := c.TLS.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return wire.PriorCredential{}, errors.New("renewing: the key is not ECDSA")
	}
	digest := certs.RenewDigest(challenge, keys)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return wire.PriorCredential{}, fmt.Errorf("renewing: %w", err)
	}
	return wire.PriorCredential{Certificate: c.TLS.Certificate[0], Signature: signature}, nil
}

// Open verifies an answer with the documents in it and those held, at now, and pairs it with the keys. An
// expired one opens too when lapsed is set: it still says who the host was.
func Open(w wire.HostCredential, kind string, keys Keys, documents Documents, now time.Time, lapsed bool) (*Credential, error) {
	if err := documents.Accept(client.Documents(w.Trust...)...); err != nil && !document.Outlived(err) {
		err = fmt.Errorf("opening the documents that came with the credential: %w", err)
		if errors.Is(err, document.ErrPin) {
			return nil, fault.New(fault.Denied, "ca_pin is not the root key of the cluster that answered",
				"compare ca_pin and api with the cluster's, and start the agent again: its keys are let in again, with the same secret while that is valid").Because(err)
		}
		return nil, err
	}
	cert, err := x509.ParseCertificate(w.TLSCertificate)
	if err != nil {
		return nil, fmt.Errorf("opening the credential: %w", err)
	}
	if !keys.TLS.PublicKey.Equal(cert.PublicKey) {
		return nil, fault.New(fault.Unauthenticated, "the credential is for other keys", "empty the state directory and join again")
	}
	if lapsed && !now.Before(cert.NotAfter) {
		now = cert.NotAfter.Add(-time.Second)
	}
	trust := documents.Trust()
	host, err := certs.VerifyX509Host([][]byte{w.TLSCertificate}, trust.CA(names.KeyHostX509), now, kind)
	if err != nil {
		return nil, fmt.Errorf("opening the credential: %w", err)
	}
	c := &Credential{
		Host: host, TLS: &tls.Certificate{Certificate: [][]byte{w.TLSCertificate}, PrivateKey: keys.TLS, Leaf: cert},
		From: host.IssuedAt, Until: cert.NotAfter, Proxies: w.Proxies, Wire: w,
	}
	if kind == identity.KindAgent {
		if c.SSH, err = hostSigner(w.SSHCertificate, keys, trust, host, now); err != nil {
			return nil, fmt.Errorf("opening the host certificate: %w", err)
		}
	}
	return c, nil
}

// hostSigner verifies the SSH host certificate: it must be this host's, for our key.
func hostSigner(der []byte, keys Keys, trust document.Trust, host identity.Host, now time.Time) (ssh.Signer, error) {
	public, err := ssh.ParsePublicKey(der)
	if err != nil {
		return nil, err
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("it is a plain key")
	}
	same, err := certs.VerifySSHHost(cert, trust.CA(names.KeyHostSSH), host.ID, now)
	if err != nil {
		return nil, err
	}
	if same.ID != host.ID || same.Certificate != host.Certificate {
		return nil, errors.New("it belongs to another host")
	}
	key, err := ssh.NewSignerFromSigner(keys.SSH)
	if err != nil {
		return nil, err
	}
	return ssh.NewCertSigner(cert, key)
}
