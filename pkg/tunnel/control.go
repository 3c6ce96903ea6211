package tunnel

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/frame"
)

// How long a control stream may be silent before the other side is asked, and before it counts as dead.
const (
	DefaultSilence = 3 * time.Second
	DefaultDead    = 9 * time.Second
)

// ErrDead is what Control.Run returns when the other side was silent for too long.
var ErrDead = errors.New("the other side of the tunnel is silent")

// ControlConfig is a control stream and what to do with its frames.
type ControlConfig struct {
	Stream Stream
	Handle func(*frame.Control) error // called by Run, one frame at a time; an error ends Run
	// Idle is the session's: bytes of any stream are signs of life, as bulk may hold up a ping for longer than
	// Dead. nil goes by this stream's frames alone.
	Idle    func() (heard, said time.Duration)
	Silence time.Duration // 0 is DefaultSilence
	Dead    time.Duration // 0 is DefaultDead
}

// Control speaks frames on a session's first stream. It answers pings, sends one when either side has been
// silent, and gives the stream up when the other side stays silent. That a side that only listens says
// something now and then matters as much: whoever sends bulk to it hears nothing else. Send is safe for concurrent use.
type Control struct {
	config  ControlConfig
	writing sync.Mutex
	heard   atomic.Int64 // nanoseconds since started, when a frame last came
	started time.Time
	dead    atomic.Bool
}

// NewControl prepares a control stream; Run makes it live.
func NewControl(c ControlConfig) *Control {
	if c.Silence == 0 {
		c.Silence = DefaultSilence
	}
	if c.Dead == 0 {
		c.Dead = DefaultDead
	}
	return &Control{config: c, started: time.Now()}
}

// Send writes one frame.
func (c *Control) Send(m *frame.Control) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return frame.Write(c.config.Stream, m)
}

// Run reads frames until the stream ends, Handle fails or the other side is dead, and closes the stream.
func (c *Control) Run() error {
	c.hear()
	var watch *time.Timer
	armed := make(chan struct{})
	watch = time.AfterFunc(c.config.Silence, func() { <-armed; c.look(watch) })
	close(armed)
	defer watch.Stop()
	defer c.config.Stream.Close()
	for {
		m := new(frame.Control)
		if err := frame.Read(c.config.Stream, m); err != nil {
			if c.dead.Load() {
				return ErrDead
			}
			return fmt.Errorf("reading control stream: %w", err)
		}
		c.hear()
		if err := c.take(m); err != nil {
			return err
		}
	}
}

func (c *Control) take(m *frame.Control) error {
	switch m.GetBody().(type) {
	case *frame.Control_Ping:
		return c.Send(&frame.Control{Body: &frame.Control_Pong{Pong: &frame.Pong{}}})
	case *frame.Control_Pong:
		return nil
	}
	return c.config.Handle(m)
}

func (c *Control) hear() { c.heard.Store(int64(time.Since(c.started))) }

// idle returns how long the other side and this one have been silent.
func (c *Control) idle() (heard, said time.Duration) {
	heard = time.Since(c.started) - time.Duration(c.heard.Load())
	if c.config.Idle == nil {
		return heard, heard
	}
	h, said := c.config.Idle()
	return min(heard, h), said
}

// Heard returns how long ago the other side gave a sign of life.
func (c *Control) Heard() time.Duration {
	heard, _ := c.idle()
	return heard
}

// look runs when the other side may have been silent long enough for a ping, or for giving up.
func (c *Control) look(watch *time.Timer) {
	heard, said := c.idle()
	if heard >= c.config.Dead {
		c.dead.Store(true)
		_ = c.config.Stream.Close()
		return
	}
	longest := max(heard, said)
	if longest < c.config.Silence {
		watch.Reset(min(c.config.Silence-longest, c.config.Dead-heard))
		return
	}
	watch.Reset(min(c.config.Silence, c.config.Dead-heard)) // before writing, which may be stuck
	if c.writing.TryLock() {                                // whoever is writing right now speaks as well as a ping would
		defer c.writing.Unlock()
		_ = frame.Write(c.config.Stream, &frame.Control{Body: &frame.Control_Ping{Ping: &frame.Ping{}}})
	}
}
