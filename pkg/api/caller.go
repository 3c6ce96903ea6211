package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/wire"
)

// establish finds out who calls. An anonymous operation has no caller, whatever the request carries.
func (s *Server) establish(ctx context.Context, c *Call, r request) error {
	if c.Route.Caller == wire.CallerAnonymous {
		return nil
	}
	der, err := certificate(r)
	if err != nil {
		return err
	}
	// The documents are read at each call, with strong consistency: a lock counts from the moment it is written.
	if c.View, err = s.config.Documents.Fresh(ctx); err != nil {
		return err
	}
	state, now := c.View.State, c.View.State.Now(c.Now)
	var cert *x509.Certificate
	var who document.Subject
	if c.Route.Caller == wire.CallerHost {
		c.Host, cert, err = host(der, state.Trust.CA(names.KeyHostX509), now)
		who = c.Host
	} else {
		c.User, cert, err = certs.VerifyX509User([][]byte{der}, state.Trust.CA(names.KeyUserX509), now)
		who = c.User
	}
	if err == nil {
		err = s.signed(c, r, cert)
	}
	if err == nil {
		err = state.Standing(who, document.Use{Now: c.Now})
	}
	if err == nil && c.Route.Caller != wire.CallerHost {
		err = pinned(c)
	}
	if err != nil {
		c.User, c.Host = identity.User{}, identity.Host{} // nobody is established
	}
	return err
}

// host verifies an agent's certificate or else a proxy's.
func host(der []byte, ca identity.Authority, now time.Time) (identity.Host, *x509.Certificate, error) {
	h, err := certs.VerifyX509Host([][]byte{der}, ca, now, identity.KindAgent)
	if err != nil {
		h, err = certs.VerifyX509Host([][]byte{der}, ca, now, identity.KindProxy)
	}
	if err != nil {
		return h, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return h, cert, err
}

// signed verifies the request's signature with the certificate's key.
func (s *Server) signed(c *Call, r request, cert *x509.Certificate) error {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fault.New(fault.Unauthenticated, "the certificate's key is not ECDSA", "log in again with: stile login --iam")
	}
	m, err := message(r)
	if err != nil {
		return err
	}
	params, err := signature.Verify(m, key, c.Now)
	if err != nil {
		return err
	}
	c.Expires, c.Nonce = cert.NotAfter, params.KeyID+"#"+params.Nonce
	return nil
}

// pinned compares the address that a certificate may be pinned to with where the call came from.
func pinned(c *Call) error {
	from, err := netip.ParseAddr(c.SourceIP)
	if err != nil {
		from = netip.Addr{} // contained in no network
	}
	return certs.SourceAllowed(c.User.SourceAddress, from)
}

func certificate(r request) ([]byte, error) {
	values := r.header.Values(names.HeaderCertificate)
	if len(values) != 1 {
		return nil, fault.New(fault.Unauthenticated, "the request carries no certificate, or more than one", "log in with: stile login --iam")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(values[0])
	if err != nil {
		return nil, fault.New(fault.Unauthenticated, "the request's certificate can't be read", "log in with: stile login --iam").Because(err)
	}
	return der, nil
}

// message is what the client must have signed. Its authority is a domain name of this API: that by which API Gateway found
// it, and not what the sender writes into a header, so that nobody passes on what was signed for another host.
func message(r request) (signature.Message, error) {
	host := r.header.Values("Host")
	if r.domain == "" || len(host) != 1 || !strings.EqualFold(host[0], r.domain) {
		return signature.Message{}, fault.New(fault.Unauthenticated, "the request is not for this API's host", "call the API by its own URL")
	}
	return signature.Message{Method: r.method, Authority: r.domain, Path: r.signed, Query: r.raw, Header: r.header.Values, Body: r.body}, nil
}
