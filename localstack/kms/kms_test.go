package kms_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/kms"
	"github.com/stile-dev/stile/localstack/resource"
)

const account = "111122223333"

// shop is a KMS with a signer's role.
type shop struct {
	dir    string
	iam    *iam.Authority
	kms    *kms.Service
	client *sdk.Client
	role   iam.Role
}

func newShop(t *testing.T, dir string) *shop {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: filepath.Join(dir, "iam"), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{dir: filepath.Join(dir, "kms"), iam: a}
	s.role, err = a.PutRole(iam.Role{
		Name:   "signer",
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.kms, err = kms.Open(kms.Config{Dir: s.dir, Authority: a}); err != nil {
		t.Fatal(err)
	}
	c, err := a.Mint(s.role.ARN, "fn", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: []gate.Service{s.kms}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	s.client = sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
	return s
}

func (s *shop) close(t *testing.T) {
	t.Helper()
	for _, err := range []error{s.kms.Close(), s.iam.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// signerKey is a key as the templates declare it: the account may do all but sign, the signer only sign.
func (s *shop) signerKey() resource.Resource {
	statement := func(effect, element string, actions any, principal string) map[string]any {
		return map[string]any{"Effect": effect, element: actions, "Principal": map[string]any{"AWS": principal}, "Resource": "*"}
	}
	return resource.Resource{Stack: "Data", LogicalID: "UserKey", Type: "AWS::KMS::Key", Properties: map[string]any{
		"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "Tags": []any{map[string]any{"Key": "purpose", "Value": "user-ssh"}},
		"KeyPolicy": map[string]any{"Version": "2012-10-17", "Statement": []any{
			statement("Allow", "NotAction", []any{"kms:Sign", "kms:CreateGrant", "kms:ReplicateKey"}, "arn:aws:iam::"+account+":root"),
			map[string]any{
				"Effect": "Allow", "Action": "kms:Sign", "Resource": "*", "Principal": map[string]any{"AWS": s.role.ARN},
				"Condition": map[string]any{"StringEquals": map[string]any{"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256"}},
			},
		}},
	}}
}

func sign(t *testing.T, s *shop, key string, kind types.MessageType) (*sdk.SignOutput, []byte, error) {
	t.Helper()
	digest := sha256.Sum256([]byte("certificate"))
	out, err := s.client.Sign(t.Context(), &sdk.SignInput{KeyId: &key, Message: digest[:], MessageType: kind, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	return out, digest[:], err
}

func TestKeysOutliveARestartAndStayInFilesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	s := newShop(t, dir)
	key, err := s.kms.Provision(s.signerKey())
	if err != nil {
		t.Fatal(err)
	}
	alias := resource.Resource{Stack: "Data", LogicalID: "A", Type: "AWS::KMS::Alias", Properties: map[string]any{"AliasName": "alias/stile/user-ssh", "TargetKeyId": key.Attributes["Arn"]}}
	if _, err := s.kms.Provision(alias); err != nil {
		t.Fatal(err)
	}
	out, digest, err := sign(t, s, "alias/stile/user-ssh", types.MessageTypeDigest)
	if err != nil {
		t.Fatal(err)
	}
	s.close(t)

	s = newShop(t, dir)
	defer s.close(t)
	again := s.signerKey()
	again.PhysicalID = key.Ref
	same, err := s.kms.Provision(again)
	if err != nil || same.Ref != key.Ref {
		t.Fatalf("the key became %v: %v", same, err)
	}
	if _, err := s.client.Verify(t.Context(), &sdk.VerifyInput{
		KeyId: &key.Ref, Message: digest, MessageType: types.MessageTypeDigest, SigningAlgorithm: out.SigningAlgorithm, Signature: out.Signature,
	}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"kms.bolt", "cloudtrail.ndjson", "keys/" + key.Ref + ".pem"} {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestTheKeyPolicyAloneDecidesAboutSigning(t *testing.T) {
	s := newShop(t, t.TempDir())
	defer s.close(t)
	r := s.signerKey()
	key, err := s.kms.Provision(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sign(t, s, key.Ref, types.MessageTypeDigest); err != nil {
		t.Error(err)
	}
	if _, _, err := sign(t, s, key.Ref, types.MessageTypeRaw); err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
		t.Errorf("a raw message: %v", err)
	}
	policy := r.Properties["KeyPolicy"].(map[string]any)
	policy["Statement"] = policy["Statement"].([]any)[:1]
	r.PhysicalID = key.Ref
	if _, err := s.kms.Provision(r); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sign(t, s, key.Ref, types.MessageTypeDigest); err == nil || !strings.Contains(err.Error(), "no resource-based policy allows the kms:Sign action") {
		t.Errorf("without its statement: %v", err)
	}
}

func TestEveryUseIsInTheTrailWithoutTheDigest(t *testing.T) {
	s := newShop(t, t.TempDir())
	defer s.close(t)
	key, err := s.kms.Provision(s.signerKey())
	if err != nil {
		t.Fatal(err)
	}
	_, digest, err := sign(t, s, key.Ref, types.MessageTypeDigest)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sign(t, s, key.Ref, types.MessageTypeRaw); err == nil {
		t.Fatal("a raw message was signed")
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, "cloudtrail.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), raw)
	}
	for i, want := range []string{"", "AccessDeniedException"} {
		var e kms.Event
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil {
			t.Fatal(err)
		}
		if e.EventName != "Sign" || e.RequestID == "" || e.ErrorCode != want || e.RequestParameters["signingAlgorithm"] != "ECDSA_SHA_256" ||
			e.UserIdentity.ARN != "arn:aws:sts::"+account+":assumed-role/signer/fn" || !e.ReadOnly || e.UserIdentity.SessionContext == nil ||
			e.UserIdentity.SessionContext.SessionIssuer.ARN != "arn:aws:iam::"+account+":role/signer" || len(e.Resources) != 1 || e.Resources[0].ARN != key.Attributes["Arn"] {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
	encoded, _ := json.Marshal(digest)
	if bytes.Contains(raw, encoded[1:len(encoded)-1]) || bytes.Contains(raw, []byte(hex.EncodeToString(digest))) {
		t.Error("the trail holds the digest")
	}
}

func TestTemplatesWithOtherKeysAreRefused(t *testing.T) {
	s := newShop(t, t.TempDir())
	defer s.close(t)
	for want, edit := range map[string]func(map[string]any){
		"SYMMETRIC_DEFAULT": func(p map[string]any) { p["KeySpec"] = "SYMMETRIC_DEFAULT" },
		"not compatible":    func(p map[string]any) { p["KeyUsage"] = "GENERATE_VERIFY_MAC" },
		"MultiRegion":       func(p map[string]any) { p["MultiRegion"] = true },
		"Colour":            func(p map[string]any) { p["Colour"] = "red" },
		"Principal is missing": func(p map[string]any) {
			p["KeyPolicy"] = map[string]any{"Statement": map[string]any{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
		},
		"no such entity": func(p map[string]any) {
			p["KeyPolicy"] = map[string]any{"Statement": map[string]any{
				"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":role/nobody"},
			}}
		},
	} {
		r := s.signerKey()
		edit(r.Properties)
		if _, err := s.kms.Provision(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	aliases, err := s.client.ListAliases(t.Context(), &sdk.ListAliasesInput{})
	if err != nil || len(aliases.Aliases) != 0 || aws.ToString(aliases.NextMarker) != "" {
		t.Errorf("%v %v", aliases, err)
	}
}
