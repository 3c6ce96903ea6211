// Package signature signs API calls and verifies them: HTTP Message Signatures (RFC 9421) with one fixed
// shape. A call covers method, authority, path, query, the body's digest and the caller's certificate, so
// none of it can be changed or moved, and it is valid for a minute.
//
// It knows no net/http: a [Message] is values. It doesn't judge the certificate (package certs does) and
// doesn't remember nonces. Its entry points are [Sign] and [Verify].
package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/names"
)

// The fixed parts of a signature.
const (
	Label     = "stile"
	Tag       = "stile-api"
	Algorithm = "ecdsa-p256-sha256"
)

// Life is how long a call is valid, and by how much clocks may differ.
const Life = 60 * time.Second

// Names of the headers that a signed call carries, beside names.HeaderCertificate.
const (
	HeaderDigest = "Content-Digest"
	HeaderInput  = "Signature-Input"
	HeaderValue  = "Signature"
)

// components are what is covered, in this order.
var components = []string{"@method", "@authority", "@path", "@query", "content-digest", strings.ToLower(names.HeaderCertificate)}

// Message is a call as values.
type Message struct {
	Method    string
	Authority string                     // host, with the port where it isn't the scheme's default
	Path      string                     // as on the wire, escaped; "" is /
	Query     string                     // as [Query] writes it
	Header    func(name string) []string // all values of a header, in order
	Body      []byte
}

// Params are the signature's parameters.
type Params struct {
	Created time.Time // whole seconds count
	Expires time.Time // at most [Life] after Created; the zero value takes that
	Nonce   string    // 16–64 of A–Z a–z 0–9 _ -; of a writing call, its idempotency key
	KeyID   string    // document.KeyID of the key
}

// Sign signs a call and returns the headers to add. The message must carry names.HeaderCertificate already;
// Content-Digest, Signature-Input and Signature are among the result. The key is P-256.
func Sign(m Message, key crypto.Signer, p Params) (map[string]string, error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("signing a call: the key is not ECDSA on P-256")
	}
	if p.Expires.IsZero() {
		p.Expires = p.Created.Add(Life)
	}
	if !validNonce(p.Nonce) {
		return nil, errors.New("signing a call: the nonce must have 16 to 64 letters, digits, _ and -")
	}
	digest := contentDigest(m.Body)
	input := p.input()
	base, err := base(m, digest, input)
	if err != nil {
		return nil, fmt.Errorf("signing a call: %w", err)
	}
	sum := sha256.Sum256([]byte(base))
	der, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing a call: %w", err)
	}
	raw, err := rawSignature(der)
	if err != nil {
		return nil, fmt.Errorf("signing a call: %w", err)
	}
	return map[string]string{
		HeaderDigest: digest,
		HeaderInput:  Label + "=" + input,
		HeaderValue:  Label + "=:" + base64.StdEncoding.EncodeToString(raw) + ":",
	}, nil
}

// input writes the covered components and parameters (RFC 9421 section 2.3), in the one order we take.
func (p Params) input() string {
	return fmt.Sprintf(`("%s");created=%d;expires=%d;nonce="%s";keyid="%s";alg="%s";tag="%s"`,
		strings.Join(components, `" "`), p.Created.Unix(), p.Expires.Unix(), p.Nonce, p.KeyID, Algorithm, Tag)
}

// Query writes a query in the one form that is signed, and sent by whoever signs: keys sorted, each once, all but letters,
// digits and - . _ ~ escaped (RFC 3986 section 2.3). API Gateway hands on neither the order nor the escapes that were sent.
func Query(parameters map[string][]string) (string, error) {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if n := len(parameters[key]); n != 1 || key == "" {
			return "", fmt.Errorf("%.40q appears %d times", key, n)
		}
		all = append(all, escape(key)+"="+escape(parameters[key][0]))
	}
	return strings.Join(all, "&"), nil
}

// escape is url.QueryEscape, except that a space is %20.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// base builds the signature base (RFC 9421 section 2.5).
func base(m Message, digest, input string) (string, error) {
	certificate := values(m, names.HeaderCertificate)
	if len(certificate) != 1 {
		return "", fmt.Errorf("there are %d %s headers instead of one", len(certificate), names.HeaderCertificate)
	}
	path := m.Path
	if path == "" {
		path = "/"
	}
	return signatureBase(components, []string{
		m.Method, strings.ToLower(m.Authority), path, "?" + m.Query, digest, strings.TrimSpace(certificate[0]),
	}, input)
}

// signatureBase writes one line for each component and the parameters last; values that contain a line break
// could stand for other lines and are refused.
func signatureBase(components, values []string, input string) (string, error) {
	var b strings.Builder
	for i, c := range components {
		if strings.ContainsAny(values[i], "\r\n") {
			return "", fmt.Errorf("%s contains a line break", c)
		}
		fmt.Fprintf(&b, "%q: %s\n", c, values[i])
	}
	b.WriteString(`"@signature-params": ` + input)
	return b.String(), nil
}

func values(m Message, name string) []string {
	if m.Header == nil {
		return nil
	}
	return m.Header(name)
}

// contentDigest writes the header of RFC 9530 with SHA-256 alone.
func contentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// rawSignature turns ECDSA's DER into r and s, 32 bytes each (RFC 9421 section 3.3.4).
func rawSignature(der []byte) ([]byte, error) {
	var s struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) > 0 || s.R.BitLen() > 256 || s.S.BitLen() > 256 {
		return nil, errors.New("the key gave a malformed signature")
	}
	raw := make([]byte, 64)
	s.R.FillBytes(raw[:32])
	s.S.FillBytes(raw[32:])
	return raw, nil
}

// verifyRaw verifies r and s over SHA-256 of the base.
func verifyRaw(pub *ecdsa.PublicKey, base string, raw []byte) bool {
	if len(raw) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(base))
	return ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:]))
}

// KeyID names a public key as document.KeyID does.
func KeyID(pub *ecdsa.PublicKey) string {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(spki)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

var nonceShape = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)

func validNonce(s string) bool { return nonceShape.MatchString(s) }

func seconds(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40 || strconv.FormatInt(n, 10) != s {
		return time.Time{}, false
	}
	return time.Unix(n, 0), true
}
