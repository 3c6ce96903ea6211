package balance_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/balance"
)

func TestProxyHeaderGolden(t *testing.T) {
	const magic = "0d0a0d0a000d0a515549540a"
	for _, c := range []struct{ source, destination, want string }{
		{"192.0.2.7:4711", "127.0.0.1:9443", magic + "21" + "11" + "000c" + "c0000207" + "7f000001" + "1267" + "24e3"},
		{"[2001:db8::1]:1", "[::1]:65535", magic + "21" + "21" + "0024" + "20010db8000000000000000000000001" + "00000000000000000000000000000001" + "0001" + "ffff"},
		{"192.0.2.7:1", "[::1]:2", magic + "21" + "21" + "0024" + "00000000000000000000ffffc0000207" + "00000000000000000000000000000001" + "0001" + "0002"},
		{"[::ffff:192.0.2.7]:1", "10.0.0.1:2", magic + "21" + "11" + "000c" + "c0000207" + "0a000001" + "0001" + "0002"},
	} {
		if got := hex.EncodeToString(balance.ProxyHeader(netip.MustParseAddrPort(c.source), netip.MustParseAddrPort(c.destination))); got != c.want {
			t.Errorf("%s → %s:\n got %s\nwant %s", c.source, c.destination, got, c.want)
		}
	}
	if got := hex.EncodeToString(balance.LocalHeader()); got != magic+"20110054"+strings.Repeat("00", 84) {
		t.Errorf("local header %s", got)
	}
}

// target is a server that answers each connection with its name and the hash of all that it got.
type target struct {
	net.Listener
	name  string
	looks *atomic.Int64 // connections without a byte, as those are that look at its health
}

func newTarget(t *testing.T, name string) target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := target{l, name, new(atomic.Int64)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s target) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	h := sha256.New()
	if n, _ := io.Copy(h, conn); n == 0 { // until the client's half close
		s.looks.Add(1)
	}
	_, _ = io.WriteString(conn, s.name+" "+hex.EncodeToString(h.Sum(nil))+"\n")
}

// start runs a balancer with one port; put changes its targets.
func start(t *testing.T, proxyProtocol bool, targets ...string) (address string, put func(...string)) {
	t.Helper()
	return run(t, balance.Listener{ProxyProtocol: proxyProtocol}, balance.Late{}, targets...)
}

// startLate is start with a balancer that is late.
func startLate(t *testing.T, late balance.Late, targets ...string) (address string, put func(...string)) {
	t.Helper()
	return run(t, balance.Listener{}, late, targets...)
}

func run(t *testing.T, listener balance.Listener, late balance.Late, targets ...string) (address string, put func(...string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	path := filepath.Join(t.TempDir(), "balancer.json")
	put = func(targets ...string) {
		t.Helper()
		listener.Listen, listener.Targets = address, targets
		if err := (balance.Layout{Listeners: []balance.Listener{listener}, Late: late}).Write(path); err != nil {
			t.Fatal(err)
		}
	}
	put(targets...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- balance.Run(ctx, path, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address, put
}

// send sends bytes, half closes, and returns what comes back; "" if the connection did not work.
func send(address string, body []byte) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(body); err != nil {
		return ""
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

func TestBytesPassUnchangedAndHalfClosesToo(t *testing.T) {
	s := newTarget(t, "a")
	address, _ := start(t, false, s.Addr().String())
	body := make([]byte, 8<<20)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	want := "a " + hex.EncodeToString(sum[:])
	eventually(t, "an open port", func() bool { return send(address, nil) != "" })
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if got := send(address, body); got != want {
				t.Errorf("got %q", got)
			}
		})
	}
	group.Wait()
}

func TestConnectionsGoRoundAndAroundADeadTarget(t *testing.T) {
	a, b := newTarget(t, "a"), newTarget(t, "b")
	address, put := start(t, false, a.Addr().String(), b.Addr().String())
	both := func() bool {
		seen := map[string]bool{}
		for range 4 {
			name, _, _ := strings.Cut(send(address, nil), " ")
			seen[name] = true
		}
		return seen["a"] && seen["b"]
	}
	eventually(t, "answers from both", both)
	_ = a.Close()
	for range 6 {
		if got := send(address, nil); !strings.HasPrefix(got, "b ") {
			t.Fatalf("with one target gone: %q", got)
		}
	}
	c := newTarget(t, "c")
	put(c.Addr().String())
	eventually(t, "the new target", func() bool { return strings.HasPrefix(send(address, nil), "c ") })
}

func TestTheHeaderNamesTheClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	headers := make(chan []byte, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			raw, _ := io.ReadAll(conn)
			_ = conn.Close()
			headers <- raw
		}
	}()
	address, _ := start(t, true, l.Addr().String())
	var conn net.Conn
	eventually(t, "an open port", func() bool { conn, err = net.Dial("tcp", address); return err == nil })
	want := string(balance.ProxyHeader(netip.MustParseAddrPort(conn.LocalAddr().String()), netip.MustParseAddrPort(address))) + "hello"
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	seen := map[string]bool{}
	eventually(t, "the client's and a health check's header", func() bool {
		select {
		case raw := <-headers:
			seen[string(raw)] = true
		default:
		}
		return seen[want] && seen[string(balance.LocalHeader())]
	})
}

func TestANewTargetWaitsAndOneThatIsGoneGoesOn(t *testing.T) {
	a, b := newTarget(t, "a"), newTarget(t, "b")
	address, put := startLate(t, balance.Late{Register: time.Hour, Deregister: time.Hour}, a.Addr().String())
	eventually(t, "a port whose first target does not wait", func() bool { return strings.HasPrefix(send(address, []byte("x")), "a ") })
	put(a.Addr().String(), b.Addr().String())
	eventually(t, "a look at the new target's health", func() bool { return b.looks.Load() > 0 })
	for range 8 {
		if got := send(address, []byte("x")); !strings.HasPrefix(got, "a ") {
			t.Errorf("%q answers", got)
		}
	}
	before := b.looks.Load()
	put(b.Addr().String())
	eventually(t, "further looks", func() bool { return b.looks.Load() > before+1 })
	if got := send(address, []byte("x")); !strings.HasPrefix(got, "a ") {
		t.Errorf("%q answers, though the one that is gone is the only one in rotation", got)
	}
}

func TestATargetThatIsGoneIsForgotten(t *testing.T) {
	a, b := newTarget(t, "a"), newTarget(t, "b")
	address, put := startLate(t, balance.Late{Deregister: time.Second}, a.Addr().String(), b.Addr().String())
	eventually(t, "both", func() bool {
		return strings.HasPrefix(send(address, nil), "a ") && strings.HasPrefix(send(address, nil), "b ")
	})
	put(b.Addr().String())
	eventually(t, "the end of one", func() bool {
		for range 4 {
			if !strings.HasPrefix(send(address, nil), "b ") {
				return false
			}
		}
		return true
	})
}

func TestWhoIsSentToATargetThatEndedBeforeItsTimeHasNoOther(t *testing.T) {
	a, b := newTarget(t, "a"), newTarget(t, "b")
	address, put := startLate(t, balance.Late{Deregister: time.Hour}, a.Addr().String(), b.Addr().String())
	eventually(t, "an open port", func() bool { return send(address, nil) != "" })
	put(b.Addr().String())
	_ = a.Close()
	eventually(t, "a connection that fails", func() bool { return send(address, nil) == "" })
	eventually(t, "one that does not", func() bool { return strings.HasPrefix(send(address, nil), "b ") })
}
