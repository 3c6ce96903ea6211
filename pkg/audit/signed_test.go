package audit_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
)

func TestSec_S63_ASignatureIsForOneEventOfOneAgent(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := audit.Sign(rand.Reader, key, "agt_01", body)
	if err != nil {
		t.Fatal(err)
	}
	signed := audit.Signed{Body: body, Signature: signature}
	if !signed.Verify(&key.PublicKey, "agt_01") {
		t.Fatal("the signature doesn't verify")
	}
	if signed.Verify(&key.PublicKey, "agt_02") || signed.Verify(&other.PublicKey, "agt_01") {
		t.Error("it passes for another agent's")
	}
	for name, b := range map[string][]byte{
		"another actor":      bytes.Replace(body, []byte("user/alice"), []byte("user/alicf"), 1),
		"another number":     bytes.Replace(body, []byte(`"seq":42`), []byte(`"seq":43`), 1),
		"a blank more":       append(bytes.Clone(body), ' '),
		"no event":           []byte("{"),
		"nothing whatsoever": nil,
	} {
		if bytes.Equal(b, body) || (audit.Signed{Body: b, Signature: signature}).Verify(&key.PublicKey, "agt_01") {
			t.Errorf("%s: it verifies", name)
		}
	}
	if _, err := audit.Sign(rand.Reader, key, "agt_01", []byte("{")); err == nil {
		t.Error("what is no event is signed")
	}
}
