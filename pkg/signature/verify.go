package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

// inputShape is the one form of Signature-Input that is accepted: our components in our order, our parameters in
// our order, each once. A general parser would have to decide about everything that isn't so; this refuses it.
var inputShape = regexp.MustCompile(`^` + Label + `=(\(` + regexp.QuoteMeta(`"`+strings.Join(components, `" "`)+`"`) +
	`\);created=([0-9]{1,13});expires=([0-9]{1,13});nonce="([A-Za-z0-9_-]{16,64})";keyid="([A-Za-z0-9_-]{43})"` +
	`;alg="` + Algorithm + `";tag="` + Tag + `")$`)

var valueShape = regexp.MustCompile(`^` + Label + `=:([A-Za-z0-9+/]{86}==):$`)

// Verify verifies a call's signature by the key of the certificate that it carries. Refusals are
// [fault.Unauthenticated]; one about time names the server's, so that the caller can correct its own.
// Whether the nonce was seen before is for the caller to check.
func Verify(m Message, pub *ecdsa.PublicKey, now time.Time) (Params, error) {
	if pub == nil || pub.Curve != elliptic.P256() {
		return Params{}, refused("the key is not ECDSA on P-256")
	}
	p, input, err := parseInput(m)
	if err != nil {
		return Params{}, err
	}
	if p.KeyID != KeyID(pub) {
		return Params{}, refused("the signature names another key than the certificate's")
	}
	if err := p.inTime(now); err != nil {
		return Params{}, err
	}
	digest, err := single(m, HeaderDigest)
	if err != nil {
		return Params{}, err
	}
	if digest != contentDigest(m.Body) {
		return Params{}, refused("the body is not the one that was signed")
	}
	value, err := single(m, HeaderValue)
	if err != nil {
		return Params{}, err
	}
	match := valueShape.FindStringSubmatch(value)
	if match == nil {
		return Params{}, refused("the Signature header is malformed")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(match[1])
	if err != nil {
		return Params{}, refused("the Signature header is malformed")
	}
	text, err := base(m, digest, input)
	if err != nil {
		return Params{}, refused(err.Error())
	}
	if !verifyRaw(pub, text, raw) {
		return Params{}, refused("the signature doesn't match the request")
	}
	return p, nil
}

func parseInput(m Message) (Params, string, error) {
	header, err := single(m, HeaderInput)
	if err != nil {
		return Params{}, "", err
	}
	match := inputShape.FindStringSubmatch(header)
	if match == nil {
		return Params{}, "", refused("the Signature-Input header doesn't cover what it must, exactly and in order")
	}
	created, ok := seconds(match[2])
	expires, also := seconds(match[3])
	if !ok || !also {
		return Params{}, "", refused("the signature's times are malformed")
	}
	return Params{Created: created, Expires: expires, Nonce: match[4], KeyID: match[5]}, match[1], nil
}

// inTime: created within a minute of now either way, expires after it and at most a minute later.
func (p Params) inTime(now time.Time) error {
	life := p.Expires.Sub(p.Created)
	switch {
	case life <= 0 || life > Life:
		return refused("the signature must expire within 60 seconds of being made")
	case p.Created.Before(now.Add(-Life)), !now.Before(p.Expires):
		return clock("the request was signed too long ago", now)
	case p.Created.After(now.Add(Life)):
		return clock("the request was signed in the future", now)
	}
	return nil
}

func clock(message string, now time.Time) error {
	return fault.Newf(fault.Unauthenticated, "set this machine's clock and try again",
		"%s; the server's time is %s", message, now.UTC().Format(time.RFC3339))
}

// single returns the one value of a header.
func single(m Message, name string) (string, error) {
	v := values(m, name)
	switch len(v) {
	case 1:
		return strings.TrimSpace(v[0]), nil
	case 0:
		return "", refused("the request has no " + name + " header")
	}
	return "", refused("the request has more than one " + name + " header")
}

func refused(message string) error {
	return fault.New(fault.Unauthenticated, message, "log in again with: stile login --iam; if it keeps happening, something between here and the API alters requests")
}
