package vouch_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/vouch"
)

const cluster = "0b2f6c1e-6f6a-4c0e-9a53-0d6f3c1f7a11"

var now = time.Unix(1_800_000_000, 0)

func key(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, der
}

func text(t testing.TB, v vouch.Voucher, k *ecdsa.PrivateKey) string {
	t.Helper()
	s, err := v.Sign(k, cluster)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func voucher(source string) vouch.Voucher {
	return vouch.Voucher{Proxy: "prx_01", Source: netip.MustParseAddr(source), Expires: now.Add(vouch.Life)}
}

func TestAVoucherSaysWhatItsProxySigned(t *testing.T) {
	k, der := key(t)
	for source, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1",
	} {
		s := text(t, voucher(source), k)
		if len(s) > vouch.MaxSize {
			t.Errorf("%d bytes", len(s))
		}
		got, err := vouch.Parse(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got.Proxy != "prx_01" || got.Source.String() != want || !got.Expires.Equal(now.Add(vouch.Life)) || !got.Verify(der, cluster) {
			t.Errorf("%q says %+v", s, got)
		}
	}
}

// TestSec_S68_NobodyVouchesButTheProxyForThisClusterAndAddress: what was changed, or signed by another key or for another
// cluster, is not verified.
func TestSec_S68_NobodyVouchesButTheProxyForThisClusterAndAddress(t *testing.T) {
	k, der := key(t)
	_, other := key(t)
	genuine := text(t, voucher("192.0.2.7"), k)
	parse := func(s string) vouch.Signed {
		t.Helper()
		got, err := vouch.Parse(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return got
	}
	if !parse(genuine).Verify(der, cluster) {
		t.Fatal("a genuine one is not verified")
	}
	for name, c := range map[string]struct {
		text, cluster string
		key           []byte
	}{
		"another address": {strings.Replace(genuine, "192.0.2.7", "192.0.2.8", 1), cluster, der},
		"another proxy":   {strings.Replace(genuine, "prx_01", "prx_02", 1), cluster, der},
		"another time":    {strings.Replace(genuine, ";18", ";19", 1), cluster, der},
		"another cluster": {genuine, "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11", der},
		"another key":     {genuine, cluster, other},
		"no key":          {genuine, cluster, nil},
	} {
		if parse(c.text).Verify(c.key, c.cluster) {
			t.Errorf("%s is verified", name)
		}
	}
}

func TestAVoucherHasItsTime(t *testing.T) {
	k, _ := key(t)
	got, err := vouch.Parse(text(t, voucher("192.0.2.7"), k))
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{
		-time.Hour: false, -31 * time.Second: false, -30 * time.Second: true, 0: true, vouch.Life: true,
		vouch.Life + 29*time.Second: true, vouch.Life + 30*time.Second: false, time.Hour: false,
	} {
		if got.Current(now.Add(after)) != want {
			t.Errorf("%s after it was signed: %v", after, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	k, _ := key(f)
	f.Add(text(f, voucher("192.0.2.7"), k))
	f.Add(text(f, voucher("2001:db8::1"), k))
	f.Add("v1;prx_01;::ffff:1.2.3.4;0;")
	f.Add("v1;prx_01;fe80::1%a;+1;AA")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := vouch.Parse(s)
		if err != nil {
			return
		}
		again := strings.Join([]string{"v1", got.Proxy, got.Source.String()}, ";")
		if len(s) > vouch.MaxSize || !strings.HasPrefix(s, again+";") || strings.ContainsAny(s, "\r\n ") {
			t.Errorf("%q was read as %+v", s, got)
		}
	})
}
