package issue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

// Evidence is what somebody shows beside the challenge and its keys, which are checked by then.
type Evidence struct {
	Raw     json.RawMessage // the method's own
	Binding proof.Binding   // what it must be for: challenge, purpose, cluster, keys
	Now     time.Time
	// Proven is called once the evidence holds, before anything is looked up: it reads the documents whose versions the
	// certificate will carry. What is revoked after that has a higher version, whatever was still read of it.
	Proven func(context.Context) error
}

// Authenticator turns one kind of evidence into a principal. It believes only what it verified itself.
type Authenticator interface {
	// Authenticate returns whom the evidence proves. The witness is what became known on the way, for the event, and is valid
	// for a refusal too. Refusals are faults.
	Authenticate(context.Context, Evidence) (Principal, Witness, error)
}

// Principal is whom evidence proves. Roles, traits, uid and certificate follow from it the same way for all evidence.
type Principal struct {
	Name    string   // unique among users
	Mapping string   // what admitted it, such as an iam_mapping's name; a user's record only adds to those admitted by the mapping it names
	Subject []string // what identifies it whatever its name is: the parts of its uid
	Roles   []string
	Traits  map[string][]string
}

// Witness is what is known about whoever shows evidence.
type Witness struct {
	Proven bool              // the evidence holds, whoever it admits: only then a refusal is an event
	Actor  string            // before a user's name is known: aws/<account>:…
	Data   map[string]string // beside it
}

// uid stays the same while cluster, mapping and subject do, and is never another's: each part is preceded by its length.
func (p Principal) uid(cluster string) string {
	h := sha256.New()
	for _, part := range append([]string{"stile-uid-v1", cluster, p.Mapping}, p.Subject...) {
		h.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	return "usr_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// add gives a principal what the user's record holds beside it.
func (p *Principal) add(s resource.UserSpec) {
	p.Roles = append(slices.Clone(p.Roles), s.Roles...)
	traits := maps.Clone(p.Traits)
	if traits == nil {
		traits = map[string][]string{}
	}
	for k, v := range s.Traits {
		traits[k] = append(slices.Clone(traits[k]), v...)
	}
	p.Traits = traits
}

// authenticate finds the method's authenticator.
func (u *Users) authenticate(ctx context.Context, a *attempt) (err error) {
	method, ok := u.config.Methods[a.request.Method]
	if !ok {
		return fault.Newf(fault.BadInput, "update stile, or log in with: stile login --iam", "%.32q is not a way to log in", a.request.Method).With("method", "unknown")
	}
	a.principal, a.witness, err = method.Authenticate(ctx, Evidence{
		Raw: a.request.Evidence, Now: a.now, Binding: a.checked.Binding(a.request.Challenge, a.terms),
		Proven: func(ctx context.Context) (err error) { a.view, err = u.config.Documents.Fresh(ctx); return err },
	})
	if err == nil && a.view.Head == (document.Head{}) {
		return fmt.Errorf("logging in by %s: it looked somebody up before the documents were read", a.request.Method)
	}
	if err == nil {
		err = a.principal.unborrowed()
	}
	return err
}

// unborrowed refuses somebody whom evidence or a mapping gives the name of a user that another mapping makes: a mapping may have
// been written before such names were refused, and a session has whatever name its user has elsewhere.
func (p Principal) unborrowed() error {
	if of, is := resource.BuiltinUser(p.Name); !is || of == p.Mapping {
		return nil
	}
	return fault.Newf(fault.Denied, "ask an administrator for another name: in spec.user of iam_mapping "+p.Mapping+", or in IAM Identity Center where it names none",
		"%s is the name of a built-in user, and iam_mapping %s gives it to somebody else", p.Name, p.Mapping)
}
