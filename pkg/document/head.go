package document

import (
	"errors"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
)

// Head says which documents are the newest, and where they are. The head item is the one place that moves, and it only
// moves upward.
type Head struct {
	Trust        identity.Version // zero before the first deployment has run
	Policy       identity.Version // zero before the first publication
	Revocations  identity.Version // zero before the first publication
	PolicySHA256 string           // hex, of the policy document's stored bytes: its place
	Input        int64            // the input counter that the policy was compiled from
	Orders       int64            // the number up to which orders to revoke are in the lists
	CopyOf       string           // the table that the head was written to, when this one is a copy of it: one restored from a backup
}

// Beginning reports whether the trust document has begun an epoch that the other documents have yet to follow into.
func (h Head) Beginning() bool {
	return h.Revocations != (identity.Version{}) && h.Revocations.Epoch < h.Trust.Epoch
}

// Counters are the counters that changes add to. They stand in one item, so that they are read and written together.
type Counters struct {
	Input  int64 // of all changes
	Orders int64 // of those that revoke: the number of the last order
}

// Versions are the three versions as a certificate carries them.
func (h Head) Versions() identity.Versions {
	return identity.Versions{Trust: h.Trust, Policy: h.Policy, Revocations: h.Revocations}
}

// Errors of a store of the head and its documents. Match them with errors.Is.
var (
	ErrHeld  = errors.New("another run has the lease")
	ErrMoved = errors.New("the head moved meanwhile")
	ErrTaken = errors.New("a document of this version is stored already")
)

// Stored is a list of what was revoked as it is kept: a base, and what changed since.
type Stored struct {
	Base string      // hex SHA-256 of the base, its place; "" for the empty list
	From revoked.Set // the base
	Set  revoked.Set // the list
}

// View is the documents that a head names, verified.
type View struct {
	Head        Head
	State       State    // the bodies; zero for those not asked for or not published yet
	Trust       []Signed // the chain, oldest first
	Policy      Signed   // as stored; zero when not asked for or not published yet
	Revocations Signed   // as stored; zero when not published yet
}
