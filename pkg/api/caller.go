package api

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
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
	user, cert, err := certs.VerifyX509User([][]byte{der}, c.View.State.Trust.CA(names.KeyUserX509), c.View.State.Now(c.Now))
	if err != nil {
		return err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fault.New(fault.Unauthenticated, "the certificate's key is not ECDSA", "log in again with: stile login")
	}
	params, err := signature.Verify(message(r), key, c.Now)
	if err != nil {
		return err
	}
	c.User, c.Expires, c.Nonce = user, cert.NotAfter, params.KeyID+"#"+params.Nonce
	return standing(c)
}

// standing holds the user against versions, locks and revocations.
func standing(c *Call) error {
	state := c.View.State
	if err := state.Judge(c.Now, c.User.Versions, false); err != nil {
		return err
	}
	if l, locked := state.Locked(c.User, c.Now); locked {
		return fault.Newf(fault.Denied, "ask an administrator about lock "+l.ID, "%s %s is locked", l.Target, l.Value)
	}
	if b, revoked := state.Revoked(c.User); revoked {
		return fault.Newf(fault.Unauthenticated, "log in again with: stile login --iam", "certificates of this %s from before policy %d.%d are revoked",
			b.Target, b.Version.Epoch, b.Version.Counter)
	}
	return nil
}

func certificate(r request) ([]byte, error) {
	values := r.header.Values(names.HeaderCertificate)
	if len(values) != 1 {
		return nil, fault.New(fault.Unauthenticated, "the request carries no certificate, or more than one", "log in with: stile login")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(values[0])
	if err != nil {
		return nil, fault.New(fault.Unauthenticated, "the request's certificate cannot be read", "log in with: stile login").Because(err)
	}
	return der, nil
}

func message(r request) signature.Message {
	host := ""
	if values := r.header.Values("Host"); len(values) == 1 {
		host = values[0]
	}
	return signature.Message{Method: r.method, Authority: host, Path: r.signed, Header: r.header.Values, Body: r.body}
}
