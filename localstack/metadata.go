package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/ec2"
)

// serviceEC2 is whose agents are instances: they find credentials and Region by the metadata service. Those of servicePods
// are pods of EKS, and show a token from a file; any others show one from a variable, as tasks of ECS do.
const (
	serviceEC2  = "ec2.amazonaws.com"
	servicePods = "pods.eks.amazonaws.com"
)

// instances are the metadata services of agents that are instances, each on a port of its own, as each instance reaches its
// own alone. The SDKs keep no path of the endpoint that they are given, so that a port is what tells instances apart.
type instances struct {
	mu      sync.Mutex
	servers map[string]*http.Server // by the agent's name
}

// metadata has the metadata service of an agent's instance running, and returns its URL. Its port stays the same, because
// the agent outlives the local AWS.
func (d *deployment) metadata(agent account.Agent, role string) (string, error) {
	d.instances.mu.Lock()
	defer d.instances.mu.Unlock()
	port, err := d.ports.task("metadata/" + agent.Name)
	if err != nil {
		return "", err
	}
	url := "http://" + loopback(port)
	if d.instances.servers[agent.Name] != nil {
		return url, nil
	}
	service, err := ec2.New(d.cloud.Authority, ec2.Instance{ID: agent.Session, Role: role, Account: d.accountOf(agent), Region: d.account.Region, ARN: d.arnOf(agent)})
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return "", fmt.Errorf("opening the metadata service of %s: %w", agent.Name, err)
	}
	server := &http.Server{Handler: service, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)}
	if d.instances.servers == nil {
		d.instances.servers = map[string]*http.Server{}
	}
	d.instances.servers[agent.Name] = server
	go func() { _ = server.Serve(l) }()
	return url, nil
}

// without closes the metadata services of the agents named, or of all if none is.
func (d *deployment) without(names ...string) error {
	d.instances.mu.Lock()
	defer d.instances.mu.Unlock()
	if len(names) == 0 {
		for name := range d.instances.servers {
			names = append(names, name)
		}
	}
	var faults []error
	for _, name := range names {
		if server := d.instances.servers[name]; server != nil {
			faults = append(faults, server.Close())
			delete(d.instances.servers, name)
		}
	}
	return errors.Join(faults...)
}

func (d *deployment) arnOf(agent account.Agent) string {
	return fmt.Sprintf("arn:%s:ec2:%s:%s:instance/%s", d.account.Partition, d.account.Region, d.accountOf(agent), agent.Session)
}
