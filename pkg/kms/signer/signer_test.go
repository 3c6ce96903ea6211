package signer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms/signer"
)

// vault is KMS with one key.
type vault struct {
	key     *ecdsa.PrivateKey
	fetched int
	signed  int
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
	v.signed++
	if v.fail != nil {
		return nil, v.fail
	}
	if in.MessageType != types.MessageTypeDigest || in.SigningAlgorithm != types.SigningAlgorithmSpecEcdsaSha256 {
		return nil, &smithy.GenericAPIError{Code: "AccessDeniedException"}
	}
	sig, err := ecdsa.SignASN1(rand.Reader, v.key, in.Message)
	return &awskms.SignOutput{Signature: sig}, err
}

// wire is a vault as KMS answers over HTTP. Its answers to Sign come from the list, the id of each is its place in it, and after
// these it doesn't answer at all.
type wire struct {
	*vault

	answers []int // status codes
	asked   int
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	if w.asked++; w.asked > len(w.answers) {
		return nil, errors.New("the connection is lost")
	}
	var in struct{ Message []byte }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	answer.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if w.answers[w.asked-1] != 0 {
		answer.Header().Set("X-Amzn-Requestid", fmt.Sprint("request-", w.asked))
	}
	switch status := w.answers[w.asked-1]; {
	case status == cut:
		_, _ = answer.WriteString(`{"Signature":"MEUC`)
	case status == http.StatusOK:
		sig, err := ecdsa.SignASN1(rand.Reader, w.key, in.Message)
		if err != nil {
			return nil, err
		}
		_ = json.NewEncoder(answer).Encode(map[string]any{"Signature": sig})
	case status >= http.StatusInternalServerError:
		answer.WriteHeader(status)
		_, _ = answer.WriteString(`{"__type":"KMSInternalException"}`)
	default:
		answer.WriteHeader(status)
		_, _ = answer.WriteString(`{"__type":"ThrottlingException"}`)
	}
	return answer.Result(), nil
}

// cut is an answer that is cut off.
const cut = 1

// client is the SDK's client, which tries again at once.
func (w *wire) client() signer.API {
	return both{w.vault, awskms.New(awskms.Options{
		Region: "eu-central-1", HTTPClient: w, Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}),
	})}
}

type both struct {
	*vault

	sdk *awskms.Client
}

func (b both) Sign(ctx context.Context, in *awskms.SignInput, o ...func(*awskms.Options)) (*awskms.SignOutput, error) {
	return b.sdk.Sign(ctx, in, o...)
}

func TestEachRequestThatMaySignIsRemembered(t *testing.T) {
	for name, c := range map[string]struct {
		answers        []int
		sure, doubtful string
		fails          bool
	}{
		"at once":                      {[]int{200}, "request-1", "", false},
		"after KMS failed":             {[]int{500, 503, 200}, "request-3", "request-1 request-2", false},
		"after it was throttled":       {[]int{400, 200}, "request-2", "", false},
		"refused to the end":           {[]int{400, 400, 400}, "", "", true},
		"failed to the end":            {[]int{500, 500, 500}, "", "request-1 request-2 request-3", true},
		"an answer that can't be read": {[]int{cut}, "request-1", "", true},
		"no answer":                    {[]int{500}, "", "request-1", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{vault: newVault(t), answers: c.answers}
			s, err := signer.New(w.client(), "user-ssh", "arn").Signer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256([]byte("x"))
			if _, err := s.Sign(rand.Reader, digest[:], crypto.SHA256); (err != nil) != c.fails {
				t.Error(err)
			}
			if sure, doubtful := strings.Join(s.Requests(), " "), strings.Join(s.Doubtful(), " "); sure != c.sure || doubtful != c.doubtful {
				t.Errorf("signed by %q, perhaps by %q", sure, doubtful)
			}
		})
	}
}

func newVault(t *testing.T) *vault {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{key: key}
}

func TestASignerSignsDigestsAlone(t *testing.T) {
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
		if _, err := s.Sign(rand.Reader, []byte("a whole message"), crypto.SHA256); err == nil {
			t.Error("something that is no digest was signed")
		}
		if _, err := s.Sign(rand.Reader, make([]byte, 48), crypto.SHA384); err == nil {
			t.Error("another digest was signed")
		}
	}
	if v.signed != 2 {
		t.Errorf("KMS was asked for %d signatures", v.signed)
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
