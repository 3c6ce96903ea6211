package conformance_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func kmsClient(c aws.Config) *kms.Client {
	return kms.NewFromConfig(c, func(o *kms.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

func digestInput() *kms.SignInput {
	sum := sha256.Sum256([]byte("to be signed"))
	return &kms.SignInput{
		KeyId: aws.String(here.SignKey), Message: sum[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	}
}

func TestASignatureOverADigestVerifiesWithThePublicKey(t *testing.T) {
	holds(t, "kms/sign/digest")
	client, in := kmsClient(here.Config), digestInput()
	signed, err := client.Sign(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	public, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: in.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(public.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), in.Message, signed.Signature) {
		t.Error("the signature does not verify")
	}
	verified, err := client.Verify(t.Context(), &kms.VerifyInput{
		KeyId: in.KeyId, Message: []byte("to be signed"), MessageType: types.MessageTypeRaw, SigningAlgorithm: in.SigningAlgorithm, Signature: signed.Signature,
	})
	if err != nil || !verified.SignatureValid {
		t.Errorf("the raw message does not verify: %v", err)
	}
	_, err = client.Verify(t.Context(), &kms.VerifyInput{
		KeyId: in.KeyId, Message: []byte("something else"), MessageType: types.MessageTypeRaw, SigningAlgorithm: in.SigningAlgorithm, Signature: signed.Signature,
	})
	wantCode(t, err, "KMSInvalidSignatureException")
}

func TestSignRefuses(t *testing.T) {
	holds(t, "kms/sign/refusals")
	cases := map[string]struct {
		spoil func(*kms.SignInput)
		code  string
	}{
		"a digest of another length": {func(in *kms.SignInput) { in.Message = in.Message[:31] }, "ValidationException"},
		"an algorithm of other keys": {func(in *kms.SignInput) { in.SigningAlgorithm = types.SigningAlgorithmSpecEcdsaSha384 }, "InvalidKeyUsageException"},
		"an unknown algorithm":       {func(in *kms.SignInput) { in.SigningAlgorithm = "ECDSA_MD5" }, "ValidationException"},
		"a key for macs":             {func(in *kms.SignInput) { in.KeyId = aws.String(here.MacKey) }, "InvalidKeyUsageException"},
		"a key that is none":         {func(in *kms.SignInput) { in.KeyId = aws.String("00000000-0000-4000-8000-000000000000") }, "NotFoundException"},
		"an alias that is none":      {func(in *kms.SignInput) { in.KeyId = aws.String("alias/stile-conformance-none") }, "NotFoundException"},
		"a message above 4096 bytes": {func(in *kms.SignInput) { in.Message, in.MessageType = make([]byte, 4097), types.MessageTypeRaw }, "ValidationException"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := digestInput()
			c.spoil(in)
			_, err := kmsClient(here.Config).Sign(t.Context(), in)
			wantCode(t, err, c.code)
		})
	}
}

func TestConditionsOnSignAreHeldAgainstTheCall(t *testing.T) {
	holds(t, "kms/sign/conditions")
	narrow := kmsClient(narrowed(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Sign","Resource":"*",
		"Condition":{"StringEquals":{"kms:MessageType":"DIGEST","kms:SigningAlgorithm":"ECDSA_SHA_256"}}}}`))
	if _, err := narrow.Sign(t.Context(), digestInput()); err != nil {
		t.Errorf("a digest: %v", err)
	}
	in := digestInput()
	in.MessageType = types.MessageTypeRaw
	_, err := narrow.Sign(t.Context(), in)
	wantCode(t, err, "AccessDeniedException")
	_, err = narrow.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: aws.String(here.SignKey)})
	wantCode(t, err, "AccessDeniedException")
}

func TestMacsVerifyAndOthersDoNot(t *testing.T) {
	holds(t, "kms/mac")
	client := kmsClient(here.Config)
	generate := func(message string) []byte {
		out, err := client.GenerateMac(t.Context(), &kms.GenerateMacInput{KeyId: aws.String(here.MacKey), MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: []byte(message)})
		if err != nil {
			t.Fatal(err)
		}
		return out.Mac
	}
	made := generate("challenge")
	if again := generate("challenge"); len(made) != sha256.Size || !bytes.Equal(made, again) || bytes.Equal(made, generate("another")) {
		t.Errorf("%x and %x", made, again)
	}
	verify := func(message string) error {
		_, err := client.VerifyMac(t.Context(), &kms.VerifyMacInput{KeyId: aws.String(here.MacKey), MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: []byte(message), Mac: made})
		return err
	}
	if err := verify("challenge"); err != nil {
		t.Error(err)
	}
	wantCode(t, verify("another"), "KMSInvalidMacException")
}

// TestAKeysLife walks one key through its states. The key is left as it was, for CloudFormation to delete.
func TestAKeysLife(t *testing.T) {
	holds(t, "kms/key/states")
	client := kmsClient(here.Config)
	id, alias := aws.String(here.Outputs["LifeKey"]), aws.String("alias/"+here.Prefix+"-"+rand.Text())
	t.Cleanup(func() { revive(t, client, id) })
	if _, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: id}); err != nil {
		t.Fatal(err)
	}
	_, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: id})
	wantCode(t, err, "AlreadyExistsException")
	listed, err := client.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: id})
	if err != nil || len(listed.Aliases) != 1 || *listed.Aliases[0].AliasName != *alias {
		t.Errorf("ListAliases: %v %v", listed, err)
	}
	sign := func() error {
		in := digestInput()
		in.KeyId = alias
		out, err := client.Sign(t.Context(), in)
		if err == nil && !strings.HasSuffix(*out.KeyId, ":key/"+*id) {
			t.Errorf("Sign tells the key as %s", *out.KeyId)
		}
		return err
	}
	if err := sign(); err != nil {
		t.Errorf("enabled: %v", err)
	}
	if _, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: id}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, sign(), "DisabledException")
	if _, err := client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: id}); err != nil {
		t.Fatal(err)
	}
	_, err = client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(6)})
	wantCode(t, err, "ValidationException")
	if _, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, sign(), "KMSInvalidStateException")
	if _, err := client.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: id}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, sign(), "DisabledException")
	if _, err := client.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: alias}); err != nil {
		t.Fatal(err)
	}
}

// revive enables a key in whatever state a test left it.
func revive(t *testing.T, client *kms.Client, id *string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if _, err := client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: id}); err != nil && !isCode(err, "KMSInvalidStateException") {
		t.Error(err)
	}
	if _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: id}); err != nil {
		t.Error(err)
	}
}

func TestAKeyPolicyMayTakeAwayWhatIdentityPoliciesGive(t *testing.T) {
	holds(t, "kms/policy/takes-away")
	client := kmsClient(here.Config)
	in := digestInput()
	in.KeyId = aws.String(here.Outputs["UnsignedKey"])
	_, err := client.Sign(t.Context(), in)
	wantCode(t, err, "AccessDeniedException")
	if err == nil || !strings.Contains(err.Error(), "resource-based policy allows the kms:Sign action") {
		t.Errorf("the reason is missing: %v", err)
	}
}

func TestKMSErrorsHaveTheJSONShape(t *testing.T) {
	holds(t, "kms/errors")
	target := map[string]string{"X-Amz-Target": "TrentService.DescribeKey", "Content-Type": "application/x-amz-json-1.1"}
	unsigned := raw{Method: "POST", Service: "kms", Header: target, Body: "{}", Spoil: func(r *http.Request) { r.Header.Del("Authorization") }}.send(t)
	if unsigned.Status != http.StatusBadRequest || !strings.Contains(unsigned.Body, "MissingAuthenticationTokenException") {
		t.Errorf("unsigned: %d %s", unsigned.Status, unsigned.Body)
	}
	spoilt := raw{Method: "POST", Service: "kms", Header: target, Body: "{}", Spoil: flipSignature}.send(t)
	if spoilt.Status != http.StatusBadRequest || !strings.Contains(spoilt.Body, `"__type":"InvalidSignatureException"`) {
		t.Errorf("spoilt: %d %s", spoilt.Status, spoilt.Body)
	}
	if spoilt.Header.Get("X-Amzn-Requestid") == "" {
		t.Error("x-amzn-requestid is missing")
	}
	foreign := raw{Method: "POST", Service: "kms", Header: target, Body: "{}", Region: "eu-north-1"}.send(t)
	if foreign.Status != http.StatusBadRequest || !strings.Contains(foreign.Body, "InvalidSignatureException") {
		t.Errorf("scoped to another region: %d %s", foreign.Status, foreign.Body)
	}
}

func TestAPolicyMayDemandTheAlias(t *testing.T) {
	holds(t, "kms/alias/conditions")
	client := kmsClient(here.Config)
	alias := "alias/" + here.Prefix + "-" + rand.Text()
	if _, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &here.SignKey}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteAlias(context.WithoutCancel(t.Context()), &kms.DeleteAliasInput{AliasName: &alias}); err != nil {
			t.Error(err)
		}
	})
	condition := func(operator, key string) *kms.Client {
		return kmsClient(narrowed(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Sign","Resource":"*","Condition":{"`+operator+`":{"`+key+`":"`+alias+`"}}}}`))
	}
	byAlias := digestInput()
	byAlias.KeyId = &alias
	asked := condition("StringEquals", "kms:RequestAlias")
	if _, err := asked.Sign(t.Context(), byAlias); err != nil {
		t.Errorf("kms:RequestAlias by alias: %v", err)
	}
	_, err := asked.Sign(t.Context(), digestInput())
	wantCode(t, err, "AccessDeniedException")
	if _, err := condition("ForAnyValue:StringEquals", "kms:ResourceAliases").Sign(t.Context(), digestInput()); err != nil {
		t.Errorf("kms:ResourceAliases by id: %v", err)
	}
}
