package profile

import (
	"errors"
	"io/fs"
	"os"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/fault"
)

// Trusted is the newest trust document accepted so far; Unauthenticated when there is none.
func (p *Profile) Trusted() (document.Trust, error) {
	h, err := p.holder()
	if err != nil {
		return document.Trust{}, err
	}
	t := h.Trust()
	if t.Cluster == "" {
		return document.Trust{}, fault.Newf(fault.Unauthenticated, "run: stile login --iam", "there is no trust document of %s on this machine", p.api)
	}
	return t, nil
}

// Judge returns the trust document that would be in force once these are kept. Nothing is written, so that a
// login that fails later leaves no trace.
func (p *Profile) Judge(documents []document.Signed) (document.Trust, error) {
	h, err := p.holder()
	if err != nil {
		return document.Trust{}, err
	}
	if err := h.Accept(documents...); err != nil {
		return document.Trust{}, p.refusedDocuments(err)
	}
	return h.Trust(), nil
}

// Keep puts documents on the shelf; it refuses those older than what is there.
func (p *Profile) Keep(documents []document.Signed) error {
	s, err := shelf.Open(p.Trust(), "", "")
	if err != nil {
		return p.damagedDocuments(err)
	}
	if err := s.Accept(documents...); err != nil {
		return p.refusedDocuments(err)
	}
	return nil
}

// Forget removes the trust documents too, for a cluster that was set up again at the same address.
func (p *Profile) Forget() error { return os.RemoveAll(p.Trust()) }

// holder returns what the shelf holds, in memory; it doesn't make the directory.
func (p *Profile) holder() (*document.Holder, error) {
	h := document.NewHolder("", "")
	if _, err := os.Stat(p.Trust()); errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	s, err := shelf.Open(p.Trust(), "", "")
	if err != nil {
		return nil, p.damagedDocuments(err)
	}
	return s.Holder, nil
}

const forget = "run stile logout --forget if the cluster was set up again at this address; otherwise tell your administrator"

func (p *Profile) refusedDocuments(err error) error {
	if f := placeFault(p.home, err); f != nil {
		return f
	}
	if errors.Is(err, document.ErrCluster) || errors.Is(err, document.ErrRetired) {
		return fault.New(fault.Unauthenticated, "the API now shows another cluster's keys than at your last login", forget).Because(err)
	}
	return fault.New(fault.Unauthenticated, "the API's trust document was refused: "+err.Error(), forget).Because(err)
}

func (p *Profile) damagedDocuments(err error) error {
	if f := placeFault(p.home, err); f != nil {
		return f
	}
	return fault.New(fault.Unauthenticated, "the trust documents on this machine can't be used: "+err.Error(),
		"run: stile logout --forget, then stile login --iam").Because(err)
}
