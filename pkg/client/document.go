package client

import (
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/wire"
)

// Document turns the API's form of a signed document into the one that is verified and kept. Nothing is checked here.
func Document(w wire.SignedDocument) document.Signed {
	s := document.Signed{Kind: document.Kind(w.Kind), Body: w.Body, KeyID: w.KeyID, Signature: w.Signature}
	if w.Link.KeyID != "" || len(w.Link.Signature) > 0 {
		s.Link = &document.Link{KeyID: w.Link.KeyID, Signature: w.Link.Signature}
	}
	return s
}

// Documents converts a list of them; empty ones (documents that the answer didn't have) are left out.
func Documents(list ...wire.SignedDocument) []document.Signed {
	var out []document.Signed
	for _, w := range list {
		if w.Kind != "" {
			out = append(out, Document(w))
		}
	}
	return out
}
