package signature_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/signature"
)

// vector is an example of RFC 9421 or RFC 9530; testdata/rfc9421.json says which.
type vector struct {
	Name       string   `json:"name"`
	Components []string `json:"components"`
	Values     []string `json:"values"`
	Input      string   `json:"input"`
	Base       string   `json:"base"` // as the RFC prints it, lines joined
	Signature  string   `json:"signature"`
	HMAC       bool     `json:"hmac"` // signed with the shared secret of appendix B.1.5
}

// Keys of appendix B.1: test-key-ecc-p256 (B.1.3) and test-shared-secret (B.1.5).
const (
	rfcX      = "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA"
	rfcY      = "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"
	rfcD      = "UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs"
	rfcSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)

func rfcKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	d, err := base64.RawURLEncoding.DecodeString(rfcD)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if x := base64.RawURLEncoding.EncodeToString(point[1:33]); x != rfcX {
		t.Fatalf("the key's x is %s", x)
	}
	if y := base64.RawURLEncoding.EncodeToString(point[33:]); y != rfcY {
		t.Fatalf("the key's y is %s", y)
	}
	return key
}

func TestVectorsOfRFC9421(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc9421.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	key := rfcKey(t)
	secret, err := base64.StdEncoding.DecodeString(rfcSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			base, err := signature.SignatureBase(v.Components, v.Values, v.Input)
			if err != nil {
				t.Fatal(err)
			}
			if base != v.Base {
				t.Fatalf("the base is\n%s\nwant\n%s", base, v.Base)
			}
			want, err := base64.StdEncoding.DecodeString(v.Signature)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case v.HMAC:
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(base))
				if !hmac.Equal(mac.Sum(nil), want) {
					t.Error("the RFC's signature doesn't fit the base")
				}
			case v.Signature != "":
				if !signature.VerifyRaw(&key.PublicKey, base, want) {
					t.Error("the RFC's signature doesn't verify")
				}
				want[7] ^= 1
				if signature.VerifyRaw(&key.PublicKey, base, want) {
					t.Error("an altered signature verifies")
				}
			}
		})
	}
}

func TestContentDigestOfRFC9530(t *testing.T) {
	if got := signature.ContentDigest([]byte(`{"hello": "world"}`)); got != "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:" {
		t.Error(got)
	}
}

func TestRawSignaturesAreSixtyFourBytesHoweverSmallTheirNumbers(t *testing.T) {
	small := []byte{0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x07}
	raw, err := signature.RawSignature(small)
	if err != nil {
		t.Fatal(err)
	}
	want := append(append(bytes.Repeat([]byte{0}, 31), 5), append(bytes.Repeat([]byte{0}, 31), 7)...)
	if !bytes.Equal(raw, want) {
		t.Errorf("%x", raw)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "trailing data": append(bytes.Clone(small), 0), "no sequence": {2, 1, 1}} {
		if _, err := signature.RawSignature(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	key := rfcKey(t)
	for range 200 { // one in 128 has a number with a leading zero byte
		sum := sha256.Sum256([]byte("base"))
		der, err := key.Sign(rand.Reader, sum[:], nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := signature.RawSignature(der)
		if err != nil || !signature.VerifyRaw(&key.PublicKey, "base", raw) {
			t.Fatalf("%x: %v", der, err)
		}
	}
}

func TestAValueWithALineBreakIsRefused(t *testing.T) {
	for _, value := range []string{"a\nb", "a\rb", "a\r\n\"@method\": GET"} {
		if base, err := signature.SignatureBase([]string{"x"}, []string{value}, "()"); err == nil {
			t.Errorf("%q gave %s", value, strings.ToUpper(base))
		}
	}
}
