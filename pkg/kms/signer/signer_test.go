package signer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	smithymiddleware "github.com/aws/smithy-go/middleware"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms/signer"
)

// vault is KMS with one key.
type vault struct {
	key     *ecdsa.PrivateKey
	fetched int
	fail    error
}

func (v *vault) GetPublicKey(context.Context, *awskms.GetPublicKeyInput, ...func(*awskms.Options)) (*awskms.GetPublicKeyOutput, error) {
	v.fetched++
	if v.fail != nil {
		return nil, v.fail
	}
	der, err := x509.MarshalPKIXPublicKey(v.key.Public())
	return &awskms.GetPublicKeyOutput{PublicKey: der}, err
}

func (v *vault) Sign(_ context.Context, in *awskms.SignInput, _ ...func(*awskms.Options)) (*awskms.SignOutput, error) {
	if v.fail != nil {
		return nil, v.fail
	}
	if in.MessageType != types.MessageTypeDigest || in.SigningAlgorithm != types.SigningAlgorithmSpecEcdsaSha256 {
		return nil, &smithy.GenericAPIError{Code: "AccessDeniedException"}
	}
	sig, err := ecdsa.SignASN1(rand.Reader, v.key, in.Message)
	out := &awskms.SignOutput{Signature: sig, ResultMetadata: smithymiddleware.Metadata{}}
	middleware.SetRequestIDMetadata(&out.ResultMetadata, "request-7")
	return out, err
}

func newVault(t *testing.T) *vault {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{key: key}
}

func TestASignerSignsDigestsAndRemembersRequestIDs(t *testing.T) {
	v := newVault(t)
	key := signer.New(v, "user-ssh", "arn")
	for range 2 {
		s, err := key.Signer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte("x"))
		sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil || !ecdsa.VerifyASN1(&v.key.PublicKey, digest[:], sig) {
			t.Errorf("signature %x, %v", sig, err)
		}
		if got := s.Requests(); len(got) != 1 || got[0] != "request-7" {
			t.Errorf("requests %v", got)
		}
		if _, err := s.Sign(rand.Reader, []byte("a whole message"), crypto.SHA256); err == nil {
			t.Error("something that is no digest was signed")
		}
		if _, err := s.Sign(rand.Reader, make([]byte, 48), crypto.SHA384); err == nil {
			t.Error("another digest was signed")
		}
	}
	if v.fetched != 1 {
		t.Errorf("the public key was fetched %d times", v.fetched)
	}
}

func TestARefusalOfKMSNamesTheKeyAndTheCode(t *testing.T) {
	v := newVault(t)
	s, err := signer.New(v, "user-ssh", "arn").Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]fault.Code{"AccessDeniedException": fault.Internal, "DisabledException": fault.Internal, "ThrottlingException": fault.Unavailable} {
		v.fail = &smithy.GenericAPIError{Code: code, Message: "arn:aws:kms:secret-detail"}
		_, err := s.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
		f := fault.From(err)
		if f.Code != want || !strings.Contains(f.Message, "user-ssh") || !strings.Contains(f.Message, code) || strings.Contains(f.Message, "secret-detail") || f.Hint == "" {
			t.Errorf("%s: %+v", code, f)
		}
	}
	fresh := newVault(t)
	fresh.fail = &smithy.GenericAPIError{Code: "NotFoundException"}
	key := signer.New(fresh, "root", "arn")
	if _, err := key.Signer(t.Context()); err == nil {
		t.Error("a signer of no key")
	}
	fresh.fail = nil
	if _, err := key.Signer(t.Context()); err != nil {
		t.Errorf("a failure was kept: %v", err)
	}
}
