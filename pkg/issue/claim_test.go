package issue_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// failing is a key whose KMS answers with an error that may hide a signature.
type failing struct{ issue.Signer }

var errKMS = errors.New("KMS failed")

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errKMS }

func (failing) Requests() []string { return nil }

func (failing) Doubtful() []string { return []string{"request-2"} }

func breaking(a issue.Authority) issue.Authority {
	return func(ctx context.Context) (issue.Signer, error) {
		s, err := a(ctx)
		return failing{s}, err
	}
}

// A login that fails after its first signature leaves a certificate that nobody gets. Its signature is claimed all the same, also
// when the call's time is over.
func TestWhatWasSignedIsClaimedWhateverBecomesOfIt(t *testing.T) {
	p := newPeople(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.users = issue.NewUsers(issue.UserConfig{
		Cluster: p.ID, Documents: p.Cluster, MAC: p.Cluster, Store: p.store, Now: p.Clock,
		Methods: map[string]issue.Authenticator{resource.MethodIAM: issue.IAM{STS: p.sts, Mappings: p.store.Mappings}},
		SSH:     p.Authority(names.KeyUserSSH),
		X509: func(ctx context.Context) (issue.Signer, error) {
			cancel()
			return breaking(p.Authority(names.KeyUserX509))(ctx)
		},
	})
	if _, err := p.users.Issue(ctx, p.login(t, keyAlice)); !errors.Is(err, errKMS) {
		t.Error(err)
	}
	crt := p.store.intents[0].Certificate
	if want := []string{crt + " request-1", crt + " request-2"}; !slices.Equal(p.store.claimed, want) || len(p.store.concluded) != 0 {
		t.Errorf("claimed %q, not %q", p.store.claimed, want)
	}
}

func TestWhatCanNotBeConcludedIsClaimed(t *testing.T) {
	down := errors.New("table is down")
	p, m := newPeople(t), newMachines(t)
	p.store.fail, p.store.failure = "Conclude", down
	m.store.fail, m.store.failure = "Conclude", down
	_, err := p.users.Issue(t.Context(), p.login(t, keyAlice))
	_, err2 := m.hosts.Issue(t.Context(), m.ask(t, &machine{}, keyNode, nil))
	if !errors.Is(err, down) || !errors.Is(err2, down) || len(p.store.claimed) != 2 || len(m.store.claimed) != 2 {
		t.Errorf("%v, %v: claimed %q and %q", err, err2, p.store.claimed, m.store.claimed)
	}
}
