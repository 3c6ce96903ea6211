package issue

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
)

// A join is written down before it is signed and answered, so an agent may have joined without knowing it. Its keys are what it
// kept: whoever proves both of them, and shows the same evidence again, is the same agent, keeps its id and names, and uses up
// nothing. Keys that are only named prove nobody.

// proveKeys verifies the proof of both keys, if there is one: agents of earlier releases show none, and join once.
func (a *arrival) proveKeys(ck proof.Checked) error {
	shown := a.request.Join.Holds
	if len(shown.SSH) == 0 && len(shown.TLS) == 0 {
		return nil
	}
	digest := certs.KeysDigest(a.request.Join.Challenge, ck.Keys)
	if !ecdsa.VerifyASN1(ck.SSH, digest[:], shown.SSH) || !ecdsa.VerifyASN1(ck.TLS, digest[:], shown.TLS) {
		return fault.New(fault.Unauthenticated, "the keys did not sign this challenge", "leave the proof out, or sign the challenge with both keys").With("join.holds", "not by these keys")
	}
	a.holds = true
	return nil
}

// recall finds what these keys joined as by the same evidence before, if they are proved. It costs one read more, and another
// where there is something to be found, which only its own agent can name.
func (h *Hosts) recall(ctx context.Context, a *arrival, ck proof.Checked, evidence ...string) error {
	if !a.holds {
		return nil
	}
	hash := sha256.New()
	for _, part := range append([]string{"stile-joined-v1", h.config.Cluster, ck.Keys}, evidence...) {
		hash.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	a.repeat = hex.EncodeToString(hash.Sum(nil))
	was, err := h.config.Store.Joined(ctx, a.repeat, a.now)
	switch {
	case err != nil:
		return err
	case was.Host.ID == "":
		a.stale = was.Agent
		return nil
	}
	a.again, a.prior, a.lapsed = true, &was.Host, !a.now.Before(was.Expires)
	return nil
}

// stands judges what keys joined as before, as if its certificate was shown.
func (a *arrival) stands(view document.View) error {
	if !a.again {
		return nil
	}
	return view.State.Standing(*a.prior, document.Use{Now: a.now})
}
