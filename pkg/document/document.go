// Package document holds the three signed documents — trust, policy, revocations — that agents, proxies and
// clients keep on disk and decide from: their bodies, their signatures, and the rule that a newer one
// replaces an older one and never the other way round. The packages below it are the rest of a document's life: publication makes
// it, head says which one is the newest and fetches it, shelf keeps what was accepted.
//
// It reads no clock and no disk. Its entry points are [Seal], [OpenTrust] and [Holder].
package document

import (
	"time"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// Kind is a document's type tag; it is part of the signed bytes.
type Kind string

// The kinds.
const (
	KindTrust       Kind = "trust"
	KindPolicy      Kind = "policy"
	KindRevocations Kind = "revocations"
)

// Signed is a document as it is stored and sent. Signature is ECDSA P-256 (ASN.1 DER) over SHA-256 of
// "stile-<kind>-v1\n" and Body, exactly as stored; nothing is canonicalised.
type Signed struct {
	Kind      Kind   `json:"kind"`
	Body      []byte `json:"body"`      // JSON, opened only after verification
	KeyID     string `json:"key_id"`    // KeyID of the signing key
	Signature []byte `json:"signature"` // DER
	// Link is set on a trust document whose root differs from the one before: the same bytes signed by that earlier root.
	Link *Link `json:"link,omitempty"`
	// Lists may be set on a revocations document: by list, what leads from the list that the receiver holds to the one that
	// the body names by its hash.
	Lists map[string]revoked.Records `json:"lists,omitempty"`
}

// Link ties a trust document to the root before it.
type Link struct {
	KeyID     string `json:"key_id"`
	Signature []byte `json:"signature"`
}

// States of a key.
const (
	StateNext     = "next"
	StateActive   = "active"
	StateRetiring = "retiring"
)

// Key is a public key in the trust document.
type Key struct {
	Purpose string `json:"purpose"` // names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, …
	ID      string `json:"id"`      // KeyID(Public)
	State   string `json:"state"`   // next | active | retiring
	Public  []byte `json:"public"`  // SubjectPublicKeyInfo, DER
}

// Form is how a document's body is written. A later release may add fields, which an earlier one ignores, unless
// Critical names them: a program that doesn't know one of those still takes the document, to learn of locks and keys,
// but lets nobody do anything on its basis.
type Form struct {
	V        int      `json:"v"`                  // 1
	Critical []string `json:"critical,omitempty"` // paths of fields
}

// formVersion is what this release writes.
const formVersion = 1

// Trust is the body of the trust document.
type Trust struct {
	Form
	Cluster  string           `json:"cluster"`
	Name     string           `json:"name"` // the cluster's name; fixed by the first document
	Version  identity.Version `json:"version"`
	IssuedAt time.Time        `json:"issued_at"`
	Keys     []Key            `json:"keys"`
}

// Policy is the body of the policy document. It cannot carry keys.
type Policy struct {
	Form
	Cluster      string            `json:"cluster"`
	Version      identity.Version  `json:"version"`
	IssuedAt     time.Time         `json:"issued_at"`
	Input        int64             `json:"input"` // the input counter that it was first compiled from
	Roles        []resource.Role   `json:"roles"` // presets included, sorted by name
	MaxPolicyAge resource.Duration `json:"max_policy_age"`
	Record       string            `json:"record,omitempty"` // how sessions are recorded where no role says it: off, best-effort or strict; "" is best-effort
}

// Revocations is the body of the revocations document, at most 64 KiB. It is renewed every minute, and so says of the lists
// of what was revoked only what they hash to; the lists go beside it, and only when they changed.
type Revocations struct {
	Form
	Cluster  string           `json:"cluster"`
	Version  identity.Version `json:"version"`
	IssuedAt time.Time        `json:"issued_at"` // the stamp: renewed every minute, and a floor for clocks
	Trust    identity.Version `json:"trust"`     // the newest trust and policy versions at that time
	Policy   identity.Version `json:"policy"`
	Locks    []Lock           `json:"locks,omitempty"`
	Users    revoked.Sum      `json:"users"`  // by version of this document: what was issued with an older one
	Agents   revoked.Sum      `json:"agents"` // likewise
}

// Sum returns what the document says about a list.
func (r Revocations) Sum(list string) revoked.Sum {
	if list == revoked.Agents {
		return r.Agents
	}
	return r.Users
}

// Lock shuts a target out until it expires.
type Lock struct {
	ID      string     `json:"id"`
	Target  string     `json:"target"` // user | uid | mapping | role | login | agent | target | certificate | request | session
	Value   string     `json:"value"`
	Reason  string     `json:"reason,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}
