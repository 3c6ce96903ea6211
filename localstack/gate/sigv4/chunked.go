package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// The words that stand for a payload hash in x-amz-content-sha256.
const (
	UnsignedPayload       = "UNSIGNED-PAYLOAD"
	StreamingUnsigned     = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	StreamingSigned       = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamingSignedTailed = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

var emptyHash = hexSum(nil)

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Dechunk strips the aws-chunked framing from a body, checking each chunk's signature where chunks are signed
// (kind is the value of x-amz-content-sha256). The trailers come back as headers; only those announced in
// x-amz-trailer are passed on.
func (s *Signature) Dechunk(kind, secret string, announced string, body []byte) ([]byte, http.Header, error) {
	d := dechunker{
		rest: body, signed: kind != StreamingUnsigned, tailed: kind != StreamingSigned,
		sig: s, key: SigningKey(secret, s.Date, s.Region, s.Service), previous: hex.EncodeToString(s.value),
	}
	var out []byte
	for {
		chunk, err := d.chunk()
		if err != nil {
			return nil, nil, err
		}
		if len(chunk) == 0 {
			break
		}
		out = append(out, chunk...)
	}
	trailers, err := d.trailers(announced)
	return out, trailers, err
}

type dechunker struct {
	rest     []byte
	signed   bool
	tailed   bool
	sig      *Signature
	key      []byte
	previous string // the previous signature, which each one signs
}

func (d *dechunker) line() (string, error) {
	i := bytes.Index(d.rest, []byte("\r\n"))
	if i < 0 || i > maxHeader {
		return "", fail(BadPayload, "The request body terminated unexpectedly")
	}
	line := string(d.rest[:i])
	d.rest = d.rest[i+2:]
	return line, nil
}

// chunk reads "<hex size>[;chunk-signature=<hex>]\r\n<bytes>\r\n"; the last one is empty and, when trailers
// follow, has no line end.
func (d *dechunker) chunk() ([]byte, error) {
	head, err := d.line()
	if err != nil {
		return nil, err
	}
	hexSize, extension, _ := strings.Cut(head, ";")
	size, err := strconv.ParseUint(hexSize, 16, 31)
	if err != nil {
		return nil, fail(BadPayload, "a chunk's size is not a hexadecimal number")
	}
	if uint64(len(d.rest)) < size {
		return nil, fail(BadPayload, "The request body terminated unexpectedly")
	}
	data := d.rest[:size]
	d.rest = d.rest[size:]
	if d.signed {
		if err := d.check(extension, data); err != nil {
			return nil, err
		}
	} else if extension != "" {
		return nil, fail(BadPayload, "an unsigned chunk has an extension")
	}
	if size == 0 {
		return nil, nil
	}
	if end, err := d.line(); err != nil || end != "" {
		return nil, fail(BadPayload, "a chunk is longer than it says")
	}
	return data, nil
}

func (d *dechunker) check(extension string, data []byte) error {
	given, ok := strings.CutPrefix(extension, "chunk-signature=")
	if !ok {
		return fail(BadPayload, "a chunk has no signature")
	}
	toSign := strings.Join([]string{
		algorithm + "-PAYLOAD", d.sig.Time.Format(TimeFormat), d.sig.scope(), d.previous, emptyHash, hexSum(data),
	}, "\n")
	return d.compare(toSign, given)
}

func (d *dechunker) compare(toSign, given string) error {
	want := hex.EncodeToString(mac(d.key, toSign))
	if !hmac.Equal([]byte(want), []byte(given)) {
		return fail(Mismatch, "%s", mismatch)
	}
	d.previous = want
	return nil
}

// trailers reads "name:value\r\n"… up to an empty line.
func (d *dechunker) trailers(announced string) (http.Header, error) {
	out := http.Header{}
	var text strings.Builder
	for len(d.rest) > 0 {
		line, err := d.line()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || !d.tailed:
			return nil, fail(BadTrailers, "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		case name == "x-amz-trailer-signature":
			if !d.signed {
				return nil, fail(BadTrailers, "an unsigned body has a signed trailer")
			}
			err := d.compare(strings.Join([]string{
				algorithm + "-TRAILER", d.sig.Time.Format(TimeFormat), d.sig.scope(), d.previous, hexSum([]byte(text.String())),
			}, "\n"), value)
			if err != nil {
				return nil, err
			}
			d.signed = false // seen
		case !listed(announced, name) || len(out.Values(name)) > 0:
			return nil, fail(BadTrailers, "the trailer %s was not announced in x-amz-trailer, or appears twice", name)
		default:
			text.WriteString(name + ":" + value + "\n")
			out.Set(name, value)
		}
	}
	return out, d.complete(announced, out)
}

// complete demands the announced trailers, their signature, and nothing after them.
func (d *dechunker) complete(announced string, out http.Header) error {
	if len(d.rest) > 0 {
		return fail(BadTrailers, "something follows the trailers")
	}
	for name := range strings.SplitSeq(announced, ",") {
		if name = strings.TrimSpace(name); name != "" && out.Get(name) == "" {
			return fail(BadTrailers, "the announced trailer %s is missing", name)
		}
	}
	if d.signed && d.tailed {
		return fail(BadTrailers, "the trailers are not signed")
	}
	return nil
}

func listed(announced, name string) bool {
	for a := range strings.SplitSeq(announced, ",") {
		if strings.EqualFold(strings.TrimSpace(a), name) {
			return true
		}
	}
	return false
}
