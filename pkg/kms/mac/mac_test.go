package mac_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms/mac"
)

// vault is KMS with one key, which is its own ARN.
type vault struct{ fail error }

func (v *vault) code(key *string, message []byte) []byte {
	h := hmac.New(sha256.New, []byte(*key))
	h.Write(message)
	return h.Sum(nil)
}

func (v *vault) GenerateMac(_ context.Context, in *awskms.GenerateMacInput, _ ...func(*awskms.Options)) (*awskms.GenerateMacOutput, error) {
	if in.MacAlgorithm != types.MacAlgorithmSpecHmacSha256 {
		return nil, &smithy.GenericAPIError{Code: "InvalidKeyUsageException"}
	}
	return &awskms.GenerateMacOutput{Mac: v.code(in.KeyId, in.Message)}, v.fail
}

func (v *vault) VerifyMac(_ context.Context, in *awskms.VerifyMacInput, _ ...func(*awskms.Options)) (*awskms.VerifyMacOutput, error) {
	if in.MacAlgorithm != types.MacAlgorithmSpecHmacSha256 {
		return nil, &smithy.GenericAPIError{Code: "InvalidKeyUsageException"}
	}
	if v.fail == nil && !hmac.Equal(in.Mac, v.code(in.KeyId, in.Message)) {
		return nil, &types.KMSInvalidMacException{}
	}
	return &awskms.VerifyMacOutput{}, v.fail
}

func TestAWrongCodeIsNoFailureOfKMS(t *testing.T) {
	v := &vault{}
	key := mac.New(v, "arn")
	code, err := key.Generate(t.Context(), []byte("m"))
	if err != nil || !bytes.Equal(code, v.code(new("arn"), []byte("m"))) {
		t.Fatalf("%x, %v", code, err)
	}
	if err := key.Verify(t.Context(), []byte("m"), code); err != nil {
		t.Errorf("a right one: %v", err)
	}
	if err := key.Verify(t.Context(), []byte("n"), code); fault.From(err).Code != fault.Unauthenticated {
		t.Errorf("of another message: %v", err)
	}
	if err := mac.New(v, "other").Verify(t.Context(), []byte("m"), code); fault.From(err).Code != fault.Unauthenticated {
		t.Errorf("of another key: %v", err)
	}
	v.fail = &smithy.GenericAPIError{Code: "AccessDeniedException"}
	if err := key.Verify(t.Context(), []byte("m"), code); fault.From(err).Code != fault.Internal {
		t.Errorf("got %v", err)
	}
	if _, err := key.Generate(t.Context(), []byte("m")); fault.From(err).Code != fault.Internal {
		t.Errorf("got %v", err)
	}
}
