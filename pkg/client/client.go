// Package client calls the API of a Stile cluster: one method for each operation of openapi.yaml, signed by
// RFC 9421 where the operation asks for it, with every refusal turned into a [fault.Fault].
//
// It keeps no state but the difference between its clock and the server's, reads no environment and writes
// nothing. CLI, agent and proxy use it alike. Its entry point is [New].
package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/signature"
)

// Limits of one exchange. The API takes no larger body, and answers with no larger one.
const (
	maxRequest  = 64 << 10
	maxResponse = 6 << 20          // the largest answer that Lambda gives
	timeout     = 35 * time.Second // API Gateway gives up after 29
)

// Config says whom to call, and as whom.
type Config struct {
	URL         string           // the API with its stage, https://host/prod
	HTTP        *http.Client     // nil: one that verifies TLS against the system's roots; redirects are refused in any case
	Key         crypto.Signer    // the P-256 tls key of the credential; nil: only anonymous operations work
	Certificate []byte           // DER of the X.509 certificate over Key
	Now         func() time.Time // nil: time.Now
}

// Validate reports all faults of the configuration.
func (c Config) Validate() error {
	f := fault.New(fault.BadInput, "the API can't be called with this configuration",
		"set STILE_API to the API's URL, such as https://api.example.com/prod")
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.With("url", fmt.Sprintf("%q is not an https URL without user, query and fragment", c.URL))
	}
	if (c.Key == nil) != (len(c.Certificate) == 0) {
		f.With("key", "key and certificate go together")
	}
	if c.Key != nil {
		if _, ok := c.Key.Public().(*ecdsa.PublicKey); !ok {
			f.With("key", "not an ECDSA key")
		}
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// Client calls one API. It may be used by several goroutines.
type Client struct {
	base  *url.URL
	http  *http.Client
	key   crypto.Signer
	cert  []byte
	keyID string
	now   func() time.Time
	skew  atomic.Int64 // nanoseconds to add to our clock, learned from the server's Date
}

// New makes a client; it calls nothing yet.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("parsing the API's URL: %w", err)
	}
	cl := &Client{base: base, http: httpClient(c.HTTP), key: c.Key, cert: c.Certificate, now: c.Now}
	if cl.now == nil {
		cl.now = time.Now
	}
	if c.Key != nil {
		if err := cl.checkPair(); err != nil {
			return nil, err
		}
	}
	return cl, nil
}

// checkPair refuses a certificate for another key, which the server would refuse less clearly.
func (c *Client) checkPair() error {
	cert, err := x509.ParseCertificate(c.cert)
	if err != nil {
		return fmt.Errorf("parsing the client certificate: %w", err)
	}
	pub, ok := c.key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(cert.PublicKey) {
		return fault.New(fault.BadInput, "the certificate is not for this key", "log in again")
	}
	c.keyID = signature.KeyID(pub)
	return nil
}

// httpClient copies the caller's client, so that no redirect is ever followed and no cookie kept.
func httpClient(given *http.Client) *http.Client {
	c := &http.Client{Timeout: timeout}
	if given != nil {
		c.Transport, c.Timeout = given.Transport, given.Timeout
		if c.Timeout == 0 {
			c.Timeout = timeout
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Host returns the API's host with its port, if it has one.
func (c *Client) Host() string { return c.base.Host }

// CloseIdle closes idle connections; the client stays usable.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// transportFault says that no answer came, and what the reader can check.
func (c *Client) transportFault(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("calling the API: %w", ctx.Err())
	}
	hint := "check the network and the API's URL; sessions to nodes work without the API while certificates last"
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	if errors.As(err, &unknown) || errors.As(err, &host) {
		hint = "the API's certificate is not trusted for this host: check the API's URL and the system's root certificates"
	}
	return fault.Newf(fault.Unreachable, hint, "the API at %s can't be reached", c.base.Host).Because(err)
}

// nonce makes 16 random bytes as text, one for each signed request.
func nonce() string { return rand.Text() }
