package gate

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/localstack/gate/sigv4"
)

// verify proves the signature and fills in the principal.
func (g *Gate) verify(c *Call, s *sigv4.Signature) error {
	if want := g.config.Authority.Region(); s.Service != "sts" && s.Region != want {
		if s.Service == "s3" {
			return sigError(sigv4.BadScope, "The authorization header is malformed; the region '"+s.Region+"' is wrong; expecting '"+want+"'")
		}
		return sigError(sigv4.BadScope, "Credential should be scoped to a valid region, not '"+s.Region+"'; this endpoint answers for "+want+".")
	}
	credentials, principal, err := g.config.Authority.Lookup(s.AccessKeyID)
	if err != nil {
		return sigError(sigv4.UnknownKey, "")
	}
	if subtle.ConstantTimeCompare([]byte(credentials.SessionToken), []byte(s.Token)) != 1 {
		return sigError(sigv4.BadToken, "")
	}
	hash, err := payloadHash(c, s)
	if err != nil {
		return err
	}
	if err := s.Verify(c.HTTP, credentials.SecretAccessKey, hash); err != nil {
		return err
	}
	if err := s.CheckTime(c.Time); err != nil {
		return err
	}
	if !credentials.Expires.IsZero() && !c.Time.Before(credentials.Expires) {
		return sigError(sigv4.DeadToken, "")
	}
	if err := checkPayload(c, s, hash, credentials.SecretAccessKey); err != nil {
		return err
	}
	if s.Presigned && s.Service == "s3" {
		unhoist(c.HTTP)
	}
	c.Principal = principal
	return nil
}

// signing lists the query parameters that make the signature.
var signing = map[string]bool{
	"X-Amz-Algorithm": true, "X-Amz-Credential": true, "X-Amz-Date": true, "X-Amz-Expires": true,
	"X-Amz-Signedheaders": true, "X-Amz-Signature": true, "X-Amz-Security-Token": true, "X-Amz-Content-Sha256": true,
}

// unhoist makes headers of the x-amz- parameters of a presigned URL, into which SDKs move them. They are
// signed there, so they count before a header of that name.
func unhoist(r *http.Request) {
	for name, values := range r.URL.Query() {
		if canonical := http.CanonicalHeaderKey(name); strings.HasPrefix(canonical, "X-Amz-") && !signing[canonical] {
			r.Header[canonical] = values
		}
	}
}

// payloadHash is what the canonical request ends with. S3 takes the client's word, which checkPayload checks
// against the body; the others don't.
func payloadHash(c *Call, s *sigv4.Signature) (string, error) {
	if s.Service != "s3" {
		return bodyHash(c.Body), nil
	}
	hash := c.HTTP.Header.Get("X-Amz-Content-Sha256")
	if hash == "" && s.Presigned {
		if hash = c.HTTP.URL.Query().Get("X-Amz-Content-Sha256"); hash == "" {
			hash = sigv4.UnsignedPayload
		}
	}
	if hash == "" {
		return "", sigError(sigv4.NoPayload, "Missing required header for this request: x-amz-content-sha256")
	}
	return hash, nil
}

func bodyHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// checkPayload checks the body against its signed hash and strips the framing from streamed ones.
func checkPayload(c *Call, s *sigv4.Signature, hash, secret string) error {
	if s.Service != "s3" || hash == sigv4.UnsignedPayload {
		return nil
	}
	switch hash {
	case sigv4.StreamingSigned, sigv4.StreamingSignedTailed, sigv4.StreamingUnsigned:
		return dechunk(c, s, hash, secret)
	}
	if hash != bodyHash(c.Body) {
		return sigError(sigv4.BadPayload, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return nil
}

// dechunk replaces the body by what it carries; its trailers become headers.
func dechunk(c *Call, s *sigv4.Signature, kind, secret string) error {
	h := c.HTTP.Header
	body, trailers, err := s.Dechunk(kind, secret, h.Get("X-Amz-Trailer"), c.Body)
	if err != nil {
		return err
	}
	want, err := strconv.ParseInt(h.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || want != int64(len(body)) {
		return sigError(sigv4.BadPayload, "x-amz-decoded-content-length is missing or not the number of bytes in the body")
	}
	for name, values := range trailers {
		h[http.CanonicalHeaderKey(name)] = values
	}
	var encodings []string
	for part := range strings.SplitSeq(h.Get("Content-Encoding"), ",") {
		if part = strings.TrimSpace(part); part != "" && part != "aws-chunked" {
			encodings = append(encodings, part)
		}
	}
	h.Del("Content-Encoding")
	if len(encodings) > 0 {
		h.Set("Content-Encoding", strings.Join(encodings, ","))
	}
	c.setBody(body)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
