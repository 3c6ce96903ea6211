// Package tunnel has what a connection between two of our processes is made of: TLS 1.3 with
// certificates of the cluster, many streams over one connection, the control stream that watches whether
// the other side still lives, and the client's way through a proxy.
//
// It decides nothing about who may reach what, and it keeps no files. Its entry points are [DialConnect]
// for clients, [Dial] for agents, [NewSession] and [Control].
package tunnel

import (
	"context"
	"errors"
	"net"
	"time"
)

// ErrReset is wrapped by what Read and Write return after the other side reset the stream.
var ErrReset = errors.New("the other side gave up the stream")

// Stream is one of many conversations in a session. CloseWrite tells the other side that no more comes from here
// and goes on reading. Close ends both directions: what was written still arrives, and the other side's writes fail
// from then on. Neither Close nor Reset waits for the other side.
type Stream interface {
	net.Conn
	CloseWrite() error
	// Reset ends both directions at once on both sides, for a stream that broke: the other side's calls fail with ErrReset.
	Reset() error
}

// Session carries streams over one connection. It is safe for concurrent use; a stream is as safe as a
// net.Conn.
type Session interface {
	// Open begins a stream, whose receive window counts towards the accounts beside those of the session. It fails with an
	// error that wraps net.ErrClosed once the session is over or the other side drains, and with a FullError if an account
	// has no room.
	Open(ctx context.Context, pays ...*Account) (Stream, error)
	// Accept waits for the other side's next stream.
	Accept(ctx context.Context) (Stream, error)
	// Drain tells the other side to open no more streams; those that are open go on.
	Drain() error
	// Close ends the session and its streams and closes the connection. What was written has a moment to leave.
	Close() error
	// Abort does the same at once and without waiting for anything.
	Abort()
	// Done is closed when the session is over, for whatever reason.
	Done() <-chan struct{}
	// Idle returns how long no byte came, and how long none went, over the connection as a whole.
	Idle() (heard, said time.Duration)
	// Streams returns the number of open streams, including the control stream.
	Streams() int
}

// Role says which side of a session this process is: the one that dialled or the one that listened.
type Role bool

// The roles.
const (
	Dialled  Role = true
	Listened Role = false
)

// SessionConfig is what a session is made with. Role is required.
type SessionConfig struct {
	Role    Role
	Streams int        // that the other side may have open at once; more are reset. 0 is MaxStreams
	Pays    []*Account // what the windows of all its streams count towards
	Small   bool       // the windows of the other side's streams stay as they begin: nothing large comes over them
	Refused func()     // told of each stream that was reset because there were too many; must not block. nil ignores
}
