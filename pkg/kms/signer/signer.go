// Package signer signs with P-256 keys that cannot leave AWS KMS.
//
// It decides nothing. Its entry point is [New].
package signer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/stile-dev/stile/pkg/kms"
)

// API is what we use of a *awskms.Client.
type API interface {
	Sign(context.Context, *awskms.SignInput, ...func(*awskms.Options)) (*awskms.SignOutput, error)
	GetPublicKey(context.Context, *awskms.GetPublicKeyInput, ...func(*awskms.Options)) (*awskms.GetPublicKeyOutput, error)
}

// Key is a signing key. It may be used by several goroutines.
type Key struct {
	api     API
	arn     string
	purpose string

	mu     sync.Mutex
	public *ecdsa.PublicKey // fetched once: it never changes, and each call is billed
}

// New names a key by its ARN; purpose is for messages.
func New(api API, purpose, arn string) *Key { return &Key{api: api, purpose: purpose, arn: arn} }

// Public returns the public key.
func (k *Key) Public(ctx context.Context) (*ecdsa.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.public != nil {
		return k.public, nil
	}
	out, err := k.api.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: &k.arn})
	if err != nil {
		return nil, kms.Refused(k.purpose, "show its public half", err)
	}
	any, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the public half of the %s key: %w", k.purpose, err)
	}
	pub, ok := any.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("reading the public half of the %s key: it is not ECDSA on P-256", k.purpose)
	}
	k.public = pub
	return pub, nil
}

// Signer returns a signer whose calls belong to ctx. It is for one goroutine.
func (k *Key) Signer(ctx context.Context) (*Signer, error) {
	pub, err := k.Public(ctx)
	if err != nil {
		return nil, err
	}
	return &Signer{ctx: ctx, key: k, public: pub}, nil
}

// Signer is a crypto.Signer that remembers the ids of its requests to KMS, by which CloudTrail knows them.
type Signer struct {
	ctx      context.Context //nolint:containedctx // crypto.Signer has no context of its own
	key      *Key
	public   *ecdsa.PublicKey
	requests []string
	doubtful []string
}

// Public returns the public key, an *ecdsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Requests returns the KMS request ids of all signatures so far, also of those that didn't come through to the caller whole.
func (s *Signer) Requests() []string { return s.requests }

// Doubtful returns the ids of requests that KMS answered with an error of its own: a signature may have been made.
func (s *Signer) Doubtful() []string { return s.doubtful }

// Sign signs a SHA-256 digest and returns ECDSA in DER. The randomness is KMS's own.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("signing with the %s key: only SHA-256 digests are signed", s.key.purpose)
	}
	out, err := s.key.api.Sign(s.ctx, &awskms.SignInput{
		KeyId: &s.key.arn, Message: digest, MessageType: types.MessageTypeDigest,
		SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	}, func(o *awskms.Options) { o.APIOptions = append(o.APIOptions, s.listen) })
	if err != nil {
		return nil, kms.Refused(s.key.purpose, "sign", err)
	}
	return out.Signature, nil
}

// listen has each answer of a call heard, also those to tries that are made again: each is a request to KMS of its own.
func (s *Signer) listen(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RememberRequest", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if answer, ok := out.RawResponse.(*smithyhttp.Response); ok && answer != nil {
			s.remember(answer.StatusCode, answer.Header.Get("X-Amzn-Requestid"))
		}
		return out, metadata, err
	}), middleware.After)
}

// remember keeps the id of a request by what was answered. What KMS refused made no signature; when no answer came, the SDK has one
// here without an id.
func (s *Signer) remember(status int, id string) {
	switch {
	case id == "":
	case status < http.StatusBadRequest:
		s.requests = append(s.requests, id)
	case status >= http.StatusInternalServerError:
		s.doubtful = append(s.doubtful, id)
	}
}
