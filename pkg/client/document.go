package client

import (
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/wire"
)

// Document turns the API's form of a signed document into the one that is verified and kept. Nothing is checked here.
func Document(w wire.SignedDocument) bundle.Signed {
	s := bundle.Signed{Kind: bundle.Kind(w.Kind), Body: w.Body, KeyID: w.KeyID, Signature: w.Signature}
	if w.Link.KeyID != "" || len(w.Link.Signature) > 0 {
		s.Link = &bundle.Link{KeyID: w.Link.KeyID, Signature: w.Link.Signature}
	}
	return s
}

// Documents turns a list of them; what is empty (a document that the answer didn't hold) is left out.
func Documents(list ...wire.SignedDocument) []bundle.Signed {
	var out []bundle.Signed
	for _, w := range list {
		if w.Kind != "" {
			out = append(out, Document(w))
		}
	}
	return out
}
