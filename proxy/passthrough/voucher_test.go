package passthrough_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/passthrough"
)

// nobody vouches for nobody.
func nobody(netip.Addr) (string, error) { return "", nil }

// echoing is an API that says again what it is told.
func echoing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func answers(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, 5)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSec_S68_ACallerIsVouchedForByTheAddressThatItCameFrom, in which it has no say; a caller of the first release gets its
// bytes as before.
func TestSec_S68_ACallerIsVouchedForByTheAddressThatItCameFrom(t *testing.T) {
	port := serve(t, passthrough.New(passthrough.Config{Addr: echoing(t), Vouch: func(a netip.Addr) (string, error) { return "from " + a.String(), nil }}))
	for _, source := range []string{"127.0.0.21", "127.0.0.22"} {
		c, voucher, err := tunnel.DialAPI(t.Context(), from(source), port)
		if err != nil {
			t.Fatal(err)
		}
		if voucher != "from "+source {
			t.Errorf("from %s: %q", source, voucher)
		}
		answers(t, c)
		_ = c.Close()
	}
	old, err := tls.Dial("tcp", port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{names.ALPNAPI1}})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	answers(t, old)
}

func TestAProxyThatCannotVouchLeadsNowhere(t *testing.T) {
	port := serve(t, passthrough.New(passthrough.Config{Addr: echoing(t), Vouch: func(netip.Addr) (string, error) { return "", errors.New("no key") }}))
	if c, voucher, err := tunnel.DialAPI(t.Context(), nil, port); err == nil {
		_ = c.Close()
		t.Errorf("voucher %q", voucher)
	}
}
