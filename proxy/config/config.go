// Package config reads a proxy's configuration from the environment of its task.
//
// It opens nothing. Its entry point is [Read].
package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// DrainLimit is how long a proxy that was told to end lets its sessions go on.
const DrainLimit = 110 * time.Second

// Config is what the task's environment says; package names has the variable of each value.
type Config struct {
	Cluster    string
	API        string         // URL
	PublicAddr string         // host:port
	Listen     string         // host:port or :port
	Proxied    []netip.Prefix // whose connections begin with a PROXY v2 header
	State      string         // table names
	Presence   string
	Ledger     string
	Documents  string        // bucket
	Linger     time.Duration // for which people are still sent to a proxy that was told to end
}

// Read takes the values from a lookup such as os.LookupEnv and reports all faults at once.
func Read(lookup func(string) (string, bool)) (Config, error) {
	f := fault.New(fault.BadInput, "the proxy's environment is incomplete", "set the variables named above, as the template of the stack StileFleet does")
	get := func(name string) string {
		v, _ := lookup(name)
		if v == "" {
			f.With(name, "not set")
		}
		return v
	}
	c := Config{
		Cluster: get(names.EnvCluster), API: get(names.EnvAPI), PublicAddr: get(names.EnvPublicAddr), Listen: get(names.EnvListen),
		State: get(names.EnvTableState), Presence: get(names.EnvTablePresence), Ledger: get(names.EnvTableLedger), Documents: get(names.EnvBucketDocuments),
	}
	if _, _, err := net.SplitHostPort(c.PublicAddr); err != nil && c.PublicAddr != "" {
		f.With(names.EnvPublicAddr, "must be host:port")
	}
	if u, err := url.Parse(c.API); c.API != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		f.With(names.EnvAPI, "must be an https URL")
	}
	c.Linger = linger(f, get(names.EnvLinger))
	list, _ := lookup(names.EnvProxyProtocol)
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			f.With(names.EnvProxyProtocol, "must be networks such as 10.0.0.0/16, separated by commas")
			continue
		}
		c.Proxied = append(c.Proxied, p.Masked())
	}
	if len(f.Fields) == 0 {
		return c, nil
	}
	for i, field := range f.Fields {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		f.Message += sep + field.Path + " " + field.Reason
	}
	return c, f
}

// linger reads how long a balancer is late with a proxy that leaves.
func linger(f *fault.Fault, text string) time.Duration {
	n, err := strconv.Atoi(text)
	if most := int(DrainLimit / time.Second); text != "" && (err != nil || n < 0 || n > most) {
		f.With(names.EnvLinger, fmt.Sprintf("must be seconds, from 0 to %d", most))
	}
	return time.Duration(n) * time.Second
}

// APIHost returns the one place that stile-api/2 leads to, host:port.
func (c Config) APIHost() string {
	u, err := url.Parse(c.API)
	if err != nil {
		return ""
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return u.Host
}
