package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Canonical is the canonical request.
func (s *Signature) Canonical(r *http.Request, payloadHash string) (string, error) {
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	headers, err := s.canonicalHeaders(r)
	if err != nil {
		return "", err
	}
	return strings.Join([]string{
		r.Method, s.canonicalPath(r), query, headers, strings.Join(s.Headers, ";"), payloadHash,
	}, "\n"), nil
}

// canonicalPath: S3 encodes the path once, all others encode what is sent a second time.
func (s *Signature) canonicalPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	if s.Service == "s3" {
		path = r.URL.Path
	}
	if path == "" {
		path = "/"
	}
	return escape(path, true)
}

func canonicalQuery(raw string) (string, error) {
	query, err := readQuery(raw)
	if err != nil {
		return "", err
	}
	var pairs [][2]string
	for key, values := range query {
		if key == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, [2]string{escape(key, false), escape(v, false)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		parts[i] = p[0] + "=" + p[1]
	}
	return strings.Join(parts, "&"), nil
}

// canonicalHeaders writes each signed header with its values trimmed, inner runs of spaces made one, and
// repeated headers joined with commas in their original order.
func (s *Signature) canonicalHeaders(r *http.Request) (string, error) {
	var b strings.Builder
	for _, name := range s.Headers {
		values := r.Header.Values(name)
		switch {
		case name == "host":
			values = []string{r.Host}
		case name == "content-length" && len(values) == 0 && r.ContentLength >= 0:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		case name == "transfer-encoding" && len(values) == 0:
			values = r.TransferEncoding
		case len(values) == 0:
			return "", fail(Mismatch, "%s", mismatch)
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' || c == '\t' }), " "))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// escape is AWS's UriEncode: everything but unreserved characters, with upper-case hex.
func escape(s string, keepSlash bool) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// Values decodes a query string as Verify does, keeping repeated keys.
func Values(raw string) (url.Values, error) {
	v, err := readQuery(raw)
	return v, err
}
