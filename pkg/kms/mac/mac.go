// Package mac makes and verifies message authentication codes with a key that cannot leave AWS KMS: the one of login
// and join challenges.
//
// It decides nothing. Its entry point is [New].
package mac

import (
	"context"
	"errors"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms"
)

// API is what we use of a *kms.Client.
type API interface {
	GenerateMac(context.Context, *awskms.GenerateMacInput, ...func(*awskms.Options)) (*awskms.GenerateMacOutput, error)
	VerifyMac(context.Context, *awskms.VerifyMacInput, ...func(*awskms.Options)) (*awskms.VerifyMacOutput, error)
}

// Key is a key that makes and verifies HMAC-SHA-256.
type Key struct {
	api API
	arn string
}

// New names a key by its ARN.
func New(api API, arn string) *Key { return &Key{api: api, arn: arn} }

// Generate makes the code of a message of at most 4,096 bytes.
func (k *Key) Generate(ctx context.Context, message []byte) ([]byte, error) {
	out, err := k.api.GenerateMac(ctx, &awskms.GenerateMacInput{
		KeyId: &k.arn, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
	})
	if err != nil {
		return nil, kms.Refused("challenge", "make a code", err)
	}
	return out.Mac, nil
}

// Verify refuses a code that this key did not make over the message, with a fault.
func (k *Key) Verify(ctx context.Context, message, mac []byte) error {
	_, err := k.api.VerifyMac(ctx, &awskms.VerifyMacInput{
		KeyId: &k.arn, Message: message, Mac: mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
	})
	if _, wrong := errors.AsType[*types.KMSInvalidMacException](err); wrong {
		return fault.New(fault.Unauthenticated, "the challenge was not made by this cluster", "start again: ask for a new challenge").Because(err)
	}
	if err != nil {
		return kms.Refused("challenge", "verify a code", err)
	}
	return nil
}
