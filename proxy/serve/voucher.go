package serve

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/vouch"
)

// vouch says to the API where a caller came from whom this proxy leads there.
func (p *proxy) vouch(source netip.Addr) (string, error) {
	c := p.certificate()
	if c == nil {
		return "", errors.New("vouching for an address: the proxy has not joined")
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return "", errors.New("vouching for an address: the key can't sign")
	}
	return vouch.Voucher{Proxy: p.id(), Source: source, Expires: time.Now().Add(vouch.Life)}.Sign(key, p.config.Cluster)
}

// vouchKey is what the vouchers are verified by.
func (p *proxy) vouchKey() string {
	c := p.certificate()
	if c == nil {
		return ""
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return ""
	}
	return string(leaf.RawSubjectPublicKeyInfo)
}

// own is the proxy's own way to the API: its calls aren't counted with those of strangers who came through it.
type own struct {
	joined func() bool
	vouch  func(netip.Addr) (string, error)
	to     http.RoundTripper
}

// RoundTrip shows a voucher for the proxy itself once it has joined.
func (o own) RoundTrip(r *http.Request) (*http.Response, error) {
	if !o.joined() {
		return o.to.RoundTrip(r)
	}
	voucher, err := o.vouch(vouch.Own)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set(names.HeaderVia, voucher)
	return o.to.RoundTrip(r)
}
