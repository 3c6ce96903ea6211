package kms

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/stile-dev/stile/pkg/fault"
)

// MAC is a key that makes and verifies HMAC-SHA-256.
type MAC struct {
	api API
	arn string
}

// NewMAC names a key by its ARN.
func NewMAC(api API, arn string) *MAC { return &MAC{api: api, arn: arn} }

// Generate makes the code of a message of at most 4,096 bytes.
func (m *MAC) Generate(ctx context.Context, message []byte) ([]byte, error) {
	out, err := m.api.GenerateMac(ctx, &kms.GenerateMacInput{
		KeyId: &m.arn, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
	})
	if err != nil {
		return nil, refused("the challenge key", "make a code", err)
	}
	return out.Mac, nil
}

// Verify refuses a code that this key did not make over the message, with a fault.
func (m *MAC) Verify(ctx context.Context, message, mac []byte) error {
	_, err := m.api.VerifyMac(ctx, &kms.VerifyMacInput{
		KeyId: &m.arn, Message: message, Mac: mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
	})
	if _, wrong := errors.AsType[*types.KMSInvalidMacException](err); wrong {
		return fault.New(fault.Unauthenticated, "the challenge was not made by this cluster", "start again: ask for a new challenge").Because(err)
	}
	if err != nil {
		return refused("the challenge key", "verify a code", err)
	}
	return nil
}
