package serve

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stile-dev/stile/pkg/names"
)

// taken is the API's side of a call.
type taken func(*http.Request) (*http.Response, error)

func (f taken) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSec_S68_AProxysOwnCallsAreNotCountedWithThoseOfStrangers: it vouches for itself once it has joined, so that a stranger
// who comes through it can't keep it from renewing.
func TestSec_S68_AProxysOwnCallsAreNotCountedWithThoseOfStrangers(t *testing.T) {
	joined, shown := false, ""
	o := own{
		func() bool { return joined },
		func(a netip.Addr) (string, error) { return "from " + a.String(), nil },
		taken(func(r *http.Request) (*http.Response, error) {
			shown = r.Header.Get(names.HeaderVia)
			return &http.Response{Body: http.NoBody}, nil
		}),
	}
	for _, want := range []string{"", "from ::1"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := o.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if shown != want {
			t.Errorf("joined %v: it shows %q", joined, shown)
		}
		joined = true
	}
}
