// Package tunnel has what a connection between two of our processes is made of: TLS 1.3 with
// certificates of the cluster, many streams over one connection, the control stream that watches whether
// the other side still lives, and the client's way through a proxy.
//
// It decides nothing about who may reach what, and it keeps no files. Its entry points are [DialConnect]
// for clients, [Dial] for agents, [NewSession] and [Control].
package tunnel

import (
	"context"
	"net"
	"time"
)

// Stream is one of many conversations in a session. Close ends both directions; CloseWrite tells the other
// side that no more comes from here and goes on reading.
type Stream interface {
	net.Conn
	CloseWrite() error
}

// Session carries streams over one connection. It is safe for concurrent use; a stream is as safe as a
// net.Conn.
type Session interface {
	// Open begins a stream. It fails with an error that wraps net.ErrClosed once the session is over or the other side drains.
	Open(ctx context.Context) (Stream, error)
	// Accept waits for the other side's next stream.
	Accept(ctx context.Context) (Stream, error)
	// Drain tells the other side to open no more streams; those that are open go on.
	Drain() error
	// Close ends the session and its streams and closes the connection.
	Close() error
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
