package document

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/identity"
)

// NewKey describes a public key for the trust document.
func NewKey(purpose, state string, pub crypto.PublicKey) (Key, error) {
	if _, err := p256(pub); err != nil {
		return Key{}, fmt.Errorf("describing the %s key: %w", purpose, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, fmt.Errorf("describing the %s key: %w", purpose, err)
	}
	return Key{Purpose: purpose, ID: idOf(spki), State: state, Public: spki}, nil
}

func (k Key) publicKey() (*ecdsa.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrMalformed, k.ID, err)
	}
	return p256(pub)
}

// KeysFor lists the keys of a purpose in the given states, or in any state when none is given.
func (t Trust) KeysFor(purpose string, states ...string) []Key {
	var keys []Key
	for _, k := range t.Keys {
		if k.Purpose == purpose && (len(states) == 0 || slices.Contains(states, k.State)) {
			keys = append(keys, k)
		}
	}
	return keys
}

// CA returns the plain public keys that may have signed certificates of a purpose. A key that is next counts:
// it signs from the moment of the switch, which some hear of later than others; one that is retiring counts
// until what it signed has expired.
func (t Trust) CA(purpose string) identity.Authority {
	a := identity.Authority{Cluster: t.Cluster}
	for _, k := range t.KeysFor(purpose) {
		if pub, err := k.publicKey(); err == nil {
			a.Keys = append(a.Keys, pub)
		}
	}
	return a
}

// find returns the key of an id if it is for the purpose and in one of the states.
func (t Trust) find(id, purpose string, states []string) (Key, error) {
	for _, k := range t.Keys {
		switch {
		case k.ID != id:
		case k.Purpose != purpose:
			return Key{}, fmt.Errorf("%w: key %s is for %s, not %s", ErrPurpose, id, k.Purpose, purpose)
		case !slices.Contains(states, k.State):
			return Key{}, fmt.Errorf("%w: key %s is %s", ErrRetired, id, k.State)
		default:
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("%w: key %s", ErrRetired, id)
}

// validate refuses a trust document whose keys are not what they claim: every id is recomputed, and no key
// serves two purposes.
func (t Trust) validate() error {
	if err := t.readable(); err != nil {
		return err
	}
	if t.Cluster == "" || t.IssuedAt.IsZero() {
		return fmt.Errorf("%w: it has no cluster or no time of issue", ErrMalformed)
	}
	if !identity.ValidClusterName(t.Name) {
		return fmt.Errorf("%w: %.70q can't be the name of a cluster", ErrMalformed, t.Name)
	}
	seen := map[string]bool{}
	for _, k := range t.Keys {
		if _, err := k.publicKey(); err != nil {
			return fmt.Errorf("%w: key %s: %w", ErrMalformed, k.ID, err)
		}
		switch {
		case k.ID != idOf(k.Public):
			return fmt.Errorf("%w: key %s has another key's id", ErrMalformed, k.ID)
		case seen[k.ID]:
			return fmt.Errorf("%w: key %s appears twice", ErrMalformed, k.ID)
		case k.State != StateNext && k.State != StateActive && k.State != StateRetiring:
			return fmt.Errorf("%w: key %s is in the unknown state %q", ErrMalformed, k.ID, k.State)
		}
		seen[k.ID] = true
	}
	return nil
}
