package publication

import (
	"context"
	"crypto"
	"errors"
	"slices"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// barred are the locks and revocations in force, without those that have expired.
type barred struct{ locks, revoked []document.Lock }

func (p *Publisher) bar(ctx context.Context) (b barred, err error) {
	if b.locks, b.revoked, err = p.config.Inputs.Locks(ctx); err != nil {
		return barred{}, err
	}
	now := p.config.Now()
	expired := func(l document.Lock) bool { return l.Expires != nil && !now.Before(*l.Expires) }
	b.locks, b.revoked = slices.DeleteFunc(b.locks, expired), slices.DeleteFunc(b.revoked, expired)
	return b, nil
}

// given returns the policy versions that entries got when first published, by id. A document that can't be
// verified any more has none: then all get the new version, which revokes more and never less.
func (p *Publisher) given(ctx context.Context, d *draft) (map[string]identity.Version, error) {
	given := map[string]identity.Version{}
	if d.from.Revocations == (identity.Version{}) {
		return given, nil
	}
	doc, err := p.config.Place.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	have, err := d.trust.OpenRevocations(doc)
	if err != nil {
		return given, nil //nolint:nilerr // as said above
	}
	for _, b := range have.Before {
		given[b.ID] = b.Version
	}
	return given, nil
}

// news reports whether there is a revocation without a version.
func (b barred) news(given map[string]identity.Version) bool {
	return slices.ContainsFunc(b.revoked, func(l document.Lock) bool { _, ok := given[l.ID]; return !ok })
}

// before gives the entries: each keeps its version, and a new one gets the version that is published now, so that
// what was issued under the head so far is refused and what is issued from now on is not.
func (b barred) before(given map[string]identity.Version, now identity.Version) []document.Before {
	var all []document.Before
	for _, l := range b.revoked {
		version, ok := given[l.ID]
		if !ok {
			version = now
		}
		all = append(all, document.Before{ID: l.ID, Target: l.Target, Value: l.Value, Version: version})
	}
	return all
}

// sealed signs revocations; more than fit into a document are a fault, since none of them may be left out.
func sealed(r document.Revocations, signer crypto.Signer) (document.Signed, error) {
	doc, err := document.Seal(document.KindRevocations, r, signer)
	if errors.Is(err, document.ErrTooLarge) {
		return document.Signed{}, fault.Newf(fault.TooLarge, "remove locks that are not needed; revocations by deleted nodes and users disappear a day after the deletion",
			"nothing was published: %d locks and %d revocations don't fit into the %d KiB of the revocations document",
			len(r.Locks), len(r.Before), document.MaxRevocations>>10).Because(err)
	}
	return doc, err
}
