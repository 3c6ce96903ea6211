package front_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/front"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/vouch"
	"github.com/stile-dev/stile/pkg/wire"
)

// TestSec_S68_AnAddressBeforeAProxyIsCountedByItselfIfTheProxyVouchesForIt, and whatever else a caller shows is worth as
// much as nothing: it is counted with all others who come from the proxy's address.
func TestSec_S68_AnAddressBeforeAProxyIsCountedByItselfIfTheProxyVouchesForIt(t *testing.T) {
	c, key := clustertest.New(t), clustertest.Key(t)
	sign := func(v vouch.Voucher, cluster string) string {
		t.Helper()
		s, err := v.Sign(key, cluster)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	v := vouch.Voucher{Proxy: "prx_1", Source: netip.MustParseAddr("198.51.100.9"), Expires: c.Now.Add(time.Minute)}
	late, far, unknown := v, v, v
	late.Expires, far.Expires, unknown.Proxy = c.Now.Add(-time.Minute), c.Now.Add(time.Hour), "prx_2"
	genuine := sign(v, c.ID)
	for name, k := range map[string]struct {
		via, want string
		asked     []string
	}{
		"nothing":               {"", "192.0.2.7", nil},
		"what is no voucher":    {"198.51.100.9", "192.0.2.7", nil},
		"a genuine one":         {genuine, "prx_1#198.51.100.9", []string{"key of prx_1"}},
		"one that was changed":  {strings.Replace(genuine, "198.51.100.9", "198.51.100.8", 1), "192.0.2.7", []string{"key of prx_1"}},
		"another cluster's":     {sign(v, "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"), "192.0.2.7", []string{"key of prx_1"}},
		"a proxy that is gone":  {sign(unknown, c.ID), "192.0.2.7", []string{"key of prx_2"}},
		"one that is too old":   {sign(late, c.ID), "192.0.2.7", nil},
		"one for far too long":  {sign(far, c.ID), "192.0.2.7", nil},
		"one that has a suffix": {genuine + ";", "192.0.2.7", nil},
	} {
		o := &outside{mac: c, keys: map[string][]byte{"prx_1": clustertest.SPKI(t, key)}}
		joins := front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{Cluster: c.ID, MAC: o, Proxies: o, Rate: o, Sign: o.signHost})
		from := call(c)
		from.Via = k.via
		if _, err := joins.Challenge(t.Context(), from, wire.ChallengeRequest{Keys: strings.Repeat("k", 43)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a := arrive(t, c, names.PurposeJoin)
		if _, err := joins.IAM(t.Context(), from, wire.JoinIAMRequest{Join: a.join(), STS: a.sts}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		calls := append(append([]string{}, k.asked...), "rate", "mac")
		calls = append(append(calls, k.asked...), "rate", "proxies", "signer")
		if d := cmp.Diff([]string{k.want, k.want}, o.sources) + cmp.Diff(calls, o.calls); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// While the leases of proxies can't be read nobody is counted by another address, and nobody gets in uncounted.
func TestWithoutTheKeysOfProxiesNobodyGetsIn(t *testing.T) {
	c, o := clustertest.New(t), &outside{fail: map[string]error{"key of prx_1": errDown}}
	via, err := vouch.Voucher{Proxy: "prx_1", Source: netip.MustParseAddr("198.51.100.9"), Expires: c.Now.Add(time.Minute)}.Sign(clustertest.Key(t), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	from := call(c)
	from.Via = via
	joins := front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{Cluster: c.ID, MAC: o, Proxies: o, Rate: o, Sign: o.signHost})
	if _, err := joins.Challenge(t.Context(), from, wire.ChallengeRequest{Keys: strings.Repeat("k", 43)}); !errors.Is(err, errDown) || len(o.calls) != 1 {
		t.Errorf("%v after %v", err, o.calls)
	}
}
