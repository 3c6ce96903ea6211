// Package ecs runs ECS services as processes on this machine, each in the root that its image unpacks to, gives them their
// task role's credentials, and writes down for the load balancer where they listen.
//
// Its processes outlive it and are adopted by the next one. It must not know what a container does. Its
// entry point is [New].
package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/process"
)

// MaxTasks bounds the tasks of one service on this one machine.
const MaxTasks = 3

// Config says where tasks find everything.
type Config struct {
	Authority  *iam.Authority
	Supervisor *process.Supervisor
	Roles      *Credentials
	Registry   Registry
	LogDir     string // <LogDir>/<service>-<n>.log
	HomeDir    string // what a task sees as its root lies below
	Balancer   string // the load balancer's configuration file
	Endpoint   string // the local AWS, as AWS_ENDPOINT_URL
	TrustFile  string // the root certificate of the local API, which no image can have: tasks find it at /etc/ssl/cert.pem
	// Port returns a free port on loopback, the same one each time for a name.
	Port func(name string) (int, error)
	Log  *slog.Logger // nil: slog.Default()
	// Late says how many times faster than AWS the load balancer notices targets that come and go, and a deregistration
	// delay passes; 0 is at once.
	Late int
}

// Registry is where tasks get their images.
type Registry interface {
	Pull(executionRole *iam.Principal, image string) (ecr.Pulled, error)
}

// Host runs the services of all clusters. It is safe for concurrent use.
type Host struct {
	Config

	mu        sync.Mutex
	tasks     map[string]taskDefinition // by ARN
	groups    map[string]targetGroup    // by ARN
	listeners map[string]listener       // by ARN
	targets   map[string][]string       // addresses, by target group
	services  map[string]bool           // by name
}

// New makes a host without services.
func New(c Config) (*Host, error) {
	if c.Authority == nil || c.Supervisor == nil || c.Roles == nil || c.Port == nil || c.Registry == nil {
		return nil, errors.New("ecs host: Authority, Supervisor, Registry, Roles and Port are needed")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Host{Config: c, tasks: map[string]taskDefinition{}, groups: map[string]targetGroup{}, listeners: map[string]listener{}, targets: map[string][]string{}, services: map[string]bool{}}, nil
}

func (h *Host) arn(service, rest string) string {
	a := h.Authority
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.Partition(), service, a.Region(), a.Account(), rest)
}

// Ready waits until every task takes connections on its port.
func (h *Host) Ready(ctx context.Context) error {
	h.mu.Lock()
	var all []string
	for _, addresses := range h.targets {
		all = append(all, addresses...)
	}
	h.mu.Unlock()
	for _, address := range all {
		if err := Reachable(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// Reachable waits until somebody listens on an address.
func Reachable(ctx context.Context, address string) error {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("waiting for %s: %w", address, err)
		case <-timer.C:
		}
	}
}

// raw is a property that has no effect here.
type raw = json.RawMessage
