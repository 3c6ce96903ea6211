package shell

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/fault"
)

const defaultTimeout = 15 * time.Second

// Dial connects and authenticates. It tries all proxies, because one that is down, or something else at its
// address, must not keep users from the others; what the node itself answers is final. When all fail it returns
// the error that tells most. Errors are faults; the caller closes the client.
func Dial(ctx context.Context, c Config) (*ssh.Client, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	auth, err := signer(c.SSHKey, c.SSHCertificate)
	if err != nil {
		return nil, err
	}
	var past failures
	client := c.route(ctx, auth, &past)
	past.warn(client == nil, c.Warn)
	if client != nil {
		return client, nil
	}
	if worst := past.worst(); worst != nil {
		return nil, worst.fault
	}
	return nil, fault.New(fault.Unreachable, "no proxy is known", "log in again while the API can be reached: stile login --iam")
}

// route tries the proxies in order; nil when none led to the node. That several proxies may be behind one
// address is tunnel.DialConnect's business.
func (c Config) route(ctx context.Context, auth ssh.Signer, past *failures) *ssh.Client {
	for _, addr := range c.Proxies {
		client, failed := c.through(ctx, addr, auth)
		if failed == nil {
			return client
		}
		*past = append(*past, failed)
		if failed.rank == final || ctx.Err() != nil {
			break
		}
	}
	return nil
}

// failure is why one attempt came to nothing.
type failure struct {
	fault *fault.Fault
	rank  rank
}

// rank orders failures by how much they tell about the node.
type rank int

const (
	down      rank = iota // nothing answers at the address
	impostor              // what answers is not a proxy of the cluster
	noTunnel              // the proxy has no tunnel to the node
	silent                // the proxy or the node didn't do its part
	wrongNode             // what answers is not the node
	final                 // an answer that no other proxy would change
)

// unconnected ranks what kept a connection to a proxy from being made.
func unconnected(err error) *failure {
	f := fault.From(err)
	if f.Code == fault.Unauthenticated {
		return &failure{f, impostor}
	}
	return &failure{f, down}
}

// refused ranks what a proxy answered, or what its connection ended with.
func refused(f *fault.Fault) *failure {
	switch f.Code {
	case fault.NoTunnel, fault.NotFound:
		return &failure{f, noTunnel}
	case fault.Unreachable, fault.Unavailable, fault.RateLimited:
		return &failure{f, silent}
	default:
		return &failure{f, final}
	}
}

type failures []*failure

// worst returns the last of those that tell most.
func (l failures) worst() *failure {
	var worst *failure
	for _, f := range l {
		if worst == nil || f.rank >= worst.rank {
			worst = f
		}
	}
	return worst
}

// warn reports what is not the cluster's, except for the one that will be the error.
func (l failures) warn(failed bool, tell func(string)) {
	if tell == nil {
		return
	}
	for _, f := range l {
		if f.rank != impostor && f.rank != wrongNode || failed && f == l.worst() {
			continue
		}
		tell(f.fault.Message)
	}
}
