// Package vouch is what a proxy says of a caller whom it leads to the API: from which address the caller came. The API sees
// the proxy's address for all of them, so without it a stranger could use up what the API allows to that one address.
//
// A proxy signs it with the key that it publishes in its lease; nobody else can make one, and the caller, who carries it,
// can only leave it out. It doesn't know how it travels. Its entry points are [Voucher.Sign] and [Parse].
package vouch

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxSize is how long the text of a voucher may be, in bytes.
const MaxSize = 512

// Life is how long a voucher may be good for: as long as a connection that a proxy leads to the API.
const Life = 2 * time.Minute

// skew is how far the clocks of a proxy and the API may be apart.
const skew = 30 * time.Second

// Voucher says where a caller came from.
type Voucher struct {
	Proxy   string     // prx_…, which says so
	Source  netip.Addr // as the proxy saw it
	Expires time.Time  // in whole seconds
}

// Own is the source of a proxy's own calls.
var Own = netip.IPv6Loopback()

// Signed is a voucher as it came. Nothing in it is true before Verify says so.
type Signed struct {
	Voucher
	signature []byte
}

// version begins the text of a voucher.
const version = "v1"

var proxyID = regexp.MustCompile(`^prx_[0-9A-Za-z]{1,60}$`)

// Sign returns the voucher's text, which fits a header.
func (v Voucher) Sign(key crypto.Signer, cluster string) (string, error) {
	digest := v.digest(cluster)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("vouching for an address: %w", err)
	}
	return strings.Join(append(v.fields(), base64.RawURLEncoding.EncodeToString(signature)), ";"), nil
}

func (v Voucher) fields() []string {
	return []string{version, v.Proxy, v.Source.Unmap().WithZone("").String(), strconv.FormatInt(v.Expires.Unix(), 10)}
}

func (v Voucher) digest(cluster string) [32]byte {
	return sha256.Sum256([]byte("stile-vouch-v1\n" + cluster + "\n" + strings.Join(v.fields(), "\n")))
}

var errForm = errors.New("not a voucher")

// Parse reads the text of a voucher, which has one form.
func Parse(text string) (Signed, error) {
	fields := strings.Split(text, ";")
	if len(text) > MaxSize || len(fields) != 5 || fields[0] != version || !proxyID.MatchString(fields[1]) {
		return Signed{}, errForm
	}
	source, err := netip.ParseAddr(fields[2])
	if err != nil {
		return Signed{}, errForm
	}
	seconds, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return Signed{}, errForm
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(fields[4])
	if err != nil {
		return Signed{}, errForm
	}
	s := Signed{Voucher{fields[1], source, time.Unix(seconds, 0)}, signature}
	if strings.Join(s.fields(), ";") != strings.Join(fields[:4], ";") {
		return Signed{}, errForm
	}
	return s, nil
}

// Current reports whether the voucher is in its time.
func (s Signed) Current(now time.Time) bool {
	return now.Before(s.Expires.Add(skew)) && !s.Expires.After(now.Add(Life+skew))
}

// Verify reports whether the holder of a key (SPKI DER) signed this for a cluster.
func (s Signed) Verify(key []byte, cluster string) bool {
	public, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		return false
	}
	p, ok := public.(*ecdsa.PublicKey)
	digest := s.digest(cluster)
	return ok && ecdsa.VerifyASN1(p, digest[:], s.signature)
}
