// Package sigv4 reads and checks AWS Signature Version 4, in headers and in query strings.
//
// It knows no credentials and no service: the caller brings the secret. Its entry points are [Parse] and
// [Signature.Verify]; see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The only algorithm; Signature Version 4a is not understood.
const algorithm = "AWS4-HMAC-SHA256"

// TimeFormat is how dates are written in signatures.
const TimeFormat = "20060102T150405Z"

// Reason sorts what can be wrong with a signature; each service has its own code for it.
type Reason int

// The reasons for refusing a request.
const (
	Missing     Reason = iota + 1 // there is no signature
	Incomplete                    // the header or query string is not well formed
	BothWays                      // signed in a header and in the query string
	BadScope                      // the credential scope doesn't fit
	Unsigned                      // a header that must be signed is not
	Mismatch                      // the signature is wrong
	Skewed                        // made too early or too late
	Expired                       // a presigned URL has expired
	BadPayload                    // the body is not what was signed
	NoPayload                     // S3 wants x-amz-content-sha256
	BadToken                      // the session token is missing or wrong
	DeadToken                     // the session has expired
	UnknownKey                    // nobody has that access key
	BadTrailers                   // a streamed body's trailers are wrong
)

// Error is a refused signature.
type Error struct {
	Reason  Reason
	Message string
}

func (e *Error) Error() string { return e.Message }

func fail(r Reason, format string, args ...any) error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...)}
}

// ReasonOf returns the reason of a signature's error, 0 for any other.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return 0
}

// Signature is what a request says about its signature; none of it is proven until Verify.
type Signature struct {
	AccessKeyID string
	Date        string // YYYYMMDD
	Region      string
	Service     string
	Headers     []string // signed, lower case, as listed
	Token       string   // session token, "" without
	Time        time.Time
	Presigned   bool
	Lifetime    time.Duration // of a presigned URL
	value       []byte
}

// maxHeader bounds an Authorization header; AWS's are a few hundred bytes.
const maxHeader = 8 << 10

// Parse reads the signature of a request. Missing means that there is none.
func Parse(r *http.Request) (*Signature, error) {
	auth := r.Header.Values("Authorization")
	query, err := readQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	_, presigned := query["X-Amz-Algorithm"]
	_, old := query["X-Amz-Signature"]
	presigned = presigned || old
	switch {
	case len(auth) > 0 && presigned:
		return nil, fail(BothWays, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be specified")
	case len(auth) > 1:
		return nil, fail(Incomplete, "Authorization header requires exactly one value, has %d.", len(auth))
	case len(auth) == 1:
		return parseHeader(r, auth[0])
	case presigned:
		return parseQuery(query)
	default:
		return nil, fail(Missing, "Missing Authentication Token")
	}
}

func parseHeader(r *http.Request, auth string) (*Signature, error) {
	if len(auth) > maxHeader {
		return nil, fail(Incomplete, "Authorization header is longer than %d bytes.", maxHeader)
	}
	rest, ok := strings.CutPrefix(auth, algorithm+" ")
	if !ok {
		return nil, fail(Incomplete, "Unsupported or missing algorithm: the Authorization header must begin with %s.", algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[key]; !ok || twice {
			return nil, fail(Incomplete, "'%s' not a valid key=value pair (missing equal-sign, or twice) in Authorization header.", key)
		}
		fields[key] = value
	}
	for _, key := range []string{"Credential", "Signature", "SignedHeaders"} {
		if fields[key] == "" {
			return nil, fail(Incomplete, "Authorization header requires '%s' parameter.", key)
		}
	}
	if len(fields) != 3 {
		return nil, fail(Incomplete, "Authorization header has an unknown parameter.")
	}
	s := &Signature{}
	if err := s.read(fields["Credential"], fields["SignedHeaders"], fields["Signature"]); err != nil {
		return nil, err
	}
	return s, s.readHeaders(r.Header)
}

func (s *Signature) readHeaders(h http.Header) error {
	for _, name := range []string{"X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
		if len(h.Values(name)) > 1 {
			return fail(Incomplete, "%s appears more than once.", name)
		}
	}
	s.Token = h.Get("X-Amz-Security-Token")
	date := h.Get("X-Amz-Date")
	if date == "" && h.Get("Date") != "" {
		t, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			return fail(Incomplete, "Date must be in ISO-8601 'basic format' or RFC 1123. Got '%s'.", h.Get("Date"))
		}
		date = t.UTC().Format(TimeFormat)
	}
	if date == "" {
		return fail(Incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return s.readTime(date)
}

func (s *Signature) readTime(date string) error {
	t, err := time.Parse(TimeFormat, date)
	if err != nil {
		return fail(Incomplete, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", date)
	}
	if !strings.HasPrefix(date, s.Date) {
		return fail(BadScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.Date, date[:8], date)
	}
	s.Time = t
	return nil
}

// read takes the parts that both ways of signing share.
func (s *Signature) read(credential, headers, signature string) error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" || slices.Contains(parts, "") {
		return fail(Incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	s.AccessKeyID, s.Date, s.Region, s.Service = parts[0], parts[1], parts[2], parts[3]
	if _, err := time.Parse("20060102", s.Date); err != nil {
		return fail(Incomplete, "Date in Credential scope must be YYYYMMDD, got '%s'", s.Date)
	}
	s.Headers = strings.Split(headers, ";")
	for i, h := range s.Headers {
		if h == "" || h != strings.ToLower(h) || slices.Contains(s.Headers[:i], h) {
			return fail(Incomplete, "SignedHeaders must be lower-case names, each once, got '%s'", headers)
		}
	}
	if !slices.Contains(s.Headers, "host") {
		return fail(Unsigned, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	raw, err := hex.DecodeString(signature)
	if err != nil || len(raw) != sha256.Size || signature != strings.ToLower(signature) {
		return fail(Mismatch, "%s", mismatch)
	}
	s.value = raw
	return nil
}

func parseQuery(q map[string][]string) (*Signature, error) {
	one := func(key string) (string, error) {
		v := q[key]
		if len(v) != 1 || v[0] == "" {
			return "", fail(Incomplete, "AWS query-string parameters must include '%s' exactly once.", key)
		}
		return v[0], nil
	}
	got := map[string]string{}
	for _, key := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		v, err := one(key)
		if err != nil {
			return nil, err
		}
		got[key] = v
	}
	if got["X-Amz-Algorithm"] != algorithm {
		return nil, fail(Incomplete, "X-Amz-Algorithm only supports \"%s\"", algorithm)
	}
	s := &Signature{Presigned: true}
	if err := s.read(got["X-Amz-Credential"], got["X-Amz-SignedHeaders"], got["X-Amz-Signature"]); err != nil {
		return nil, err
	}
	if err := s.readLifetime(q["X-Amz-Expires"]); err != nil {
		return nil, err
	}
	var err error
	if _, there := q["X-Amz-Security-Token"]; there {
		if s.Token, err = one("X-Amz-Security-Token"); err != nil {
			return nil, err
		}
	}
	return s, s.readTime(got["X-Amz-Date"])
}

// readLifetime: S3 demands a lifetime, the others default to fifteen minutes.
func (s *Signature) readLifetime(expires []string) error {
	if len(expires) == 0 && s.Service != "s3" {
		s.Lifetime = window
		return nil
	}
	if len(expires) != 1 {
		return fail(Incomplete, "AWS query-string parameters must include 'X-Amz-Expires' exactly once.")
	}
	seconds, err := strconv.Atoi(expires[0])
	if err != nil || seconds < 1 || seconds > 604800 {
		return fail(Incomplete, "X-Amz-Expires must be a number of seconds from 1 to 604800 (a week)")
	}
	s.Lifetime = time.Duration(seconds) * time.Second
	return nil
}

// readQuery decodes a query string, keeping repeated keys. A broken escape is an error.
func readQuery(raw string) (map[string][]string, error) {
	out := map[string][]string{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, fail(Incomplete, "the query string is not well formed")
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, fail(Incomplete, "the query string is not well formed")
		}
		out[key] = append(out[key], value)
	}
	return out, nil
}

// window is how far a signature's time may be from ours.
const window = 15 * time.Minute

// CheckTime refuses signatures outside their time: fifteen minutes either way, or a presigned URL's lifetime.
func (s *Signature) CheckTime(now time.Time) error {
	if s.Presigned {
		if now.After(s.Time.Add(s.Lifetime)) {
			return fail(Expired, "Request has expired")
		}
		if s.Time.After(now.Add(window)) {
			return fail(Skewed, "Signature not yet current: %s is still later than %s (%s + 15 min.)", s.Time.Format(TimeFormat), now.UTC().Add(window).Format(TimeFormat), now.UTC().Format(TimeFormat))
		}
		return nil
	}
	if s.Time.Before(now.Add(-window)) {
		return fail(Skewed, "Signature expired: %s is now earlier than %s (%s - 15 min.)", s.Time.Format(TimeFormat), now.UTC().Add(-window).Format(TimeFormat), now.UTC().Format(TimeFormat))
	}
	if s.Time.After(now.Add(window)) {
		return fail(Skewed, "Signature not yet current: %s is still later than %s (%s + 15 min.)", s.Time.Format(TimeFormat), now.UTC().Add(window).Format(TimeFormat), now.UTC().Format(TimeFormat))
	}
	return nil
}

const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// Verify computes the signature again with that secret and compares in constant time. The payload hash is
// what the canonical request ends with: the body's SHA-256 in hex, or one of S3's words.
func (s *Signature) Verify(r *http.Request, secret, payloadHash string) error {
	if err := s.checkSigned(r); err != nil {
		return err
	}
	canonical, err := s.Canonical(r, payloadHash)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(canonical))
	toSign := algorithm + "\n" + s.Time.Format(TimeFormat) + "\n" + s.scope() + "\n" + hex.EncodeToString(sum[:])
	if !hmac.Equal(mac(SigningKey(secret, s.Date, s.Region, s.Service), toSign), s.value) {
		return fail(Mismatch, "%s", mismatch)
	}
	return nil
}

func (s *Signature) scope() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/aws4_request"
}

// checkSigned demands that every header that tells AWS something is signed.
func (s *Signature) checkSigned(r *http.Request) error {
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(s.Headers, lower) {
			return fail(Unsigned, "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
		}
	}
	return nil
}

// SigningKey derives the key of one day, region and service.
func SigningKey(secret, date, region, service string) []byte {
	key := mac([]byte("AWS4"+secret), date)
	key = mac(key, region)
	key = mac(key, service)
	return mac(key, "aws4_request")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
