package feed_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/feed"
)

// said is a log.
type said struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// lines counts the lines that hold all words.
func (s *said) lines(words ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
next:
	for line := range strings.Lines(s.log.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

func TestAListThatStaysMissingIsSaidOnceAMinuteAndWhenItIsThere(t *testing.T) {
	following(t, func(t *testing.T, c *tunneltest.Cluster, p *published, holder *document.Holder, refused *[]error, _ *int) {
		p.tear(true)
		c.Bar(identity.Ref{Target: "user", Value: "ada"})
		p.set(c)
		pass(4 * time.Second)
		if n := p.log.lines("list"); n != 0 {
			t.Errorf("what may be there at the next look is a complaint: %d lines", n)
		}
		looks := p.looked()
		pass(3*time.Minute - 4*time.Second)
		if n := p.log.lines("A list of revocations is missing", "level=WARN", "error="); n != 3 {
			t.Errorf("%d lines in three minutes", n)
		}
		if looks = p.looked() - looks; looks > 270 {
			t.Errorf("%d looks in three minutes at what does not get better", looks)
		}
		p.tear(false)
		pass(2 * time.Second)
		if n := p.log.lines("complete again"); n != 1 || holder.Versions() != c.Versions() || len(*refused) != 0 {
			t.Errorf("said %d times that it is well; holds %+v, refused %v", n, holder.Versions(), *refused)
		}
		for range 30 { // now well, now not
			p.tear(true)
			c.Bar(identity.Ref{Target: "user", Value: "eve"})
			p.set(c)
			pass(7 * time.Second)
			p.tear(false)
			pass(3 * time.Second)
		}
		if n := p.log.lines("A list of revocations is missing"); n > 3+6 {
			t.Errorf("%d lines more in five minutes", n-3)
		}
		if n := p.log.lines("complete again"); n > 1+6 {
			t.Errorf("%d lines more that it is well", n-1)
		}
	})
}

// A policy that is refused is reported, whatever else there is to complain of.
func TestAMissingListHidesNoRefusal(t *testing.T) {
	following(t, func(t *testing.T, c *tunneltest.Cluster, p *published, _ *document.Holder, refused *[]error, _ *int) {
		p.tear(true)
		c.SetRoles()
		c.Bar(identity.Ref{Target: "user", Value: "ada"})
		p.set(c)
		p.mu.Lock()
		p.documents[1].Signature = []byte("none")
		p.mu.Unlock()
		pass(10 * time.Second)
		if len(*refused) == 0 || !errors.Is((*refused)[0], document.ErrSignature) || p.log.lines("A list of revocations is missing") != 1 {
			t.Errorf("refused %v, log:\n%s", *refused, p.log.log.String())
		}
	})
}

func TestAStoreThatStaysAwayIsSaidOnceAMinuteAndWhenItIsBack(t *testing.T) {
	following(t, func(t *testing.T, _ *tunneltest.Cluster, p *published, _ *document.Holder, _ *[]error, _ *int) {
		p.fail(errors.New("throttled"))
		pass(3*time.Minute - time.Second)
		p.fail(nil)
		pass(2 * time.Second)
		if bad, well := p.log.lines("Head not read", "throttled"), p.log.lines("Head read again"); bad != 3 || well != 1 {
			t.Errorf("%d and %d lines", bad, well)
		}
	})
}

func TestALeaseThatIsNotRenewedIsSaidOnceAMinuteAndWhenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &tables{leases: map[string]presence.Lease{}, sets: map[int][]presence.Tunnel{}, away: errors.New("throttled")}
		var log said
		p := &feed.Presence{
			Table: m, Log: slog.New(slog.NewTextHandler(&log, nil)), Lease: func() presence.Lease { return presence.Lease{Proxy: "prx_1"} },
			Tunnels: func() []presence.Tunnel { return nil }, Proxies: func([]presence.Lease) {},
		}
		go p.Run(t.Context())
		pass(3*time.Minute - time.Second)
		m.mu.Lock()
		m.away = nil
		m.mu.Unlock()
		pass(4 * time.Second)
		if bad, well := log.lines("Lease not renewed", "throttled"), log.lines("Lease renewed again"); bad != 3 || well != 1 {
			t.Errorf("%d and %d lines", bad, well)
		}
	})
}
