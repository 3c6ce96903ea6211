package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
)

// Asking another proxy. An agent has tunnels to two proxies, and a proxy that has just started, or is about to end, has
// none; a balancer knows neither. While three proxies are replaced it chooses among six, of which two have the tunnel.
// What was sent is small before the answer: SSH's version and its first message.
const (
	asks      = 12                     // proxies asked in all
	asksQuick = 4                      // of which so many at once; the others one by one, as tunnels may be on their way to them
	askPause  = 250 * time.Millisecond // before each of these
	askLimit  = 5 * time.Second
	askKept   = 64 << 10 // bytes that are kept to be sent again
)

// connected sends its request with the first bytes and strips the answer from the first bytes that come back.
type connected struct {
	dial    func(context.Context) (*tls.Conn, error)
	began   time.Time
	over    context.Context // ends with Close
	end     context.CancelFunc
	writing sync.Mutex
	reading sync.Mutex // guards decided and refusal
	decided bool
	refusal error

	mu          sync.Mutex // guards what follows; nobody blocks while holding it
	conn        *tls.Conn
	request     []byte // nil once it was sent
	keeping     bool   // no answer yet: kept is all that was sent
	kept        []byte
	ended       bool // CloseWrite was called
	read, write time.Time
}

func newConnected(conn *tls.Conn, request []byte, dial func(context.Context) (*tls.Conn, error)) *connected {
	c := &connected{conn: conn, request: request, dial: dial, began: time.Now(), keeping: true}
	c.over, c.end = context.WithCancel(context.Background())
	return c
}

func (c *connected) current() *tls.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *connected) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	b, conn := c.keep(p)
	if len(b) == 0 {
		return 0, nil
	}
	n, err := conn.Write(b)
	if err != nil && c.mayAsk() && !errors.Is(err, os.ErrDeadlineExceeded) {
		return len(p), nil // Read reports the outcome, and may send it again
	}
	return max(0, n-(len(b)-len(p))), err
}

// keep returns what to send for p, the request before it if it is the first, and remembers it.
func (c *connected) keep(p []byte) ([]byte, *tls.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := p
	if c.request != nil {
		b = slices.Concat(c.request, p)
		c.request = nil
	}
	if c.keeping = c.keeping && len(c.kept)+len(b) <= askKept; c.keeping {
		c.kept = append(c.kept, b...)
	} else {
		c.kept = nil
	}
	return b, c.conn
}

func (c *connected) mayAsk() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keeping && c.over.Err() == nil
}

func (c *connected) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if !c.decided {
		c.refusal = c.ask()
		c.decided = true
		c.mu.Lock()
		c.keeping, c.kept = false, nil
		c.mu.Unlock()
	}
	if c.refusal != nil {
		return 0, c.refusal
	}
	return c.current().Read(p)
}

// ask reads the answer, and asks others as long as it is that a proxy has no way to the target.
func (c *connected) ask() error {
	if _, err := c.Write(nil); err != nil { // the request alone, if nothing was written yet
		return err
	}
	var first error
	for n := range asks {
		err := frame.ReadAnswer(c.current())
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err = answered(err); first == nil {
			first = err
		}
		if !fault.Is(err, fault.NoTunnel) && !fault.Is(err, fault.Unreachable) {
			return err
		}
		if n == asks-1 || time.Since(c.began) > askLimit || !c.mayAsk() {
			break
		}
		if n+1 >= asksQuick && !wait(c.over, askPause) || c.again() != nil {
			break
		}
	}
	return first
}

// again takes another connection and sends what was sent before.
func (c *connected) again() error {
	_ = c.current().Close() // frees whoever is stuck in writing
	c.writing.Lock()
	defer c.writing.Unlock()
	ctx, cancel := context.WithTimeout(c.over, askLimit)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.conn = conn
	kept, ended, closed := c.kept, c.ended, c.over.Err()
	_ = conn.SetReadDeadline(c.read)
	_ = conn.SetWriteDeadline(c.write)
	c.mu.Unlock()
	if closed != nil {
		_ = conn.Close()
		return net.ErrClosed
	}
	_, err = conn.Write(kept)
	if err == nil && ended {
		err = conn.CloseWrite()
	}
	return err
}

// CloseWrite ends this side's bytes; an empty session's request goes out before.
func (c *connected) CloseWrite() error {
	if _, err := c.Write(nil); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	return c.current().CloseWrite()
}

func (c *connected) Close() error {
	c.end()
	return c.current().Close()
}

func (c *connected) LocalAddr() net.Addr  { return c.current().LocalAddr() }
func (c *connected) RemoteAddr() net.Addr { return c.current().RemoteAddr() }

func (c *connected) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *connected) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.conn.SetReadDeadline(t)
}

func (c *connected) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.conn.SetWriteDeadline(t)
}
