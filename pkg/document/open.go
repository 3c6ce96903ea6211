package document

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/strict"
)

// Reasons why a document is refused. Match them with errors.Is; whoever was given a refused document records an event.
var (
	ErrOlder     = errors.New("the document is older than the one held")
	ErrUnsigned  = errors.New("the document carries no signature")
	ErrSignature = errors.New("the signature doesn't verify")
	ErrPurpose   = errors.New("the signing key is for another purpose")
	ErrRetired   = errors.New("the signing key is retired or was never trusted")
	ErrCluster   = errors.New("the document is another cluster's")
	ErrMalformed = errors.New("the document is malformed")
	ErrTooLarge  = errors.New("the document is too large")
	ErrLists     = errors.New("a list of what was revoked that the document names is not here")
	ErrPin       = errors.New("no trust document is signed by the pinned root")
	ErrEpoch     = errors.New("the document is of an epoch that the trust document held doesn't know")
)

var errOvertaken = fmt.Errorf("%w, by seconds", ErrOlder)

// OpenTrust verifies a chain of trust documents, oldest first, and returns the newest. Pin is the [KeyID] of a
// root to start from: documents before the first that this root signed are ignored. An empty pin starts
// from the first document, which is right only for a chain from a channel that is verified by other means.
func OpenTrust(chain []Signed, pin string) (Trust, error) {
	all, err := OpenChain(chain, pin)
	if err != nil {
		return Trust{}, err
	}
	return all[len(all)-1], nil
}

// OpenChain verifies a chain as [OpenTrust] does and returns its documents from the one that it starts from, oldest first.
func OpenChain(chain []Signed, pin string) ([]Trust, error) {
	kept, t, err := anchor(chain, pin)
	if err != nil {
		return nil, err
	}
	all := []Trust{t}
	for _, s := range kept[1:] {
		if t, err = t.next(s); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// anchor finds the document that trust starts from and returns the chain from there.
func anchor(chain []Signed, pin string) ([]Signed, Trust, error) {
	if len(chain) == 0 {
		return nil, Trust{}, fmt.Errorf("opening the trust document: %w: there is none", ErrUnsigned)
	}
	if pin == "" {
		t, err := rooted(chain[0])
		return chain, t, err
	}
	for i, s := range chain {
		if s.KeyID != pin && (s.Link == nil || s.Link.KeyID != pin) {
			continue
		}
		t, err := rooted(s)
		if err != nil {
			return nil, Trust{}, err
		}
		if s.KeyID == pin {
			return chain[i:], t, nil
		}
		if err := t.linked(s); err != nil {
			return nil, Trust{}, err
		}
		return chain[i:], t, nil
	}
	return nil, Trust{}, fmt.Errorf("opening the trust document: %w: %s", ErrPin, pin)
}

// rooted opens a trust document signed by an active root that it names. By itself that proves nothing
// except that the document is whole: anyone can make one.
//
// It is the one document that must be parsed to find the key that verifies it; nothing of it is used before.
func rooted(s Signed) (Trust, error) {
	t, err := parseTrust(s)
	if err != nil {
		return Trust{}, err
	}
	if err := t.verify(s.Kind, s.Body, s.KeyID, s.Signature, names.KeyRoot, StateActive); err != nil {
		return Trust{}, err
	}
	return t, nil
}

// next opens the trust document that follows t: signed by an active root in it that t already names as
// active or next, or else linked by t's active root.
func (t Trust) next(s Signed) (Trust, error) {
	n, err := t.follow(s)
	if err != nil {
		return Trust{}, fmt.Errorf("opening the trust document: %w", err)
	}
	return n, nil
}

func (t Trust) follow(s Signed) (Trust, error) {
	err := t.verify(s.Kind, s.Body, s.KeyID, s.Signature, names.KeyRoot, StateActive, StateNext)
	if err != nil && s.Link != nil {
		err = t.verify(s.Kind, s.Body, s.Link.KeyID, s.Link.Signature, names.KeyRoot, StateActive)
	}
	if err != nil {
		return Trust{}, err
	}
	n, err := rooted(s)
	switch {
	case err != nil:
		return Trust{}, err
	case n.Cluster != t.Cluster:
		return Trust{}, fmt.Errorf("%w: %q instead of %q", ErrCluster, n.Cluster, t.Cluster)
	case !t.Version.Less(n.Version):
		return Trust{}, fmt.Errorf("%w: %v after %v", ErrOlder, n.Version, t.Version)
	}
	return n, nil
}

// linked verifies the link of a document by a key that the document itself still names.
func (t Trust) linked(s Signed) error {
	return t.verify(s.Kind, s.Body, s.Link.KeyID, s.Link.Signature, names.KeyRoot, StateActive, StateRetiring)
}

// OpenPolicy verifies a policy document and only then parses it.
func (t Trust) OpenPolicy(s Signed) (Policy, error) {
	var p Policy
	if err := t.open(KindPolicy, s, &p); err != nil {
		return Policy{}, fmt.Errorf("opening the policy document: %w", err)
	}
	if err := p.readable(); err != nil {
		return Policy{}, fmt.Errorf("opening the policy document: %w", err)
	}
	if err := t.owns(p.Cluster, p.Version); err != nil {
		return Policy{}, fmt.Errorf("opening the policy document: %w", err)
	}
	return p, nil
}

// OpenRevocations verifies a revocations document and only then parses it.
func (t Trust) OpenRevocations(s Signed) (Revocations, error) {
	var r Revocations
	if err := t.open(KindRevocations, s, &r); err != nil {
		return Revocations{}, fmt.Errorf("opening the revocations document: %w", err)
	}
	if err := r.readable(); err != nil {
		return Revocations{}, fmt.Errorf("opening the revocations document: %w", err)
	}
	if err := t.owns(r.Cluster, r.Version); err != nil {
		return Revocations{}, fmt.Errorf("opening the revocations document: %w", err)
	}
	return r, nil
}

// owns refuses a document of another cluster, and one of an epoch that the root hasn't begun: whoever can use the policy key
// could otherwise number documents so that no later epoch's replaces them.
func (t Trust) owns(cluster string, v identity.Version) error {
	switch {
	case cluster != t.Cluster:
		return fmt.Errorf("%w: %q instead of %q", ErrCluster, cluster, t.Cluster)
	case v.Epoch > t.Version.Epoch:
		return fmt.Errorf("%w: %d after %d", ErrEpoch, v.Epoch, t.Version.Epoch)
	}
	return nil
}

func (t Trust) open(kind Kind, s Signed, body any) error {
	if s.Kind != kind {
		return fmt.Errorf("%w: it is a %q document", ErrMalformed, s.Kind)
	}
	// A key that is next signs before everyone has seen the switch; one that is retiring has signed what is still in force.
	if err := t.verify(s.Kind, s.Body, s.KeyID, s.Signature, names.KeyPolicy, StateActive, StateNext, StateRetiring); err != nil {
		return err
	}
	return parse(kind, s.Body, body)
}

// verify checks one signature by the key of this id, which must be for the purpose and in one of the states.
func (t Trust) verify(kind Kind, body []byte, id string, signature []byte, purpose string, states ...string) error {
	if len(signature) == 0 || id == "" {
		return ErrUnsigned
	}
	if len(body) > kind.Limit() {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, len(body), kind.Limit())
	}
	key, err := t.find(id, purpose, states)
	if err != nil {
		return err
	}
	pub, err := key.publicKey()
	if err != nil {
		return err
	}
	digest := Digest(kind, body)
	if !ecdsa.VerifyASN1(pub, digest[:], signature) {
		return ErrSignature
	}
	return nil
}

func parseTrust(s Signed) (Trust, error) {
	if s.Kind != KindTrust {
		return Trust{}, fmt.Errorf("%w: it is a %q document", ErrMalformed, s.Kind)
	}
	var t Trust
	if err := parse(KindTrust, s.Body, &t); err != nil {
		return Trust{}, err
	}
	return t, t.validate()
}

// readable refuses a document in a form that this release doesn't know.
func (f Form) readable() error {
	if f.V != formVersion {
		return fmt.Errorf("%w: it is written in form %d, and form %d is known here", ErrMalformed, f.V, formVersion)
	}
	return nil
}

// lacks returns the first critical field that is not known here, and whether there is one.
func (f Form) lacks(body any) (path string, lacks bool) {
	for _, path := range f.Critical {
		if !strict.Knows(body, path) {
			return path, true
		}
	}
	return "", false
}

func parse(kind Kind, body []byte, v any) error {
	if err := strict.LaterJSON(body, kind.Limit(), v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Outlived reports whether every refusal in err, such as Holder.Accept's, is of a document that is out of date: older
// than the one held, or signed by a key that was retired since. What is in force doesn't depend on it.
func Outlived(err error) bool {
	return every(err, func(e error) bool {
		return !errors.Is(e, ErrPin) && (errors.Is(e, ErrOlder) || errors.Is(e, ErrRetired))
	})
}

// Overtaken reports whether every refusal in err is of a genuine document that is some seconds older than the one held:
// one of two proxies hears of the newest later than the other. It is still [ErrOlder], and not taken.
func Overtaken(err error) bool {
	return every(err, func(e error) bool { return errors.Is(e, errOvertaken) })
}

// every asks about each refusal joined in an error.
func every(err error, is func(error) bool) bool {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(many.Unwrap(), func(one error) bool { return !every(one, is) })
	}
	return is(err)
}
